// The plan that kernel leaves and the program that carries it out, on the simulated metal of the whole default board.

import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openBus } from '#drivers/index';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { formatToken, type LinearId, PERMANENT_QUARANTINE, tokenOf } from '#model/device';
import { BusQueue, Priority } from '#tracks/kernel/bus-queue';
import { DeviceAccess } from '#tracks/kernel/device-access';
import { type SafeWrite, safeStagesOf } from '#tracks/kernel/safe-plan';
import { bootId, SafeDrivePlan } from '../../../src/bin/safe-drive-plan.ts';
import { type Drove, planHead, planText, safeDrive } from '../../support/safe-drive.ts';
import { type RunningSimulator, startSimulator } from '../drivers/bus/simulated/fixture.ts';

const QUARANTINED: ReadonlySet<LinearId> = new Set([3, 40]);

let directory: string;
let path: string;
let simulator: RunningSimulator;
let access: DeviceAccess;
let writes: readonly SafeWrite[];

const soon = () => Deadline.after(systemClock, 10_000);
/** Drives of the whole board on a busy machine. */
const DRIVE_TEST_MS = 60_000;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'safe-'));
  path = join(directory, 'safe-drive.plan');
  simulator = await startSimulator('drivers/profiles/boards/default.yaml');
  const { board } = simulator;
  const queues = board.buses.map((description) => {
    const devices = board.devices.filter(({ busId }) => busId === description.id);
    const queue = new BusQueue({
      // Not what is tried here: a busy machine may take its time.
      bus: openBus({ ...description, accessTimeoutMs: 4_000 }, devices, systemClock),
      clock: systemClock,
      limits: { waitingMax: 256, failuresMax: 1_000, coolDownMs: 1, accessTimeoutMs: 4_000 },
      isQuarantined: () => false,
      isStopped: () => false,
    });
    return [description.id, queue] as const;
  });
  for (const [, queue] of queues) expect(await queue.open(soon())).toMatchObject({ ok: true });
  access = new DeviceAccess(board.devices, new Map(queues));
  writes = safeStagesOf(access).flatMap(({ immediate, queued }) => [
    ...immediate,
    ...queued.flatMap((bus) => bus.flatMap((device) => device.writes)),
  ]);
});

afterAll(async () => {
  for (const queue of access.queues.values()) await queue.bus.close();
  await simulator.stop();
  rmSync(directory, { recursive: true });
});

function planOf(left: ReadonlySet<LinearId> = QUARANTINED): SafeDrivePlan {
  return new SafeDrivePlan({
    path,
    board: simulator.board,
    access,
    leftOut: (device) => left.has(device),
    onError: (error) => {
      throw error;
    },
  });
}

/** What the register holds, of the bits that can be compared. */
async function held({ point, mask }: SafeWrite): Promise<bigint> {
  const word = await point.queue.read(point.cell, soon(), Priority.OPERATION);
  if (!word.ok) throw new Error(`${point.cell.place}: ${word.fault.finding}`);
  return word.value & mask;
}

/** As after the death of kernel: nobody else listens on the serial lines, and takes answers that the program waits for. */
async function driveAlone(): Promise<Drove> {
  const lines = [...access.queues.values()].filter(({ bus }) => bus.kind === 'serial');
  for (const { bus } of lines) await bus.close();
  const drove = await safeDrive([path]);
  for (const line of lines) expect(await line.open(soon())).toMatchObject({ ok: true });
  return drove;
}

const comparable = () => writes.filter(({ mask }) => mask !== 0n);
const unsafeWord = ({ word, mask }: SafeWrite) => word ^ (mask & -mask);

/** Every register that has a safe value holds another one. */
async function disturb(): Promise<void> {
  for (const write of comparable()) {
    const { point, expected } = write;
    const word = unsafeWord(write);
    const written = await point.queue.write(point.cell, word, soon(), Priority.OPERATION);
    expect([point.cell.place, written.ok]).toEqual([point.cell.place, true]);
    expect([point.cell.place, await held(write)]).not.toEqual([point.cell.place, expected]);
  }
}

describe('the plan of the default board', { timeout: DRIVE_TEST_MS }, () => {
  beforeEach(async () => {
    rmSync(path, { force: true });
    await simulator.control.clear();
    await disturb();
  });

  it('puts every device into its safe state, and touches none that is quarantined', async () => {
    const plan = planOf();
    plan.supervised();
    await simulator.control.forget();
    const drove = await driveAlone();
    expect(drove.stderr).toMatch(/\n?dsmil-safe-drive: 0 devices not known to be safe\n$/);
    expect(drove.status).toBe(0);
    expect(new Set(writes.map(({ point }) => point.device.busId)).size).toBe(5);
    for (const write of comparable()) {
      const { id } = write.point.device;
      const wanted = QUARANTINED.has(id) ? unsafeWord(write) & write.mask : write.expected;
      expect([write.point.cell.place, await held(write)]).toEqual([write.point.cell.place, wanted]);
    }
    const seen = await simulator.control.log();
    const tokens = new Set(seen.map(({ device }) => device));
    const slugOf = (id: LinearId) => access.devices.get(id)?.slug ?? '';
    for (const id of QUARANTINED) expect(tokens.has(slugOf(id))).toBe(false);
    expect((await simulator.control.canaries()).touched).toEqual([]);
    // Each value that can be read back was.
    for (const { point, mask } of writes) {
      if (QUARANTINED.has(point.device.id)) continue;
      const place = point.cell.place.replaceAll('.', '\\.');
      const ending = mask === 0n ? 'which cannot be read back' : 'read back \\S+';
      expect(drove.stderr).toMatch(new RegExp(`[:;] ${place}: wrote [^ ;]+, ${ending}`));
    }
    // One line for each device that has a safe value.
    const driven = new Set(writes.map(({ point }) => point.device.id));
    expect(drove.stderr.match(/^0x[0-9A-F]{4} safe/gm)).toHaveLength(
      driven.size - QUARANTINED.size,
    );
    for (const id of QUARANTINED) expect(drove.stderr).not.toContain(formatToken(id));
  });

  it('names what it cannot reach, and puts everything else into its safe state all the same', async () => {
    const plan = planOf();
    plan.supervised();
    const { control } = simulator;
    await control.fault({ bus: 'i2c-0', kind: 'stuck' });
    await control.fault({ bus: 'serial-1', kind: 'silent' });
    const drove = await driveAlone();
    await control.clear();
    const lost = new Set(
      writes
        .map(({ point }) => point.device)
        .filter(({ id, busId }) => ['i2c-0', 'serial-1'].includes(busId) && !QUARANTINED.has(id))
        .map(({ id }) => id),
    );
    expect(lost.size).toBeGreaterThan(8);
    expect(drove.status).toBe(lost.size);
    for (const id of lost)
      expect(drove.stderr).toContain(`${formatToken(id)} NOT KNOWN TO BE SAFE: `);
    for (const write of comparable()) {
      const { id } = write.point.device;
      if (lost.has(id) || QUARANTINED.has(id)) continue;
      expect([write.point.cell.place, await held(write)]).toEqual([
        write.point.cell.place,
        write.expected,
      ]);
    }
  });

  it.each(['memory', 'sysfs', 'i2c', 'serial'] as const)(
    'does not call safe what reads back something else on %s',
    async (kind) => {
      const plan = planOf(new Set());
      plan.supervised();
      const { board, control } = simulator;
      const buses = new Set(board.buses.filter((bus) => bus.kind === kind).map(({ id }) => id));
      const [first] = comparable().filter(({ point }) => buses.has(point.device.busId));
      if (first === undefined) throw new Error('no device');
      const { device, spec } = first.point;
      const bit = first.mask & -first.mask;
      const seen = first.expected ^ bit;
      await control.fault({
        device: device.slug,
        register: spec.name,
        kind: 'stuck-bits',
        mask: `0x${bit.toString(16)}`,
        value: `0x${(seen & bit).toString(16)}`,
      });
      // The simulator holds the bit when it next looks at its memory, which a busy machine puts off.
      const step = new RegExp(`^(step \\S+ ${first.point.cell.place} \\d+ \\d+) \\d+ `);
      const lines = plan.text().trim().split('\n').slice(0, -1);
      const patient = lines.map((line) => line.replace(step, '$1 500 '));
      expect(patient).not.toEqual(lines);
      writeFileSync(path, planText(patient));
      const drove = await driveAlone();
      await control.clear();
      const lost = drove.stderr.split('\n').filter((line) => line.includes('NOT KNOWN'));
      expect([lost.length, drove.status]).toEqual([1, 1]);
      expect(lost[0]).toContain(`${formatToken(device.id)} NOT KNOWN TO BE SAFE: `);
      const finding = new RegExp(
        `${first.point.cell.place}: differs: wrote (\\S+), read back (\\S+?)( \\(of \\S+\\))?(;|$)`,
      ).exec(lost[0] ?? '');
      expect([finding?.[1], finding?.[2]].map((word) => BigInt(word ?? 0) & first.mask)).toEqual([
        first.expected,
        seen,
      ]);
    },
  );
});

describe('the plan', () => {
  beforeEach(() => rmSync(path, { force: true }));

  it('is for its owner alone, and names no device that is quarantined for good', () => {
    const plan = planOf(new Set());
    plan.supervised();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const text = readFileSync(path, 'utf8');
    expect(text).toBe(plan.text());
    for (const token of PERMANENT_QUARANTINE)
      expect(text).not.toContain(`step ${token.toString(16)}`);
    const devices = new Set([...text.matchAll(/^step ([0-9a-f]{4}) /gm)].map(([, token]) => token));
    const wanted = new Set(writes.map(({ point }) => tokenOf(point.device.id).toString(16)));
    expect(devices).toEqual(wanted);
  });

  it('is empty until security has said whom not to touch', async () => {
    const plan = planOf();
    plan.write();
    expect(readFileSync(path, 'utf8')).not.toContain('step');
    expect(await safeDrive([path])).toMatchObject({ status: 0 });
    plan.supervised();
    expect(readFileSync(path, 'utf8')).toContain('step');
  });

  it('of an earlier life stands until then, that of another board does not', () => {
    planOf().supervised();
    const earlier = readFileSync(path, 'utf8');
    planOf(new Set()).write();
    expect(readFileSync(path, 'utf8')).toBe(earlier);
    writeFileSync(path, planText([planHead('0'.repeat(64)), 'stage 0']));
    planOf();
    expect(readFileSync(path, 'utf8')).toBe(planText([planHead(simulator.board.digest)]));
  });

  it('of an earlier boot gives way too, for its paths may be those of other devices by now', () => {
    planOf().supervised();
    const boot = '00000000-0000-4000-8000-000000000000';
    const lines = readFileSync(path, 'utf8').trim().split('\n').slice(0, -1);
    writeFileSync(path, planText(lines.map((line) => line.replace(bootId(), boot))));
    planOf();
    expect(readFileSync(path, 'utf8')).toBe(planText([planHead(simulator.board.digest)]));
  });

  it('is written over in place where there is no room beside it', () => {
    const left = new Set<LinearId>();
    const errors: unknown[] = [];
    const plan = new SafeDrivePlan({
      path,
      board: simulator.board,
      access,
      leftOut: (device) => left.has(device),
      onError: (error) => errors.push(error),
    });
    plan.supervised();
    expect(errors).toEqual([]);
    mkdirSync(`${path}.new`);
    left.add(0);
    plan.write();
    rmdirSync(`${path}.new`);
    expect(errors).toHaveLength(1);
    expect(readFileSync(path, 'utf8')).toBe(plan.text());
    expect(plan.text()).not.toContain(' 8000 ');
  });

  it('leaves out at once what is quarantined, and takes in again what is released', () => {
    const left = new Set<LinearId>();
    const plan = planOf(left);
    plan.supervised();
    expect(plan.text()).toContain(' 8000 ');
    left.add(0);
    plan.write();
    expect(readFileSync(path, 'utf8')).not.toContain(' 8000 ');
    left.delete(0);
    plan.write();
    expect(readFileSync(path, 'utf8')).toContain(' 8000 ');
  });
});
