// The interface track as a participant: its risk, its promise, its part of a stop and its snapshot.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { NO_REQUIREMENTS, OperationType } from '#model/operation';
import { planOf } from '#model/plan';
import { RiskLevel } from '#model/risk';
import type { AssessRequest, CommitRequest } from '#model/track';
import { PICTURE_STALE_MS } from '#tracks/interface/device-picture';
import { InterfaceService } from '#tracks/interface/service';
import { InterfaceTrack } from '#tracks/interface/track';
import { person, ScriptedOrchestrator } from '../../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../../support/small-board.ts';
import { kernelSnapshot, stopCause } from '../../../support/unified-states.ts';

let clock: VirtualClock;
let orchestrator: ScriptedOrchestrator;
let service: InterfaceService;
let track: InterfaceTrack;

beforeEach(() => {
  clock = new VirtualClock();
  orchestrator = new ScriptedOrchestrator();
  service = new InterfaceService({ orchestrator, board: smallBoard(), clock });
  track = new InterfaceTrack(service);
  orchestrator.sendSnapshot(kernelSnapshot());
});

afterEach(() => service.close());

const plan = planOf(
  OperationType.READ,
  [{ kind: 'read', device: 1, register: 'DATA', widthBits: 64 }],
  10,
);

function request(
  change: Partial<AssessRequest['intent']> = {},
  kind: 'person' | 'machine' = 'person',
): AssessRequest {
  return {
    plan,
    principal: { ...person('alice', 4), kind },
    intent: {
      operationId: 'op',
      type: OperationType.READ,
      targets: [],
      requirements: NO_REQUIREMENTS,
      justification: '',
      confirmedRisk: RiskLevel.UNKNOWN,
      dryRun: false,
      involved: [],
      ...change,
    },
  };
}

const confirmation = { requirements: { ...NO_REQUIREMENTS, userConfirmationRequired: true } };

it('finds nothing to raise for a person with a fresh picture', async () => {
  expect(await track.assess(request())).toEqual({
    ok: true,
    value: { track: 'interface', level: RiskLevel.SAFE, reasons: [] },
  });
});

it('raises one level each for an unattended client, a stale picture and a missing confirmation', async () => {
  const levelOf = async (asked: AssessRequest) => {
    const answer = await track.assess(asked);
    return answer.ok ? answer.value.level : undefined;
  };
  expect(await levelOf(request({}, 'machine'))).toBe(RiskLevel.LOW);
  expect(await levelOf(request(confirmation))).toBe(RiskLevel.LOW);
  expect(await levelOf(request({ ...confirmation, confirmedRisk: RiskLevel.LOW }))).toBe(
    RiskLevel.SAFE,
  );
  await clock.advance(PICTURE_STALE_MS + 1);
  expect(await levelOf(request(confirmation, 'machine'))).toBe(RiskLevel.HIGH);
});

function commitRequest(planDigest: string): CommitRequest {
  const authorization = {
    operationId: 'op',
    planDigest,
    basis: '',
    grantedTo: [],
    expiresAtMs: 1,
    keyId: '0123456789abcdef',
    signature: '',
  };
  return { operationId: 'op', planDigest, authorization, deadlineMs: 1 };
}

it('promises, refuses to commit another plan, and commits and aborts as often as asked', async () => {
  expect(await track.prepare(commitRequest('a'))).toMatchObject({ ok: true });
  expect(await track.commit(commitRequest('b'))).toMatchObject({ fault: { code: 'PLAN_CHANGED' } });
  for (let turn = 0; turn < 2; turn++) {
    expect(await track.commit(commitRequest('a'))).toMatchObject({ value: { effect: 'none' } });
    expect(await track.abort('op')).toMatchObject({ ok: true });
  }
});

it('promises nothing while the link to security is down or when it shuts down', async () => {
  orchestrator.setAvailable(false);
  expect(await track.prepare(commitRequest('a'))).toMatchObject({
    fault: { code: 'TRACK_UNAVAILABLE' },
  });
  orchestrator.setAvailable(true);
  service.close();
  expect(await track.prepare(commitRequest('a'))).toMatchObject({
    fault: { code: 'TRACK_UNAVAILABLE' },
  });
});

it('refuses the sixty-fifth promise', async () => {
  for (let turn = 0; turn < 64; turn++) {
    const asked = { ...commitRequest('a'), operationId: `op ${turn}` };
    expect((await track.prepare(asked)).ok).toBe(true);
  }
  expect(await track.prepare(commitRequest('a'))).toMatchObject({ fault: { code: 'BUSY' } });
});

it('says in its receipt which clients could not be told of a stop', async () => {
  service.events.listen(() => 'taken');
  service.events.listen(() => 'missed');
  service.events.listen(() => 'gone');
  service.events.listen(() => {
    throw new Error('gone');
  });
  const cause = stopCause({ source: 'kernel', reason: 'heat', triggeredBy: 'kernel' });
  expect(await track.stop({ cause })).toMatchObject({
    value: { ok: false, message: '1 client told, 2 not reached' },
  });
  expect(service.events.listeners).toBe(2);
});

it('tells clients by itself when the latch engages while security is away', async () => {
  let engaged = false;
  const latch = { engage: () => undefined, engaged: () => engaged };
  const watching = new InterfaceService({ orchestrator, board: smallBoard(), clock, latch });
  const told: string[] = [];
  watching.events.listen((event) => {
    told.push(event.data.reason ?? '');
    return 'taken';
  });
  engaged = true;
  await clock.advance(300);
  expect(told).toEqual(['the stop latch is engaged']);
  watching.close();
});

it('bumps its version when its sessions change, and only then', async () => {
  const first = await track.snapshot();
  await clock.advance(1000);
  const second = await track.snapshot();
  expect(first).toMatchObject({ value: { version: 1, sessions: 0, pictureAgeMs: 0 } });
  expect(second).toMatchObject({ value: { version: 1, sessions: 0, pictureAgeMs: 1000 } });
});
