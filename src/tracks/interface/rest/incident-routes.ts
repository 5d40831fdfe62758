// The REST routes of threat detection: incidents, and what a score is made of.

import { IncidentIdSchema, SubjectIdSchema } from '#contract/json-administration-schema';
import { Type } from '#contract/json-schema';
import type { ThreatSubjectKind } from '#model/incident';
import type { InterfaceService } from '../service.ts';
import { administrationRoute, idParams, type RestRoute, strict } from './rest-route.ts';

const KINDS: readonly ThreatSubjectKind[] = ['person', 'device', 'source'];
const SUBJECT = Type.Object(
  { kind: Type.Union(KINDS.map((kind) => Type.Literal(kind))), id: SubjectIdSchema },
  strict,
);

export function incidentRoutes(service: InterfaceService): readonly RestRoute[] {
  return [
    administrationRoute(service, 'incidents', { answer: 'Incidents, the open ones first.' }),
    administrationRoute(service, 'closeIncident', {
      params: idParams(IncidentIdSchema),
      path: ({ id = '' }) => ({ id: Number(id) }),
      answer: 'The incident as it was closed.',
    }),
    administrationRoute(service, 'threat', {
      params: SUBJECT,
      path: ({ kind, id = '' }) => ({ kind: kind as ThreatSubjectKind, id }),
      answer: 'The score, its level, and each indicator with its points.',
    }),
  ];
}
