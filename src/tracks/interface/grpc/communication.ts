// The specification's DsmilCommunicationService over the one door.

import type { ServerUnaryCall, ServerWritableStream, sendUnaryData } from '@grpc/grpc-js';
import type * as wire from '#contract/communication';
import { sourceToWire } from '#contract/enumerations';
import { operationRequestFromWire, receiptToWire } from '#contract/operation-message';
import { findHiddenText, type TextFinding } from '#contract/plain-text';
import { stopReportToWire, stopRequestFromWire } from '#contract/stop-message';
import { durationToWire, timestampToWire } from '#contract/time-message';
import { unifiedStateToWire } from '#contract/unified-message';
import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { OperationKey } from '#model/operation-table';
import { OrchestratorState } from '#model/orchestrator-port';
import { TRACKS } from '#model/track-name';
import type { Caller, InterfaceService } from '../service.ts';
import { rowOfOperation } from '../stop-desk.ts';
import { connectionOf, deadlineOf, statusOf } from './call-context.ts';
import { streamEvents } from './event-stream.ts';

/** The row of the operation table under which an operation is admitted: a stop goes by as a stop. */
export function rowOfCoordination(request: wire.OperationCoordinationRequest): OperationKey {
  return rowOfOperation(request.operationType, request.dryRun ? 'plan' : 'act');
}

/** What no request may hold, as on every other transport; a stop is never refused for its wording. */
export function hiddenInRequest(key: OperationKey, request: unknown): TextFinding | null {
  return key === 'stop' ? null : findHiddenText(request, 'request', 'keys and texts');
}

/** Runs one unary call through the door and answers with the response or the fault's status. */
export function unary<Request, Response>(
  service: InterfaceService,
  key: OperationKey | ((request: Request) => OperationKey),
  perform: (
    caller: Caller,
    request: Request,
    deadline: Deadline,
  ) => Promise<Outcome<Response>> | Outcome<Response>,
) {
  return (call: ServerUnaryCall<Request, Response>, answer: sendUnaryData<Response>): void => {
    const deadline = deadlineOf(call, service);
    const row = typeof key === 'function' ? key(call.request) : key;
    const hidden = hiddenInRequest(row, call.request);
    void service
      .call(row, connectionOf(call), deadline, (caller) =>
        hidden === null
          ? perform(caller, call.request, deadline)
          : refuse(fault('REQUEST_MALFORMED', hidden)),
      )
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
  deadline: Deadline,
): Promise<Outcome<wire.StateSynchronizationResponse>> {
  if (request.resolutionMethod > 1) {
    const finding = "conflicts are settled by the site's policy, which no caller can loosen";
    return refuse(fault('OPERATION_UNSUPPORTED', { place: 'resolution_method', finding }));
  }
  const compared = await service.devices.synchronize(caller, request.deviceIds, deadline);
  if (!compared.ok) return compared;
  const { devices, finding } = compared.value;
  const ageMs = service.picture.ageMs();
  return succeed({
    deviceStates: devices.map((seen) => unifiedStateToWire(seen)),
    stale: finding !== '' || service.picture.stale(),
    finding,
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
    coordinateOperation: unary(service, rowOfCoordination, (caller, request, deadline) =>
      coordinate(service, caller, request, deadline),
    ),
    emergencyStop: unary<wire.EmergencyStopRequest, wire.EmergencyStopResponse>(
      service,
      'stop',
      async (caller, request, deadline) => {
        const report = await service.stops.stop(caller, stopRequestFromWire(request), deadline);
        return report.ok ? succeed(stopReportToWire(report.value)) : report;
      },
    ),
    synchronizeState: unary(service, 'synchronize', (caller, request, deadline) =>
      synchronize(service, caller, request, deadline),
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
