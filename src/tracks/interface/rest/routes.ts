// The REST routes: for each row of the operation table that has one, its schemas and what it does.

import { statusToJson } from '#contract/json-state';
import { succeed } from '#foundation/outcome';
import { OrchestratorState } from '#model/orchestrator-port';
import type { InterfaceService } from '../service.ts';
import { accountRoutes, tokenRoutes } from './account-routes.ts';
import { auditRoutes } from './audit-routes.ts';
import { certificateRoutes } from './certificate-routes.ts';
import { chaosRoutes } from './chaos-routes.ts';
import type { CookieSessions } from './cookie-sessions.ts';
import { conflictRoutes, deviceRoutes } from './device-routes.ts';
import { identityRoutes } from './identity-routes.ts';
import { incidentRoutes } from './incident-routes.ts';
import type { AnswerOf } from './openapi-answers.ts';
import { operationRoutes, stopRoutes } from './operation-routes.ts';
import { ok, type RestRoute } from './rest-route.ts';

export type { RestAnswer, RestRoute } from './rest-route.ts';

export function restRoutes(
  service: InterfaceService,
  cookies: CookieSessions,
): readonly RestRoute[] {
  return [
    ...systemRoutes(service),
    ...identityRoutes(service, cookies),
    ...accountRoutes(service),
    ...tokenRoutes(service),
    ...certificateRoutes(service),
    ...deviceRoutes(service),
    ...conflictRoutes(service),
    ...operationRoutes(service),
    ...stopRoutes(service),
    ...auditRoutes(service),
    ...incidentRoutes(service),
    ...chaosRoutes(service),
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
        const body: AnswerOf<'health'> = { healthy, state, stopEngaged, tracks };
        return succeed({ status: healthy ? 200 : 503, body });
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
