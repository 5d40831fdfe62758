// The journal: a decision is on disk before it counts, and stays open until its outcome is.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DurableStore } from '#foundation/durable-store';
import { type Intent, NO_REQUIREMENTS, OperationType } from '#model/operation';
import { RiskLevel } from '#model/risk';
import { Journal } from '#orchestrator/journal';
import { StopRecord } from '#orchestrator/stop-record';
import { codeOf, must, planWith, STOP_CAUSE, writeStep } from '../../support/kernel-bench.ts';

let directory: string;
let store: DurableStore;
let journal: Journal;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-journal-'));
  restart();
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A second connection to the same file is what a restarted process has. */
function restart(): void {
  store = new DurableStore(join(directory, 'agent.db'));
  journal = new Journal(store);
}

function intent(operationId: string): Intent {
  return {
    operationId,
    type: OperationType.WRITE,
    targets: [{ device: 1, registers: [{ register: 'DATA', value: 5n }] }],
    requirements: NO_REQUIREMENTS,
    justification: '',
    confirmedRisk: RiskLevel.UNKNOWN,
    dryRun: false,
    involved: [],
  };
}

const PLAN = planWith(writeStep(1, 'DATA', 5n), writeStep(2, 'DATA', 6n), writeStep(1, 'DATA', 7n));
const PRIORS = [{ device: 1, register: 'DATA', value: 0xffn }];

it('keeps a decision over a restart, with devices, plan and prior contents', async () => {
  must(await journal.decide(intent('operation-1'), PLAN, PRIORS));
  store.close();
  restart();
  const [open] = journal.open();
  expect(open).toMatchObject({
    operationId: 'operation-1',
    planDigest: PLAN.digest,
    devices: [1, 2],
  });
  expect(JSON.parse(open?.priors ?? '')).toEqual([{ device: 1, register: 'DATA', value: '0xff' }]);
});

it('forgets an operation only once its outcome is committed', async () => {
  must(await journal.decide(intent('operation-1'), PLAN, PRIORS));
  must(await journal.decide(intent('operation-2'), PLAN, PRIORS));
  await expect(
    store.transact(() => {
      journal.close('operation-1', 'committed');
      throw new Error('the audit entry could not be written');
    }),
  ).rejects.toThrow();
  expect(journal.open()).toHaveLength(2);
  await store.transact(() => journal.close('operation-1', 'committed'));
  expect(journal.open().map((one) => one.operationId)).toEqual(['operation-2']);
});

it('refuses a second decision for an operation, and the first one stands', async () => {
  must(await journal.decide(intent('operation-1'), PLAN, PRIORS));
  const outcomes = await Promise.all([
    journal.decide(intent('operation-1'), planWith(writeStep(3, 'DATA', 1n)), []),
    journal.decide(intent('operation-2'), PLAN, PRIORS),
  ]);
  expect(outcomes.map(codeOf)).toEqual(['AUDIT_UNAVAILABLE', 'no fault']);
  expect(journal.open().map((one) => one.planDigest)).toEqual([PLAN.digest, PLAN.digest]);
});

it('the causes of a stop outlive a restart until they are taken away', async () => {
  const causes = [STOP_CAUSE, { ...STOP_CAUSE, reason: 'fire' }];
  await new StopRecord(store).keep(causes);
  store.close();
  restart();
  const record = new StopRecord(store);
  expect(record.causes()).toEqual(causes);
  await record.keep([]);
  expect(new StopRecord(store).causes()).toEqual([]);
});
