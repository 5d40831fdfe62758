// The interface track's part of a stop: every connected client is told, and the receipt says how many were.

import type { StopOrder, StopReceipt } from '#model/stop';
import type { EventHub } from './event-hub.ts';

export function tellClients(
  events: EventHub,
  order: StopOrder,
  elapsedMs: () => number,
): StopReceipt {
  const { told, missed } = events.announceStop(order);
  const clients = (count: number) => (count === 1 ? '1 client' : `${count} clients`);
  return {
    track: 'interface',
    ok: missed === 0,
    message:
      missed === 0 ? `${clients(told)} told` : `${clients(told)} told, ${missed} not reached`,
    safe: [],
    unsafe: [],
    durationMs: elapsedMs(),
  };
}
