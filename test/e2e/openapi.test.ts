// The served OpenAPI description against the running agent: every GET row, operations and their refusals, and a stop.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { OPERATION_TABLE, type RestKey } from '#model/operation-table';
import type { HttpAnswer } from '../support/http-client.ts';
import { OpenApiCheck } from '../support/openapi-check.ts';
import { JUSTIFICATION, RestPerson } from './support/rest-person.ts';
import { Scene } from './support/scene.ts';

const DEVICE = '0x8059';
/** Put into quarantine by this test. */
const HELD = '0x8001';
const QUARANTINED = '0x8009';
const REASON = { reason: 'to see whether the answer is as described' };
const WRITE = {
  operation: 'WRITE',
  device: DEVICE,
  registers: [{ name: 'duty', value: 60 }],
  justification: JUSTIFICATION,
  confirmedRisk: 'CRITICAL',
};

let scene: Scene;
/** An administrator whose certificate is good for every row. */
let person: RestPerson;
let check: OpenApiCheck;

beforeAll(async () => {
  scene = await Scene.open();
  person = new RestPerson(scene.agent.ready, 0, 'certificate', '127.0.3.1');
  check = new OpenApiCheck(await person.get('openapi.json'));
});

afterAll(async () => {
  person?.close();
  await scene?.close();
});

async function described(
  key: RestKey,
  status: number,
  asked: Promise<HttpAnswer>,
): Promise<HttpAnswer> {
  const answer = await asked;
  expect(check.findings(key, answer)).toEqual([]);
  expect([key, answer.status]).toEqual([key, status]);
  return answer;
}

const post = (path: string, body?: object) => person.call('POST', path, body);

it('a write, a dry run, a selection and a reading are as described', async () => {
  const { json } = await described('operate', 200, post('operations', { ...WRITE, dryRun: true }));
  expect(json.preview).toHaveLength(1);
  const written = await described('operate', 200, post('operations', WRITE));
  expect(written.json.effect).toBe('committed');
  const selection = { ...WRITE, selectForSeconds: 60 };
  const selected = await described('operate', 200, post('operations', selection));
  const { operationId } = selected.json;
  await described('status', 200, person.call('GET', 'system/status'));
  await described('releaseSelected', 200, post(`operations/${operationId}/release`));
  await described('operation', 200, person.call('GET', `operations/${operationId}`));
  await described('readRegisters', 200, person.call('GET', `devices/${DEVICE}/registers`));
  const synchronized = await described('synchronize', 200, post('devices/synchronize'));
  expect(synchronized.json.devices).toHaveLength(84);
});

it('what cannot be done is a problem as described', async () => {
  const others: readonly [number, object][] = [
    [422, { ...WRITE, registers: [{ name: 'duty', value: '0xFFFFFFFF' }] }],
    [404, { ...WRITE, registers: [{ name: 'nothing', value: 1 }] }],
    [400, { operation: 'READ', device: 0x9999 }],
  ];
  for (const [status, body] of others) await described('operate', status, post('operations', body));
});

it('every row that is read answers as described', async () => {
  const answered: string[] = [];
  const latest = (await person.get('operations')).operations.at(-1).operationId;
  for (const [key, row] of Object.entries(OPERATION_TABLE)) {
    if (!('rest' in row) || row.rest.method !== 'GET') continue;
    const id = key === 'operation' ? latest : key === 'threat' ? '89' : DEVICE;
    const path = row.rest.path.replace(':id', id).replace(':kind', 'device');
    const answer = await person.call('GET', path);
    expect(check.findings(key, answer)).toEqual([]);
    // A busy machine may miss a look at a track: then its health is another one, and described too.
    if (key !== 'health') expect([key, answer.status]).toEqual([key, 200]);
    answered.push(key);
    if (key === 'exportAudit') exportIsAsDescribed(answer.text);
    if (key === 'audit') expect(answer.json.entries.length).toBeGreaterThan(3);
  }
  expect(answered.length).toBeGreaterThan(20);
});

function exportIsAsDescribed(text: string): void {
  const lines = text.trimEnd().split('\n');
  expect(lines.length).toBeGreaterThan(3);
  const line = { $ref: '#/components/schemas/AuditExportLine' };
  for (const one of lines) {
    expect(check.schemaFindings('line of the export', line, JSON.parse(one))).toEqual([]);
  }
}

it('every device and each of its registers is as described', async () => {
  const { devices } = await person.get('devices');
  for (const { id } of devices) {
    await described('device', 200, person.call('GET', `devices/${id}`));
  }
});

it('a hold, a proposal and a stop that is acknowledged and asked to be reset are as described', async () => {
  await described('quarantineDevice', 200, post(`devices/${HELD}/quarantine`, REASON));
  const held = await person.call('GET', 'system/status');
  expect(check.findings('status', held)).toEqual([]);
  expect(held.json.holds).not.toEqual([]);
  await described('releaseDevice', 200, post(`devices/${HELD}/release`, REASON));
  const account = { id: 'described', name: 'Described', kind: 'machine', clearance: 'NONE' };
  const asked = { account: { ...account, devices: [1] }, ...REASON };
  const proposed = await described('createAccount', 200, post('accounts', asked));
  expect(proposed.json.done).toBe(false);
  const { json } = await described('proposals', 200, person.call('GET', 'proposals'));
  expect(json.proposals).toHaveLength(1);
  await described('stop', 200, post('emergency-stop', REASON));
  await described('acknowledgeStop', 200, post('emergency-stop/acknowledge'));
  const stopped = await described('status', 200, person.call('GET', 'system/status'));
  expect(stopped.json.stopAcknowledgments).not.toEqual([]);
  await described('health', 503, person.call('GET', 'health'));
  await described('operate', 503, post('operations', WRITE));
  await described('reset', 200, post('emergency-stop/reset', REASON));
});

it('whoever is not signed in, and a device in quarantine, are refused as described', async () => {
  const stranger = new RestPerson(scene.agent.ready, 'nobody');
  await described('status', 401, stranger.call('GET', 'system/status'));
  stranger.close();
  // Comes last: whoever asks for a device that is in quarantine for good is locked.
  const read = { operation: 'READ', device: QUARANTINED };
  const { json } = await described('operate', 403, post('operations', read));
  expect(json).toMatchObject({ code: 'DEVICE_QUARANTINED', operation: { result: 'DENIED' } });
  await described('devices', 423, person.call('GET', 'devices'));
});
