// Administration over the wire: what each route asks of security, what it answers, and the export as it is read.

import { request as httpsRequest } from 'node:https';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ExplainRightsRequest, ThreatLevel } from '#contract/appliance';
import type { Right } from '#model/account';
import type { SignedCheckpoint } from '#model/audit-checkpoint';
import { EventType, Severity } from '#model/event';
import type { Incident } from '#model/incident';
import { OperationType } from '#model/operation';
import { makeTestAuthority, type TestAuthority } from '../../../../support/certificates.ts';
import { InterfaceBench } from '../../../../support/interface-bench.ts';

let authority: TestAuthority;
let bench: InterfaceBench;

beforeAll(async () => {
  authority = await makeTestAuthority();
});
beforeEach(async () => {
  bench = await InterfaceBench.start(authority);
});
afterEach(() => bench.close());

const last = () => bench.orchestrator.administered.at(-1);
const REASON = 'seen on the site with my own eyes';
const checkpoint: SignedCheckpoint = {
  sequence: 4_000,
  hash: 'ab'.repeat(32),
  wallMs: 1_700_000_000_123,
  keyId: '0123456789abcdef',
  signature: 'c2lnbmF0dXJl',
};
const incident: Incident = {
  id: 3,
  subject: { kind: 'person', id: 'bob' },
  devices: [1],
  actor: 'bob',
  level: 'HIGH',
  score: 75,
  finding: 'asked for a device in quarantine',
  indicators: [{ name: 'quarantine-probe', points: 75, finding: 'device 0x8009', entries: [12] }],
  responses: ['the session was locked'],
  openedWallMs: 1_700_000_000_000,
  changedWallMs: 1_700_000_001_000,
  closedWallMs: 0,
  closedBy: '',
  closedBecause: '',
};
const right: Right = {
  operation: 'WRITE',
  permitted: false,
  missing: ['needs the clearance SECRET'],
  who: ['alice'],
  conduct: ['a justification'],
};

it.each([
  [
    'POST',
    'accounts',
    {
      account: {
        id: 'eve',
        name: 'Eve',
        kind: 'person',
        clearance: 'SECRET',
        devices: ['0x8001', 2],
        validUntil: '2030-01-31T12:00:00Z',
      },
      reason: REASON,
    },
    'createAccount',
    {
      account: {
        id: 'eve',
        name: 'Eve',
        kind: 'person',
        clearance: 'SECRET',
        devices: [1, 2],
        compartments: [],
        administrator: false,
        enabled: true,
        underReview: false,
        validFromWallMs: null,
        validUntilWallMs: Date.UTC(2030, 0, 31, 12),
        certificateUris: [],
        localUids: [],
      },
      reason: REASON,
    },
  ],
  [
    'POST',
    'accounts/eve',
    { change: { clearance: 'NONE', validFrom: null }, reason: REASON },
    'changeAccount',
    { id: 'eve', change: { clearance: 'NONE', validFromWallMs: null }, reason: REASON },
  ],
  [
    'POST',
    'accounts/eve/invite',
    { reason: REASON },
    'inviteAccount',
    { id: 'eve', reason: REASON },
  ],
  ['POST', 'auth/sessions/h-1_2/end', undefined, 'revokeSession', { handle: 'h-1_2' }],
  [
    'POST',
    'certificates/00AF/revoke',
    { reason: REASON },
    'revokeCertificate',
    { serial: '00AF', reason: REASON },
  ],
  ['POST', 'incidents/12/close', { reason: REASON }, 'closeIncident', { id: 12, reason: REASON }],
  ['GET', 'threats/source/2001:db8::1', undefined, 'threat', { kind: 'source', id: '2001:db8::1' }],
  [
    'GET',
    'auth/rights?operations=stop,operate&devices=1,0x8002&type=WRITE',
    undefined,
    'rights',
    { operations: ['stop', 'operate'], devices: [1, 2], type: OperationType.WRITE },
  ],
])('%s %s asks for exactly what it says', async (method, path, body, key, request) => {
  bench.orchestrator.answers.set(key as never, { done: true, message: 'done' });
  const answer = await bench.call(method, `/api/v1/${path}`, body === undefined ? {} : { body });
  expect([answer.status, answer.json]).toEqual([200, { done: true, message: 'done' }]);
  expect(last()).toMatchObject({ key, request });
  expect(last()?.sessionId).not.toBeNull();
});

it.each([
  'auth/rights?type=FORMAT',
  'auth/rights?devices=one',
  'auth/rights?devices=0x800C',
  'incidents/0',
  'threats/planet/earth',
])('refuses GET %s before anybody is asked', async (path) => {
  const method = path.startsWith('incidents') ? 'POST' : 'GET';
  const end = method === 'POST' ? '/close' : '';
  const body = method === 'POST' ? { body: { reason: REASON } } : {};
  const answer = await bench.call(method, `/api/v1/${path}${end}`, body);
  expect(answer.status).toBe(400);
  expect(bench.orchestrator.administered).toEqual([]);
});

it('says times in words, and hands a signed checkpoint on exactly as it was signed', async () => {
  bench.orchestrator.answers.set('incidents', { incidents: [incident] });
  bench.orchestrator.answers.set('auditCheckpoint', { checkpoint, publicKeyPem: 'PEM' });
  const incidents = await bench.call('GET', '/api/v1/incidents');
  expect(incidents.json.incidents[0]).toMatchObject({
    opened: '2023-11-14T22:13:20.000Z',
    closed: null,
    subject: { kind: 'person', id: 'bob' },
  });
  const newest = await bench.call('GET', '/api/v1/audit/checkpoint');
  expect(newest.json).toEqual({ checkpoint, publicKeyPem: 'PEM' });
});

it('explains rights, lists incidents and gives the checkpoint over gRPC too', async () => {
  bench.orchestrator.answers.set('rights', { rights: [right] });
  bench.orchestrator.answers.set('incidents', { incidents: [incident] });
  bench.orchestrator.answers.set('auditCheckpoint', { checkpoint, publicKeyPem: 'PEM' });
  const client = bench.appliance();
  const metadata = bench.metadata();
  const asked = ExplainRightsRequest.fromPartial({ operations: ['stop'], deviceIds: [0x8001] });
  const rights = await new Promise((resolve, reject) =>
    client.explainRights(asked, metadata, (error, value) =>
      error === null ? resolve(value.rights) : reject(error),
    ),
  );
  expect(rights).toEqual([right]);
  expect(last()?.request).toEqual({
    operations: ['stop'],
    devices: [1],
    type: OperationType.READ,
  });
  const [first] = await new Promise<readonly unknown[]>((resolve, reject) =>
    client.listIncidents({}, metadata, (error, value) =>
      error === null ? resolve(value.incidents) : reject(error),
    ),
  );
  expect(first).toMatchObject({ id: 3n, level: ThreatLevel.THREAT_HIGH, closed: undefined });
  const newest = await new Promise<unknown>((resolve, reject) =>
    client.getAuditCheckpoint({}, metadata, (error, value) =>
      error === null ? resolve(value) : reject(error),
    ),
  );
  expect(newest).toMatchObject({
    checkpoint: { sequence: 4_000n, wallMs: 1_700_000_000_123n, signature: 'c2lnbmF0dXJl' },
  });
});

it('explains rights over a WebSocket, and pushes checkpoints unchanged to whoever takes audit events', async () => {
  bench.orchestrator.answers.set('rights', { rights: [right] });
  const sockets = [];
  for (const types of [['AUDIT_EVENT'], ['AUDIT_CHECKPOINT'], ['DEVICE_UPDATE']]) {
    const socket = await bench.socket({ authorization: 'Bearer token-alice' }).opened();
    await socket.take('CONNECTION_ESTABLISHED');
    socket.send({ type: 'SUBSCRIBE', subscription: { id: 'one', types } });
    await socket.take('SUBSCRIBED');
    sockets.push(socket);
  }
  const [audit, checkpoints, updates] = sockets;
  audit?.send({ type: 'REQUEST_RIGHTS', id: 'r', devices: ['0x8001'], operation: 'WRITE' });
  expect(await audit?.take('RIGHTS')).toEqual({ type: 'RIGHTS', id: 'r', rights: [right] });
  expect(last()?.request).toEqual({ operations: [], devices: [1], type: OperationType.WRITE });
  const data = { event: 'AUDIT_ENTRY', checkpoint: JSON.stringify(checkpoint) };
  const draft = { type: EventType.AUDIT_ENTRY_CREATED, severity: Severity.INFO } as const;
  bench.orchestrator.emit({ ...draft, source: 'security', data });
  bench.orchestrator.emit({ ...draft, source: 'security', data: { event: 'AUDIT_ENTRY' } });
  for (const socket of [audit, checkpoints]) {
    const message = await socket?.take('AUDIT_CHECKPOINT');
    expect(message.data.checkpoint).toBe(JSON.stringify(checkpoint));
  }
  await audit?.take('AUDIT_EVENT');
  for (const socket of sockets) socket.send({ type: 'PING' });
  await Promise.all(sockets.map((socket) => socket.take('PONG')));
  expect([checkpoints?.messages, updates?.messages]).toEqual([[], []]);
});

describe('the export of the audit chain', () => {
  const LINES = 500;
  const line = (sequence: number) => JSON.stringify({ sequence, text: 'x'.repeat(300) });

  function serve(count: number): { pages: () => number } {
    let pages = 0;
    bench.orchestrator.answerWith('exportAudit', ({ fromSequence, limit }) => {
      pages += 1;
      const length = Math.max(0, Math.min(limit, count - fromSequence + 1));
      const lines = Array.from({ length }, (_, index) => line(fromSequence + index));
      const next = fromSequence + length;
      return { lines, next: next > count ? 0 : next };
    });
    return { pages: () => pages };
  }

  it('is every line from the asked one on, once, and ends', async () => {
    serve(1_750);
    const answer = await bench.call('GET', '/api/v1/audit/export?from=51');
    expect(answer.headers['content-type']).toBe('application/x-ndjson');
    expect(answer.text.endsWith('\n')).toBe(true);
    const sequences = answer.text
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text).sequence);
    expect(sequences).toEqual(Array.from({ length: 1_700 }, (_, index) => 51 + index));
  });

  it('of an empty chain is empty, and a refusal is a problem', async () => {
    serve(0);
    expect((await bench.call('GET', '/api/v1/audit/export')).text).toBe('');
    bench.orchestrator.answers.delete('exportAudit');
    const refused = await bench.call('GET', '/api/v1/audit/export');
    expect(refused.headers['content-type']).toBe('application/problem+json');
  });

  it('is asked for no faster than the client reads, and counts as one call', async () => {
    const limits = { ...bench.service.limits, perPrincipal: { perSecond: 0.001, burst: 5 } };
    await bench.close();
    bench = await InterfaceBench.start(authority, { limits });
    const { pages } = serve(1_000_000);
    const response = await new Promise<import('node:http').IncomingMessage>((resolve) => {
      const sent = httpsRequest(
        {
          host: '127.0.0.1',
          port: bench.httpPort,
          servername: 'localhost',
          ca: authority.authority,
          path: '/api/v1/audit/export',
          headers: { authorization: 'Bearer token-alice' },
          agent: false,
        },
        resolve,
      );
      sent.on('error', () => undefined);
      sent.end();
    });
    response.on('error', () => undefined);
    response.pause();
    let before = -1;
    await expect
      .poll(
        () => {
          const settled = pages() === before;
          before = pages();
          return settled;
        },
        { interval: 300, timeout: 10_000 },
      )
      .toBe(true);
    // What fits into the buffers on the way: some megabytes, not the whole chain.
    expect(pages()).toBeLessThan(100);
    response.destroy();
    const asked = pages();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(pages()).toBeLessThanOrEqual(asked + 1);
    // One call of five was used, and no place: four more run beside each other.
    expect(pages()).toBeGreaterThan(5);
    let open = (): void => undefined;
    bench.orchestrator.administrationGate = new Promise((resolve) => {
      open = resolve;
    });
    const already = bench.orchestrator.administered.length;
    const calls = Array.from({ length: 4 }, () =>
      bench.call('GET', '/api/v1/audit/export?from=999900'),
    );
    await expect.poll(() => bench.orchestrator.administered.length).toBe(already + 4);
    open();
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(4).fill(200));
  });

  it('breaks off without an end when a later page fails, and keeps no place', async () => {
    let failing = true;
    for (let turn = 0; turn < 6; turn++) {
      bench.orchestrator.answerWith('exportAudit', ({ fromSequence }) => {
        if (failing && fromSequence > LINES) throw new Error('EIO: /var/lib/dsmil/audit.db');
        return { lines: [line(fromSequence)], next: fromSequence > LINES ? 0 : LINES + 1 };
      });
      await expect(bench.call('GET', '/api/v1/audit/export')).rejects.toThrow(/aborted|hang up/);
    }
    failing = false;
    const whole = await bench.call('GET', '/api/v1/audit/export');
    expect(whole.text.trimEnd().split('\n')).toHaveLength(2);
  });

  it('is refused to a fifth client while four are reading', async () => {
    let open = (): void => undefined;
    bench.orchestrator.administrationGate = new Promise((resolve) => {
      open = resolve;
    });
    serve(10);
    const early: string[] = [];
    const calls = Array.from({ length: 5 }, async () => {
      const answer = await bench.call('GET', '/api/v1/audit/export');
      early.push(answer.json?.code ?? 'ok');
    });
    await expect.poll(() => early).toEqual(['BUSY']);
    open();
    await Promise.all(calls);
    expect(early.slice(1)).toEqual(Array(4).fill('ok'));
  });
});
