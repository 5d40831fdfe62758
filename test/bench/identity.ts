// Who one is and what one may: sign-ins by password, token and certificate, and one authorization decision, each beside a
// plain SQLite insert of an entry's size and a plain SHA-256 loop in the same run.

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '#foundation/clock';
import type { Outcome } from '#foundation/outcome';
import { NO_REQUIREMENTS, OperationType } from '#model/operation';
import { ClearanceLevel, COMPARTMENTS, type Origin, type Principal } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { decideAccess } from '#tracks/security/access-table';
import { AuthorizationSigner } from '#tracks/security/authorization';
import { HASH_COST } from '#tracks/security/identity/passwords';
import { hashToken } from '#tracks/security/identity/secrets';
import { accountFor } from '../../src/bin/persona.ts';
import { REPOSITORY } from '../support/agent.ts';
import { EntryBench } from '../support/entry-bench.ts';
import { memoryDevice } from '../support/kernel-bench.ts';
import { hashAll, PlainTable, timedMs } from './plain.ts';
import { type BenchRow, percentiles, rowOf } from './row.ts';
import { must } from './security-bench.ts';

const SIGN_INS = 60;
const PROOFS = 2_000;
const DECISIONS = 5_000;
const AUTHENTICATION_GOAL_MS = 100;
const AUTHORIZATION_GOAL_MS = 50;
/** About what one audit entry holds. */
const ENTRY = 'x'.repeat(800);
const ENTRY_BYTES = Buffer.from(ENTRY);
const TOKEN = 'a token of the bench that is long enough';
const FINGERPRINT = 'AA:BB';
const URI = 'urn:dsmil:principal:alice';
const OPERATOR: Principal = {
  id: 'alice',
  name: 'alice',
  kind: 'person',
  clearance: ClearanceLevel.TOP_SECRET,
  compartments: [...COMPARTMENTS],
  devices: null,
  underReview: false,
};
const ORIGIN: Origin = { transport: 'rest', peer: '127.0.0.1:4000' };

interface Plain {
  readonly inserted: readonly number[];
  readonly hashed: readonly number[];
}

export async function benchIdentity(): Promise<readonly BenchRow[]> {
  const account = accountFor(OPERATOR, { certificateUris: [URI] });
  const bench = new EntryBench([{ account, token: TOKEN }]);
  const directory = join(REPOSITORY, 'build', `bench-identity-${process.pid}`);
  mkdirSync(directory, { recursive: true });
  const table = new PlainTable(join(directory, 'plain.db'));
  try {
    return [
      ...(await byPassword(bench, table)),
      ...(await byProof(bench, table, 'token', { kind: 'token', token: TOKEN })),
      ...(await byProof(bench, table, 'certificate', {
        kind: 'certificate',
        uri: URI,
        fingerprint: FINGERPRINT,
      })),
      ...(await decisions(table)),
    ];
  } finally {
    table.close();
    bench.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function byPassword(bench: EntryBench, table: PlainTable): Promise<readonly BenchRow[]> {
  bench.restart(HASH_COST);
  const person = await bench.enrol(OPERATOR.id, 'a password of the bench', ORIGIN);
  const taken: number[] = [];
  const plain = { inserted: [] as number[], hashed: [] as number[] };
  for (let round = 0; round < SIGN_INS; round++) {
    const code = await bench.nextCode(person.secret);
    const { account, password } = person;
    taken.push(
      await timedMs(async () =>
        must(await bench.ask('login', { account, password, code }, ORIGIN)),
      ),
    );
    await measurePlain(table, plain);
  }
  const what = 'authentication, password and one-time code (argon2id), entry included';
  return rowsOf(what, taken, plain, AUTHENTICATION_GOAL_MS);
}

async function byProof(
  bench: EntryBench,
  table: PlainTable,
  name: string,
  credential: Parameters<typeof bench.identity.principals.authenticate>[0],
): Promise<readonly BenchRow[]> {
  const { principals } = bench.identity;
  const taken: number[] = [];
  const plain = { inserted: [] as number[], hashed: [] as number[] };
  for (let round = 0; round < PROOFS; round++) {
    taken.push(
      await timedMs(async () =>
        principals.end(must(await principals.authenticate(credential, ORIGIN)).id),
      ),
    );
    if (round % 10 === 0) await measurePlain(table, plain);
  }
  return rowsOf(`authentication, ${name}, no entry`, taken, plain, AUTHENTICATION_GOAL_MS);
}

/** The access table's answer and the signature that kernel asks for. */
async function decisions(table: PlainTable): Promise<readonly BenchRow[]> {
  const signer = new AuthorizationSigner(systemClock);
  const device = memoryDevice(1, 'device-1', RiskLevel.LOW, 'free');
  const taken: number[] = [];
  const plain = { inserted: [] as number[], hashed: [] as number[] };
  for (let round = 0; round < DECISIONS; round++) {
    const operationId = `operation-${round}`;
    taken.push(
      await timedMs(() => {
        const decided: Outcome<unknown> = decideAccess({
          principal: OPERATOR,
          intent: {
            operationId,
            type: OperationType.WRITE,
            targets: [{ device: 1, registers: [{ register: 'CONFIG', value: 1n }] }],
            requirements: NO_REQUIREMENTS,
            justification: 'a round of the bench',
            confirmedRisk: RiskLevel.MODERATE,
            dryRun: false,
            involved: ['kernel', 'security', 'interface'],
          },
          devices: [device],
          risk: RiskLevel.MODERATE,
          isQuarantined: () => false,
        });
        must(decided);
        signer.grant(operationId, hashToken(operationId), [OPERATOR.id]);
      }),
    );
    if (round % 25 === 0) await measurePlain(table, plain);
  }
  return rowsOf('authorization, decided and signed', taken, plain, AUTHORIZATION_GOAL_MS);
}

async function measurePlain(
  table: PlainTable,
  { inserted, hashed }: { inserted: number[]; hashed: number[] },
): Promise<void> {
  inserted.push(await timedMs(() => table.insert(ENTRY, 1)));
  hashed.push(await timedMs(() => hashAll(ENTRY_BYTES, 1)));
}

function rowsOf(
  name: string,
  taken: readonly number[],
  { inserted, hashed }: Plain,
  goalMs: number,
): readonly BenchRow[] {
  const common = {
    name,
    bus: '-',
    unit: 'ms',
    n: taken.length,
    figure: percentiles(taken),
  } as const;
  return [
    rowOf({
      ...common,
      beside: { name: `a plain SQLite insert of ${ENTRY.length} bytes`, ...percentiles(inserted) },
      goal: { text: `P95 < ${goalMs} ms`, reached: ({ p95 }) => p95 < goalMs },
    }),
    rowOf({
      ...common,
      beside: { name: `SHA-256 of ${ENTRY.length} bytes`, ...percentiles(hashed) },
    }),
  ];
}
