// The REST routes of identity: sign-in and sign-out, enrolment, the own password, the own rights and sessions.
// Invariants: each sign-in makes a cookie of its own, and the one that came with it is worth nothing from then on; a
// session's token is in an answer only when the caller asked for it.

import { administrationToJson, rightsFromJson } from '#contract/json-administration';
import { HandleSchema, LoginSchema } from '#contract/json-administration-schema';
import { sessionToJson } from '#contract/json-answer';
import { Type } from '#contract/json-schema';
import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { OPERATION_NAMES, type OperationName } from '#model/operation';
import type { Session } from '#model/orchestrator-port';
import type { Credential } from '#model/principal';
import type { Caller, InterfaceService } from '../service.ts';
import { type CookieSessions, cookieText, type Place } from './cookie-sessions.ts';
import type { AnswerOf } from './openapi-answers.ts';
import {
  administrationRoute,
  answered,
  idParams,
  ok,
  type RestAnswer,
  type RestRoute,
  strict,
} from './rest-route.ts';

interface LoginJson {
  readonly token?: string;
  readonly account?: string;
  readonly password?: string;
  readonly code?: string;
  readonly bearer?: boolean;
}

const LIST = { type: 'string', pattern: '^[A-Za-z0-9,]{0,4096}$' } as const;
const RIGHTS_QUERY = Type.Object(
  { operations: Type.Optional(LIST), devices: Type.Optional(LIST), type: Type.Optional(LIST) },
  strict,
);

function placeOf(caller: Caller): Place {
  return caller.connection.origin.transport === 'local' ? 'local' : 'network';
}

const listOf = (text: string | undefined): readonly string[] =>
  text === undefined || text === '' ? [] : text.split(',');

export function identityRoutes(
  service: InterfaceService,
  cookies: CookieSessions,
): readonly RestRoute[] {
  return [
    {
      key: 'login',
      body: LoginSchema,
      answer:
        'Who signed in; sets the session cookie, or holds the token where a script asked for it with `bearer`.',
      handle: (caller, { body, deadline }) =>
        signIn(service, cookies, caller, body as LoginJson, deadline),
    },
    {
      key: 'logout',
      answer: 'Nothing; the session is over on every transport.',
      handle: async (caller, { deadline }) => {
        cookies.end(caller.connection.id);
        const setCookie = cookieText('', 0, placeOf(caller));
        if (caller.session === null) return succeed({ status: 200, body: {}, setCookie });
        const ended = await service.endSession(caller.session, deadline);
        return ended.ok ? succeed({ status: 200, body: {}, setCookie }) : ended;
      },
    },
    {
      key: 'me',
      answer:
        'Identity, clearance, compartments, how the caller signed in, for what and until when.',
      handle: (caller) => (caller.session === null ? ok({}) : ok(sessionToJson(caller.session))),
    },
    administrationRoute(service, 'enrol', {
      answer: 'The account and the secret of its one-time codes, once.',
    }),
    administrationRoute(service, 'confirmEnrolment', {
      answer: 'The account that can sign in now.',
    }),
    administrationRoute(service, 'changePassword', { answer: 'How many other sessions it ended.' }),
    {
      key: 'rights',
      query: RIGHTS_QUERY,
      answer: 'For each row or operation whether it is permitted, what is missing and who could.',
      handle: async (caller, { query, deadline }) => {
        const asked = rightsOf(query);
        if (!asked.ok) return asked;
        const rights = await service.administer(caller, 'rights', asked.value, deadline);
        return answered(rights, administrationToJson);
      },
    },
    administrationRoute(service, 'sessions', { answer: 'Open sessions, without what opens them.' }),
    administrationRoute(service, 'revokeSession', {
      params: idParams(HandleSchema),
      path: ({ id = '' }) => ({ handle: id }),
      answer: 'How many sessions ended.',
    }),
  ];
}

function rightsOf(query: Readonly<Record<string, string>>) {
  const { operations, devices, type } = query;
  const named = OPERATION_NAMES.find((name) => name === type && name !== 'UNKNOWN');
  if (type !== undefined && named === undefined) {
    const finding = 'names no operation, such as READ or WRITE';
    return refuse(fault('REQUEST_MALFORMED', { place: 'querystring/type', finding }));
  }
  const operation: { readonly operation?: OperationName } =
    named === undefined ? {} : { operation: named };
  const numbers = listOf(devices);
  if (!numbers.every((one) => /^(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10})$/.test(one))) {
    const finding = 'is no list of linear ids and tokens';
    return refuse(fault('REQUEST_MALFORMED', { place: 'querystring/devices', finding }));
  }
  return rightsFromJson({ operations: listOf(operations), devices: numbers, ...operation });
}

async function signIn(
  service: InterfaceService,
  cookies: CookieSessions,
  caller: Caller,
  { token, account = '', password = '', code = '', bearer = false }: LoginJson,
  deadline: Deadline,
): Promise<Outcome<RestAnswer>> {
  const { cookie, id } = cookies.create();
  // A script's session belongs to its own connection; a browser's to the cookie.
  const connectionId = bearer ? caller.connection.id : id;
  let opened: Outcome<{ readonly session: Session; readonly credential: Credential }>;
  if (token === undefined) {
    const request = { account, password, code };
    opened = await service.administration.signIn(caller, request, connectionId, deadline);
  } else {
    opened = await byToken(service, caller, token, connectionId, deadline);
  }
  if (!opened.ok) return opened;
  const { session, credential } = opened.value;
  if (bearer) {
    const secret = credential.kind === 'token' ? { token: credential.token } : {};
    return ok<AnswerOf<'login'>>({ ...sessionToJson(session), ...secret });
  }
  await forgetPresented(service, cookies, caller, deadline);
  cookies.keep(id, credential, session.expiresAtWallMs);
  const leftMs = session.expiresAtWallMs - service.clock.wallMs();
  const maxAgeS = Math.max(0, Math.floor(leftMs / 1000));
  const setCookie = cookieText(cookie, maxAgeS, placeOf(caller));
  return succeed({ status: 200, body: sessionToJson(session), setCookie });
}

async function byToken(
  service: InterfaceService,
  caller: Caller,
  token: string,
  id: string,
  deadline: Deadline,
): Promise<Outcome<{ readonly session: Session; readonly credential: Credential }>> {
  const credential = { kind: 'token', token } as const;
  const session = await service.authenticate({ ...caller.connection, id, credential }, deadline);
  return session.ok ? succeed({ session: session.value, credential }) : session;
}

/** Whoever planted the cookie that came with a sign-in must not share the new session, nor keep the old one. */
async function forgetPresented(
  service: InterfaceService,
  cookies: CookieSessions,
  { connection }: Caller,
  deadline: Deadline,
): Promise<void> {
  if (!cookies.has(connection.id)) return;
  cookies.end(connection.id);
  const before = service.knownSession(connection);
  if (before !== undefined) await service.endSession(before, deadline);
}
