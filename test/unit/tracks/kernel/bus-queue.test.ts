// One queue per bus: who goes first, how many at once, how many may wait, and when a dead device is left alone.

import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Cell } from '#model/bus';
import type { LinearId } from '#model/device';
import { BusQueue, Priority } from '#tracks/kernel/bus-queue';
import { codeOf, LIMITS, settled } from '../../../support/kernel-bench.ts';
import { RegisterPeer } from '../../../support/register-peer.ts';

let clock: VirtualClock;
let peer: RegisterPeer;
let queue: BusQueue;
const stopped = new Set<LinearId>();
const quarantined = new Set<LinearId>();

beforeEach(() => {
  clock = new VirtualClock();
  peer = new RegisterPeer('i2c-0', clock);
  stopped.clear();
  quarantined.clear();
  queue = new BusQueue({
    bus: peer,
    clock,
    limits: LIMITS,
    isQuarantined: (device) => quarantined.has(device),
    isStopped: (device) => stopped.has(device),
  });
});

function cell(device: LinearId, name = 'MODE'): Cell {
  const location = { kind: 'i2c', chip: device, command: 0, protocol: 'word' } as const;
  return { device, place: `device-${device}.${name}`, widthBits: 16, location };
}

const soon = (afterMs = 10_000) => Deadline.after(clock, afterMs);
const places = () => peer.accesses.map((access) => access.place);

describe('the order of accesses', () => {
  it('is stop, then operations, then polling, each in the order of asking', async () => {
    const all = [
      queue.read(cell(1, 'running'), soon(), Priority.OBSERVE),
      queue.read(cell(1, 'poll-1'), soon(), Priority.OBSERVE),
      queue.read(cell(1, 'poll-2'), soon(), Priority.OBSERVE),
      queue.write(cell(1, 'operation-1'), 1n, soon(), Priority.OPERATION),
      queue.write(cell(1, 'operation-2'), 1n, soon(), Priority.OPERATION),
      queue.write(cell(1, 'stop'), 0n, soon(), Priority.STOP),
    ];
    await settled(clock, Promise.all(all));
    expect(places().map((place) => place.replace('device-1.', ''))).toEqual([
      'running',
      'stop',
      'operation-1',
      'operation-2',
      'poll-1',
      'poll-2',
    ]);
  });

  it('never has two accesses on the bus at once, and answers each request with its own outcome', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(3), fc.constantFrom(0 as const, 1 as const, 2 as const)), {
          maxLength: 8,
        }),
        async (asked) => {
          peer.inFlightMax = 0;
          const results = asked.map(([device, priority], index) => {
            peer.words.set(`device-${device}.r${index}`, BigInt(index));
            return queue.read(cell(device, `r${index}`), soon(), priority);
          });
          const outcomes = await settled(clock, Promise.all(results));
          expect(outcomes.map((one) => one.ok && one.value)).toEqual(
            asked.map((_, at) => BigInt(at)),
          );
          expect(peer.inFlightMax).toBeLessThanOrEqual(1);
        },
      ),
      { numRuns: 15 },
    );
  });
});

describe('the bound', () => {
  it('refuses what comes when as many wait as may, and says so, but never the stop', async () => {
    const first = queue.read(cell(1), soon(), Priority.OPERATION);
    const waiting = Array.from({ length: LIMITS.waitingMax }, () =>
      queue.read(cell(1), soon(), Priority.OPERATION),
    );
    const refused = await queue.read(cell(1), soon(), Priority.OPERATION);
    expect(codeOf(refused)).toBe('BUS_QUEUE_FULL');
    expect(!refused.ok && refused.fault.finding).toBe('8 accesses already wait on bus i2c-0');
    const stop = queue.write(cell(1), 0n, soon(), Priority.STOP);
    expect(queue.state().queueLength).toBe(LIMITS.waitingMax + 2);
    const outcomes = await settled(clock, Promise.all([first, ...waiting, stop]));
    expect(outcomes.every((one) => one.ok)).toBe(true);
    expect(queue.state()).toMatchObject({
      queueLength: 0,
      finding: expect.stringMatching(/^1 acc/),
    });
  });

  it('does not ask the bus for what waited beyond its deadline', async () => {
    peer.latencyMs = 30;
    const first = queue.read(cell(1), soon(), Priority.OPERATION);
    const late = queue.write(cell(1, 'late'), 1n, soon(20), Priority.OPERATION);
    await settled(clock, first);
    expect(codeOf(await settled(clock, late))).toBe('DEADLINE_EXCEEDED');
    expect(places()).not.toContain('device-1.late');
  });
});

describe('the circuit of a device', () => {
  async function failTimes(count: number): Promise<void> {
    peer.misbehaviours.set('device-1.MODE', 'nack');
    for (let turn = 0; turn < count; turn++) {
      const outcome = await settled(clock, queue.read(cell(1), soon(), Priority.OPERATION));
      expect(codeOf(outcome)).toBe('BUS_NO_ANSWER');
    }
  }

  it('opens after three failures in a row, and then the bus is not asked', async () => {
    await failTimes(3);
    const refused = await queue.read(cell(1), soon(), Priority.OPERATION);
    expect(codeOf(refused)).toBe('BUS_CIRCUIT_OPEN');
    expect(!refused.ok && refused.fault.finding).toBe(
      '3 accesses in a row failed on bus i2c-0, next try in 2000 ms',
    );
    expect(peer.accesses).toHaveLength(3);
  });

  it('stays closed when a success comes between failures', async () => {
    await failTimes(2);
    peer.misbehaviours.clear();
    await settled(clock, queue.read(cell(1), soon(), Priority.OPERATION));
    await failTimes(2);
    peer.misbehaviours.clear();
    expect((await settled(clock, queue.read(cell(1), soon(), Priority.OPERATION))).ok).toBe(true);
  });

  it('leaves the other devices of the bus alone', async () => {
    await failTimes(3);
    expect((await settled(clock, queue.read(cell(2), soon(), Priority.OPERATION))).ok).toBe(true);
  });

  it('lets exactly one access through after the cool-down, and opens again when that fails', async () => {
    await failTimes(3);
    await clock.advance(LIMITS.coolDownMs - 1);
    expect(codeOf(await queue.read(cell(1), soon(), Priority.OPERATION))).toBe('BUS_CIRCUIT_OPEN');
    await clock.advance(1);
    const before = peer.accesses.length;
    const tries = [1, 2, 3, 4].map(() => queue.read(cell(1), soon(), Priority.OPERATION));
    const outcomes = await settled(clock, Promise.all(tries));
    expect(outcomes.map(codeOf)).toEqual([
      'BUS_NO_ANSWER',
      'BUS_CIRCUIT_OPEN',
      'BUS_CIRCUIT_OPEN',
      'BUS_CIRCUIT_OPEN',
    ]);
    expect(peer.accesses).toHaveLength(before + 1);
  });

  it('closes when the try after the cool-down succeeds', async () => {
    await failTimes(3);
    await clock.advance(LIMITS.coolDownMs);
    peer.misbehaviours.clear();
    const tries = [1, 2, 3].map(() => queue.read(cell(1), soon(), Priority.OPERATION));
    const outcomes = await settled(clock, Promise.all(tries));
    expect(outcomes.map(codeOf)).toEqual(['no fault', 'no fault', 'no fault']);
  });

  it('keeps accesses that waited while it opened from holding up the neighbours', async () => {
    peer.misbehaviours.set('device-1.MODE', 'silence');
    const dead = Array.from({ length: 7 }, () => queue.read(cell(1), soon(), Priority.OPERATION));
    const neighbour = queue.read(cell(2), soon(), Priority.OPERATION);
    await settled(clock, neighbour);
    // Three time-outs of 50 ms, not seven.
    expect(clock.nowMs()).toBeLessThan(200);
    const outcomes = await settled(clock, Promise.all(dead));
    expect(outcomes.map(codeOf).filter((code) => code === 'BUS_TIMEOUT')).toHaveLength(3);
    expect(outcomes.map(codeOf).filter((code) => code === 'BUS_CIRCUIT_OPEN')).toHaveLength(4);
  });

  it('does not keep the stop from trying', async () => {
    await failTimes(3);
    peer.misbehaviours.clear();
    const stop = await settled(clock, queue.write(cell(1), 0n, soon(), Priority.STOP));
    expect(stop.ok).toBe(true);
    expect(peer.written()).toEqual(['device-1.MODE=0']);
  });

  it('is not opened by one broken register among others that answer', async () => {
    peer.misbehaviours.set('device-1.BROKEN', 'nack');
    const cells = [cell(1, 'BROKEN'), cell(1, 'FINE')];
    for (let turn = 0; turn < 5; turn++) {
      const outcomes = await settled(clock, queue.readMany(cells, soon(), Priority.OBSERVE));
      expect(outcomes.map(codeOf)).toEqual(['BUS_NO_ANSWER', 'no fault']);
    }
  });

  it('is opened by batches in which nothing answers, and forgotten on demand', async () => {
    peer.misbehaviours.set('device-1.A', 'nack').set('device-1.B', 'nack');
    const cells = [cell(1, 'A'), cell(1, 'B')];
    const read = () => settled(clock, queue.readMany(cells, soon(), Priority.OBSERVE));
    for (let turn = 0; turn < 3; turn++) await read();
    expect((await read()).map(codeOf)).toEqual(['BUS_CIRCUIT_OPEN', 'BUS_CIRCUIT_OPEN']);
    queue.closeCircuit(1);
    expect((await read()).map(codeOf)).toEqual(['BUS_NO_ANSWER', 'BUS_NO_ANSWER']);
  });
});

describe('a quarantined device', () => {
  it('is not reached by an access that waited for its bus when the quarantine came', async () => {
    const running = queue.read(cell(1, 'running'), soon(), Priority.OBSERVE);
    const waiting = [
      queue.read(cell(2, 'poll'), soon(), Priority.OBSERVE),
      queue.readMany([cell(2, 'first'), cell(2, 'second')], soon(), Priority.OPERATION),
      queue.write(cell(2, 'write'), 1n, soon(), Priority.OPERATION),
    ];
    quarantined.add(2);
    await settled(clock, Promise.all([running, ...waiting]));
    expect(places()).toEqual(['device-1.running']);
    for (const outcome of (await Promise.all(waiting)).flat()) {
      expect(codeOf(outcome)).toBe('DEVICE_QUARANTINED');
    }
  });

  it('never reaches the bus, by no kind of access and with no priority', async () => {
    quarantined.add(9);
    for (const priority of Object.values(Priority)) {
      const outcomes = [
        await queue.read(cell(9), soon(), priority),
        await queue.write(cell(9), 1n, soon(), priority),
        ...(await queue.readMany([cell(9)], soon(), priority)),
        ...(await queue.readMany([cell(1), cell(9)], soon(), priority)),
      ];
      expect(new Set(outcomes.map(codeOf))).toEqual(new Set(['DEVICE_QUARANTINED']));
    }
    expect(codeOf(queue.writeNow(cell(9), 0n))).toBe('DEVICE_QUARANTINED');
    expect(peer.accesses).toEqual([]);
  });
});

describe('a write that waited while the stop came', () => {
  it('is not sent, while reads and the stop itself still are', async () => {
    const running = queue.read(cell(1, 'running'), soon(), Priority.OPERATION);
    const write = queue.write(cell(1, 'value'), 7n, soon(), Priority.OPERATION);
    const read = queue.read(cell(1, 'status'), soon(), Priority.OPERATION);
    stopped.add(1);
    const safe = queue.write(cell(1, 'safe'), 0n, soon(), Priority.STOP);
    await settled(clock, Promise.all([running, safe, read]));
    const refused = await write;
    expect(codeOf(refused)).toBe('STOPPED_MIDWAY');
    expect(!refused.ok && refused.fault.metal).toBe('untouched');
    expect(peer.written()).toEqual(['device-1.safe=0']);
    expect(places()).toContain('device-1.status');
  });
});

describe('what the queue says of its bus', () => {
  it('follows opening, vanishing and opening again', async () => {
    expect(queue.state()).toMatchObject({ id: 'i2c-0', open: false, finding: 'not opened yet' });
    await queue.open(soon());
    expect(queue.state()).toMatchObject({ open: true, finding: '' });
    peer.misbehaviours.set('device-1.MODE', 'absent');
    await settled(clock, queue.read(cell(1), soon(), Priority.OBSERVE));
    expect(queue.state()).toMatchObject({ open: false, finding: 'the adapter is gone' });
    await queue.open(soon());
    expect(queue.state().open).toBe(true);
  });

  it('is not immediate for a bus that waits, and says so instead of writing', () => {
    expect(queue.immediate).toBe(false);
    expect(codeOf(queue.writeNow(cell(1), 1n))).toBe('INTERNAL');
    expect(peer.accesses).toEqual([]);
  });
});
