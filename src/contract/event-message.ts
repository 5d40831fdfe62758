// Events on the wire: the specification's notification with the full 64-bit sequence beside its uint32.

import type { AgentEvent } from '#model/event';
import {
  eventTypeFromWire,
  severityFromWire,
  sourceFromWire,
  sourceToWire,
} from './enumerations.ts';
import type * as wire from './generated/dsmil/communication/v1/communication.ts';
import { timestampFromWire, timestampToWire } from './time-message.ts';

export function eventToWire(event: AgentEvent): wire.EventNotification {
  return {
    eventId: `event-${event.sequence}`,
    eventType: event.type,
    severity: event.severity,
    sourceTrack: sourceToWire(event.source),
    timestamp: timestampToWire(event.wallMs),
    eventData: { ...event.data },
    sequenceNumber: Number(BigInt.asUintN(32, BigInt(event.sequence))),
    fullSequence: BigInt(event.sequence),
  };
}

export function eventFromWire(message: wire.EventNotification): AgentEvent {
  return {
    sequence: Number(message.fullSequence),
    type: eventTypeFromWire(message.eventType),
    severity: severityFromWire(message.severity),
    source: sourceFromWire(message.sourceTrack),
    wallMs: timestampFromWire(message.timestamp),
    data: message.eventData,
  };
}
