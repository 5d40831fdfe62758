// The OpenAPI description against real answers: every REST row, its refusals, its headers, and what the document is made of.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { succeed } from '#foundation/outcome';
import type { AuditEntry } from '#model/audit-entry';
import { OPERATION_TABLE, type RestKey } from '#model/operation-table';
import { EmergencyPriority } from '#model/stop';
import { ANSWERS } from '#tracks/interface/rest/openapi-answers';
import { DEFAULT_LIMITS, type InterfaceLimits } from '#tracks/interface/service';
import { ADMINISTRATION_SAMPLES } from '../../../../support/administration-samples.ts';
import { makeTestAuthority } from '../../../../support/certificates.ts';
import { InterfaceBench } from '../../../../support/interface-bench.ts';
import { OpenApiCheck, refsIn } from '../../../../support/openapi-check.ts';
import { REST_BODIES, restPath } from '../../../../support/rest-bodies.ts';
import { kernelDevice, kernelSnapshot, unifiedState } from '../../../../support/unified-states.ts';

const ROWS = Object.entries(OPERATION_TABLE).flatMap(([key, row]) =>
  'rest' in row ? [{ key: key as RestKey, ...row.rest, who: row.who }] : [],
);
const ALICE = { authorization: 'Bearer token-alice' };
const TIME_MS = 1_700_000_000_000;
/** However fast the machine is, none of the many calls is one too many. */
const PLENTY = { perSecond: 10_000, burst: 10_000 };
const UNLIMITED: InterfaceLimits = {
  ...DEFAULT_LIMITS,
  perPrincipal: PLENTY,
  perAddress: PLENTY,
  signInFailures: PLENTY,
};

const entry: AuditEntry = {
  event: 'OPERATION_COMPLETED',
  actor: 'alice',
  origin: { transport: 'rest', peer: '127.0.0.1:40312' },
  devices: [0],
  operationId: 'one',
  operation: 'WRITE',
  risk: 'LOW',
  planDigest: 'ab'.repeat(32),
  decision: 'permitted',
  reason: '',
  result: 'SUCCESS',
  tracks: [{ track: 'kernel', ok: true, durationMs: 0.5 }],
  details: { registers: ['DATA'] },
  sequence: 12,
  bootId: 'boot',
  monotonicMs: 1.5,
  wallMs: TIME_MS,
  clockQuality: 'synchronized',
  previousHash: 'ab'.repeat(32),
  hash: 'cd'.repeat(32),
};

let bench: InterfaceBench;
let check: OpenApiCheck;

beforeAll(async () => {
  bench = await InterfaceBench.start(await makeTestAuthority(), { limits: UNLIMITED });
  const { orchestrator } = bench;
  const alice = orchestrator.accounts.get('token-alice');
  if (alice !== undefined) orchestrator.accounts.set('token-TOP_SECRET', alice);
  orchestrator.audit = async () => succeed([entry, { ...entry, origin: null }]);
  orchestrator.sendSnapshot(kernelSnapshot({ devices: [0, 1, 12].map((id) => kernelDevice(id)) }));
  orchestrator.sendUnified(unifiedState(0, { openConflicts: [7] }));
  orchestrator.statusMore = {
    stopCauses: [
      {
        id: 3,
        devices: [0],
        source: 'security',
        reason: 'smoke',
        priority: EmergencyPriority.IMMEDIATE,
        triggeredBy: 'alice',
        wallMs: TIME_MS,
      },
    ],
    stopTest: { ok: true, finding: '', wallMs: TIME_MS, durationMs: 0.25 },
    selections: [
      { operationId: 'one', by: 'alice', operation: 'WRITE', devices: [1], untilWallMs: TIME_MS },
    ],
    findings: ['the stop is engaged'],
  };
  for (const [key, [sample]] of Object.entries(ADMINISTRATION_SAMPLES)) {
    if (key !== 'login') orchestrator.answers.set(key as never, sample);
  }
  const { json } = await bench.call('GET', '/api/v1/openapi.json', { headers: {} });
  check = new OpenApiCheck(json);
});
afterAll(() => bench.close());

const call = async (row: (typeof ROWS)[number], headers: Record<string, string> = ALICE) => {
  const body = REST_BODIES[row.key];
  const given = body === null ? {} : { body };
  return bench.call(row.method, restPath(row.key, row.path), { headers, ...given });
};

/** What has to be so before a row succeeds. */
async function prepare(key: RestKey): Promise<void> {
  const select = {
    operationId: '1',
    operation: 'WRITE',
    device: 1,
    registers: [{ name: 'DATA', value: 1 }],
    justification: 'routine calibration',
    selectForSeconds: 30,
  };
  if (['operateSelected', 'releaseSelected', 'operation'].includes(key)) {
    const selected = await bench.call('POST', '/api/v1/operations', { body: select });
    expect(check.findings('operate', selected)).toEqual([]);
  }
  if (key === 'releaseDevice') {
    bench.orchestrator.holds.push({
      device: 1,
      kind: 'in-doubt',
      reason: 'a write was cut short',
      sinceWallMs: TIME_MS,
    });
  }
}

it('describes an answer of every row that has a route, and of no other', () => {
  const keys = ROWS.map(({ key }) => key).sort();
  expect([...check.operations().keys()].sort()).toEqual(keys);
  expect(Object.keys(ANSWERS).sort()).toEqual(keys);
  expect(keys).toHaveLength(Object.keys(REST_BODIES).length);
  for (const [key, { responses }] of check.operations()) {
    const content = Object.values(responses['200']?.content ?? {});
    expect([key, content.length]).toEqual([key, 1]);
    expect(Object.keys(content[0]?.schema ?? {}), key).not.toEqual([]);
  }
});

it('a device that the tracks have not compared is as described too', async () => {
  const answer = await bench.call('GET', '/api/v1/devices/12');
  expect([answer.status, answer.json.unified]).toEqual([200, null]);
  expect(check.findings('device', answer)).toEqual([]);
});

it.each(ROWS)('$key answers as it is described', async (row) => {
  await prepare(row.key);
  // Signing out would end what the other rows are asked with.
  const headers = row.key === 'logout' ? { authorization: 'Bearer token-bob' } : ALICE;
  const answer = await call(row, headers);
  expect(check.findings(row.key, answer)).toEqual([]);
  expect(answer.status).toBe(200);
  // The other rows work on the device that one of them puts into quarantine.
  bench.orchestrator.holds.splice(0);
  if (row.key === 'quarantineDevice') await bench.call('GET', '/api/v1/system/status');
});

it.each(
  Object.entries(ADMINISTRATION_SAMPLES)
    .filter(([key]) => key !== 'login' && key !== 'exportAudit')
    .flatMap(([key, samples]) => samples.map((sample, at) => ({ key, at, sample }))),
)('sample $at of $key is as it is described', async ({ key, sample }) => {
  const row = ROWS.find((one) => one.key === key);
  if (row === undefined) throw new Error(`${key} has no route`);
  bench.orchestrator.answers.set(key as never, sample);
  expect(check.findings(key, await call(row))).toEqual([]);
});

it.each(ROWS.filter(({ who }) => who !== 'anyone'))(
  '$key says to whom is not signed in how one signs in',
  async (row) => {
    const answer = await call(row, {});
    expect(answer.status).toBe(401);
    expect(check.findings(row.key, answer)).toEqual([]);
  },
);

it.each(ROWS.filter(({ who }) => who !== 'anyone' && who !== 'signed-in'))(
  '$key refuses whoever has no clearance as it is described',
  async (row) => {
    const answer = await call(row, { authorization: 'Bearer token-nobody' });
    expect(answer.status).toBe(403);
    expect(check.findings(row.key, answer)).toEqual([]);
  },
);

it.each(ROWS)('$key refuses a query it does not know as it is described', async (row) => {
  const path = `${restPath(row.key, row.path)}?unknown=1`;
  const body = REST_BODIES[row.key];
  const answer = await bench.call(row.method, path, body === null ? {} : { body });
  expect(answer.status).toBe(400);
  expect(check.findings(row.key, answer)).toEqual([]);
});

describe('operations', () => {
  const operate = (body: object) => bench.call('POST', '/api/v1/operations', { body });
  const write = {
    operation: 'WRITE',
    device: 1,
    registers: [{ name: 'DATA', value: '0xFFFFFFFFFFFFFFFE' }],
    justification: 'routine calibration',
  };

  it.each([
    ['a write', write, 200],
    ['a dry run', { ...write, dryRun: true }, 200],
    ['a selection', { ...write, selectForSeconds: 5 }, 200],
    ['a device in quarantine', { ...write, device: 9, dryRun: true }, 403],
    ['a register that is not there', { ...write, registers: [{ name: 'NONE', value: 1 }] }, 404],
    [
      'a word of more than 64 bits',
      { ...write, registers: [{ name: 'DATA', value: '99999999999999999999' }] },
      422,
    ],
    ['too long a request', { ...write, justification: 'a'.repeat(70_000) }, 413],
  ])('%s', async (_what, body, status) => {
    // Who asks for a device that is in quarantine for good is locked: another identity for each.
    const name = `Bearer asked-${status}-${JSON.stringify(body).length}`;
    const alice = bench.orchestrator.accounts.get('token-alice');
    if (alice !== undefined) bench.orchestrator.accounts.set(name.slice(7), alice);
    const answer = await bench.call('POST', '/api/v1/operations', {
      body,
      headers: { authorization: name },
    });
    expect(answer.status).toBe(status);
    expect(check.findings('operate', answer)).toEqual([]);
    if (status === 403) {
      expect(answer.json.operation.result).toBe('DENIED');
      const more = structuredClone(answer.json);
      more.operation.where = 'nowhere';
      expect(check.findings('operate', { ...answer, json: more })).not.toEqual([]);
    }
  });

  it('an answer with a member that is missing, new or of another form is not as described', async () => {
    const answer = await operate(write);
    expect(check.findings('operate', answer)).toEqual([]);
    for (const change of [
      { effect: 'unknown' },
      { state: undefined },
      { auditSequence: 'one' },
      { further: 1 },
      { readings: [{ device: 1, token: '0x8001', register: 'DATA', value: 5 }] },
    ]) {
      const json = JSON.parse(JSON.stringify({ ...answer.json, ...change }));
      expect(check.findings('operate', { ...answer, json }), JSON.stringify(change)).not.toEqual(
        [],
      );
    }
  });
});

it('a system that is not ready answers its health with 503 and the same body', async () => {
  bench.orchestrator.statusMore = {
    ...bench.orchestrator.statusMore,
    tracks: [{ track: 'kernel', up: false, finding: 'is away' }],
  };
  const answer = await bench.call('GET', '/api/v1/health', { headers: {} });
  expect([answer.status, answer.json.healthy]).toEqual([503, false]);
  expect(check.findings('health', answer)).toEqual([]);
});

describe('the document', () => {
  it('refers to nothing that is not there, and has no component that nobody refers to', () => {
    const { components } = check.document;
    const refs = new Set(refsIn(check.document));
    for (const ref of refs) {
      const [, , family = '', name = ''] = ref.split('/');
      expect(components[family]?.[name], ref).toBeDefined();
    }
    for (const name of Object.keys(components.schemas ?? {})) {
      expect(refs, name).toContain(`#/components/schemas/${name}`);
    }
  });

  it('is the same each time it is asked for', async () => {
    const { json } = await bench.call('GET', '/api/v1/openapi.json', { headers: {} });
    expect(json).toEqual(check.document);
  });
});
