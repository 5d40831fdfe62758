// What people meet: locked accounts, devices that take two people or stand still, incidents to look at, explain and close.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AdministrationKey, AdministrationRequest } from '#model/administration';
import { EventType, Severity } from '#model/event';
import { OperationType } from '#model/operation';
import { OrchestratorState } from '#model/orchestrator-port';
import { DEFAULT_POLICY, type SafetyPolicy } from '#model/safety-policy';
import { SecurityStatus } from '#model/snapshot';
import { codeOf, FORBIDDEN, must, OFFSET, PUMP } from '../../../../support/kernel-bench.ts';
import {
  AgentBench,
  ALICE,
  BOB,
  CLERK,
  MACHINE,
  ORIGIN,
} from '../../../orchestrator/agent-bench.ts';

let bench: AgentBench;
afterEach(() => bench.close());

/** Everything counts as learned; the first change of a device on a day is worth so many points. */
function policy(unusualDevice: number): SafetyPolicy {
  const { threats } = DEFAULT_POLICY;
  const points = { after: 0, each: unusualDevice, most: unusualDevice };
  const none = { after: 0, each: 0, most: 0 };
  return {
    ...DEFAULT_POLICY,
    threats: {
      ...threats,
      baseline: { ...threats.baseline, operationsMin: 0, daysMin: 0 },
      indicators: { ...threats.indicators, unusualDevice: points, unusualHour: none },
    },
  };
}

function administer<K extends AdministrationKey>(
  session: string,
  key: K,
  request: AdministrationRequest<K>,
) {
  const deadline = bench.kernelBench.deadline();
  return bench.settle(bench.orchestrator.administer(session, key, request, ORIGIN, deadline));
}

const statusOf = (device: number) => bench.security.track.deviceStates([device])[0]?.status;
const pump = () => bench.write(PUMP, { DATA: 7n });
const incident = () => bench.security.threats.incidents.list(1)[0];
const eventsNamed = (event: string) => bench.entries().filter((entry) => entry.event === event);

describe('after an attempt on a quarantined device', () => {
  let alice: string;
  let bob: string;
  beforeEach(async () => {
    bench = await AgentBench.open();
    alice = await bench.signIn(ALICE);
    bob = await bench.signIn(BOB);
    await bench.operate(alice, bench.intent(OperationType.READ, FORBIDDEN));
  });

  it('the person is locked and not the session alone, and can still stop', async () => {
    const credential = { kind: 'token', token: ALICE.id } as const;
    const again = await bench.settle(bench.orchestrator.authenticate(credential, ORIGIN));
    expect(codeOf(again)).toBe('ACCOUNT_LOCKED');
    const request = { reason: 'smoke', priority: 3, devices: [PUMP], groups: [] } as const;
    const stopped = await bench.settle(bench.orchestrator.stop(alice, request, ORIGIN));
    expect(must(stopped).success).toBe(true);
    expect(eventsNamed('ACCOUNT_LOCKED')).toMatchObject([{ details: { account: 'alice' } }]);
  });

  it('the system is DEGRADED and says why, until a person has closed the incident', async () => {
    const before = must(await bench.orchestrator.status());
    expect(before.state).toBe(OrchestratorState.DEGRADED);
    expect(before.findings).toEqual([
      'incident 1 (CRITICAL) is open, person alice: tried a quarantined device once',
    ]);
    const closed = await administer(bob, 'closeIncident', { id: 1, reason: 'a typing mistake' });
    expect(must(closed).incident).toMatchObject({
      closedBy: 'bob',
      closedBecause: 'a typing mistake',
    });
    expect(must(await bench.orchestrator.status()).state).toBe(OrchestratorState.READY);
    expect(eventsNamed('INCIDENT_CLOSED')).toMatchObject([
      { actor: 'bob', reason: 'a typing mistake', origin: ORIGIN, decision: 'closed by bob' },
    ]);
    // Closing says that it is settled; the account is for administrators to unlock.
    expect(bench.security.lockouts.lockOf('alice')?.standing).toBe(true);
  });

  it('nobody closes what is about themselves, a machine closes nothing, and what is not there is said', async () => {
    const reason = 'nothing to see here';
    const machine = await bench.signIn(MACHINE);
    const byMachine = await administer(machine, 'closeIncident', { id: 1, reason });
    expect(codeOf(byMachine)).toBe('NOT_PERMITTED');
    const clerk = await bench.signIn(CLERK);
    expect(codeOf(await administer(clerk, 'closeIncident', { id: 1, reason }))).toBe(
      'CLEARANCE_TOO_LOW',
    );
    expect(codeOf(await administer(bob, 'closeIncident', { id: 77, reason }))).toBe(
      'INCIDENT_UNKNOWN',
    );
    await bench.operate(bob, bench.intent(OperationType.READ, FORBIDDEN));
    expect(codeOf(await administer(bob, 'closeIncident', { id: 2, reason }))).toBe(
      'ACCOUNT_LOCKED',
    );
    expect(eventsNamed('INCIDENT_CLOSED')).toEqual([]);
    expect(eventsNamed('ADMINISTRATION_REFUSED').map(({ actor }) => actor)).toEqual([
      'machine',
      'clerk',
      'bob',
    ]);
  });

  it('closing it twice is closing it once', async () => {
    const first = await administer(bob, 'closeIncident', { id: 1, reason: 'looked into' });
    const second = await administer(bob, 'closeIncident', { id: 1, reason: 'looked into again' });
    expect(must(second)).toEqual(must(first));
    expect(eventsNamed('INCIDENT_CLOSED')).toHaveLength(1);
  });

  it('the score of anybody is explained, and the incidents are listed', async () => {
    const { report } = must(await administer(bob, 'threat', { kind: 'person', id: 'alice' }));
    expect(report).toMatchObject({
      score: 90,
      level: 'CRITICAL',
      indicators: [{ name: 'quarantine-probe', points: 90 }],
    });
    const [sequence = 0] = report.indicators[0]?.entries ?? [];
    expect(bench.audit.read(sequence, 1)).toMatchObject([
      { event: 'QUARANTINE_PROBE', actor: 'alice' },
    ]);
    const nobody = must(await administer(bob, 'threat', { kind: 'source', id: '203.0.113.9' }));
    expect(nobody.report).toMatchObject({ score: 0, level: 'NONE', indicators: [] });
    const { incidents } = must(await administer(bob, 'incidents', {}));
    expect(incidents).toMatchObject([{ id: 1, subject: { kind: 'person', id: 'alice' } }]);
    expect(JSON.stringify(incidents)).not.toMatch(/"(reached|locked)":/);
  });
});

describe('an operation that is CRITICAL by itself', () => {
  it('stops the device it changed, on the metal, and no other one', async () => {
    bench = await AgentBench.open({ policy: policy(95) });
    const alice = await bench.signIn(ALICE);
    const done = must(await bench.operate(alice, pump()));
    expect(done.effect).toBe('committed');
    await bench.kernelBench.clock.advance(50);
    expect(incident()).toMatchObject({ level: 'CRITICAL', devices: [PUMP] });
    expect(incident()?.responses.at(-1)).toBe('stopped: device pump (0x8000)');
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(0x5afe);
    expect(bench.stops.causes).toMatchObject([
      { devices: [PUMP], triggeredBy: 'security', source: 'security' },
    ]);
    expect(eventsNamed('EMERGENCY_STOP')).toMatchObject([{ actor: 'security', devices: [PUMP] }]);
    expect(must(await bench.orchestrator.status()).stopEngaged).toBe(false);
  });
});

describe('an operation that is HIGH by itself', () => {
  it('asks for a second person on the device it changed, raises its risk and shows it', async () => {
    bench = await AgentBench.open({ policy: policy(70) });
    const alice = await bench.signIn(ALICE);
    const bob = await bench.signIn(BOB);
    const dryRun = { dryRun: true };
    const before = must(await bench.operate(bob, bench.write(PUMP, { DATA: 8n }, dryRun)));
    expect(before.approvalsNeeded ?? []).toEqual([]);
    await bench.operate(alice, pump());
    expect(codeOf(await bench.operate(alice, pump()))).toBe('ACCOUNT_LOCKED');
    expect(statusOf(PUMP)).toBe(SecurityStatus.ALERT);
    const after = must(await bench.operate(bob, bench.write(PUMP, { DATA: 8n }, dryRun)));
    expect(after.approvalsNeeded ?? []).toHaveLength(1);
    expect(after.risk).toBeGreaterThan(before.risk);
    const refused = must(await bench.operate(bob, bench.write(PUMP, { DATA: 8n })));
    expect(refused.fault?.code).toBe('APPROVAL_NEEDED');
    await administer(bob, 'closeIncident', { id: 1, reason: 'alice was asked and it was her' });
    expect(statusOf(PUMP)).toBe(SecurityStatus.NORMAL);
    const last = must(await bench.operate(bob, bench.write(PUMP, { DATA: 8n }, dryRun)));
    expect(last.approvalsNeeded ?? []).toEqual([]);
  });
});

describe('a person with a MEDIUM incident', () => {
  let alice: string;
  beforeEach(async () => {
    bench = await AgentBench.open({ policy: policy(50) });
    alice = await bench.signIn(ALICE);
    await bench.operate(alice, pump());
  });

  it('may go on, with every question on record, and the device is under review', async () => {
    expect(statusOf(PUMP)).toBe(SecurityStatus.UNDER_REVIEW);
    expect(incident()?.level).toBe('MEDIUM');
    const deadline = bench.kernelBench.deadline();
    await bench.orchestrator.history(alice, PUMP, 5);
    await bench.orchestrator.approvals(alice);
    await bench.operate(alice, bench.write(PUMP, { DATA: 9n }, { dryRun: true }));
    await administer(alice, 'rights', { operations: [], devices: [], type: OperationType.READ });
    await bench.settle(bench.orchestrator.approvals(await bench.signIn(BOB)));
    expect(deadline.expired()).toBe(false);
    const watched = eventsNamed('WATCHED_ACCESS').map(({ actor, operation }) => [actor, operation]);
    expect(watched).toEqual([
      ['alice', 'history'],
      ['alice', 'approvals'],
      ['alice', 'WRITE'],
      ['alice', 'rights'],
    ]);
    expect(must(await bench.orchestrator.status()).state).toBe(OrchestratorState.READY);
  });

  it('is not locked, and still does not close what is about itself', async () => {
    const reason = 'nothing to see here';
    const own = await administer(alice, 'closeIncident', { id: 1, reason });
    expect(own).toMatchObject({
      ok: false,
      fault: { code: 'NOT_PERMITTED', finding: 'is about alice: somebody else has to look at it' },
    });
    expect(incident()?.closedWallMs).toBe(0);
    const other = await bench.signIn(BOB);
    expect((await administer(other, 'closeIncident', { id: 1, reason })).ok).toBe(true);
    expect(incident()).toMatchObject({ closedBy: 'bob', closedBecause: reason });
  });

  it('has it closed by itself after an hour without anything new, and the alerts say how grave it was', async () => {
    const { clock } = bench.kernelBench;
    await clock.advance(3_500_000);
    expect(incident()?.closedWallMs).toBe(0);
    await clock.advance(200_000);
    expect(incident()).toMatchObject({ closedBy: 'quiet', level: 'MEDIUM' });
    expect(statusOf(PUMP)).toBe(SecurityStatus.NORMAL);
    const alerts = bench.events
      .filter(({ type, data }) => type === EventType.SECURITY_ALERT && 'incident_id' in data)
      .map(({ severity, data }) => [data.reason, severity]);
    expect(alerts).toEqual([
      ['incident opened', Severity.WARNING],
      ['incident closed', Severity.INFO],
    ]);
  });
});

it('an attempt through another door than the network, of what the table refuses, is on record', async () => {
  bench = await AgentBench.open();
  const clerk = await bench.signIn(CLERK);
  const refused = await bench.settle(bench.orchestrator.verifyAudit(clerk));
  expect(codeOf(refused)).toBe('CLEARANCE_TOO_LOW');
  expect(eventsNamed('OPERATION_REFUSED')).toMatchObject([
    { actor: 'clerk', operation: 'verifyAudit', details: { code: 'CLEARANCE_TOO_LOW' } },
  ]);
});

it('a grave incident stays open however quiet it is', async () => {
  bench = await AgentBench.open();
  const alice = await bench.signIn(ALICE);
  await bench.operate(alice, bench.intent(OperationType.READ, FORBIDDEN));
  await bench.kernelBench.clock.advance(5 * 3_600_000);
  expect(incident()).toMatchObject({ level: 'CRITICAL', closedWallMs: 0 });
});

it('so does one of HIGH, whose person is locked', async () => {
  bench = await AgentBench.open({ policy: policy(70) });
  const alice = await bench.signIn(ALICE);
  await bench.operate(alice, pump());
  expect(incident()?.level).toBe('HIGH');
  await bench.kernelBench.clock.advance(5 * 3_600_000);
  expect(incident()).toMatchObject({ level: 'HIGH', closedWallMs: 0 });
});

it('an attempt on what somebody else has selected is on record', async () => {
  bench = await AgentBench.open();
  const alice = await bench.signIn(ALICE);
  const bob = await bench.signIn(BOB);
  const selecting = bench.write(PUMP, { DATA: 7n }, { selectForSeconds: 60 });
  const { operationId } = must(await bench.operate(alice, selecting));
  const { orchestrator } = bench;
  const released = await bench.settle(orchestrator.releaseSelected(bob, operationId, ORIGIN));
  expect(codeOf(released)).toBe('NOT_PERMITTED');
  expect(eventsNamed('OPERATION_REFUSED')).toMatchObject([
    { actor: 'bob', operation: 'releaseSelected', details: { code: 'NOT_PERMITTED' } },
  ]);
});
