// The part of our ApplianceService that is about safety: status, selections, stops, holds, conflicts and history.

import type * as appliance from '#contract/appliance';
import { conflictAnswerFromWire, riskFromWire } from '#contract/enumerations';
import { receiptToWire } from '#contract/operation-message';
import {
  acknowledgmentToWire,
  conflictToWire,
  historyEntryToWire,
  holdToWire,
  statusToWire,
} from '#contract/status-message';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { InterfaceService } from '../service.ts';
import { unary } from './communication.ts';

const HISTORY_LENGTH_DEFAULT = 100;

/** Passes a good value on as the response. */
function answered<T, R>(outcome: Outcome<T>, shape: (value: T) => R): Outcome<R> {
  return outcome.ok ? succeed(shape(outcome.value)) : outcome;
}

type SafetyMethods = Pick<
  appliance.ApplianceServiceServer,
  | 'getStatus'
  | 'operateSelected'
  | 'releaseSelected'
  | 'acknowledgeStop'
  | 'releaseDevice'
  | 'quarantineDevice'
  | 'listConflicts'
  | 'resolveConflict'
  | 'getDeviceHistory'
>;

export function safetyMethods(service: InterfaceService): SafetyMethods {
  const { devices, stops } = service;
  return {
    getStatus: unary<appliance.GetStatusRequest, appliance.GetStatusResponse>(
      service,
      'status',
      async (caller, _request, deadline) =>
        succeed(statusToWire(devices.statusFor(caller, await service.status(deadline)))),
    ),
    operateSelected: unary<appliance.OperateSelectedRequest, appliance.OperateSelectedResponse>(
      service,
      'operateSelected',
      async (caller, { coordinationId, confirmedRisk }, deadline) => {
        const risk = riskFromWire(confirmedRisk);
        const receipt = await service.operateSelected(caller, coordinationId, risk, deadline);
        return answered(receipt, (value) => ({ operation: receiptToWire(value) }));
      },
    ),
    releaseSelected: unary<appliance.ReleaseSelectedRequest, appliance.ReleaseSelectedResponse>(
      service,
      'releaseSelected',
      async (caller, { coordinationId }, deadline) =>
        answered(await service.releaseSelected(caller, coordinationId, deadline), () => ({})),
    ),
    acknowledgeStop: unary<appliance.AcknowledgeStopRequest, appliance.AcknowledgeStopResponse>(
      service,
      'acknowledgeStop',
      async (caller, _request, deadline) =>
        answered(await stops.acknowledge(caller, deadline), (given) => ({
          acknowledgments: given.map(acknowledgmentToWire),
        })),
    ),
    releaseDevice: unary<appliance.ReleaseDeviceRequest, appliance.ReleaseDeviceResponse>(
      service,
      'releaseDevice',
      (caller, { deviceId, reason }, deadline) =>
        devices.release(caller, deviceId, reason, deadline),
    ),
    quarantineDevice: unary<appliance.QuarantineDeviceRequest, appliance.QuarantineDeviceResponse>(
      service,
      'quarantineDevice',
      async (caller, { deviceId, reason }, deadline) =>
        answered(await devices.quarantine(caller, deviceId, reason, deadline), (hold) => ({
          hold: holdToWire(hold),
        })),
    ),
    listConflicts: unary<appliance.ListConflictsRequest, appliance.ListConflictsResponse>(
      service,
      'conflicts',
      async (caller, _request, deadline) =>
        answered(await devices.conflicts(caller, deadline), (list) => ({
          conflicts: list.map(conflictToWire),
        })),
    ),
    resolveConflict: unary<appliance.ResolveConflictRequest, appliance.ResolveConflictResponse>(
      service,
      'resolveConflict',
      async (caller, { conflictId, answer: number, reason }, deadline) => {
        const answer = conflictAnswerFromWire(number);
        if (answer === undefined) {
          const finding = 'is none that a conflict can be given';
          return refuse(fault('REQUEST_MALFORMED', { place: 'answer', finding }));
        }
        const id = Number(conflictId);
        const settled = await devices.resolveConflict(caller, id, answer, reason, deadline);
        return answered(settled, (conflict) => ({ conflict: conflictToWire(conflict) }));
      },
    ),
    getDeviceHistory: unary<appliance.GetDeviceHistoryRequest, appliance.GetDeviceHistoryResponse>(
      service,
      'history',
      async (caller, { deviceId, limit }, deadline) => {
        const length = limit === 0 ? HISTORY_LENGTH_DEFAULT : limit;
        return answered(await devices.history(caller, deviceId, length, deadline), (entries) => ({
          entries: entries.map(historyEntryToWire),
        }));
      },
    ),
  };
}
