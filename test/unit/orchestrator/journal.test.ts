// The journal: a decision is on disk before it counts, stays open until its outcome is, and is believed only when whole.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { canonicalDigest } from '#foundation/canonical';
import { DurableStore } from '#foundation/durable-store';
import { type Intent, NO_REQUIREMENTS, OperationType } from '#model/operation';
import { planOf } from '#model/plan';
import { RiskLevel } from '#model/risk';
import { Journal } from '#orchestrator/journal';
import type { Decision } from '#orchestrator/journal-row';
import { codeOf, must, planWith, writeStep } from '../../support/kernel-bench.ts';

let directory: string;
let store: DurableStore;
let journal: Journal;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-journal-'));
  open();
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

function open(): void {
  store = new DurableStore(join(directory, 'agent.db'));
  journal = new Journal(store);
}

/** A second connection to the same file is what a restarted process has. */
function restart(): void {
  store.close();
  open();
}

function intent(operationId: string): Intent {
  return {
    operationId,
    type: OperationType.WRITE,
    targets: [{ device: 1, registers: [{ register: 'DATA', value: 5n }] }],
    requirements: NO_REQUIREMENTS,
    justification: 'routine maintenance',
    confirmedRisk: RiskLevel.UNKNOWN,
    dryRun: false,
    involved: [],
  };
}

const STEPS = [
  writeStep(1, 'DATA', 5n, { settleUs: 10, expect: { mask: 0xffn, value: 5n } }),
  writeStep(2, 'DATA', (1n << 32n) - 1n, { expect: null, irreversible: true }),
  { kind: 'read', device: 1, register: 'STATUS', widthBits: 32 } as const,
];
const GUARDS = {
  thermal: [{ device: 1, register: 'THERMAL', widthBits: 32, maximum: -5 } as const],
  unchanged: [{ device: 2, register: 'CONFIG', widthBits: 16 } as const],
};
const PLAN = planOf(OperationType.CONFIG, STEPS, 12.5, { guards: GUARDS, basis: 'of now' });
const PRIORS = [
  { device: 1, register: 'DATA', value: 0xffn },
  { device: 2, register: 'DATA' },
];

function decision(operationId: string, changes: Partial<Decision> = {}): Decision {
  return {
    intent: intent(operationId),
    plan: PLAN,
    priors: PRIORS,
    votes: { kernel: 'yes', security: 'yes', interface: 'notAsked' },
    requestedBy: 'alice',
    decidedWallMs: 1_000.5,
    ...changes,
  };
}

const ids = () => journal.open().map((row) => row.operationId);

it('keeps a whole decision over a restart: plan with guards and basis, priors, votes, who and when', async () => {
  must(await journal.decide(decision('operation-1')));
  restart();
  expect(journal.open()).toEqual([
    {
      kind: 'open',
      operationId: 'operation-1',
      plan: PLAN,
      devices: [1, 2],
      priors: PRIORS,
      votes: { kernel: 'yes', security: 'yes', interface: 'notAsked' },
      requestedBy: 'alice',
      justification: 'routine maintenance',
      decidedWallMs: 1_000.5,
      told: false,
    },
  ]);
});

it('keeps an operation open until its outcome is committed together with what goes beside it', async () => {
  must(await journal.decide(decision('operation-1')));
  must(await journal.decide(decision('operation-2')));
  await expect(
    store.transact(() => {
      journal.close('operation-1', 'committed');
      throw new Error('the audit entry could not be written');
    }),
  ).rejects.toThrow();
  expect(ids()).toEqual(['operation-1', 'operation-2']);
  await store.transact(() => journal.close('operation-1', 'committed'));
  expect(ids()).toEqual(['operation-2']);
});

it('writes an outcome once: what comes later changes nothing', async () => {
  must(await journal.decide(decision('operation-1')));
  await store.transact(() => journal.close('operation-1', 'rolled-back'));
  await store.transact(() => journal.close('operation-1', 'committed'));
  const rows = store.database.prepare('SELECT outcome FROM transaction_journal').all();
  expect(rows).toEqual([{ outcome: 'rolled-back' }]);
});

it('refuses a second decision for an operation, and the first one stands', async () => {
  must(await journal.decide(decision('operation-1')));
  const other = planWith(writeStep(3, 'DATA', 1n));
  const outcomes = await Promise.all([
    journal.decide(decision('operation-1', { plan: other })),
    journal.decide(decision('operation-2')),
  ]);
  expect(outcomes.map(codeOf)).toEqual(['AUDIT_UNAVAILABLE', 'no fault']);
  expect(journal.open().map((row) => row.kind === 'open' && row.plan.digest)).toEqual([
    PLAN.digest,
    PLAN.digest,
  ]);
});

it('refuses a decision that the disk does not take, and remembers nothing of it', async () => {
  must(await journal.decide(decision('operation-1')));
  // What SQLite finds on a full disk it finds at the largest size of the file too (sqlite.org/pragma.html#pragma_max_page_count).
  const { page_count: pages } = store.database.prepare('PRAGMA page_count').get() as {
    page_count: number;
  };
  store.database.exec(`PRAGMA max_page_count = ${pages}`);
  const long = { ...intent('operation-2'), justification: 'x'.repeat(65_536) };
  const refused = await journal.decide(decision('operation-2', { intent: long }));
  expect(refused).toMatchObject({
    ok: false,
    fault: { code: 'AUDIT_UNAVAILABLE', place: 'journal', metal: 'untouched' },
  });
  expect(ids()).toEqual(['operation-1']);
});

it('remembers over a restart that a person was told of doubt', async () => {
  must(await journal.decide(decision('operation-1')));
  await store.transact(() => journal.tell('operation-1'));
  restart();
  expect(journal.open()).toMatchObject([{ operationId: 'operation-1', told: true }]);
});

it('forgets settled rows after ten thousand, and never an open one', async () => {
  must(await journal.decide(decision('the-open-one')));
  must(await journal.decide(decision('the-old-one')));
  await store.transact(() => journal.close('the-old-one', 'committed'));
  store.database.exec('UPDATE transaction_journal SET sequence = sequence - 20000');
  must(await journal.decide(decision('the-new-one')));
  store.database.exec(
    "UPDATE transaction_journal SET sequence = 20000 WHERE outcome IS NULL AND operation_id = 'the-new-one'",
  );
  await store.transact(() => journal.close('the-new-one', 'committed'));
  const left = store.database
    .prepare('SELECT operation_id AS id FROM transaction_journal ORDER BY sequence')
    .all();
  expect(left.map(({ id }) => id)).toEqual(['the-open-one', 'the-new-one']);
});

describe('a row that was damaged on disk', () => {
  const damage = (column: string, from: string, to: string) =>
    store.database
      .prepare(`UPDATE transaction_journal SET ${column} = replace(${column}, ?, ?)`)
      .run(from, to);

  it.each([
    ['a value of its plan', 'decision', '0x5', '0x6'],
    ['a prior content', 'decision', '0xff', '0xfe'],
    ['a vote', 'decision', 'notAsked', 'yes'],
    ['its text', 'decision', '{', ''],
    ['its digest', 'plan_digest', PLAN.digest, '0'.repeat(64)],
  ])('in %s is open, not believed, and names its devices', async (_what, column, from, to) => {
    must(await journal.decide(decision('operation-1')));
    damage(column, from, to);
    expect(journal.open()).toMatchObject([
      { kind: 'damaged', operationId: 'operation-1', devices: [1, 2] },
    ]);
  });

  it('in its list of devices names none', async () => {
    must(await journal.decide(decision('operation-1')));
    damage('devices', '[1,2]', '[1,');
    expect(journal.open()).toMatchObject([{ kind: 'damaged', devices: null }]);
  });

  it('whose digest was made to fit is still not believed when the plan is another', async () => {
    must(await journal.decide(decision('operation-1')));
    must(
      await journal.decide(decision('operation-2', { plan: planWith(writeStep(1, 'DATA', 9n)) })),
    );
    const row = store.database
      .prepare(
        "SELECT operation_id, devices, decision FROM transaction_journal WHERE operation_id = 'operation-2'",
      )
      .get() as Record<string, string>;
    const columns = { ...row, plan_digest: PLAN.digest };
    store.database
      .prepare(
        'UPDATE transaction_journal SET plan_digest = ?, row_digest = ? WHERE operation_id = ?',
      )
      .run(PLAN.digest, canonicalDigest(columns), 'operation-2');
    expect(journal.open()).toMatchObject([
      { kind: 'open' },
      { kind: 'damaged', finding: 'its plan is not the one that was decided' },
    ]);
  });
});

describe('any order of decisions, outcomes and restarts', () => {
  const operation = fc.integer({ min: 0, max: 5 }).map((number) => `operation-${number}`);
  const act = fc.oneof(
    fc.record({ do: fc.constant('decide' as const), operation }),
    fc.record({ do: fc.constant('close' as const), operation }),
    fc.record({ do: fc.constant('close and fail' as const), operation }),
    fc.record({ do: fc.constant('tell' as const), operation }),
    fc.record({ do: fc.constant('restart' as const), operation }),
  );

  it('leaves open exactly what was decided and has no outcome, in the order of the decisions', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 25 }), async (acts) => {
        store.database.exec('DELETE FROM transaction_journal');
        const decided = new Set<string>();
        const closed = new Set<string>();
        const told = new Set<string>();
        for (const { do: what, operation: id } of acts) {
          switch (what) {
            case 'decide':
              expect((await journal.decide(decision(id))).ok).toBe(!decided.has(id));
              decided.add(id);
              break;
            case 'close':
              await store.transact(() => journal.close(id, 'committed'));
              if (decided.has(id)) closed.add(id);
              break;
            case 'close and fail':
              await store
                .transact(() => {
                  journal.close(id, 'committed');
                  throw new Error('no');
                })
                .catch(() => undefined);
              break;
            case 'tell':
              await store.transact(() => journal.tell(id));
              if (decided.has(id)) told.add(id);
              break;
            case 'restart':
              restart();
              break;
          }
          const expected = [...decided].filter((one) => !closed.has(one));
          expect(ids()).toEqual(expected);
          expect(journal.open().map((row) => row.kind === 'open' && row.told)).toEqual(
            expected.map((one) => told.has(one)),
          );
        }
      }),
      { numRuns: 60 },
    );
  });
});
