// The REST routes of chaos exercises: what can be tried, beginning one, and its report.

import { HandleSchema } from '#contract/json-administration-schema';
import type { InterfaceService } from '../service.ts';
import { administrationRoute, idParams, type RestRoute } from './rest-route.ts';

export function chaosRoutes(service: InterfaceService): readonly RestRoute[] {
  return [
    administrationRoute(service, 'chaosScenarios', {
      answer: 'Scenarios with what they will not exceed, and whether the hardware is simulated.',
    }),
    administrationRoute(service, 'startChaos', {
      answer: 'Whether it has begun or a second administrator has to ask; the exercise.',
    }),
    administrationRoute(service, 'endChaos', {
      params: idParams(HandleSchema),
      path: ({ id = '' }) => ({ id }),
      answer: 'Whether the report is on record.',
    }),
  ];
}
