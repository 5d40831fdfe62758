// The part of our ApplianceService that is about rights, incidents and the audit chain.

import type * as appliance from '#contract/appliance';
import {
  checkpointToWire,
  incidentToWire,
  rightsFromWire,
  rightToWire,
} from '#contract/security-message';
import { succeed } from '#foundation/outcome';
import type { InterfaceService } from '../service.ts';
import { unary } from './communication.ts';

type SecurityMethods = Pick<
  appliance.ApplianceServiceServer,
  'explainRights' | 'listIncidents' | 'getAuditCheckpoint'
>;

export function securityMethods(service: InterfaceService): SecurityMethods {
  return {
    explainRights: unary<appliance.ExplainRightsRequest, appliance.ExplainRightsResponse>(
      service,
      'rights',
      async (caller, request, deadline) => {
        const asked = rightsFromWire(request);
        if (!asked.ok) return asked;
        const answer = await service.administer(caller, 'rights', asked.value, deadline);
        return answer.ok ? succeed({ rights: answer.value.rights.map(rightToWire) }) : answer;
      },
    ),
    listIncidents: unary<appliance.ListIncidentsRequest, appliance.ListIncidentsResponse>(
      service,
      'incidents',
      async (caller, _request, deadline) => {
        const answer = await service.administer(caller, 'incidents', {}, deadline);
        if (!answer.ok) return answer;
        return succeed({ incidents: answer.value.incidents.map(incidentToWire) });
      },
    ),
    getAuditCheckpoint: unary<
      appliance.GetAuditCheckpointRequest,
      appliance.GetAuditCheckpointResponse
    >(service, 'auditCheckpoint', async (caller, _request, deadline) => {
      const answer = await service.administer(caller, 'auditCheckpoint', {}, deadline);
      return answer.ok ? succeed(checkpointToWire(answer.value)) : answer;
    }),
  };
}
