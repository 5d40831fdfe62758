// The specification's DsmilCommunicationService over the one door.

import type { ServerUnaryCall, ServerWritableStream, sendUnaryData } from '@grpc/grpc-js';
import type * as wire from '#contract/communication';
import { unifiedStateToWire } from '#contract/device-message';
import { sourceToWire } from '#contract/enumerations';
import { operationRequestFromWire, receiptToWire } from '#contract/operation-message';
import { stopReportToWire, stopRequestFromWire } from '#contract/stop-message';
import { durationToWire, timestampToWire } from '#contract/time-message';
import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { OperationKey } from '#model/operation-table';
import { OrchestratorState } from '#model/orchestrator-port';
import { TRACKS } from '#model/track-name';
import type { Caller, InterfaceService } from '../service.ts';
import { connectionOf, deadlineOf, statusOf } from './call-context.ts';
import { streamEvents } from './event-stream.ts';

/** Runs one unary call through the door and answers with the response or the fault's status. */
export function unary<Request, Response>(
  service: InterfaceService,
  key: OperationKey,
  perform: (
    caller: Caller,
    request: Request,
    deadline: Deadline,
  ) => Promise<Outcome<Response>> | Outcome<Response>,
) {
  return (call: ServerUnaryCall<Request, Response>, answer: sendUnaryData<Response>): void => {
    const deadline = deadlineOf(call, service);
    void service
      .call(key, connectionOf(call), deadline, (caller) => perform(caller, call.request, deadline))
      .then((outcome) => {
        if (outcome.ok) answer(null, outcome.value);
        else answer(statusOf(outcome.fault));
      });
  };
}

export async function coordinate(
  service: InterfaceService,
  caller: Caller,
  request: wire.OperationCoordinationRequest,
  deadline: Deadline,
): Promise<Outcome<wire.OperationCoordinationResponse>> {
  const asked = operationRequestFromWire(request);
  if (!asked.ok) return asked;
  const receipt = await service.operate(caller, asked.value, deadline);
  return receipt.ok ? succeed(receiptToWire(receipt.value)) : receipt;
}

async function synchronize(
  service: InterfaceService,
  caller: Caller,
  request: wire.StateSynchronizationRequest,
): Promise<Outcome<wire.StateSynchronizationResponse>> {
  if (request.resolutionMethod > 1) {
    const finding = "only the agent's own conservative rule is offered";
    return refuse(fault('OPERATION_UNSUPPORTED', { place: 'resolution_method', finding }));
  }
  const stop = service.stopEngaged() ? 'stopped' : 'running';
  const states: wire.UnifiedDeviceState[] = [];
  if (request.deviceIds.length === 0) {
    for (const seen of service.devices(caller)) states.push(unifiedStateToWire(seen, stop));
  }
  for (const deviceId of request.deviceIds) {
    const seen = service.device(caller, deviceId);
    if (!seen.ok) return seen;
    states.push(unifiedStateToWire(seen.value, stop));
  }
  const ageMs = service.picture.ageMs();
  return succeed({
    deviceStates: states,
    stale: service.picture.stale(),
    pictureAge: Number.isFinite(ageMs) ? durationToWire(ageMs) : undefined,
    kernelSyncVersion: BigInt(service.picture.version()),
    synchronizedAt: timestampToWire(service.clock.wallMs()),
  });
}

async function health(
  service: InterfaceService,
  request: wire.HealthCheckRequest,
  deadline: Deadline,
): Promise<Outcome<wire.HealthCheckResponse>> {
  const { track } = request;
  if (track !== '' && !(TRACKS as readonly string[]).includes(track)) {
    const finding = 'names no track; the tracks are kernel, security and interface';
    return refuse(fault('REQUEST_MALFORMED', { place: 'track', finding }));
  }
  const status = await service.status(deadline);
  const tracks = status.tracks.filter((one) => track === '' || one.track === track);
  const ready = track !== '' || status.state === OrchestratorState.READY;
  return succeed({
    healthy: ready && tracks.every((one) => one.up),
    state: status.state,
    tracks: tracks.map((one) => ({ track: sourceToWire(one.track), up: one.up })),
    emergencyStopActive: status.stopEngaged,
    activeOperations: status.activeOperations,
    checkedAt: timestampToWire(service.clock.wallMs()),
  });
}

async function metrics(
  service: InterfaceService,
  request: wire.MetricsRequest,
): Promise<Outcome<wire.MetricsResponse>> {
  const samples = await service.metrics.samples(request.names);
  return succeed({
    samples: samples.map((sample) => ({ ...sample, labels: { ...sample.labels } })),
    collectedAt: timestampToWire(service.clock.wallMs()),
  });
}

export function communicationService(
  service: InterfaceService,
): wire.DsmilCommunicationServiceServer {
  return {
    coordinateOperation: unary(service, 'operate', (caller, request, deadline) =>
      coordinate(service, caller, request, deadline),
    ),
    emergencyStop: unary<wire.EmergencyStopRequest, wire.EmergencyStopResponse>(
      service,
      'stop',
      async (caller, request, deadline) => {
        const report = await service.stop(caller, stopRequestFromWire(request), deadline);
        return report.ok ? succeed(stopReportToWire(report.value)) : report;
      },
    ),
    synchronizeState: unary(service, 'synchronize', (caller, request) =>
      synchronize(service, caller, request),
    ),
    publishEvent: unary<wire.EventPublishRequest, wire.EventPublishResponse>(
      service,
      'publishEvent',
      () =>
        refuse(
          fault('NOT_PERMITTED', {
            place: 'publishEvent',
            finding: 'events come from the tracks alone',
          }),
        ),
    ),
    subscribeEvents: (
      call: ServerWritableStream<wire.EventSubscriptionRequest, wire.EventNotification>,
    ): void => {
      const deadline = service.deadline();
      void service
        .call('events', connectionOf(call), deadline, (caller) =>
          streamEvents(service, caller, call),
        )
        .then((outcome) => {
          if (!outcome.ok) call.emit('error', statusOf(outcome.fault));
        });
    },
    healthCheck: unary(service, 'health', (_caller, request, deadline) =>
      health(service, request, deadline),
    ),
    getMetrics: unary(service, 'metrics', (_caller, request) => metrics(service, request)),
  };
}
