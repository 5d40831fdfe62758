// The orchestrator as the interface sees it: sessions, operations, approvals, probes, recovery and the stop.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EventType, Severity } from '#model/event';
import { CoordinationResult, OperationType } from '#model/operation';
import { OrchestratorState } from '#model/orchestrator-port';
import { EmergencyPriority } from '#model/stop';
import {
  codeOf,
  FAN,
  FORBIDDEN,
  HEATER,
  must,
  OFFSET,
  PUMP,
  planWith,
  writeStep,
} from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB, CLERK, ORIGIN } from './agent-bench.ts';

const { READ, EMERGENCY_STOP, UNKNOWN } = OperationType;
const STOP = { reason: 'smoke', priority: EmergencyPriority.HIGH, devices: [], groups: [] };
let bench: AgentBench;
let alice: string;
let bob: string;

beforeEach(async () => {
  bench = await AgentBench.open();
  alice = await bench.signIn(ALICE);
  bob = await bench.signIn(BOB);
});
afterEach(() => bench.close());

const read = () => bench.intent(READ, PUMP, { DATA: undefined });
const eventsOf = (type: EventType) => bench.events.filter((event) => event.type === type);

describe('a session', () => {
  it('is needed for everything but status', async () => {
    const { orchestrator } = bench;
    const outcomes = [
      await bench.operate('made-up', read()),
      await orchestrator.operation('made-up', 'operation-1'),
      await orchestrator.operations('made-up', 10),
      await orchestrator.stop('made-up', STOP, ORIGIN),
      await orchestrator.resetStop('made-up', '', ORIGIN),
      await orchestrator.approvals('made-up'),
      await orchestrator.approve('made-up', 'digest', ORIGIN),
      await orchestrator.audit('made-up', 1, 1),
      await orchestrator.verifyAudit('made-up'),
    ];
    expect(new Set(outcomes.map(codeOf))).toEqual(new Set(['NOT_AUTHENTICATED']));
    expect((await orchestrator.status()).ok).toBe(true);
  });

  it('that could not be opened is on record, without what was presented', async () => {
    const wrong = { kind: 'token', token: 'guess-1234' } as const;
    const refused = await bench.orchestrator.authenticate(wrong, ORIGIN);
    expect(codeOf(refused)).toBe('NOT_AUTHENTICATED');
    await bench.kernelBench.clock.advance(1);
    expect(bench.lastEntry()).toMatchObject({ event: 'AUTHENTICATION_FAILED', actor: 'unknown' });
    expect(JSON.stringify(bench.lastEntry())).not.toContain('guess');
  });

  it('that has ended opens nothing', async () => {
    must(await bench.orchestrator.endSession(alice));
    expect(codeOf(await bench.operate(alice, read()))).toBe('NOT_AUTHENTICATED');
    expect((await bench.operate(bob, read())).ok).toBe(true);
  });
});

describe('an operation', () => {
  it('leaves a receipt to ask for again, an event and an audit entry', async () => {
    const receipt = must(await bench.operate(alice, bench.write(PUMP, { DATA: 1n })));
    expect(receipt.result).toBe(CoordinationResult.SUCCESS);
    const { orchestrator } = bench;
    expect(must(await orchestrator.operation(bob, receipt.operationId))).toEqual(receipt);
    expect(eventsOf(EventType.OPERATION_COMPLETED)).toMatchObject([
      { severity: Severity.INFO, data: { actor: 'alice', effect: 'committed', devices: '0x8000' } },
    ]);
    expect(eventsOf(EventType.AUDIT_ENTRY_CREATED)).toHaveLength(1);
    expect(must(await orchestrator.audit(bob, 1, 10))).toHaveLength(1);
    expect(must(await orchestrator.verifyAudit(bob))).toMatchObject({ entries: 1, intact: true });
  });

  it('is refused under an id that was used before, and the first one stands', async () => {
    const first = bench.write(PUMP, { DATA: 1n });
    must(await bench.operate(alice, first));
    const again = { ...bench.write(PUMP, { DATA: 2n }), operationId: first.operationId };
    expect(codeOf(await bench.operate(bob, again))).toBe('REQUEST_MALFORMED');
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(1);
  });

  it('is refused for what is not done through a plan', async () => {
    for (const type of [EMERGENCY_STOP, UNKNOWN]) {
      const outcome = await bench.operate(alice, bench.intent(type, PUMP));
      expect(codeOf(outcome)).toBe('OPERATION_UNSUPPORTED');
    }
  });

  it('is refused when sixteen are running, and runs again when one has ended', async () => {
    const { orchestrator, kernelBench } = bench;
    const running = Array.from({ length: 16 }, () => {
      const intent = bench.intent(READ, FAN, { LEVEL: undefined });
      return orchestrator.operate(alice, intent, ORIGIN, kernelBench.deadline());
    });
    const seventeenth = await bench.orchestrator.operate(
      bob,
      read(),
      ORIGIN,
      kernelBench.deadline(),
    );
    expect(codeOf(seventeenth)).toBe('BUSY');
    expect(must(await orchestrator.status()).activeOperations).toBe(16);
    await bench.settle(Promise.all(running));
    expect((await bench.operate(bob, read())).ok).toBe(true);
  });

  it('is listed newest first, no more than asked for', async () => {
    const ids = [];
    for (let turn = 0; turn < 3; turn++)
      ids.push(must(await bench.operate(alice, read())).operationId);
    const list = async (limit: number) =>
      must(await bench.orchestrator.operations(alice, limit)).map((one) => one.operationId);
    expect(await list(2)).toEqual([ids[2], ids[1]]);
    expect(await list(0)).toEqual([]);
    expect(codeOf(await bench.orchestrator.operation(alice, 'never'))).toBe('OPERATION_UNKNOWN');
  });
});

describe('an attempt on a quarantined device', () => {
  it.each(['an operation', 'a dry run'])(
    'by %s locks the session, opens an incident, alerts',
    async (how) => {
      const before = bench.kernelBench.bytes();
      const intent = bench.intent(READ, FORBIDDEN, {}, { dryRun: how === 'a dry run' });
      const receipt = must(await bench.operate(alice, intent));
      expect(receipt.fault?.code).toBe('DEVICE_QUARANTINED');
      expect(codeOf(await bench.operate(alice, read()))).toBe('ACCOUNT_LOCKED');
      expect((await bench.operate(bob, read())).ok).toBe(true);
      expect(bench.security.threats.all()).toMatchObject([{ device: FORBIDDEN, actor: 'alice' }]);
      expect(eventsOf(EventType.SECURITY_ALERT)).toMatchObject([{ severity: Severity.CRITICAL }]);
      const probes = bench.entries().filter((entry) => entry.event === 'QUARANTINE_PROBE');
      expect(probes).toMatchObject([{ actor: 'alice', devices: [FORBIDDEN], groups: [] }]);
      expect(bench.kernelBench.bytes().equals(before)).toBe(true);
    },
  );

  it('that interface refused by itself has the same consequences', async () => {
    bench.orchestrator.reportRefusal(alice, ORIGIN, 'DEVICE_QUARANTINED', 'refused', [FORBIDDEN]);
    await bench.kernelBench.clock.advance(1);
    expect(codeOf(await bench.operate(alice, read()))).toBe('ACCOUNT_LOCKED');
    expect(bench.lastEntry()).toMatchObject({ event: 'QUARANTINE_PROBE', actor: 'alice' });
  });
});

describe('an approval', () => {
  it('comes from a second person with the same rights, and is on record', async () => {
    const first = must(await bench.operate(alice, bench.write(HEATER, { DATA: 3n })));
    expect(first.fault?.code).toBe('APPROVAL_NEEDED');
    const { orchestrator } = bench;
    const approve = (session: string) =>
      bench.settle(orchestrator.approve(session, first.planDigest, ORIGIN));
    expect(codeOf(await approve(alice))).toBe('NOT_PERMITTED');
    expect(codeOf(await approve(await bench.signIn(CLERK)))).toBe('CLEARANCE_TOO_LOW');
    expect(must(await orchestrator.approvals(bob))).toMatchObject([{ approvedBy: '' }]);
    expect(must(await approve(bob)).approvedBy).toBe('bob');
    expect(bench.lastEntry()).toMatchObject({
      event: 'APPROVAL_GRANTED',
      actor: 'bob',
      result: `plan ${first.planDigest}`,
    });
    const second = must(await bench.operate(alice, bench.write(HEATER, { DATA: 3n })));
    expect(second.effect).toBe('committed');
  });

  it('of a plan that nobody asked for is refused', async () => {
    expect(codeOf(await bench.orchestrator.approve(bob, 'digest', ORIGIN))).toBe(
      'APPROVAL_INVALID',
    );
  });
});

describe('the stop', () => {
  it('can be asked for by a locked session, and is announced and on record', async () => {
    must(await bench.operate(alice, bench.intent(READ, FORBIDDEN)));
    const report = must(await bench.settle(bench.orchestrator.stop(alice, STOP, ORIGIN)));
    expect(report.success).toBe(true);
    await bench.kernelBench.clock.advance(1);
    expect(eventsOf(EventType.EMERGENCY_STOP)).toMatchObject([
      { severity: Severity.EMERGENCY, data: { reason: 'smoke', requires_acknowledgment: 'true' } },
    ]);
    expect(bench.lastEntry()).toMatchObject({
      event: 'EMERGENCY_STOP',
      result: 'whole system stopped',
      reason: 'smoke',
    });
    expect(must(await bench.orchestrator.status())).toMatchObject({
      state: OrchestratorState.EMERGENCY_STOPPED,
      stopEngaged: true,
      stopCauses: [{ reason: 'smoke' }],
    });
  });

  it('is reset by two people, each step on record', async () => {
    must(await bench.settle(bench.orchestrator.stop(alice, STOP, ORIGIN)));
    const reset = (session: string) =>
      bench.settle(bench.orchestrator.resetStop(session, 'smoke is gone', ORIGIN));
    expect(must(await reset(alice)).released).toBe(false);
    expect(must(await reset(bob)).released).toBe(true);
    const resets = bench.entries().filter((entry) => entry.event === 'EMERGENCY_RESET');
    expect(resets.map((entry) => [entry.actor, entry.reason])).toEqual([
      ['alice', 'smoke is gone'],
      ['bob', 'smoke is gone'],
    ]);
    expect(must(await bench.orchestrator.status()).state).toBe(OrchestratorState.READY);
    expect((await bench.operate(alice, bench.write(PUMP, { DATA: 1n }))).ok).toBe(true);
  });

  it('by the latch alone is noted once, with a cause', async () => {
    const receipt = {
      track: 'kernel',
      ok: true,
      message: '',
      safe: [PUMP],
      unsafe: [],
      durationMs: 1,
    } as const;
    bench.orchestrator.kernelStopped(null, receipt);
    bench.orchestrator.kernelStopped(null, receipt);
    expect(bench.stops.causes).toMatchObject([{ source: 'kernel', triggeredBy: 'latch' }]);
    expect(eventsOf(EventType.EMERGENCY_STOP)).toHaveLength(1);
  });
});

describe('what was decided before the process ended', () => {
  it('is found at the next start, recorded as in doubt, and not found again', async () => {
    const intent = bench.write(PUMP, { DATA: 5n });
    const plan = planWith(writeStep(PUMP, 'DATA', 5n));
    const priors = [{ device: PUMP, register: 'DATA', value: 1n }];
    must(await bench.settle(bench.journal.decide(intent, plan, priors)));
    await bench.settle(bench.orchestrator.started());
    expect(bench.entries().map((entry) => entry.event)).toEqual([
      'AGENT_STARTED',
      'TRANSACTION_RECOVERED',
    ]);
    expect(bench.lastEntry()).toMatchObject({
      devices: [PUMP],
      operationId: intent.operationId,
      planDigest: plan.digest,
      result: expect.stringMatching(/^in-doubt/),
    });
    expect(bench.journal.open()).toEqual([]);
    await bench.settle(bench.orchestrator.started());
    expect(
      bench
        .entries()
        .map((entry) => entry.event)
        .at(-1),
    ).toBe('AGENT_STARTED');
  });
});

describe('the tracks', () => {
  it('that come and go are on record and degrade the agent', async () => {
    bench.down.add('interface');
    bench.orchestrator.trackChanged({ track: 'interface', up: false, finding: 'is lost' });
    await bench.kernelBench.clock.advance(1);
    expect(bench.lastEntry()).toMatchObject({ event: 'TRACK_LOST', actor: 'interface' });
    expect(must(await bench.orchestrator.status()).state).toBe(OrchestratorState.DEGRADED);
  });

  it('tell of a device only when its state has changed', async () => {
    const { track, run } = { track: bench.kernelBench.track, run: bench.settle.bind(bench) };
    const publish = async () => {
      await run(track.memory.observe(FAN, 100));
      bench.orchestrator.takeKernelSnapshot(track.memory.changes());
    };
    await publish();
    await publish();
    expect(eventsOf(EventType.DEVICE_STATE_CHANGED)).toHaveLength(0);
    bench.kernelBench.peer.misbehaviours.set('fan.MODE', 'nack').set('fan.LEVEL', 'nack');
    await publish();
    expect(eventsOf(EventType.DEVICE_STATE_CHANGED)).toMatchObject([
      { severity: Severity.WARNING, data: { token: '0x8003' } },
    ]);
  });
});
