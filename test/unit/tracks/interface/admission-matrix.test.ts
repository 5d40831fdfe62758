// Every row of the operation table, on each transport, asked for by every kind of caller: who gets in and who does not.

import { ChannelCredentials, Client, Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
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
import { person, ScriptedOrchestrator } from '../../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../../support/small-board.ts';

const CLEARED = ['NONE', 'RESTRICTED', 'CONFIDENTIAL', 'SECRET', 'TOP_SECRET'] as const;
/** An administrator without clearance; the highest rights through a token for nothing but `devices`. */
const ROLES = ['stranger', ...CLEARED, 'administrator', 'scoped'] as const;
type Role = (typeof ROLES)[number];

const SCOPE: readonly OperationKey[] = ['devices'];
/** What every token may, whatever its scope. */
const OUTSIDE_SCOPES: readonly OperationKey[] = ['me', 'logout', 'stop'];

const REASON = { reason: 'seen on the site with my own eyes' };
type RestKey = {
  [K in OperationKey]: (typeof OPERATION_TABLE)[K] extends { readonly rest: object } ? K : never;
}[OperationKey];

/** A body that fits the schema of each route; a row without a line here does not compile. */
const BODIES: Readonly<Record<RestKey, object | null>> = {
  health: null,
  describe: null,
  login: { token: 'token-TOP_SECRET' },
  logout: null,
  me: null,
  status: null,
  metrics: null,
  devices: null,
  device: null,
  synchronize: {},
  history: null,
  releaseDevice: REASON,
  quarantineDevice: REASON,
  conflicts: null,
  resolveConflict: { answer: 'INHIBIT', ...REASON },
  readRegisters: null,
  operate: { operation: 'READ', device: 0 },
  operateSelected: {},
  releaseSelected: null,
  operations: null,
  operation: null,
  approvals: null,
  approve: { planDigest: 'ab'.repeat(32) },
  stop: {},
  acknowledgeStop: null,
  reset: REASON,
  audit: null,
  verifyAudit: null,
  enrol: { invitation: 'once', password: 'a long enough pass phrase' },
  confirmEnrolment: { invitation: 'once', code: '123456' },
  changePassword: { password: 'old', code: '123456', next: 'a long enough pass phrase' },
  rights: null,
  sessions: null,
  revokeSession: null,
  accounts: null,
  createAccount: {
    account: { id: 'eve', name: 'Eve', kind: 'person', clearance: 'NONE', devices: ['0x8001'] },
    ...REASON,
  },
  changeAccount: { change: { enabled: false }, ...REASON },
  inviteAccount: REASON,
  unlockAccount: REASON,
  tokens: null,
  createToken: { account: 'eve', name: 'script', scope: ['devices'], lifetimeDays: 30 },
  revokeToken: REASON,
  authority: null,
  certificates: null,
  issueCertificate: { account: 'eve', requestPem: 'PEM', ...REASON },
  renewCertificate: { requestPem: 'PEM' },
  revokeCertificate: REASON,
  rotateKey: { key: 'checkpoint', ...REASON },
  auditCheckpoint: null,
  exportAudit: null,
  archiveAudit: REASON,
  incidents: null,
  closeIncident: REASON,
  threat: null,
  chaosScenarios: null,
  startChaos: { scenario: 'brute-force', ...REASON },
  endChaos: {
    report: {
      scenario: 'brute-force',
      detected: true,
      evidence: [],
      responseMs: 12.5,
      contained: true,
      containment: 'the account was locked',
      limitsKept: true,
      limits: [],
    },
  },
};

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
      const body = BODIES[key as RestKey];
      const id = key === 'resolveConflict' ? '7' : '1';
      const answer = await httpCall({
        host: '127.0.0.1',
        servername: 'localhost',
        port: httpPort,
        ca,
        method: row.rest?.method ?? '',
        path: (row.rest?.path ?? '').replace(':id', id).replace(':kind', 'device'),
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
