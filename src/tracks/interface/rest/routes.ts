// The REST routes: for each row of the operation table that has one, its schemas and what it does.

import { auditEntryToJson, sessionToJson } from '#contract/json-answer';
import { Type } from '#contract/json-schema';
import { statusToJson } from '#contract/json-state';
import { succeed } from '#foundation/outcome';
import { OrchestratorState } from '#model/orchestrator-port';
import type { InterfaceService } from '../service.ts';
import { type CookieSessions, SESSION_COOKIE } from './cookie-sessions.ts';
import { conflictRoutes, deviceRoutes } from './device-routes.ts';
import { operationRoutes, stopRoutes } from './operation-routes.ts';
import {
  answered,
  COUNT,
  LIMIT_DEFAULT,
  ok,
  type RestRoute,
  SEQUENCE,
  strict,
} from './rest-route.ts';

export type { RestAnswer, RestRoute } from './rest-route.ts';

export function restRoutes(
  service: InterfaceService,
  cookies: CookieSessions,
): readonly RestRoute[] {
  return [
    ...systemRoutes(service),
    ...signInRoutes(service, cookies),
    ...deviceRoutes(service),
    ...conflictRoutes(service),
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
      answer: 'State and why, stops and who has seen them, holds, conflicts, tracks and board.',
      handle: async (caller, { deadline }) =>
        ok(statusToJson(service.devices.statusFor(caller, await service.status(deadline)))),
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
