// The ring of events: what a returning client gets, and what a restart of security means for it.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { type AgentEvent, EventType, Severity } from '#model/event';
import { devicesOfEvent, EventHub } from '#tracks/interface/event-hub';

function event(sequence: number, data: Record<string, string> = {}): AgentEvent {
  const type = EventType.DEVICE_STATE_CHANGED;
  return { sequence, type, severity: Severity.INFO, source: 'kernel', wallMs: 0, data };
}

it('gives exactly what came after a sequence, or says that it no longer can', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 80 }), (last, after) => {
      const hub = new EventHub(new VirtualClock(), 16);
      for (let sequence = 1; sequence <= last; sequence++) hub.publish(event(sequence));
      const { events, complete } = hub.replayAfter(after);
      const sequences = events.map((one) => one.sequence);
      const oldest = Math.max(1, last - 15);
      if (after >= oldest - 1 && after <= last) {
        expect(complete).toBe(true);
        expect(sequences).toEqual(
          Array.from({ length: last - after }, (_, turn) => after + 1 + turn),
        );
      } else {
        expect(complete).toBe(false);
        expect(sequences[0]).toBe(oldest);
      }
    }),
  );
});

it('forgets the old numbers when security starts again from one', () => {
  const hub = new EventHub(new VirtualClock());
  for (const sequence of [1, 2, 3, 1]) hub.publish(event(sequence));
  expect(hub.replayAfter(3)).toMatchObject({ complete: false, events: [{ sequence: 1 }] });
});

it('finds the devices an event names by id or token', () => {
  expect(devicesOfEvent(event(1, { device_id: '13' }))).toEqual([13]);
  expect(devicesOfEvent(event(1, { devices: '0x8000,0x8011, 0x800C' }))).toEqual([0, 13]);
  expect(devicesOfEvent(event(1))).toEqual([]);
});
