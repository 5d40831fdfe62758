// Turns what the agent tells its listeners into looks at the devices and lines of their history.

import { type LinearId, linearIdOf } from '#model/device';
import { type AgentEvent, EventType } from '#model/event';
import { SyncTrigger } from '#model/unified-state';
import type { DeviceHistory } from './device-history.ts';
import type { EventHub } from './event-hub.ts';
import type { StateSynchronizer } from './state-sync.ts';

/** Returns a function that ends it. */
export function followEvents(
  events: EventHub,
  sync: Pick<StateSynchronizer, 'note'>,
  history: DeviceHistory,
): () => void {
  return events.listen((event) => {
    switch (event.type) {
      case EventType.OPERATION_COMPLETED:
        remember(event, history);
        sync.note(SyncTrigger.OPERATION_COMPLETED, devicesIn(event));
        return;
      case EventType.EMERGENCY_STOP:
        sync.note(SyncTrigger.EMERGENCY);
        return;
      case EventType.SYSTEM_STATUS_CHANGED:
        // A conflict is found by looking: its news is no reason to look again.
        if (event.data.conflict_id === undefined) sync.note(SyncTrigger.STATE_CHANGE_EVENT);
        return;
      default:
    }
  });
}

/** Reads that went well are no history of the device; the audit chain has them. */
function remember(event: AgentEvent, history: DeviceHistory): void {
  const { operation = '', effect = '', code, operation_id: id = '', actor = '' } = event.data;
  if (operation === 'READ' && code === undefined) return;
  const outcome = code === undefined ? effect : `${effect}, ${code}`;
  for (const device of devicesIn(event)) {
    history.add(device, 'operation', `${operation} ${id} by ${actor}`, outcome);
  }
}

function devicesIn(event: AgentEvent): readonly LinearId[] {
  return (event.data.devices ?? '')
    .split(',')
    .flatMap((token) => (token === '' ? [] : (linearIdOf(Number(token)) ?? [])));
}
