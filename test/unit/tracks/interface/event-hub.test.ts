// The ring of events: what a returning client gets, and what a restart of security means for it.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { type AgentEvent, EventType, Severity } from '#model/event';
import { devicesOfEvent, EventHub } from '#tracks/interface/event-hub';
import { stopCause } from '../../../support/unified-states.ts';

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

function listening() {
  const clock = new VirtualClock();
  const hub = new EventHub(clock);
  const told: string[] = [];
  hub.listen(({ data }) => {
    told.push(data.scope ?? '');
    return 'taken';
  });
  const event = (sequence: number, scope: string, reason = 'no reason given'): AgentEvent => ({
    sequence,
    type: EventType.EMERGENCY_STOP,
    severity: Severity.EMERGENCY,
    source: 'orchestrator',
    wallMs: 0,
    data: { reason, scope },
  });
  const order = (...devices: number[]) =>
    hub.announceStop({ cause: stopCause({ devices, reason: 'no reason given' }) });
  return { clock, hub, told, event, order };
}

it('tells of a stop once, whether the order or the event comes first', () => {
  const { hub, told, event, order } = listening();
  order();
  hub.publish(event(1, 'whole system'));
  expect(told).toEqual(['whole system']);
  hub.publish(event(2, 'device boot-security (0x8001)'));
  order(1);
  expect(told).toEqual(['whole system', 'device boot-security (0x8001)']);
});

it('tells of a stop of everything although one of a device for the same reason was told just now', () => {
  const { hub, told, event, order } = listening();
  order(1);
  order();
  hub.publish(event(1, 'device boot-security (0x8001)'));
  hub.publish(event(2, 'whole system'));
  expect(told).toEqual(['devices 1', 'whole system']);
});

it('tells of the next stop of everything for the same reason, at once or later', async () => {
  const { clock, hub, told, event, order } = listening();
  order();
  order();
  expect(told).toHaveLength(2);
  await clock.advance(2_001);
  hub.publish(event(1, 'whole system'));
  expect(told).toHaveLength(3);
});

it('finds the devices an event names by id or token', () => {
  expect(devicesOfEvent(event(1, { device_id: '13' }))).toEqual([13]);
  expect(devicesOfEvent(event(1, { devices: '0x8000,0x8011, 0x800C' }))).toEqual([0, 13]);
  expect(devicesOfEvent(event(1))).toEqual([]);
});
