// Our ApplianceService over the one door: devices, approvals, reset, what `safety.ts` adds, and the channel.

import type { ServerDuplexStream } from '@grpc/grpc-js';
import type * as appliance from '#contract/appliance';
import { approvalToWire, deviceToWire } from '#contract/device-message';
import { faultToWire } from '#contract/fault-message';
import { receiptToWire } from '#contract/operation-message';
import { fault } from '#foundation/fault';
import { succeed } from '#foundation/outcome';
import type { InterfaceService } from '../service.ts';
import { connectionOf, deadlineOf, endWithSession, statusOf } from './call-context.ts';
import { coordinate, hiddenInRequest, rowOfCoordination, unary } from './communication.ts';
import { safetyMethods } from './safety.ts';
import { securityMethods } from './security.ts';

/** Requests of one channel that are not yet answered; more are refused one by one. */
const CHANNEL_OPEN_MAX = 256;
/** Answers that the client has not read; above it the channel is not read either. */
const CHANNEL_UNREAD_MAX = 256;

type ChannelCall = ServerDuplexStream<appliance.ChannelRequest, appliance.ChannelResponse>;

/**
 * Answers each request by its id, in any order. Every request is admitted and limited like a unary call; a
 * client that does not read its answers is not read from, so nothing piles up.
 */
function channel(service: InterfaceService, call: ChannelCall): void {
  const connection = connectionOf(call);
  const open = new Set<bigint>();
  let ended = false;

  const answer = (response: appliance.ChannelResponse): void => {
    if (call.destroyed || call.cancelled) return;
    call.write(response);
    if (call.writableLength >= CHANNEL_UNREAD_MAX && !call.isPaused()) {
      call.pause();
      call.once('drain', () => call.resume());
    }
  };
  const serve = async (request: appliance.ChannelRequest): Promise<void> => {
    const { requestId, operation } = request;
    const refuseWith = (place: string, finding: string, code: 'REQUEST_MALFORMED' | 'BUSY') =>
      answer({
        requestId,
        operation: undefined,
        fault: faultToWire(fault(code, { place, finding })),
      });
    if (operation === undefined)
      return refuseWith('channel request', 'carries no operation', 'REQUEST_MALFORMED');
    if (open.has(requestId)) {
      return refuseWith(`request ${requestId}`, 'an open request has this id', 'REQUEST_MALFORMED');
    }
    const row = rowOfCoordination(operation);
    const hidden = hiddenInRequest(row, operation);
    if (hidden !== null) return refuseWith(hidden.place, hidden.finding, 'REQUEST_MALFORMED');
    // Stops have as many places again, so that no crowd of operations keeps one out.
    if (open.size >= (row === 'stop' ? 2 : 1) * CHANNEL_OPEN_MAX) {
      return refuseWith('channel', `${open.size} requests are open`, 'BUSY');
    }
    open.add(requestId);
    const deadline = service.deadline();
    const outcome = await service.call(row, connection, deadline, (caller) =>
      coordinate(service, caller, operation, deadline),
    );
    open.delete(requestId);
    answer(
      outcome.ok
        ? { requestId, operation: outcome.value, fault: undefined }
        : { requestId, operation: undefined, fault: faultToWire(outcome.fault) },
    );
    if (ended && open.size === 0) call.end();
  };

  // A channel is opened only by someone who may operate, so strangers hold no stream.
  const opening = deadlineOf(call, service);
  void service
    .call('operate', connection, opening, (caller) => succeed(caller))
    .then((admitted) => {
      if (!admitted.ok) {
        call.emit('error', statusOf(admitted.fault));
        return;
      }
      endWithSession(service, connection, call, 'stays');
      call.on('data', (request: appliance.ChannelRequest) => void serve(request));
      call.on('end', () => {
        ended = true;
        if (open.size === 0) call.end();
      });
    });
  call.on('error', () => undefined);
}

export function applianceService(service: InterfaceService): appliance.ApplianceServiceServer {
  const { devices } = service;
  return {
    ...safetyMethods(service),
    ...securityMethods(service),
    listDevices: unary<appliance.ListDevicesRequest, appliance.ListDevicesResponse>(
      service,
      'devices',
      (caller) =>
        succeed({
          devices: devices
            .devices(caller)
            .map((seen) => deviceToWire(seen, devices.synchronization)),
          stale: service.picture.stale(),
        }),
    ),
    getDevice: unary<appliance.GetDeviceRequest, appliance.GetDeviceResponse>(
      service,
      'device',
      (caller, request) => {
        const seen = devices.device(caller, request.deviceId);
        return seen.ok
          ? succeed({ device: deviceToWire(seen.value, devices.synchronization) })
          : seen;
      },
    ),
    getOperation: unary<appliance.GetOperationRequest, appliance.GetOperationResponse>(
      service,
      'operation',
      async (caller, request, deadline) => {
        const receipt = await service.operation(caller, request.coordinationId, deadline);
        return receipt.ok ? succeed({ operation: receiptToWire(receipt.value) }) : receipt;
      },
    ),
    listApprovals: unary<appliance.ListApprovalsRequest, appliance.ListApprovalsResponse>(
      service,
      'approvals',
      async (caller, _request, deadline) => {
        const approvals = await service.approvals(caller, deadline);
        return approvals.ok
          ? succeed({ approvals: approvals.value.map(approvalToWire) })
          : approvals;
      },
    ),
    approve: unary<appliance.ApproveRequest, appliance.ApproveResponse>(
      service,
      'approve',
      async (caller, request, deadline) => {
        const approval = await service.approve(caller, request.planDigest, deadline);
        return approval.ok ? succeed({ approval: approvalToWire(approval.value) }) : approval;
      },
    ),
    resetEmergencyStop: unary<
      appliance.ResetEmergencyStopRequest,
      appliance.ResetEmergencyStopResponse
    >(service, 'reset', (caller, request, deadline) =>
      service.stops.reset(caller, request.reason, deadline),
    ),
    channel: (call: ChannelCall): void => channel(service, call),
  };
}
