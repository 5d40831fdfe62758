// The REST routes: for each row of the operation table that has one, its schemas and what it does.

import {
  approvalToJson,
  auditEntryToJson,
  deviceToJson,
  problemOf,
  receiptToJson,
  registerToJson,
  sessionToJson,
  statusToJson,
  stopReportToJson,
} from '#contract/json-answer';
import {
  type OperationJson,
  OperationSchema,
  operationRequestFromJson,
  type StopJson,
  StopSchema,
  stopRequestFromJson,
} from '#contract/json-request';
import { Type } from '#contract/json-schema';
import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import {
  CoordinationResult,
  NO_REQUIREMENTS,
  type OperationReceipt,
  OperationType,
} from '#model/operation';
import type { OperationKey } from '#model/operation-table';
import { OrchestratorState } from '#model/orchestrator-port';
import { RiskLevel } from '#model/risk';
import type { Caller, InterfaceService } from '../service.ts';
import { type CookieSessions, SESSION_COOKIE } from './cookie-sessions.ts';

export interface RestRequest {
  readonly body: unknown;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly deadline: Deadline;
}

export interface RestAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly contentType?: string;
  readonly setCookie?: string;
}

export interface RestRoute {
  readonly key: OperationKey;
  readonly body?: object;
  readonly params?: object;
  readonly query?: object;
  /** What a good answer is, for the description. */
  readonly answer: string;
  handle(caller: Caller, request: RestRequest): Promise<Outcome<RestAnswer>> | Outcome<RestAnswer>;
}

const strict = { additionalProperties: false } as const;
const ID_PARAMS = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) }, strict);
const COUNT = Type.String({ pattern: '^[0-9]{1,9}$' });
const SEQUENCE = Type.String({ pattern: '^[0-9]{1,15}$' });
const LIST_QUERY = Type.Object({ limit: Type.Optional(COUNT) }, strict);
const LIMIT_DEFAULT = 100;

const ok = (body: unknown): Outcome<RestAnswer> => succeed({ status: 200, body });

/** Passes a good value on as the answer's body. */
function answered<T>(outcome: Outcome<T>, shape: (value: T) => unknown): Outcome<RestAnswer> {
  return outcome.ok ? ok(shape(outcome.value)) : outcome;
}

/** An operation that was not carried out is a problem that holds its whole receipt. */
function receiptAnswer(receipt: OperationReceipt): RestAnswer {
  const operation = receiptToJson(receipt);
  if (receipt.result === CoordinationResult.SUCCESS) return { status: 200, body: operation };
  const found =
    receipt.fault ??
    fault('INTERNAL', {
      place: `operation ${receipt.operationId}`,
      finding: 'ended without saying why',
      metal: 'unknown',
    });
  const problem = problemOf(found);
  return {
    status: problem.status,
    body: { ...problem, operation },
    contentType: 'application/problem+json',
  };
}

function deviceIdOf(text: string): Outcome<number> {
  if (/^(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10})$/.test(text)) return succeed(Number(text));
  const finding = 'is neither a linear id 0 to 83 nor a device token';
  return refuse(fault('DEVICE_ID_INVALID', { place: 'device in the path', finding }));
}

export function restRoutes(
  service: InterfaceService,
  cookies: CookieSessions,
): readonly RestRoute[] {
  return [
    ...systemRoutes(service),
    ...signInRoutes(service, cookies),
    ...deviceRoutes(service),
    ...operationRoutes(service),
    ...stopRoutes(service),
    ...auditRoutes(service),
  ];
}

function systemRoutes(service: InterfaceService): readonly RestRoute[] {
  return [
    {
      key: 'health',
      answer: 'healthy, state and whether each track is up.',
      handle: async (_caller, { deadline }) => {
        const status = await service.status(deadline);
        const tracks = Object.fromEntries(status.tracks.map(({ track, up }) => [track, up]));
        const healthy =
          status.state === OrchestratorState.READY && status.tracks.every(({ up }) => up);
        const { state, stopEngaged } = statusToJson(status);
        return succeed({
          status: healthy ? 200 : 503,
          body: { healthy, state, stopEngaged, tracks },
        });
      },
    },
    {
      key: 'status',
      answer: 'State, stop causes, tracks with findings, audit sequence and board.',
      handle: async (_caller, { deadline }) => ok(statusToJson(await service.status(deadline))),
    },
    {
      key: 'metrics',
      answer: 'Prometheus text.',
      handle: async () =>
        succeed({
          status: 200,
          body: await service.metrics.text(),
          contentType: service.metrics.contentType,
        }),
    },
  ];
}

function signInRoutes(service: InterfaceService, cookies: CookieSessions): readonly RestRoute[] {
  const cookieText = (value: string, maxAgeS: number) =>
    `${SESSION_COOKIE}=${value}; Path=/; HttpOnly; Secure; SameSite=Strict; Max-Age=${maxAgeS}`;
  return [
    {
      key: 'login',
      body: Type.Object({ token: Type.String({ minLength: 1, maxLength: 4096 }) }, strict),
      answer: 'Who signed in; sets the session cookie.',
      handle: async (caller, { body, deadline }) => {
        const { token } = body as { readonly token: string };
        const credential = { kind: 'token', token } as const;
        const { cookie, id } = cookies.create();
        const connection = { ...caller.connection, id, credential };
        const session = await service.authenticate(connection, deadline);
        if (!session.ok) return session;
        const { expiresAtWallMs } = session.value;
        cookies.keep(id, credential, expiresAtWallMs);
        const maxAgeS = Math.max(0, Math.floor((expiresAtWallMs - service.clock.wallMs()) / 1000));
        return succeed({
          status: 200,
          body: sessionToJson(session.value),
          setCookie: cookieText(cookie, maxAgeS),
        });
      },
    },
    {
      key: 'logout',
      answer: 'Nothing; the session is over.',
      handle: async (caller, { deadline }) => {
        cookies.end(caller.connection.id);
        const ended = await service.endSession(caller, deadline);
        return ended.ok ? succeed({ status: 200, body: {}, setCookie: cookieText('', 0) }) : ended;
      },
    },
    {
      key: 'me',
      answer: 'Identity, clearance and compartments.',
      handle: (caller) => (caller.session === null ? ok({}) : ok(sessionToJson(caller.session))),
    },
  ];
}

function deviceRoutes(service: InterfaceService): readonly RestRoute[] {
  return [
    {
      key: 'devices',
      answer: 'Devices with status, and whether the picture is stale.',
      handle: (caller) =>
        ok({
          stale: service.picture.stale(),
          devices: service.devices(caller).map(deviceToJson),
        }),
    },
    {
      key: 'device',
      params: ID_PARAMS,
      answer: 'One device with its registers.',
      handle: (caller, { params }) => {
        const id = deviceIdOf(params.id ?? '');
        if (!id.ok) return id;
        return answered(service.device(caller, id.value), (seen) => ({
          ...deviceToJson(seen),
          registers: seen.device.registers.map(registerToJson),
        }));
      },
    },
    {
      key: 'readRegisters',
      params: ID_PARAMS,
      query: Type.Object({ names: Type.Optional(Type.String({ maxLength: 8192 })) }, strict),
      answer: 'The receipt of a READ with one reading for each register.',
      handle: async (caller, { params, query, deadline }) => {
        const id = deviceIdOf(params.id ?? '');
        if (!id.ok) return id;
        const names = query.names === undefined || query.names === '' ? [] : query.names.split(',');
        const receipt = await service.operate(
          caller,
          {
            operationId: '',
            type: OperationType.READ,
            targets: [{ deviceId: id.value, registers: names.map((register) => ({ register })) }],
            requirements: NO_REQUIREMENTS,
            justification: '',
            confirmedRisk: RiskLevel.UNKNOWN,
            dryRun: false,
            involved: [],
            claims: '',
          },
          deadline,
        );
        return receipt.ok ? succeed(receiptAnswer(receipt.value)) : receipt;
      },
    },
  ];
}

function operationRoutes(service: InterfaceService): readonly RestRoute[] {
  return [
    {
      key: 'operate',
      body: OperationSchema,
      answer: 'The receipt; for a dry run with the register transactions.',
      handle: async (caller, { body, deadline }) => {
        const request = operationRequestFromJson(body as OperationJson);
        if (!request.ok) return request;
        const receipt = await service.operate(caller, request.value, deadline);
        return receipt.ok ? succeed(receiptAnswer(receipt.value)) : receipt;
      },
    },
    {
      key: 'operations',
      query: LIST_QUERY,
      answer: 'The last receipts, at most `limit`.',
      handle: async (caller, { query, deadline }) => {
        const limit = Number(query.limit ?? LIMIT_DEFAULT);
        const receipts = await service.operations(caller, limit, deadline);
        return answered(receipts, (list) => ({ operations: list.map(receiptToJson) }));
      },
    },
    {
      key: 'operation',
      params: ID_PARAMS,
      answer: 'The receipt.',
      handle: async (caller, { params, deadline }) =>
        answered(await service.operation(caller, params.id ?? '', deadline), receiptToJson),
    },
    {
      key: 'approvals',
      answer: 'Open approvals.',
      handle: async (caller, { deadline }) =>
        answered(await service.approvals(caller, deadline), (list) => ({
          approvals: list.map(approvalToJson),
        })),
    },
    {
      key: 'approve',
      body: Type.Object({ planDigest: Type.String({ maxLength: 64 }) }, strict),
      answer: 'The approval with who gave it.',
      handle: async (caller, { body, deadline }) => {
        const { planDigest } = body as { readonly planDigest: string };
        return answered(await service.approve(caller, planDigest, deadline), approvalToJson);
      },
    },
  ];
}

function stopRoutes(service: InterfaceService): readonly RestRoute[] {
  return [
    {
      key: 'stop',
      body: StopSchema,
      answer: 'What each track did, and devices that are not safe.',
      handle: async (caller, { body, deadline }) => {
        const request = stopRequestFromJson(body as StopJson);
        return answered(await service.stop(caller, request, deadline), stopReportToJson);
      },
    },
    {
      key: 'reset',
      body: Type.Object({ reason: Type.String({ maxLength: 4096 }) }, strict),
      answer: 'Whether the stop is released or one more person has to ask.',
      handle: async (caller, { body, deadline }) => {
        const { reason } = body as { readonly reason: string };
        return answered(await service.reset(caller, reason, deadline), (progress) => progress);
      },
    },
  ];
}

function auditRoutes(service: InterfaceService): readonly RestRoute[] {
  return [
    {
      key: 'audit',
      query: Type.Object({ from: Type.Optional(SEQUENCE), limit: Type.Optional(COUNT) }, strict),
      answer: 'Entries from sequence `from` on, at most `limit`.',
      handle: async (caller, { query, deadline }) => {
        const from = Number(query.from ?? 1);
        const limit = Number(query.limit ?? LIMIT_DEFAULT);
        const entries = await service.audit(caller, from, limit, deadline);
        return answered(entries, (list) => ({ entries: list.map(auditEntryToJson) }));
      },
    },
    {
      key: 'verifyAudit',
      answer: 'How many entries were checked and the first bad one.',
      handle: async (caller, { deadline }) =>
        answered(await service.verifyAudit(caller, deadline), (finding) => finding),
    },
  ];
}
