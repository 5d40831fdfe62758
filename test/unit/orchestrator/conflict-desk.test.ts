import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { DurableStore } from '#foundation/durable-store';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AuditEntry, AuditRecord } from '#model/audit-entry';
import type { AgentEvent } from '#model/event';
import { ClearanceLevel } from '#model/principal';
import type { ConflictPolicy } from '#model/safety-policy';
import { DisplayState } from '#model/snapshot';
import type { ConflictRule } from '#model/unified-state';
import { Announcer } from '#orchestrator/announcer';
import { ConflictDesk, type ConflictReport } from '#orchestrator/conflict-desk';
import { ConflictRecord, SETTLED_MAX } from '#orchestrator/conflict-record';
import { DeviceHistory } from '#orchestrator/device-history';
import { EventHub } from '#orchestrator/event-hub';
import type { AuditPort } from '#orchestrator/ports';
import { BENCH_DEVICES, codeOf, PUMP, VALVE } from '../../support/kernel-bench.ts';
import { ALICE, MACHINE, person } from './agent-bench.ts';

const REASON = 'seen and understood';
const READER = person('reader', ClearanceLevel.CONFIDENTIAL);

/** The durable part of an audit chain, without its hashes; `fails` as if the disk were full. */
class PlainAudit implements AuditPort {
  readonly entries: AuditRecord[] = [];
  readonly #store: DurableStore;
  fails = false;

  constructor(store: DurableStore) {
    this.#store = store;
  }

  get lastSequence(): number {
    return this.entries.length;
  }

  get writable(): boolean {
    return !this.fails;
  }

  async append(record: AuditRecord, beside?: () => void): Promise<Outcome<AuditEntry>> {
    if (this.fails) {
      return refuse(fault('AUDIT_UNAVAILABLE', { place: 'audit chain', finding: 'disk full' }));
    }
    await this.#store.transact(() => beside?.());
    this.entries.push(record);
    return succeed({ ...record, sequence: this.entries.length } as AuditEntry);
  }

  read = () => [];
  verify = async () => ({ entries: 0, intact: true, finding: '' });
}

const directory = mkdtempSync(join(tmpdir(), 'dsmil-desk-'));
let clock: VirtualClock;
let store: DurableStore;
let audit: PlainAudit;
let desk: ConflictDesk;
let done: string[];
let works: boolean;
let events: AgentEvent[];
let files = 0;

function openDesk(policy: readonly ConflictPolicy[] = []): void {
  const act =
    (what: string) =>
    async (...about: readonly unknown[]): Promise<boolean> => {
      done.push([what, ...about.filter((one) => typeof one === 'number')].join(' '));
      return works;
    };
  const onError = () => undefined;
  const hub = new EventHub(clock, onError);
  hub.listen((event) => events.push(event));
  audit = new PlainAudit(store);
  desk = new ConflictDesk({
    clock,
    devices: new Map(BENCH_DEVICES.map((device) => [device.id, device])),
    record: new ConflictRecord(store),
    policy: { conflicts: policy },
    announcer: new Announcer(clock, hub, audit),
    events: hub,
    history: new DeviceHistory(store, clock, onError),
    actions: {
      quarantine: act('quarantine'),
      stop: act('stop'),
      inhibit: act('inhibit'),
      agreeOnHolds: act('agree'),
      account: act('account'),
      sendPicture: act('picture'),
    },
    onError,
  });
}

/** The same files after a restart of the process, `afterMs` of wall time later. */
function restart(afterMs: number, policy: readonly ConflictPolicy[] = []): void {
  store.flush();
  const wallMs = clock.wallMs() + afterMs;
  clock = new VirtualClock(wallMs);
  openDesk(policy);
}

beforeEach(() => {
  files += 1;
  clock = new VirtualClock();
  store = new DurableStore(join(directory, `${files}.db`));
  done = [];
  events = [];
  works = true;
  openDesk();
});

afterEach(() => store.close());
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function changed(
  changes: Partial<ConflictReport['disagreement']> = {},
  device = PUMP,
): ConflictReport {
  return {
    device,
    changeCount: 7,
    claims: [
      { track: 'kernel', value: 'DATA', answer: 'ACCEPT', valid: true, order: 2 },
      { track: 'security', value: 'none', answer: 'REVIEW', valid: true, order: 1 },
    ],
    disagreement: {
      rule: 'CHANGED_WITHOUT_OPERATION',
      finding: 'changed without an operation: DATA 1 to 2',
      positions: [
        { track: 'kernel', value: 'DATA', answer: 'ACCEPT' },
        { track: 'security', value: 'none', answer: 'REVIEW' },
      ],
      subject: 'DATA',
      facts: 'DATA 1 to 2',
      ...changes,
    },
  };
}

const shown = (rule: ConflictRule = 'NORMAL_WHILE_FAULT'): ConflictReport => {
  const positions = [
    {
      track: 'kernel',
      value: 'FAULT',
      answer: rule === 'NORMAL_WHILE_FAULT' ? 'SHOW_FAULT' : 'SHOW_STALE',
    },
    { track: 'interface', value: 'NORMAL', answer: 'ACCEPT' },
  ] as const;
  return {
    device: PUMP,
    changeCount: 1,
    claims: positions.map((position, order) => ({ ...position, valid: true, order })),
    disagreement: { rule, finding: 'differs', positions, subject: 'x', facts: 'x' },
  };
};

const mediated = (rule: ConflictRule, deadlineSeconds = 60): readonly ConflictPolicy[] => [
  { rule, method: 'USER_MEDIATED', devices: null, deadlineSeconds, authority: [] },
];
const settle = () => clock.advance(1);
const last = () => desk.conflicts()[0];

describe('a conflict that the policy settles', () => {
  it('is opened, settled, audited and carried out in one go', async () => {
    desk.consider(changed());
    expect(last()).toMatchObject({ id: 1, answer: 'REVIEW', resolvedBy: 'CONSERVATIVE' });
    expect(desk.underReview(PUMP)).toBe(true);
    await settle();
    expect(audit.entries.map(({ event }) => event)).toEqual([
      'CONFLICT_OPENED',
      'CONFLICT_RESOLVED',
    ]);
    expect(audit.entries[1]).toMatchObject({
      devices: [PUMP],
      decision: 'REVIEW',
      details: {
        conflict: 1,
        method: 'CONSERVATIVE',
        positions: [{ track: 'kernel' }, { track: 'security' }],
      },
    });
    expect(events.map(({ data }) => data.conflict_state)).toEqual(['open', 'settled']);
    expect(desk.detectedOn(PUMP)).toBe(1);
  });

  it('is not opened a second time while its facts stand, and is when they come back', async () => {
    desk.consider(shown());
    await clock.advance(60_000);
    desk.consider(shown());
    expect(desk.conflicts()).toHaveLength(1);
    desk.gone('NORMAL_WHILE_FAULT', PUMP);
    desk.consider(shown());
    expect(desk.conflicts().map(({ id }) => id)).toEqual([2, 1]);
  });

  it('decides what panels show, until its cause is gone', () => {
    expect(desk.displayFor(PUMP)).toBeUndefined();
    desk.consider(shown('CURRENT_WHILE_STALE'));
    expect(desk.displayFor(PUMP)).toBe(DisplayState.STALE);
    desk.consider(shown());
    expect(desk.displayFor(PUMP)).toBe(DisplayState.CRITICAL);
    desk.gone('NORMAL_WHILE_FAULT', PUMP);
    expect(desk.displayFor(PUMP)).toBe(DisplayState.STALE);
    expect(desk.displayFor(VALVE)).toBeUndefined();
  });

  it('is carried out again while it stands and was not done', async () => {
    works = false;
    const held: ConflictReport = {
      ...shown(),
      claims: [{ track: 'kernel', value: '', answer: 'QUARANTINE', valid: true, order: 1 }],
      disagreement: { ...shown().disagreement, rule: 'ACTIVE_WHILE_QUARANTINED' },
    };
    desk.consider(held);
    await settle();
    desk.consider(held);
    await settle();
    expect(done).toEqual(['quarantine 0']);
    await clock.advance(5_000);
    desk.consider(held);
    await settle();
    expect(done).toEqual(['quarantine 0', 'quarantine 0']);
  });

  it('less safely than caution demands is carried out only when it is on record', async () => {
    const latest = [{ ...mediated('CHANGED_WITHOUT_OPERATION')[0], method: 'LATEST_VALID' }];
    openDesk(latest as readonly ConflictPolicy[]);
    audit.fails = true;
    desk.consider(changed());
    await settle();
    expect(last()).toMatchObject({ answer: 'REVIEW', resolvedBy: 'CONSERVATIVE' });
    expect(done).toEqual([]);
    audit.fails = false;
    desk.consider(changed({}, VALVE));
    await settle();
    expect(last()).toMatchObject({ device: VALVE, answer: 'ACCEPT', resolvedBy: 'LATEST_VALID' });
    expect(done).toEqual([`account ${VALVE} 7`]);
  });
});

describe('a conflict that waits for a person', () => {
  const RULE = 'CHANGED_WITHOUT_OPERATION';
  beforeEach(() => openDesk(mediated(RULE)));

  it('is answered by somebody who may', async () => {
    desk.consider(changed());
    expect(desk.openOf(PUMP)).toEqual([1]);
    expect(desk.underReview(PUMP)).toBe(false);
    const resolved = await desk.resolve(ALICE, 1, 'ACCEPT', REASON, null);
    expect(resolved).toMatchObject({ ok: true, value: { answer: 'ACCEPT', resolvedBy: 'alice' } });
    await settle();
    expect(done).toEqual(['account 0 7']);
    expect(desk.openCount).toBe(0);
    expect(audit.entries.at(-1)).toMatchObject({ actor: 'alice', reason: REASON });
  });

  it.each([
    ['REQUEST_MALFORMED', ALICE, 'STOP', REASON],
    ['NOT_PERMITTED', MACHINE, 'REVIEW', REASON],
    ['NOT_PERMITTED', { ...ALICE, devices: [VALVE] }, 'REVIEW', REASON],
    ['CLEARANCE_TOO_LOW', READER, 'ACCEPT', REASON],
    ['CLEARANCE_TOO_LOW', person('low', ClearanceLevel.RESTRICTED), 'REVIEW', REASON],
    ['JUSTIFICATION_NEEDED', ALICE, 'ACCEPT', 'short'],
  ] as const)('refuses with %s and stays open', async (code, principal, answer, reason) => {
    desk.consider(changed());
    expect(codeOf(await desk.resolve(principal, 1, answer, reason, null))).toBe(code);
    expect(desk.openCount).toBe(1);
  });

  it('takes an answer as safe as caution demands from CONFIDENTIAL', async () => {
    desk.consider(changed());
    expect(codeOf(await desk.resolve(READER, 1, 'INHIBIT', REASON, null))).toBe('no fault');
    await settle();
    expect(done).toEqual(['inhibit 0']);
  });

  it('is settled conservatively at its deadline, however the wall clock is turned', async () => {
    desk.consider(changed());
    clock.jumpWall(-1e9);
    await clock.advance(59_999);
    expect(desk.openCount).toBe(1);
    await clock.advance(1);
    expect(last()).toMatchObject({ answer: 'REVIEW', resolvedBy: 'deadline' });
  });

  it('is not settled early by a wall clock that jumps ahead', async () => {
    desk.consider(changed());
    clock.jumpWall(1e9);
    await clock.advance(30_000);
    expect(desk.openCount).toBe(1);
  });

  it('is one conflict that people see with its present facts', () => {
    desk.consider(changed());
    desk.consider(changed({ facts: 'DATA 1 to 3', finding: 'changed: DATA 1 to 3' }));
    expect(desk.conflicts()).toMatchObject([{ id: 1, finding: 'changed: DATA 1 to 3' }]);
    expect(desk.detectedOn(PUMP)).toBe(1);
  });

  it('survives a restart with what is left of its time', async () => {
    desk.consider(changed());
    await clock.advance(20_000);
    restart(10_000, mediated(RULE));
    expect(desk.openOf(PUMP)).toEqual([1]);
    await clock.advance(29_000);
    expect(desk.openCount).toBe(1);
    await clock.advance(1_000);
    expect(last()).toMatchObject({ id: 1, answer: 'REVIEW', resolvedBy: 'deadline' });
  });

  it('gets no more than its whole time when the clock was set back over the restart', async () => {
    desk.consider(changed());
    await settle();
    restart(-86_400_000, mediated(RULE));
    await clock.advance(60_000);
    expect(last()).toMatchObject({ resolvedBy: 'deadline' });
  });

  it('is due at once when its time ended while nobody was running', async () => {
    desk.consider(changed());
    await settle();
    restart(3_600_000, mediated(RULE));
    await settle();
    expect(last()).toMatchObject({ resolvedBy: 'deadline' });
  });

  it('stays open when a less safe answer cannot be put on record, and its deadline still holds', async () => {
    desk.consider(changed());
    audit.fails = true;
    expect(codeOf(await desk.resolve(ALICE, 1, 'ACCEPT', REASON, null))).toBe('AUDIT_UNAVAILABLE');
    expect(desk.openCount).toBe(1);
    expect(done).toEqual([]);
    await clock.advance(60_000);
    expect(last()).toMatchObject({ answer: 'REVIEW', resolvedBy: 'deadline' });
  });

  it('is answered once, whoever else tries at the same time', async () => {
    desk.consider(changed());
    const first = desk.resolve(ALICE, 1, 'ACCEPT', REASON, null);
    const second = desk.resolve(person('bob', ClearanceLevel.SECRET), 1, 'INHIBIT', REASON, null);
    expect(codeOf(await second)).toBe('CONFLICT_UNKNOWN');
    expect(codeOf(await first)).toBe('no fault');
    await settle();
    expect(done).toEqual(['account 0 7']);
  });

  it('about what is shown ends by itself with its cause', async () => {
    openDesk(mediated('NORMAL_WHILE_FAULT'));
    desk.consider(shown());
    expect(desk.displayFor(PUMP)).toBe(DisplayState.CRITICAL);
    desk.gone('NORMAL_WHILE_FAULT', PUMP);
    expect(last()).toMatchObject({ answer: 'ACCEPT', resolvedBy: 'gone' });
    expect(desk.displayFor(PUMP)).toBeUndefined();
    desk.gone('NORMAL_WHILE_FAULT', PUMP);
    await settle();
    expect(desk.conflicts()).toHaveLength(1);
  });

  it('about a change waits on, though kernel no longer knows of it', () => {
    desk.consider(changed());
    desk.gone(RULE, PUMP);
    expect(desk.openCount).toBe(1);
  });
});

describe('a review', () => {
  it('stands over a restart until a person ends it', async () => {
    desk.consider(changed());
    await settle();
    restart(1_000);
    expect(desk.underReview(PUMP)).toBe(true);
    expect(codeOf(await desk.resolve(ALICE, 1, 'ACCEPT', REASON, null))).toBe('no fault');
    expect(desk.underReview(PUMP)).toBe(false);
    await settle();
    restart(1_000);
    expect(desk.underReview(PUMP)).toBe(false);
    expect(codeOf(await desk.resolve(ALICE, 1, 'ACCEPT', REASON, null))).toBe('CONFLICT_UNKNOWN');
  });

  it('is one for a device, the latest', async () => {
    desk.consider(changed());
    await clock.advance(10_000);
    desk.consider(changed({ subject: 'CONFIG,DATA', facts: 'more' }));
    expect(desk.conflicts()).toHaveLength(2);
    expect(codeOf(await desk.resolve(ALICE, 1, 'ACCEPT', REASON, null))).toBe('CONFLICT_UNKNOWN');
    expect(codeOf(await desk.resolve(ALICE, 2, 'ACCEPT', REASON, null))).toBe('no fault');
    expect(desk.underReview(PUMP)).toBe(false);
  });
});

describe('the record', () => {
  it('numbers conflicts on over restarts', async () => {
    desk.consider(changed());
    await settle();
    restart(1_000);
    desk.consider(changed({}, VALVE));
    expect(last()?.id).toBe(2);
  });

  it('keeps the last settled conflicts, every open one and every standing review', async () => {
    openDesk(mediated('NORMAL_WHILE_FAULT'));
    desk.consider(shown());
    desk.consider(changed({}, VALVE));
    for (let round = 0; round < SETTLED_MAX + 20; round++) {
      desk.consider(shown('CURRENT_WHILE_STALE'));
      desk.gone('CURRENT_WHILE_STALE', PUMP);
      await clock.advance(1);
    }
    restart(1_000, mediated('NORMAL_WHILE_FAULT'));
    expect(desk.openOf(PUMP)).toEqual([1]);
    expect(desk.underReview(VALVE)).toBe(true);
    expect(desk.conflicts().length).toBe(SETTLED_MAX + 2);
    expect(desk.conflicts()[1]?.id).toBe(SETTLED_MAX + 22);
  });
});
