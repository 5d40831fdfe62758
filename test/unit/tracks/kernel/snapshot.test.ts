import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperationType } from '#model/operation';
import { OverallStatus, PowerState } from '#model/snapshot';
import {
  FAN,
  FORBIDDEN,
  KernelBench,
  LAMP,
  must,
  OFFSET,
  PUMP,
  VALVE,
} from '../../../support/kernel-bench.ts';

let bench: KernelBench;

beforeEach(async () => {
  bench = await KernelBench.open();
});
afterEach(() => bench.close());

const memory = () => bench.track.memory;
const state = (device: number) => memory().state(device);
const look = (device: number) => bench.run(memory().observe(device, bench.deadline()));

async function turn(value: number): Promise<void> {
  bench.poke(PUMP, OFFSET.CONTROL, value);
  await look(PUMP);
}

describe('the version of a device', () => {
  it('moves when its state does, and not with another look at the same', async () => {
    await look(PUMP);
    const { version, lastAccessMs } = state(PUMP);
    await bench.clock.advance(100);
    await look(PUMP);
    expect(state(PUMP).version).toBe(version);
    expect(state(PUMP).lastAccessMs).toBeGreaterThan(lastAccessMs);
    bench.poke(PUMP, OFFSET.STATUS, 4);
    await look(PUMP);
    expect(state(PUMP).version).toBe(version + 1);
  });

  it('decides what is published as a change', async () => {
    await look(PUMP);
    await look(VALVE);
    memory().changes();
    expect(memory().changes().devices).toEqual([]);
    const { version } = memory().changes();
    bench.poke(VALVE, OFFSET.STATUS, 4);
    await look(VALVE);
    const changes = memory().changes();
    expect(changes.devices.map(({ device }) => device)).toEqual([VALVE]);
    expect(changes.version).toBe(version + 1);
  });
});

describe('a change that is not ours', () => {
  it('is told with its register and both words, and counted', async () => {
    await look(PUMP);
    const { changeCount } = state(PUMP);
    const basis = memory().basisOf([PUMP]);
    const other = memory().basisOf([VALVE]);
    await turn(1);
    expect(state(PUMP)).toMatchObject({
      unexplained: 'CONTROL 0x00000000 to 0x00000001',
      changeCount: changeCount + 1,
    });
    expect(memory().basisOf([PUMP])).not.toBe(basis);
    expect(memory().basisOf([VALVE])).toBe(other);
  });

  it('is none where the device clears a bit by itself, or the register is not ours to set', async () => {
    await turn(2);
    await turn(0);
    bench.poke(PUMP, OFFSET.STATUS, 0x1234);
    await look(PUMP);
    expect(state(PUMP).unexplained).toBe('');
  });

  it('is accounted for up to the count that was seen, and no further', async () => {
    await look(PUMP);
    await turn(1);
    const { changeCount } = state(PUMP);
    await turn(4);
    memory().account(PUMP, changeCount);
    expect(state(PUMP).unexplained).not.toBe('');
    memory().account(PUMP, state(PUMP).changeCount);
    expect(state(PUMP).unexplained).toBe('');
  });

  it('is none after an operation of ours, which may change more than it writes', async () => {
    await look(PUMP);
    await bench.perform(bench.intent(OperationType.WRITE, PUMP, { DATA: 5n }));
    await turn(1);
    expect(state(PUMP).unexplained).toBe('');
    await turn(4);
    expect(state(PUMP).unexplained).toMatch(/^CONTROL/);
  });

  it('is none while the device is driven to its safe values', async () => {
    bench.peer.words.set('lamp.MODE', 7n);
    await look(LAMP);
    const arrived = memory().driving([LAMP]);
    bench.peer.words.set('lamp.MODE', 0n);
    await look(LAMP);
    arrived();
    await look(LAMP);
    expect(state(LAMP).unexplained).toBe('');
    bench.peer.words.set('lamp.MODE', 9n);
    await look(LAMP);
    expect(state(LAMP).unexplained).toMatch(/^MODE/);
  });
});

describe('the state of a device', () => {
  it('is not known before the first look', () => {
    expect(state(PUMP)).toMatchObject({
      power: PowerState.UNKNOWN,
      status: OverallStatus.UNKNOWN,
      lastAccessMs: 0,
    });
  });

  it('is a fault while it does not answer, with what was last read of it', async () => {
    bench.peer.words.set('fan.LEVEL', 3n);
    await look(FAN);
    for (const register of ['fan.MODE', 'fan.LEVEL'])
      bench.peer.misbehaviours.set(register, 'nack');
    await look(FAN);
    expect(state(FAN).status).toBe(OverallStatus.FAULT);
    expect(state(FAN).lastFault).toMatch(/did not acknowledge/);
    expect(state(FAN).readings).toContainEqual({ register: 'LEVEL', value: 3n });
    bench.peer.misbehaviours.clear();
    await look(FAN);
    expect(state(FAN)).toMatchObject({ status: OverallStatus.OPERATIONAL, lastFault: '' });
  });

  it('in quarantine is locked, and nobody looks at the device any more', async () => {
    await look(FAN);
    bench.interlock.add({ device: FAN, kind: 'quarantined', reason: '', sinceWallMs: 1 });
    const accesses = bench.peer.accesses.length;
    await look(FAN);
    expect(bench.peer.accesses.length).toBe(accesses);
    for (const device of [FAN, FORBIDDEN]) {
      expect(state(device)).toMatchObject({
        power: PowerState.LOCKED,
        status: OverallStatus.QUARANTINED,
        lastFault: '',
      });
    }
  });

  it('is told of the devices that are asked for, or of all', async () => {
    const some = must(await bench.track.snapshot(bench.deadline(), [VALVE]));
    expect(some.devices.map(({ device }) => device)).toEqual([VALVE]);
    const all = must(await bench.track.snapshot(bench.deadline()));
    expect(all.devices).toHaveLength(bench.devices.length);
  });
});
