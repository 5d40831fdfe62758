// What a signed-in WebSocket client may ask that has nothing to do with its own subscriptions, answered by the service.

import { rightsFromJson } from '#contract/json-administration';
import { receiptToJson, stopReportToJson } from '#contract/json-answer';
import {
  confirmedRiskFromJson,
  deviceIdFromJson,
  operationRequestFromJson,
  stopRequestFromJson,
} from '#contract/json-request';
import { seenDeviceToJson, statusToJson } from '#contract/json-state';
import type { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import type { OperationReceipt } from '#model/operation';
import type { Caller, InterfaceService } from '../service.ts';
import type { ClientMessage } from './messages.ts';

/** Messages about the connection itself are its own affair. */
export type RequestMessage = Exclude<
  ClientMessage,
  { readonly type: 'AUTHENTICATE' | 'SUBSCRIBE' | 'UNSUBSCRIBE' | 'ACKNOWLEDGE' }
>;

function resultOf(id: string, receipt: Outcome<OperationReceipt>): Outcome<object> {
  if (!receipt.ok) return receipt;
  return succeed({ type: 'OPERATION_RESULT', id, receipt: receiptToJson(receipt.value) });
}

export async function answerRequest(
  service: InterfaceService,
  message: RequestMessage,
  caller: Caller,
  deadline: Deadline,
): Promise<Outcome<object>> {
  const timestamp = new Date(service.clock.wallMs()).toISOString();
  switch (message.type) {
    case 'PING':
      return succeed({ type: 'PONG', timestamp });
    case 'REQUEST_STATUS': {
      const status = service.devices.statusFor(caller, await service.status(deadline));
      const data = statusToJson(status);
      const source_track = 'ORCHESTRATOR';
      return succeed({ type: 'SYSTEM_STATUS', priority: 'LOW', data, timestamp, source_track });
    }
    case 'OPERATION': {
      const request = operationRequestFromJson(message.request);
      if (!request.ok) return request;
      return resultOf(message.id, await service.operate(caller, request.value, deadline));
    }
    case 'OPERATE_SELECTED': {
      const risk = confirmedRiskFromJson(message.confirmedRisk);
      const { id, operationId } = message;
      return resultOf(id, await service.operateSelected(caller, operationId, risk, deadline));
    }
    case 'RELEASE_SELECTED': {
      const { id, operationId } = message;
      const released = await service.releaseSelected(caller, operationId, deadline);
      return released.ok ? succeed({ type: 'SELECTION_RELEASED', id, operationId }) : released;
    }
    case 'SYNCHRONIZE': {
      const ids = (message.devices ?? []).map(deviceIdFromJson);
      const compared = await service.devices.synchronize(caller, ids, deadline);
      if (!compared.ok) return compared;
      const { devices, finding } = compared.value;
      const stale = finding !== '' || service.picture.stale();
      const shown = devices.map(seenDeviceToJson);
      return succeed({ type: 'SYNCHRONIZED', id: message.id, stale, finding, devices: shown });
    }
    case 'REQUEST_RIGHTS': {
      const asked = rightsFromJson(message);
      if (!asked.ok) return asked;
      const answer = await service.administer(caller, 'rights', asked.value, deadline);
      if (!answer.ok) return answer;
      return succeed({ type: 'RIGHTS', id: message.id, rights: answer.value.rights });
    }
    case 'EMERGENCY_STOP': {
      const request = stopRequestFromJson(message.request ?? {});
      const report = await service.stops.stop(caller, request, deadline);
      if (!report.ok) return report;
      const result = stopReportToJson(report.value);
      return succeed({ type: 'EMERGENCY_STOP_RESULT', id: message.id, report: result });
    }
  }
}
