// One client's stream of events: what it missed first, then what happens, within a bound.
// Invariants: a client that does not read is disconnected at `QUEUE_MAX` waiting messages; it resumes by sequence.

import { Metadata, type ServerWritableStream } from '@grpc/grpc-js';
import type * as wire from '#contract/communication';
import { sourceFromWire } from '#contract/enumerations';
import { eventToWire } from '#contract/event-message';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { linearIdOf } from '#model/device';
import { type AgentEvent, EventType } from '#model/event';
import { devicesOfEvent, maySeeEvent } from '../event-hub.ts';
import type { Caller, InterfaceService } from '../service.ts';
import { endWithSession, statusOf } from './call-context.ts';

const QUEUE_MAX = 1_024;
const FILTER_LENGTH_MAX = 128;

type Filter = (event: AgentEvent) => boolean;

/** What the client asked for; an emergency stop passes every filter. */
function filterOf(request: wire.EventSubscriptionRequest): Outcome<Filter> {
  const lists = [request.eventTypes, request.sources, request.deviceIds];
  if (lists.some((list) => list.length > FILTER_LENGTH_MAX)) {
    const finding = `has more than ${FILTER_LENGTH_MAX} members`;
    return refuse(fault('REQUEST_MALFORMED', { place: 'subscription filter', finding }));
  }
  const devices = new Set<number>();
  for (const deviceId of request.deviceIds) {
    const id = linearIdOf(deviceId);
    if (id === undefined) {
      const finding = 'is neither a linear id 0 to 83 nor a device token';
      return refuse(fault('DEVICE_ID_INVALID', { place: `device ${deviceId}`, finding }));
    }
    devices.add(id);
  }
  const types = new Set<number>(request.eventTypes);
  const sources = new Set(request.sources.map(sourceFromWire));
  return succeed((event) => {
    if (event.type === EventType.EMERGENCY_STOP) return true;
    if (types.size > 0 && !types.has(event.type)) return false;
    if (event.severity < request.minimumSeverity) return false;
    if (sources.size > 0 && !sources.has(event.source)) return false;
    return devices.size === 0 || devicesOfEvent(event).some((id) => devices.has(id));
  });
}

export function streamEvents(
  service: InterfaceService,
  caller: Caller,
  call: ServerWritableStream<wire.EventSubscriptionRequest, wire.EventNotification>,
): Outcome<void> {
  const wanted = filterOf(call.request);
  if (!wanted.ok) return wanted;
  const principal = caller.session?.principal;
  if (principal === undefined) {
    const finding = 'has no session';
    return refuse(fault('NOT_AUTHENTICATED', { place: 'connection', finding }));
  }
  const forClient: Filter = (event) => maySeeEvent(principal, event) && wanted.value(event);
  const headers = new Metadata();
  const after = call.request.resumeAfterSequence;
  const replay = after === undefined ? undefined : service.events.replayAfter(Number(after));
  if (replay !== undefined)
    headers.set('dsmil-replay', replay.complete ? 'complete' : 'incomplete');
  call.sendMetadata(headers);
  for (const event of replay?.events ?? []) if (forClient(event)) call.write(eventToWire(event));

  const stop = service.events.listen((event) => {
    if (call.cancelled || call.destroyed) return 'gone';
    if (!forClient(event)) return 'taken';
    if (call.writableLength >= QUEUE_MAX) {
      stop();
      service.metrics.slowClient();
      const finding = `does not read: ${QUEUE_MAX} events wait for it`;
      call.emit(
        'error',
        statusOf(
          fault('RATE_LIMITED', {
            place: 'event stream',
            finding,
            consequence: 'the stream ends; resume by sequence',
          }),
        ),
      );
      return 'missed';
    }
    call.write(eventToWire(event));
    return 'taken';
  });
  endWithSession(service, caller.connection, call, 'ends');
  call.on('cancelled', stop);
  call.on('close', stop);
  call.on('error', stop);
  return succeed(undefined);
}
