// Every row of the operation table, on each transport, asked for by every kind of caller: who gets in and who does not.

import { ChannelCredentials, Client, Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { succeed } from '#foundation/outcome';
import { NO_REQUIREMENTS } from '#model/operation';
import {
  OPERATION_TABLE,
  type OperationKey,
  type OperationRow,
  operationRow,
} from '#model/operation-table';
import { ClearanceLevel, type ClearanceName } from '#model/principal';
import { GrpcServer } from '#tracks/interface/grpc/server';
import { HttpServer } from '#tracks/interface/rest/http-server';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { DEFAULT_LIMITS, InterfaceService } from '#tracks/interface/service';
import { makeTestAuthority } from '../../../support/certificates.ts';
import { httpCall } from '../../../support/http-client.ts';
import { REST_BODIES, type RestKey, restPath } from '../../../support/rest-bodies.ts';
import { person, ScriptedOrchestrator } from '../../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../../support/small-board.ts';

const CLEARED = ['NONE', 'RESTRICTED', 'CONFIDENTIAL', 'SECRET', 'TOP_SECRET'] as const;
/** An administrator without clearance; the highest rights through a token for nothing but `devices`. */
const ROLES = ['stranger', ...CLEARED, 'administrator', 'scoped'] as const;
type Role = (typeof ROLES)[number];

const SCOPE: readonly OperationKey[] = ['devices'];
/** What every token may, whatever its scope. */
const OUTSIDE_SCOPES: readonly OperationKey[] = ['me', 'logout', 'stop'];

const rows = Object.entries(OPERATION_TABLE) as readonly [OperationKey, OperationRow][];
const cases = rows.flatMap(([key, row]) => ROLES.map((role) => [key, role, row] as const));

/** What admission must answer: a code, or null for whatever the operation itself says. */
function refusalFor(key: OperationKey, role: Role): string | null {
  const { who } = operationRow(key);
  if (who === 'anyone') return null;
  if (role === 'stranger') return 'NOT_AUTHENTICATED';
  if (who === 'nobody') return 'NOT_PERMITTED';
  if (role === 'scoped') {
    return [...SCOPE, ...OUTSIDE_SCOPES].includes(key) ? null : 'SCOPE_EXCEEDED';
  }
  if (who === 'administrator') return role === 'administrator' ? null : 'NOT_PERMITTED';
  const needed: ClearanceName = who === 'signed-in' ? 'NONE' : who;
  const clearance = role === 'administrator' ? ClearanceLevel.NONE : ClearanceLevel[role];
  return clearance < ClearanceLevel[needed] ? 'CLEARANCE_TOO_LOW' : null;
}

const ADMISSION_CODES = [
  'NOT_AUTHENTICATED',
  'NOT_PERMITTED',
  'CLEARANCE_TOO_LOW',
  'SCOPE_EXCEEDED',
];

function expectAdmission(code: string | undefined, key: OperationKey, role: Role): void {
  const refusal = refusalFor(key, role);
  if (refusal !== null) expect(code).toBe(refusal);
  else expect(ADMISSION_CODES).not.toContain(code);
}

let orchestrator: ScriptedOrchestrator;
let service: InterfaceService;
let app: RestApp;
let http: HttpServer;
let grpc: GrpcServer;
let raw: Client;
let httpPort: number;
let ca: string;

beforeAll(async () => {
  const authority = await makeTestAuthority();
  ca = authority.authority;
  const tls = { authority: ca, ...(await authority.server()) };
  orchestrator = new ScriptedOrchestrator();
  for (const role of CLEARED) {
    orchestrator.accounts.set(`token-${role}`, person(role, ClearanceLevel[role]));
  }
  orchestrator.accounts.set('token-administrator', person('chief', ClearanceLevel.NONE));
  orchestrator.administrators.add('chief');
  orchestrator.accounts.set('token-scoped', person('alice', ClearanceLevel.COSMIC));
  orchestrator.scopes.set('token-scoped', SCOPE);
  const limits = { ...DEFAULT_LIMITS, signInFailures: { perSecond: 1_000, burst: 1_000 } };
  const parts = { orchestrator, board: smallBoard(), clock: systemClock, limits };
  service = new InterfaceService(parts);
  app = await RestApp.start(service);
  http = new HttpServer(app, tls);
  grpc = new GrpcServer(service);
  const ports = [
    await http.listen({ host: '127.0.0.1', port: 0 }),
    await grpc.listen({ host: '127.0.0.1', port: 0, tls }),
  ].map((listening) => (listening.ok ? listening.value : 0));
  httpPort = ports[0] ?? 0;
  raw = new Client(`127.0.0.1:${ports[1]}`, ChannelCredentials.createSsl(Buffer.from(ca)));
});

afterAll(async () => {
  raw.close();
  await grpc.close();
  await http.close();
  await app.close();
  service.close();
});

beforeEach(() => {
  orchestrator.holds.length = 0;
});

describe('REST', () => {
  it.each(cases.filter(([, , row]) => row.rest !== undefined))(
    '%s by %s',
    async (key, role, row) => {
      const body = REST_BODIES[key as RestKey];
      const answer = await httpCall({
        host: '127.0.0.1',
        servername: 'localhost',
        port: httpPort,
        ca,
        method: row.rest?.method ?? '',
        path: restPath(key as RestKey, row.rest?.path ?? ''),
        headers: role === 'stranger' ? {} : { authorization: `Bearer token-${role}` },
        ...(body === null ? {} : { body }),
      });
      expectAdmission(answer.json?.code, key, role);
      if (refusalFor(key, role) === null) expect(answer.json?.code).not.toBe('REQUEST_MALFORMED');
    },
  );
});

describe('gRPC', () => {
  const streaming = ['SubscribeEvents', 'Channel'];
  const methods = cases.flatMap(([key, role, row]) =>
    (row.grpc ?? [])
      .filter((method) => !streaming.includes(method.split('/')[1] ?? ''))
      .map((method) => [method, role, key] as const),
  );

  it.each(methods)('%s by %s', async (method, role, key) => {
    const metadata = new Metadata();
    if (role !== 'stranger') metadata.set('authorization', `Bearer token-${role}`);
    const same = (bytes: Buffer) => bytes;
    const code = await new Promise<string | undefined>((resolve) => {
      const answered = (error: ServiceError | null) =>
        resolve(error?.metadata.get('dsmil-fault-code')[0]?.toString());
      raw.makeUnaryRequest(`/${method}`, same, same, Buffer.alloc(0), metadata, answered);
    });
    // Publishing is refused to everybody, by the row or by the method: the same code.
    expectAdmission(code, key, role);
  });
});

it('refuses a locked session everything but a stop, and what anybody may ask', async () => {
  const origin = { transport: 'rest', peer: '127.0.0.1:9' } as const;
  const credential = { kind: 'token', token: 'token-TOP_SECRET' } as const;
  const connection = { origin, address: '127.0.0.1', id: 'locked', credential };
  const probe = { deviceId: 9, registers: [] };
  const deadline = service.deadline();
  const request = {
    operationId: '',
    type: 1,
    targets: [probe],
    requirements: NO_REQUIREMENTS,
    justification: '',
    confirmedRisk: 0,
    dryRun: false,
    involved: [],
    claims: '',
  } as const;
  await service.call('operate', connection, deadline, (caller) =>
    service.operate(caller, request, deadline),
  );
  const open: string[] = [];
  for (const [key] of rows) {
    const answer = await service.call(key, connection, deadline, () => succeed(undefined));
    if (answer.ok) open.push(key);
    else expect(answer.fault.code).toBe('ACCOUNT_LOCKED');
  }
  const anyone = rows.filter(([, { who }]) => who === 'anyone').map(([key]) => key);
  expect(open.sort()).toEqual([...anyone, 'stop'].sort());
});

it('refuses whoever is locked before signing in everything but a stop, and what anybody may ask', async () => {
  const finding = 'is locked until an administrator unlocks it';
  const deadline = service.deadline();
  const openTo = async (code: 'ACCOUNT_LOCKED' | 'NOT_AUTHENTICATED') => {
    const origin = { transport: 'rest', peer: '127.0.0.9:9' } as const;
    const credential = { kind: 'token', token: 'token-SECRET' } as const;
    const connection = { origin, address: '127.0.0.9', id: `new ${code}`, credential };
    orchestrator.broken = fault(code, { place: 'account', finding });
    const open: string[] = [];
    for (const [key] of rows) {
      const answer = await service.call(key, connection, deadline, () => succeed(undefined));
      if (answer.ok) open.push(key);
      else expect(answer.fault.code).toBe(code);
    }
    orchestrator.broken = null;
    return open.sort();
  };
  const anyone = rows.filter(([, { who }]) => who === 'anyone').map(([key]) => key);
  expect(await openTo('ACCOUNT_LOCKED')).toEqual([...anyone, 'stop'].sort());
  expect(await openTo('NOT_AUTHENTICATED')).toEqual([...anyone].sort());
});
