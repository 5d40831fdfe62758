// The orchestrator as the interface sees it: sessions, operations, approvals, probes, recovery and the stop.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EventType, Severity } from '#model/event';
import { CoordinationResult, OperationType } from '#model/operation';
import { OrchestratorState } from '#model/orchestrator-port';
import { RiskLevel } from '#model/risk';
import { EmergencyPriority } from '#model/stop';
import { codeOf, FAN, FORBIDDEN, HEATER, must, OFFSET, PUMP } from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB, CLERK, MACHINE, ORIGIN } from './agent-bench.ts';

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
    const deadline = bench.kernelBench.deadline();
    const outcomes = [
      await bench.operate('made-up', read()),
      await orchestrator.operation('made-up', 'operation-1'),
      await orchestrator.operations('made-up', 10),
      await orchestrator.stop('made-up', STOP, ORIGIN),
      await orchestrator.resetStop('made-up', '', ORIGIN),
      await orchestrator.approvals('made-up'),
      await orchestrator.approve('made-up', 'digest', ORIGIN, deadline),
      await orchestrator.operateSelected('made-up', 'one', RiskLevel.LOW, ORIGIN, deadline),
      await orchestrator.releaseSelected('made-up', 'one', ORIGIN),
      await orchestrator.acknowledgeStop('made-up', ORIGIN),
      await orchestrator.releaseDevice('made-up', PUMP, 'it is well again', ORIGIN, deadline),
      await orchestrator.quarantineDevice('made-up', PUMP, 'it does odd things', ORIGIN),
      await orchestrator.synchronize('made-up', [], deadline),
      await orchestrator.conflicts('made-up'),
      await orchestrator.history('made-up', PUMP, 10),
      await bench.operate('made-up', bench.intent(EMERGENCY_STOP, PUMP)),
      await orchestrator.audit('made-up', 1, 1),
      await orchestrator.verifyAudit('made-up'),
    ];
    expect(new Set(outcomes.map(codeOf))).toEqual(new Set(['NOT_AUTHENTICATED']));
    expect((await orchestrator.status()).ok).toBe(true);
    expect(bench.kernelBench.latch.engaged()).toBe(false);
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
    // The start of the agent, and the operation.
    expect(eventsOf(EventType.AUDIT_ENTRY_CREATED)).toHaveLength(2);
    expect(must(await orchestrator.audit(bob, 1, 10)).map((entry) => entry.event)).toEqual([
      'AGENT_STARTED',
      'OPERATION_COMPLETED',
    ]);
    expect(must(await orchestrator.verifyAudit(bob))).toMatchObject({ entries: 2, intact: true });
  });

  it('is refused under an id that was used before, and the first one stands', async () => {
    const first = bench.write(PUMP, { DATA: 1n });
    must(await bench.operate(alice, first));
    const again = { ...bench.write(PUMP, { DATA: 2n }), operationId: first.operationId };
    expect(codeOf(await bench.operate(bob, again))).toBe('REQUEST_MALFORMED');
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(1);
  });

  it('is refused for what is not done through a plan', async () => {
    const outcome = await bench.operate(alice, bench.intent(UNKNOWN, PUMP));
    expect(codeOf(outcome)).toBe('OPERATION_UNSUPPORTED');
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
      expect(bench.security.threats.incidents.list(9)).toMatchObject([
        { level: 'CRITICAL', devices: [FORBIDDEN], actor: 'alice' },
      ]);
      const alerts = eventsOf(EventType.SECURITY_ALERT).filter(
        ({ severity }) => severity === Severity.CRITICAL,
      );
      expect(alerts.map(({ data }) => data.reason).sort()).toEqual([
        'incident opened',
        'quarantine probe',
      ]);
      const probes = bench.entries().filter((entry) => entry.event === 'QUARANTINE_PROBE');
      expect(probes).toMatchObject([{ actor: 'alice', devices: [FORBIDDEN] }]);
      expect(bench.kernelBench.bytes().equals(before)).toBe(true);
    },
  );

  it('that interface refused by itself has the same consequences', async () => {
    bench.orchestrator.reportRefusal(alice, ORIGIN, 'DEVICE_QUARANTINED', 'refused', [FORBIDDEN]);
    await bench.kernelBench.clock.advance(1);
    expect(codeOf(await bench.operate(alice, read()))).toBe('ACCOUNT_LOCKED');
    const probes = bench.entries().filter((entry) => entry.event === 'QUARANTINE_PROBE');
    expect(probes).toMatchObject([{ actor: 'alice', devices: [FORBIDDEN] }]);
    expect(bench.security.lockouts.lockOf('alice')).toMatchObject({ standing: true });
  });
});

describe('an approval', () => {
  const approve = (session: string, digest: string) => {
    const deadline = bench.kernelBench.deadline();
    return bench.settle(bench.orchestrator.approve(session, digest, ORIGIN, deadline));
  };
  const heat = () => bench.write(HEATER, { DATA: 3n });

  it('comes from a second person with the same rights, and is on record', async () => {
    const first = must(await bench.operate(alice, heat()));
    expect(first.fault?.code).toBe('APPROVAL_NEEDED');
    const { orchestrator } = bench;
    expect(codeOf(await approve(alice, first.planDigest))).toBe('NOT_PERMITTED');
    const clerk = await bench.signIn(CLERK);
    expect(codeOf(await approve(clerk, first.planDigest))).toBe('CLEARANCE_TOO_LOW');
    expect(must(await orchestrator.approvals(bob))).toMatchObject([{ approvedBy: '' }]);
    expect(must(await approve(bob, first.planDigest)).approvedBy).toBe('bob');
    expect(bench.lastEntry()).toMatchObject({
      event: 'APPROVAL_GRANTED',
      actor: 'bob',
      result: `plan ${first.planDigest}`,
      planDigest: first.planDigest,
      operationId: first.operationId,
      operation: 'WRITE',
      risk: 'HIGH',
      devices: [HEATER],
      decision: 'approved by bob',
      reason: 'routine maintenance',
    });
    const second = must(await bench.operate(alice, heat()));
    expect(second.effect).toBe('committed');
  });

  it('of a plan that nobody asked for is refused', async () => {
    expect(codeOf(await approve(bob, 'digest'))).toBe('APPROVAL_INVALID');
  });

  it('that is refused is on record too, with who tried and why', async () => {
    const first = must(await bench.operate(alice, heat()));
    const machine = await bench.signIn(MACHINE);
    const clerk = await bench.signIn(CLERK);
    await approve(alice, first.planDigest);
    await approve(clerk, first.planDigest);
    await approve(machine, first.planDigest);
    await approve(bob, 'digest');
    must(await approve(bob, first.planDigest));
    await approve(await bench.signIn({ ...BOB, id: 'alice' }), first.planDigest);
    const refusals = bench.entries().filter((entry) => entry.event === 'APPROVAL_REFUSED');
    expect(refusals.map((one) => [one.actor, one.details.code, one.decision])).toEqual([
      ['alice', 'NOT_PERMITTED', 'refused'],
      ['clerk', 'CLEARANCE_TOO_LOW', 'refused'],
      ['machine', 'NOT_PERMITTED', 'refused'],
      ['bob', 'APPROVAL_INVALID', 'refused'],
      ['alice', 'NOT_PERMITTED', 'refused'],
    ]);
    expect(refusals[0]).toMatchObject({
      origin: ORIGIN,
      devices: [HEATER],
      planDigest: first.planDigest,
      operation: 'WRITE',
      result: expect.stringContaining('alice asked for it and cannot approve it'),
    });
    expect(refusals[3]).toMatchObject({ devices: [], planDigest: 'digest' });
  });

  it('with the credential that the requester used is refused: the token may have changed hands', async () => {
    const first = must(await bench.operate(alice, heat()));
    const { tokens } = bench.security;
    const [token] = tokens.goodOf('alice');
    if (token === undefined) throw new Error('alice has no token');
    await bench.settle(tokens.save({ ...token, account: 'bob' }));
    const credential = { kind: 'token', token: 'alice' } as const;
    const session = must(await bench.orchestrator.authenticate(credential, ORIGIN));
    expect(session.principal.id).toBe('bob');
    expect(codeOf(await approve(session.id, first.planDigest))).toBe('NOT_PERMITTED');
    expect(must(await approve(bob, first.planDigest)).approvedBy).toBe('bob');
  });

  it('needs kernel to look at the device: nothing is approved while it is away', async () => {
    const first = must(await bench.operate(alice, heat()));
    bench.lose('kernel');
    expect(codeOf(await approve(bob, first.planDigest))).toBe('TRACK_UNAVAILABLE');
    expect(must(await bench.orchestrator.approvals(bob))).toMatchObject([{ approvedBy: '' }]);
  });

  it('that could not be put on record does not count', async () => {
    const first = must(await bench.operate(alice, heat()));
    bench.store.database.exec(
      `CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END`,
    );
    expect(codeOf(await approve(bob, first.planDigest))).toBe('AUDIT_UNAVAILABLE');
    bench.store.database.exec('DROP TRIGGER full');
    must(await bench.operate(alice, read()));
    const used = must(await bench.operate(alice, heat()));
    expect(used.fault).toMatchObject({
      code: 'APPROVAL_VOID',
      finding: 'the approval could not be put on record',
    });
    expect(bench.kernelBench.peek(HEATER, OFFSET.DATA)).toBe(0);
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
  it('is settled before kernel may write, is on record, and not found again', async () => {
    const intent = bench.write(PUMP, { DATA: 5n });
    const plan = must(await bench.kernelBench.track.plan(intent));
    must(
      await bench.settle(
        bench.journal.decide({
          intent,
          plan,
          priors: [{ device: PUMP, register: 'DATA', value: 1n }],
          votes: { kernel: 'yes', security: 'yes', interface: 'yes' },
          requestedBy: 'alice',
          decidedWallMs: bench.kernelBench.clock.wallMs(),
        }),
      ),
    );
    // Half of it: the metal holds neither the old word nor the new one.
    bench.kernelBench.poke(PUMP, OFFSET.DATA, 66);
    await bench.settle(bench.security.supervision.take());
    const recovered = () =>
      bench.entries().filter((entry) => entry.event === 'TRANSACTION_RECOVERED');
    expect(recovered()).toMatchObject([
      {
        devices: [PUMP],
        operationId: intent.operationId,
        planDigest: plan.digest,
        result: expect.stringMatching(/^in-doubt/),
      },
    ]);
    expect(bench.journal.open()).toEqual([]);
    expect(must(await bench.orchestrator.status()).holds).toMatchObject([
      { device: PUMP, kind: 'in-doubt' },
    ]);
    const refused = must(await bench.operate(alice, bench.write(PUMP, { DATA: 2n })));
    expect(refused.fault?.code).toBe('DEVICE_INHIBITED');
    await bench.settle(bench.security.supervision.take());
    expect(recovered()).toHaveLength(1);
  });
});

describe('the tracks', () => {
  it('that come and go are on record and degrade the agent', async () => {
    bench.lose('interface');
    await bench.kernelBench.clock.advance(1);
    expect(bench.entries().at(-1)).toMatchObject({ event: 'TRACK_LOST', actor: 'interface' });
    expect(must(await bench.orchestrator.status())).toMatchObject({
      state: OrchestratorState.DEGRADED,
      findings: [expect.stringContaining('interface')],
    });
  });

  it('tell of a device only when its state has changed', async () => {
    const { track, run } = { track: bench.kernelBench.track, run: bench.settle.bind(bench) };
    const publish = async () => {
      await run(track.memory.observe(FAN, bench.kernelBench.deadline()));
      bench.orchestrator.takeKernelSnapshot(track.memory.changes());
    };
    await publish();
    // From unknown to known, at most.
    const known = eventsOf(EventType.DEVICE_STATE_CHANGED).length;
    expect(known).toBeLessThanOrEqual(1);
    await publish();
    expect(eventsOf(EventType.DEVICE_STATE_CHANGED)).toHaveLength(known);
    bench.kernelBench.peer.misbehaviours.set('fan.MODE', 'nack').set('fan.LEVEL', 'nack');
    await publish();
    expect(eventsOf(EventType.DEVICE_STATE_CHANGED).slice(known)).toMatchObject([
      { severity: Severity.WARNING, data: { token: '0x8003' } },
    ]);
  });
});
