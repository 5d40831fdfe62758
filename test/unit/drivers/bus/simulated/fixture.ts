// A small board on every simulated mechanism, and the real simulator process serving it.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadBoard } from '#config/board';
import { ControlClient } from '#drivers/bus/simulated/control-client';
import { describeFault } from '#foundation/fault';
import type { Board } from '#model/board';

export const MEMORY_ORIGIN = 0x6000_0000;

const OBSERVE = (register: string) => `observe:
  registers: [${register}]
  power: [{state: "ON"}]
  status: [{state: "OPERATIONAL"}]
`;

const PROFILES: Readonly<Record<string, string>> = {
  'test-block': `format: 1
id: test-block
version: 1.0.0
description: The standard register block.
bus: memory
registers:
  - {name: CONTROL, offset: 0x00, width: 32, access: rw, selfClearing: 0x2, safeValue: 0, description: Enable and reset.}
  - {name: STATUS, offset: 0x04, width: 32, access: ro, description: Ready and active.}
  - {name: CONFIG, offset: 0x08, width: 32, access: rw, reserved: 0xff000000, description: Anything.}
  - {name: INTERRUPT, offset: 0x10, width: 32, access: w1c, description: Pending.}
  - {name: ERROR, offset: 0x14, width: 32, access: rc, description: Last error.}
  - {name: THERMAL, offset: 0x20, width: 32, access: ro, signed: true, unit: milli-degC, description: Temperature.}
  - {name: POWER, offset: 0x24, width: 32, access: ro, unit: mW, description: Power.}
  - {name: NARROW, offset: 0x28, width: 16, access: rw, description: Half a word.}
  - {name: WIDE, offset: 0x30, width: 64, access: rw, description: Two words.}
  - {name: ID, offset: 0x3c, width: 32, access: ro, description: Which part this is.}
identify:
  - {register: ID, value: 0x0000d511}
${OBSERVE('STATUS')}`,
  'test-fan': `format: 1
id: test-fan
version: 1.0.0
description: A fan behind hwmon.
bus: sysfs
registers:
  - {name: duty, attribute: pwm1, width: 8, access: rw, description: Duty.}
  - {name: speed, attribute: fan1_input, width: 32, access: ro, unit: rpm, description: Speed.}
  - {name: temperature, attribute: temp1_input, width: 32, access: ro, signed: true, unit: milli-degC, description: Temperature.}
${OBSERVE('speed')}`,
  'test-battery': `format: 1
id: test-battery
version: 1.0.0
description: A battery.
bus: sysfs
registers:
  - {name: capacity, attribute: capacity, width: 8, access: ro, unit: "%", description: Charge.}
  - {name: status, attribute: status, width: 8, access: ro, description: Charging or not.}
${OBSERVE('capacity')}`,
  'test-led': `format: 1
id: test-led
version: 1.0.0
description: A light.
bus: sysfs
registers:
  - {name: brightness, attribute: brightness, width: 32, access: rw, description: Brightness.}
${OBSERVE('brightness')}`,
  'test-zone': `format: 1
id: test-zone
version: 1.0.0
description: A thermal zone.
bus: sysfs
registers:
  - {name: temp, attribute: temp, width: 32, access: ro, signed: true, unit: milli-degC, description: Temperature.}
${OBSERVE('temp')}`,
  'test-chip': `format: 1
id: test-chip
version: 1.0.0
description: A chip with each kind of register.
bus: i2c
registers:
  - {name: MODE, command: 0x01, protocol: byte, width: 8, access: rw, description: One byte.}
  - {name: LEVEL, command: 0x02, protocol: word, width: 16, access: rw, description: Low byte first.}
  - {name: LIMIT, command: 0x03, protocol: word-swapped, width: 16, access: rw, description: High byte first.}
  - {name: SERIAL, command: 0x10, protocol: raw, width: 32, access: rw, description: Four bytes.}
${OBSERVE('MODE')}`,
  'test-unit': `format: 1
id: test-unit
version: 1.0.0
description: A Modbus unit.
bus: modbus
registers:
  - {name: CONTROL, address: 0, table: holding, width: 16, access: rw, selfClearing: 0x2, description: Enable and reset.}
  - {name: STATUS, address: 1, table: holding, width: 16, access: ro, description: Ready and active.}
  - {name: SPEED, address: 2, table: holding, width: 16, access: rw, limits: {minimum: 0, maximum: 3000}, description: Wanted speed.}
  - {name: COUNT, address: 4, table: holding, width: 32, access: rw, description: Two registers.}
  - {name: INPUT, address: 0, table: input, width: 16, access: ro, unit: mV, description: Voltage.}
  - {name: RELAY, address: 7, table: coil, width: 8, access: rw, description: A coil.}
${OBSERVE('STATUS')}`,
};

const BOARD = `format: 1
name: Simulator test board
buses:
  - {id: memory-0, kind: memory, path: "\${SIMULATOR}/memory", origin: 0x60000000}
  - {id: sysfs-0, kind: sysfs, root: "\${SIMULATOR}/sys"}
  - {id: i2c-0, kind: i2c, adapter: {socket: "\${SIMULATOR}/i2c.sock"}}
  - {id: serial-0, kind: serial, path: "\${SIMULATOR}/serial-0"}
devices:
  - {id: 0, name: First Block, bus: memory-0, profile: test-block, at: {window: 0x60000000}, risk: LOW}
  - {id: 1, name: Second Block, bus: memory-0, profile: test-block, at: {window: 0x60001000}, risk: LOW}
  - {id: 9, name: Forbidden Block, bus: memory-0, profile: test-block, at: {window: 0x60009000}, risk: QUARANTINED, quarantined: true}
  - {id: 2, name: Test Fan, bus: sysfs-0, profile: test-fan, at: {directory: "hwmon:testfan"}, risk: LOW}
  - {id: 3, name: Test Battery, bus: sysfs-0, profile: test-battery, at: {directory: "power_supply:BAT0"}, risk: LOW}
  - {id: 4, name: Test Light, bus: sysfs-0, profile: test-led, at: {directory: "leds:green:status"}, risk: LOW}
  - {id: 5, name: Test Zone, bus: sysfs-0, profile: test-zone, at: {directory: "thermal:soc"}, risk: LOW}
  - {id: 6, name: Test Chip, bus: i2c-0, profile: test-chip, at: {chip: 0x50}, risk: LOW}
  - {id: 7, name: Test Unit, bus: serial-0, profile: test-unit, at: {unit: 17}, risk: LOW}
`;

/** Writes the board file and its profiles; gives the board file's path. */
export function writeBoard(directory: string): string {
  mkdirSync(directory, { recursive: true });
  for (const [name, text] of Object.entries(PROFILES)) {
    writeFileSync(join(directory, `${name}.yaml`), text);
  }
  const file = join(directory, 'board.yaml');
  writeFileSync(file, BOARD);
  return file;
}

export function boardIn(boardFile: string, simulator: string): Board {
  const loaded = loadBoard(boardFile, {
    variables: { SIMULATOR: simulator },
    profileDirectories: [join(boardFile, '..'), 'drivers/profiles'],
  });
  if (!loaded.ok) throw new Error(`${describeFault(loaded.fault)} ${loaded.fault.internal ?? ''}`);
  return loaded.value;
}

export interface RunningSimulator {
  readonly directory: string;
  readonly board: Board;
  readonly child: ChildProcess;
  readonly control: ControlClient;
  readonly errors: () => string;
  stop(): Promise<void>;
}

/** The real process; resolves when its ready file stands. */
export async function startSimulator(boardFile?: string): Promise<RunningSimulator> {
  const scratch = mkdtempSync(join(tmpdir(), 'dsmil-simulator-'));
  const file = boardFile ?? writeBoard(join(scratch, 'board'));
  const directory = join(scratch, 'hardware');
  const ready = join(scratch, 'ready.json');
  const child = spawn(
    process.execPath,
    ['src/bin/simulator.ts', '--board', file, '--directory', directory, '--ready-file', ready],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let errors = '';
  child.stderr?.on('data', (chunk) => {
    errors += String(chunk);
  });
  await until(() => existsSync(ready) || child.exitCode !== null, 'the ready file');
  if (child.exitCode !== null) throw new Error(`simulator ended: ${errors}`);
  const control = await ControlClient.connect(join(directory, 'control.sock'));
  return {
    directory,
    board: boardIn(file, directory),
    child,
    control,
    errors: () => errors,
    stop: async () => {
      control.close();
      if (child.exitCode === null && child.signalCode === null) {
        const ended = once(child, 'exit');
        child.kill('SIGTERM');
        await ended;
      }
      rmSync(scratch, { recursive: true, force: true });
    },
  };
}

/** Waits for something that other processes do; a generous bound, because the machine may be busy. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let turn = 0; turn < 1_000; turn++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`10 s passed without ${what}`);
}
