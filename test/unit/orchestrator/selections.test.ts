// Select before operate: the devices are held for one person and one plan, for a while, and used once.

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Clock, VirtualClock } from '#foundation/clock';
import { refuse, succeed } from '#foundation/outcome';
import type { AuditRecord } from '#model/audit-entry';
import { EventType } from '#model/event';
import { CoordinationResult, type Intent, OperationType } from '#model/operation';
import { RiskLevel } from '#model/risk';
import { EmergencyPriority } from '#model/stop';
import { Announcer } from '#orchestrator/announcer';
import { EventHub } from '#orchestrator/event-hub';
import type { AuditPort } from '#orchestrator/ports';
import { type Selection, Selections } from '#orchestrator/selections';
import { codeOf, HEATER, must, OFFSET, PUMP, VALVE } from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB, gone, ORIGIN } from './agent-bench.ts';

const { READ, WRITE } = OperationType;
let bench: AgentBench;
let alice: string;
let bob: string;

beforeEach(async () => {
  bench = await AgentBench.open();
  alice = await bench.signIn(ALICE);
  bob = await bench.signIn(BOB);
});
afterEach(() => bench.close());

const selecting = (device: number, value: bigint, more: Partial<Intent> = {}) =>
  bench.write(device, { DATA: value }, { selectForSeconds: 60, ...more });

async function select(device = PUMP, value = 5n, more: Partial<Intent> = {}) {
  const receipt = must(await bench.operate(alice, selecting(device, value, more)));
  expect(receipt.fault).toBeUndefined();
  return receipt;
}

function operate(operationId: string, session = alice, risk: RiskLevel = RiskLevel.CRITICAL) {
  const deadline = bench.kernelBench.deadline();
  const { orchestrator } = bench;
  return bench.settle(orchestrator.operateSelected(session, operationId, risk, ORIGIN, deadline));
}

function release(operationId: string, session = alice) {
  return bench.settle(bench.orchestrator.releaseSelected(session, operationId, ORIGIN));
}

/** What somebody else gets who writes another register of the device. */
async function attempt(device = PUMP): Promise<string> {
  const receipt = must(await bench.operate(bob, bench.write(device, { CONFIG: 1n })));
  return receipt.fault?.code ?? receipt.effect;
}

async function endings(): Promise<(readonly [string, string, string])[]> {
  await bench.kernelBench.clock.advance(1);
  return bench
    .entries()
    .filter((entry) => entry.event === 'SELECTION_ENDED')
    .map(({ operationId, actor, result }) => [operationId, actor, result] as const);
}

describe('a selection', () => {
  it('writes nothing, holds the device, and is on record with who selected what', async () => {
    const before = bench.kernelBench.bytes();
    const receipt = await select();
    expect(receipt).toMatchObject({
      state: 'COMPLETED',
      result: CoordinationResult.SUCCESS,
      effect: 'none',
      readings: [],
      risk: RiskLevel.LOW,
      transactions: ['write pump.DATA 0x00000005'],
    });
    const { clock } = bench.kernelBench;
    const leftMs = (receipt.selectedUntilWallMs ?? 0) - clock.wallMs();
    expect(leftMs).toBeGreaterThan(59_000);
    expect(leftMs).toBeLessThanOrEqual(60_000);
    expect(receipt).not.toHaveProperty('approvalsNeeded');
    expect(bench.kernelBench.bytes().equals(before)).toBe(true);
    expect(bench.entries().at(-1)).toMatchObject({
      sequence: receipt.auditSequence,
      event: 'SELECTED',
      actor: 'alice',
      devices: [PUMP],
      operation: 'WRITE',
      operationId: receipt.operationId,
      planDigest: receipt.planDigest,
      decision: 'selected by alice',
      details: { selectedUntilWallMs: Math.round(receipt.selectedUntilWallMs ?? 0) },
    });
    expect(bench.journal.open()).toEqual([]);
    // Nothing of it is done yet, and nobody is told that it was.
    const told = bench.events.filter((event) => event.type === EventType.OPERATION_COMPLETED);
    expect(told).toEqual([]);
  });

  it('keeps writes of everybody else away, naming who holds the device; reads stay possible', async () => {
    const { operationId } = await select();
    const refused = must(await bench.operate(bob, bench.write(PUMP, { CONFIG: 1n })));
    expect(refused.fault).toMatchObject({
      code: 'DEVICE_BUSY',
      finding: expect.stringContaining(operationId),
    });
    const own = must(await bench.operate(alice, bench.write(PUMP, { CONFIG: 1n })));
    expect(own.fault?.code).toBe('DEVICE_BUSY');
    const second = must(await bench.operate(bob, selecting(PUMP, 6n)));
    expect(second).toMatchObject({ state: 'FAILED', fault: { code: 'DEVICE_BUSY' } });
    const read = must(await bench.operate(bob, bench.intent(READ, PUMP, { DATA: undefined })));
    expect(read.result).toBe(CoordinationResult.SUCCESS);
    expect(await attempt(VALVE)).toBe('committed');
  });

  it('stands in the status with who selected what, until it is released', async () => {
    const { operationId, selectedUntilWallMs } = await select();
    const standing = async () => must(await bench.orchestrator.status()).selections;
    expect(await standing()).toEqual([
      {
        operationId,
        by: 'alice',
        operation: 'WRITE',
        devices: [PUMP],
        untilWallMs: Math.round(selectedUntilWallMs ?? 0),
      },
    ]);
    must(await release(operationId));
    expect(await standing()).toEqual([]);
  });

  it('is operated once, under its own id, and then frees the device', async () => {
    const { operationId, planDigest } = await select();
    const done = must(await operate(operationId));
    expect(done).toMatchObject({ operationId, planDigest, type: WRITE, effect: 'committed' });
    expect(done).not.toHaveProperty('selectedUntilWallMs');
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(5);
    expect(must(await bench.orchestrator.operation(alice, operationId))).toEqual(done);
    expect(await endings()).toEqual([[operationId, 'alice', 'operated']]);
    expect(codeOf(await operate(operationId))).toBe('SELECTION_UNKNOWN');
    expect(codeOf(await release(operationId))).toBe('SELECTION_UNKNOWN');
    expect(await attempt()).toBe('committed');
  });

  it('is nobody else’s: another person can neither operate nor release it, and it stands', async () => {
    const { operationId } = await select();
    const refused = await operate(operationId, bob);
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'NOT_PERMITTED',
      finding: 'alice selected it, not bob',
    });
    expect(codeOf(await release(operationId, bob))).toBe('NOT_PERMITTED');
    expect(await endings()).toEqual([]);
    expect(must(await operate(operationId)).effect).toBe('committed');
  });

  it('is released without a write, and frees the device', async () => {
    const { operationId } = await select();
    must(await release(operationId));
    expect(await endings()).toEqual([[operationId, 'alice', 'released']]);
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(0);
    expect(codeOf(await operate(operationId))).toBe('SELECTION_UNKNOWN');
    expect(await attempt()).toBe('committed');
  });

  it('expires by itself, in security and in kernel', async () => {
    const { operationId } = await select();
    await bench.kernelBench.clock.advance(59_000);
    expect(await attempt()).toBe('DEVICE_BUSY');
    await bench.kernelBench.clock.advance(1_000);
    expect(codeOf(await operate(operationId))).toBe('SELECTION_UNKNOWN');
    expect(await endings()).toEqual([[operationId, 'security', 'expired']]);
    expect(await attempt()).toBe('committed');
  });

  it.each([0, -1, 1.5, 301, Number.NaN, Number.POSITIVE_INFINITY])(
    'of %d s is refused and holds nothing',
    async (selectForSeconds) => {
      const refused = await bench.operate(alice, selecting(PUMP, 5n, { selectForSeconds }));
      expect(!refused.ok && refused.fault).toMatchObject({
        code: 'REQUEST_MALFORMED',
        finding: `a selection lasts 1 to 300 s, not ${selectForSeconds} s`,
      });
      expect(await attempt()).toBe('committed');
    },
  );

  it('of a plan that only reads is refused: it would keep others from writing for nothing', async () => {
    const intent = bench.intent(READ, PUMP, { DATA: undefined }, { selectForSeconds: 60 });
    expect(must(await bench.operate(alice, intent)).fault?.code).toBe('REQUEST_MALFORMED');
    expect(await attempt()).toBe('committed');
  });

  it('needs everything that its operation needs, but the second person', async () => {
    const unconfirmed = { confirmedRisk: RiskLevel.UNKNOWN };
    const refused = must(await bench.operate(alice, selecting(VALVE, 5n, unconfirmed)));
    expect(refused.fault?.code).toBe('CONFIRMATION_NEEDED');
    expect(refused).not.toHaveProperty('selectedUntilWallMs');
    expect(await attempt(VALVE)).toBe('committed');
  });

  it('is only shown by a dry run', async () => {
    const shown = must(await bench.operate(alice, selecting(PUMP, 5n, { dryRun: true })));
    expect(shown).toMatchObject({ state: 'COMPLETED', transactions: [expect.any(String)] });
    expect(shown).not.toHaveProperty('selectedUntilWallMs');
    expect(await attempt()).toBe('committed');
  });

  it('cannot be entered by another operation under its id', async () => {
    const { operationId } = await select();
    const same = { ...bench.write(PUMP, { CONFIG: 1n }), operationId };
    expect(codeOf(await bench.operate(bob, same))).toBe('REQUEST_MALFORMED');
    expect(bench.kernelBench.peek(PUMP, OFFSET.CONFIG)).toBe(0);
  });
});

describe('the second person of a selected operation', () => {
  const approve = async (digest: string) => {
    const deadline = bench.kernelBench.deadline();
    return bench.settle(bench.orchestrator.approve(bob, digest, ORIGIN, deadline));
  };

  it('is asked at once and may come while it is selected', async () => {
    const selected = await select(HEATER, 7n);
    expect(selected.approvalsNeeded).toEqual([
      'a second person with the same rights approves the digest of this plan',
    ]);
    expect(must(await bench.orchestrator.approvals(bob))).toMatchObject([
      { planDigest: selected.planDigest, requestedBy: 'alice', approvedBy: '' },
    ]);
    // Too early: nothing was tried, so the selection stands.
    const early = must(await operate(selected.operationId));
    expect(early).toMatchObject({ effect: 'none', fault: { code: 'APPROVAL_NEEDED' } });
    expect(await attempt(HEATER)).not.toBe('committed');
    expect(await endings()).toEqual([]);
    must(await approve(selected.planDigest));
    const done = must(await operate(selected.operationId));
    expect(done.effect).toBe('committed');
    expect(bench.kernelBench.peek(HEATER, OFFSET.DATA)).toBe(7);
    const entry = bench.entries().find((one) => one.sequence === done.auditSequence);
    expect(entry?.decision).toBe('granted to alice and bob');
  });

  it('may have come before: the approval is kept for the operation', async () => {
    const asked = must(await bench.operate(alice, bench.write(HEATER, { DATA: 7n })));
    must(await approve(asked.planDigest));
    const selected = await select(HEATER, 7n);
    expect(selected).not.toHaveProperty('approvalsNeeded');
    expect(must(await operate(selected.operationId)).effect).toBe('committed');
  });

  it('does not replace the confirmation, which has to be given again', async () => {
    const selected = await select(HEATER, 7n);
    must(await approve(selected.planDigest));
    const unconfirmed = must(await operate(selected.operationId, alice, RiskLevel.UNKNOWN));
    expect(unconfirmed.fault?.code).toBe('CONFIRMATION_NEEDED');
    expect(must(await operate(selected.operationId)).effect).toBe('committed');
  });
});

describe('a selection ends, on record and with the device free,', () => {
  it('when the device changed under it: the plan is not the one that was selected', async () => {
    const { operationId } = await select();
    bench.kernelBench.poke(PUMP, OFFSET.DATA, 66);
    const refused = must(await operate(operationId));
    expect(refused).toMatchObject({
      result: CoordinationResult.DENIED,
      effect: 'none',
      fault: {
        code: 'PLAN_CHANGED',
        finding: 'the device changed, or kernel was started again, since it was selected',
      },
    });
    expect(await endings()).toEqual([[operationId, 'alice', 'operated: PLAN_CHANGED']]);
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(66);
    expect(codeOf(await operate(operationId))).toBe('SELECTION_UNKNOWN');
    expect(await attempt()).toBe('committed');
  });

  it('when its operation is refused for anything but missing people', async () => {
    const { operationId } = await select();
    bench.interface.answers = 'with a fault';
    expect(must(await operate(operationId)).fault?.code).toBe('RISK_UNKNOWN');
    bench.interface.answers = 'at once';
    expect(await endings()).toEqual([[operationId, 'alice', 'operated: RISK_UNKNOWN']]);
    expect(await attempt()).toBe('committed');
  });

  it('when the whole system is stopped', async () => {
    const pump = await select(PUMP);
    const valve = await select(VALVE);
    const stop = { reason: 'smoke', priority: EmergencyPriority.HIGH, devices: [], groups: [] };
    must(await bench.settle(bench.orchestrator.stop(bob, stop, ORIGIN)));
    expect(await endings()).toEqual([
      [pump.operationId, 'bob', 'stopped'],
      [valve.operationId, 'bob', 'stopped'],
    ]);
    expect(codeOf(await operate(pump.operationId))).toBe('SELECTION_UNKNOWN');
  });

  it('when its own device is stopped, and no other', async () => {
    const pump = await select(PUMP);
    const valve = await select(VALVE);
    const stop = { reason: 'smoke', priority: EmergencyPriority.HIGH, devices: [PUMP], groups: [] };
    must(await bench.settle(bench.orchestrator.stop(bob, stop, ORIGIN)));
    expect(await endings()).toEqual([[pump.operationId, 'bob', 'stopped']]);
    expect(must(await operate(valve.operationId)).effect).toBe('committed');
  });

  it('when its device is quarantined', async () => {
    const { operationId } = await select();
    const reason = 'it does what nobody asked for';
    const held = bench.orchestrator.quarantineDevice(bob, PUMP, reason, ORIGIN);
    must(await bench.settle(held));
    expect(await endings()).toEqual([[operationId, 'bob', 'quarantined']]);
    expect(codeOf(await operate(operationId))).toBe('SELECTION_UNKNOWN');
  });

  it('when its device came into quarantine by no request of a person: that is no attempt on it', async () => {
    const { operationId } = await select();
    const sinceWallMs = bench.kernelBench.clock.wallMs();
    const reason = 'two tracks disagreed about it';
    await bench.security.holds.add([{ device: PUMP, kind: 'quarantined', reason, sinceWallMs }]);
    const refused = await operate(operationId);
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'SELECTION_UNKNOWN',
      finding: 'the selection has ended: a device of it is quarantined',
    });
    expect(await endings()).toEqual([[operationId, 'security', 'quarantined']]);
    // The session is not locked for it.
    expect((await bench.operate(alice, bench.write(VALVE, { DATA: 1n }))).ok).toBe(true);
  });

  it('when kernel is started again; what was approved is void then, and says so', async () => {
    const { operationId } = await select();
    const asked = must(await bench.operate(alice, bench.write(HEATER, { DATA: 7n })));
    const { track } = bench.kernelBench;
    bench.orchestrator.takeKernelSnapshot(track.memory.whole());
    expect(await endings()).toEqual([]);
    bench.orchestrator.takeKernelSnapshot({ ...track.memory.whole(), life: 'life-2' });
    expect(await endings()).toEqual([[operationId, 'security', 'kernel was started again']]);
    expect(must(await bench.orchestrator.approvals(bob))).toEqual([]);
    const deadline = bench.kernelBench.deadline();
    const { orchestrator } = bench;
    const late = await bench.settle(orchestrator.approve(bob, asked.planDigest, ORIGIN, deadline));
    expect(!late.ok && late.fault).toMatchObject({
      code: 'APPROVAL_VOID',
      finding: 'kernel was started again since',
    });
  });

  it('when its record cannot be made', async () => {
    bench.store.database.exec(
      `CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END`,
    );
    const receipt = must(await bench.operate(alice, selecting(PUMP, 5n)));
    expect(receipt).toMatchObject({ state: 'FAILED', fault: { code: 'AUDIT_UNAVAILABLE' } });
    expect(receipt).not.toHaveProperty('selectedUntilWallMs');
    bench.store.database.exec('DROP TRIGGER full');
    expect(codeOf(await operate(receipt.operationId))).toBe('SELECTION_UNKNOWN');
    await attempt();
    expect(await attempt()).toBe('committed');
  });

  it('before it began, when kernel took it and the answer was lost', async () => {
    const { track } = bench.kernelBench;
    bench.line.select = async (request) => {
      must(await track.select(request));
      return refuse(gone('kernel', 'unknown'));
    };
    const receipt = must(await bench.operate(alice, selecting(PUMP, 5n)));
    expect(receipt).toMatchObject({ state: 'FAILED', fault: { code: 'TRACK_UNAVAILABLE' } });
    expect(codeOf(await operate(receipt.operationId))).toBe('SELECTION_UNKNOWN');
    expect(await attempt()).toBe('committed');
  });
});

describe('a release that kernel does not hear of', () => {
  it('leaves the selection standing until it expires, and says so', async () => {
    const { operationId } = await select();
    bench.line.abort = async () => refuse(gone('kernel'));
    expect(codeOf(await release(operationId))).toBe('TRACK_UNAVAILABLE');
    expect(await endings()).toEqual([]);
    const { track } = bench.kernelBench;
    bench.line.abort = (id) => track.abort(id);
    expect((await release(operationId)).ok).toBe(true);
  });
});

/** The book of selections alone, with a record that only remembers. */
class Records implements AuditPort {
  readonly lastSequence = 0;
  readonly writable = true;
  readonly records: AuditRecord[] = [];

  async append(record: AuditRecord): ReturnType<AuditPort['append']> {
    this.records.push(record);
    return succeed({
      ...record,
      sequence: this.records.length,
      bootId: '',
      monotonicMs: 0,
      wallMs: 0,
      clockQuality: 'unsynchronized',
      previousHash: '',
      hash: '',
    });
  }

  read = () => [];
  verify = async () => ({ entries: 0, intact: true, finding: '' });
}

function book(clock: Clock) {
  const records = new Records();
  const announcer = new Announcer(clock, new EventHub(clock, () => undefined), records);
  const { track } = bench.kernelBench;
  const forbidden = () => undefined;
  return { records, selections: new Selections({ clock, kernel: track, announcer, forbidden }) };
}

const selectionOf = (id: string, by: string, device: number, untilMs: number): Selection => ({
  intent: { ...bench.write(device, { DATA: 1n }), operationId: id },
  by,
  planDigest: 'digest',
  basis: 'basis',
  devices: [device],
  untilMs,
});

describe('the book of selections', () => {
  it('takes sixty-four at once, those counted that are being operated', () => {
    const { selections } = book(new VirtualClock());
    for (let count = 0; count < 64; count++) {
      const by = ['alice', 'bob', 'clerk', 'dora'][count % 4] ?? '';
      expect(selections.room('next', by).ok).toBe(true);
      selections.add(selectionOf(`operation-${count}`, by, count, 60_000));
    }
    expect(codeOf(selections.room('next', 'erin'))).toBe('BUSY');
    must(selections.take('operation-4', ALICE));
    expect(codeOf(selections.room('next', 'erin'))).toBe('BUSY');
  });

  it('takes sixteen of one person, and then of others alone', () => {
    const { selections } = book(new VirtualClock());
    for (let count = 0; count < 16; count++)
      selections.add(selectionOf(`operation-${count}`, 'alice', count, 60_000));
    must(selections.take('operation-3', ALICE));
    expect(selections.room('next', 'alice')).toMatchObject({
      ok: false,
      fault: { code: 'BUSY', finding: 'alice has 16 operations selected already' },
    });
    expect(selections.room('next', 'bob').ok).toBe(true);
    selections.drop('operation-5', 'expired');
    expect(selections.room('next', 'alice').ok).toBe(true);
  });

  it('gives out none that is over, also when its timer comes late', () => {
    let nowMs = 0;
    const late: Clock = {
      nowMs: () => nowMs,
      wallMs: () => nowMs,
      after: () => () => undefined,
      sleep: () => new Promise(() => undefined),
    };
    const { selections } = book(late);
    selections.add(selectionOf('operation-1', 'alice', PUMP, 60_000));
    selections.add(selectionOf('operation-2', 'alice', VALVE, 60_000));
    nowMs = 59_999;
    expect(selections.take('operation-1', ALICE).ok).toBe(true);
    nowMs = 60_000;
    expect(codeOf(selections.take('operation-2', ALICE))).toBe('SELECTION_UNKNOWN');
  });

  it('ends one that was stopped while its operation ran, as soon as it would come back', async () => {
    const clock = new VirtualClock();
    const { selections, records } = book(clock);
    selections.add(selectionOf('operation-1', 'alice', PUMP, 60_000));
    const taken = must(selections.take('operation-1', ALICE));
    selections.endOn([PUMP], 'stopped', 'bob');
    expect(records.records).toEqual([]);
    selections.putBack(taken);
    expect(codeOf(selections.take('operation-1', ALICE))).toBe('SELECTION_UNKNOWN');
    await clock.advance(60_000);
    expect(records.records).toMatchObject([{ actor: 'bob', result: 'stopped', devices: [PUMP] }]);
  });

  it('lets nobody but its owner in, at most once at a time, and records exactly one end of each', async () => {
    const owner = fc.constantFrom(ALICE, BOB);
    const id = fc.constantFrom('operation-1', 'operation-2', 'operation-3');
    const act = fc.constantFrom(
      'add',
      'add',
      'take',
      'take',
      'back',
      'used',
      'release',
      'end',
      'wait',
    );
    const command = fc.record({ act, id, owner });
    let takenInAll = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 15, maxLength: 40 }), async (commands) => {
        const clock = new VirtualClock();
        const { selections, records } = book(clock);
        const owners = new Map<string, string>();
        const taken = new Map<string, Selection>();
        let begun = 0;
        for (const { act: what, id: operationId, owner: who } of commands) {
          const own = taken.get(operationId);
          switch (what) {
            case 'add':
              if (selections.has(operationId)) break;
              begun += 1;
              owners.set(operationId, who.id);
              selections.add(selectionOf(operationId, who.id, begun % 3, clock.nowMs() + 60_000));
              break;
            case 'take': {
              const found = selections.take(operationId, who);
              if (!found.ok) break;
              takenInAll += 1;
              expect(owners.get(operationId)).toBe(who.id);
              expect(own).toBeUndefined();
              expect(found.value.untilMs).toBeGreaterThan(clock.nowMs());
              taken.set(operationId, found.value);
              break;
            }
            case 'back':
            case 'used':
              if (own === undefined) break;
              taken.delete(operationId);
              if (what === 'back') selections.putBack(own);
              else await selections.used(own, 'operated', 'gone');
              break;
            case 'release':
              if ((await selections.release(operationId, who, ORIGIN)).ok)
                expect(owners.get(operationId)).toBe(who.id);
              break;
            case 'end':
              selections.endOn([begun % 3], 'stopped', who.id);
              break;
            case 'wait':
              await clock.advance(25_000);
          }
        }
        for (const own of taken.values()) selections.putBack(own);
        await clock.advance(60_000);
        expect(selections.count).toBe(0);
        expect(records.records).toHaveLength(begun);
      }),
      { numRuns: 100 },
    );
    expect(takenInAll).toBeGreaterThan(50);
  });
});
