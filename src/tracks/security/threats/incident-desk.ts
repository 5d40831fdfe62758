// Shows people what threat detection found, explains any score, and lets a person close an incident with a reason.
// Faults: INCIDENT_UNKNOWN; NOT_PERMITTED for a machine, and for whom the incident is about.

import { fault } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import { refuse, succeed } from '#foundation/outcome';
import type { Incident, ThreatReport, ThreatSubject } from '#model/incident';
import type { Origin } from '#model/principal';
import type { AdministrationHandlers } from '../ports.ts';

/** What one answer shows: some hundred bytes each. */
const SHOWN_MAX = 200;

export interface IncidentDeskParts {
  readonly incidents: {
    list(limit: number): readonly Incident[];
    find(id: number): Incident | undefined;
    close(
      id: number,
      by: string,
      because: string,
      origin: Origin | null,
    ): Promise<Outcome<Incident> | undefined>;
  };
  readonly report: (subject: ThreatSubject) => ThreatReport;
}

export function incidentDesk(
  parts: IncidentDeskParts,
): Pick<AdministrationHandlers, 'incidents' | 'closeIncident' | 'threat'> {
  const { incidents } = parts;
  return {
    incidents: async () => succeed({ incidents: incidents.list(SHOWN_MAX) }),
    threat: async (_, { kind, id }) => succeed({ report: parts.report({ kind, id }) }),
    closeIncident: async ({ session, origin }, { id, reason }) => {
      const place = `incident ${id}`;
      const incident = incidents.find(id);
      if (incident === undefined) {
        const finding = 'is not on record here; the audit chain has what was closed long ago';
        return refuse(fault('INCIDENT_UNKNOWN', { place, finding }));
      }
      const principal = session?.principal;
      const no = (finding: string) => refuse(fault('NOT_PERMITTED', { place, finding }));
      if (principal?.kind !== 'person') return no('only a person can close it');
      const { subject } = incident;
      if (subject.kind === 'person' && subject.id === principal.id)
        return no(`is about ${principal.id}: somebody else has to look at it`);
      const closed = await incidents.close(id, principal.id, reason, origin);
      if (closed === undefined) {
        return refuse(fault('INCIDENT_UNKNOWN', { place, finding: 'is gone' }));
      }
      return closed.ok ? succeed({ incident: closed.value }) : closed;
    },
  };
}
