// The audit chain on a real disk: appends alone and in batches, and the check of a million entries, each beside a plain
// SQLite insert of the same bytes in transactions of the same size and beside a plain SHA-256 loop over them.

import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '#foundation/clock';
import { DurableStore } from '#foundation/durable-store';
import { type AuditRecord, blankRecord } from '#model/audit-entry';
import { AuditChain } from '#tracks/security/audit/audit-chain';
import { REPOSITORY } from '../support/agent.ts';
import { hashAll, PlainTable, timedMs } from './plain.ts';
import { type BenchRow, percentiles, rowOf } from './row.ts';
import { must } from './security-bench.ts';

const ALONE = 1_000;
const BATCH = 1_000;
const BATCHES = 200;
const WARM_UP_BATCHES = 20;
const ENTRIES = 1_000_000;
const CHECKS = 3;
/** 10,000 entries a second. */
const APPEND_GOAL_US = 100;
const CHECK_GOAL_S = 10;

export async function benchAudit(): Promise<readonly BenchRow[]> {
  // Not /tmp, which may be memory.
  const directory = mkdtempSync(join(REPOSITORY, 'build', 'bench-audit-'));
  const store = new DurableStore(join(directory, 'agent.db'));
  const chain = new AuditChain({
    store,
    clock: systemClock,
    bootId: 'bench',
    clockQuality: () => 'synchronized',
    checkpointKey: generateKeyPairSync('ed25519').privateKey,
    onAppended: () => undefined,
  });
  const plain = new PlainTable(join(directory, 'plain.db'));
  try {
    return [
      await alone(chain, plain),
      ...(await batches(chain, plain)),
      ...(await checks(chain, store)),
    ];
  } finally {
    plain.close();
    store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function alone(chain: AuditChain, plain: PlainTable): Promise<BenchRow> {
  const chained: number[] = [];
  const inserted: number[] = [];
  const body = await sampleBody(chain);
  for (let index = 0; index < ALONE; index++) {
    chained.push(await timedMs(async () => must(await chain.append(recordOf(index)))));
    inserted.push(await timedMs(() => plain.insert(body, 1)));
  }
  const beside = { name: 'a plain SQLite insert of the same bytes', ...percentiles(inserted) };
  const figure = percentiles(chained);
  return rowOf({ name: 'audit append, one alone', bus: '-', unit: 'ms', n: ALONE, figure, beside });
}

async function batches(chain: AuditChain, plain: PlainTable): Promise<readonly BenchRow[]> {
  const chained: number[] = [];
  const inserted: number[] = [];
  const hashed: number[] = [];
  const body = await sampleBody(chain);
  const bytes = Buffer.from(body);
  const batch = () =>
    Promise.all(Array.from({ length: BATCH }, (_, index) => chain.append(recordOf(index))));
  for (let round = -WARM_UP_BATCHES; round < BATCHES; round++) {
    const chainedMs = await timedMs(async () => {
      for (const outcome of await batch()) must(outcome);
    });
    const insertedMs = await timedMs(() => plain.insert(body, BATCH));
    const hashedMs = await timedMs(() => hashAll(bytes, BATCH));
    if (round < 0) continue;
    chained.push((chainedMs * 1000) / BATCH);
    inserted.push((insertedMs * 1000) / BATCH);
    hashed.push((hashedMs * 1000) / BATCH);
  }
  const common = {
    name: `audit append, ${BATCH} waiting, each`,
    bus: '-',
    unit: 'us',
    n: BATCHES * BATCH,
    figure: percentiles(chained),
  } as const;
  return [
    rowOf({
      ...common,
      beside: {
        name: `a plain SQLite insert, ${BATCH} in a transaction`,
        ...percentiles(inserted),
      },
      goal: {
        text: `P95 < ${APPEND_GOAL_US} us (10,000/s)`,
        reached: ({ p95 }) => p95 < APPEND_GOAL_US,
      },
    }),
    rowOf({
      ...common,
      beside: { name: 'SHA-256 of the same bytes', ...percentiles(hashed) },
    }),
  ];
}

async function checks(chain: AuditChain, store: DurableStore): Promise<readonly BenchRow[]> {
  while (chain.lastSequence < ENTRIES) {
    const missing = Math.min(BATCH, ENTRIES - chain.lastSequence);
    process.stderr.write(`  audit: ${chain.lastSequence} of ${ENTRIES} entries\r`);
    await Promise.all(Array.from({ length: missing }, (_, index) => chain.append(recordOf(index))));
  }
  store.database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  const checked: number[] = [];
  const hashed: number[] = [];
  const gaps: number[] = [];
  const bytes = Buffer.from(await sampleBody(chain));
  for (let round = 0; round < CHECKS; round++) {
    const heartbeat = new Heartbeat();
    checked.push(
      (await timedMs(async () => {
        const { intact, finding } = await chain.walk.full([]);
        if (!intact) throw new Error(finding);
      })) / 1000,
    );
    gaps.push(...heartbeat.stop());
    hashed.push((await timedMs(() => hashAll(bytes, ENTRIES))) / 1000);
  }
  const idle = new Heartbeat();
  await systemClock.sleep(2_000);
  return [
    rowOf({
      name: `check of ${ENTRIES.toLocaleString('en')} audit entries`,
      bus: '-',
      unit: 's',
      n: CHECKS,
      figure: percentiles(checked),
      beside: { name: 'SHA-256 of as many bytes', ...percentiles(hashed) },
      goal: { text: `< ${CHECK_GOAL_S} s`, reached: ({ p95 }) => p95 < CHECK_GOAL_S },
    }),
    rowOf({
      name: 'event loop kept by that check, from turn to turn of a timer of 1 ms',
      bus: '-',
      unit: 'ms',
      n: gaps.length,
      figure: percentiles(gaps),
      beside: { name: 'the same while idle', ...percentiles(idle.stop()) },
    }),
  ];
}

/** How long apart the turns of a timer of 1 ms are. */
class Heartbeat {
  readonly #gaps: number[] = [];
  readonly #timer: NodeJS.Timeout;
  #last = performance.now();

  constructor() {
    this.#timer = setInterval(() => {
      const now = performance.now();
      this.#gaps.push(now - this.#last);
      this.#last = now;
    }, 1);
  }

  stop(): readonly number[] {
    clearInterval(this.#timer);
    return this.#gaps;
  }
}

async function sampleBody(chain: AuditChain): Promise<string> {
  const { sequence } = must(await chain.append(recordOf(0)));
  return chain.part(sequence, 1).entries[0]?.body ?? '';
}

/** As a written register leaves it. */
function recordOf(index: number): AuditRecord {
  return {
    ...blankRecord('OPERATION_COMPLETED', 'demo-operator'),
    origin: { transport: 'grpc', peer: '127.0.0.1:40312' },
    devices: [3],
    operationId: `5d7f0c1e-6f0b-4f43-9c3d-${String(index).padStart(12, '0')}`,
    operation: 'WRITE',
    risk: 'LOW',
    planDigest: '0123456789abcdef'.repeat(4),
    decision: 'granted to demo-operator',
    reason: 'a round of the bench',
    result: 'committed',
    tracks: [{ track: 'kernel', ok: true, durationMs: 1.25 }],
    details: { code: '', writes: ['fan-controller.duty 0x00000037'], before: ['0x00000000'] },
  };
}
