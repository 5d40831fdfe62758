// The interface track's part of a stop: what was asked in words, and every connected client told.

import type { StopRequestMessage } from '#contract/operation-request';
import { EmergencyPriority, type StopOrder, type StopReceipt } from '#model/stop';
import type { EventHub } from './event-hub.ts';

const REASON_LENGTH_MAX = 512;

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

/** A stop is never refused for its wording: what is missing is said, what is too long is cut. */
export function stopReason(message: Pick<StopRequestMessage, 'reason' | 'claims'>): string {
  const reason = message.reason.trim() === '' ? 'no reason given' : message.reason.trim();
  const claims = message.claims === '' ? '' : ` (claims: ${message.claims})`;
  return `${reason.slice(0, REASON_LENGTH_MAX - claims.length)}${claims}`;
}

/** A priority that is not known stays UNKNOWN, which ranks as the worst. */
export function stopPriority(message: Pick<StopRequestMessage, 'priority'>): EmergencyPriority {
  const known = Object.values(EmergencyPriority).find((value) => value === message.priority);
  return known ?? EmergencyPriority.UNKNOWN;
}
