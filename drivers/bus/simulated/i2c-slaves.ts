// The chips of one simulated I2C bus: command byte, register bytes, acknowledge or not; no socket here.
// Invariants: a chip that the board does not name never acknowledges; a write of a wrong length changes nothing.

import type { I2cStatus } from '#drivers/bus/i2c-wire';
import type { PlacedRegister } from '#model/device';
import type { Word } from '#model/register';
import type { DeviceModel } from './device-model.ts';
import type { FaultPlan } from './fault-plan.ts';

export interface Transfer {
  readonly chip: number;
  readonly write: Uint8Array;
  readonly readLength: number;
}

export interface TransferResult {
  readonly status: I2cStatus;
  readonly bytes: Uint8Array;
}

interface Target {
  readonly model: DeviceModel;
  readonly register: PlacedRegister;
  readonly protocol: 'byte' | 'word' | 'word-swapped' | 'raw';
}

const NOTHING = new Uint8Array(0);

export class I2cSlaves {
  readonly #busId: string;
  readonly #faults: FaultPlan;
  readonly #targets = new Map<string, Target>();
  readonly #chips = new Map<number, DeviceModel>();
  /** Command byte last written to each chip: a read without one continues there (receive byte, SMBus 3.2 6.5.3). */
  readonly #pointers = new Map<number, number>();

  constructor(busId: string, models: readonly DeviceModel[], faults: FaultPlan) {
    this.#busId = busId;
    this.#faults = faults;
    for (const model of models) {
      for (const register of model.device.registers) {
        const { location } = register;
        if (location.kind !== 'i2c') continue;
        const { chip, command, protocol } = location;
        this.#chips.set(chip, model);
        this.#targets.set(`${chip}/${command}`, { model, register, protocol });
      }
    }
  }

  /** Start, write, repeated start, read, stop (UM10204 section 3.1.10). */
  transfer({ chip, write, readLength }: Transfer): TransferResult {
    const owner = this.#chips.get(chip);
    const spoiled = this.#faults.spoil(this.#busId, owner?.device.slug ?? null);
    if (spoiled?.kind === 'stuck') return failed('timeout');
    if (spoiled?.kind === 'arbitration') return failed('arbitration-lost');
    if (spoiled?.kind === 'nack' || owner === undefined) return failed('nack');

    const command = write[0] ?? this.#pointers.get(chip) ?? 0;
    if (write.length > 0) this.#pointers.set(chip, command);
    if (write.length <= 1 && readLength === 0) return { status: 'ok', bytes: NOTHING };
    const target = this.#targets.get(`${chip}/${command}`);
    if (target === undefined) return failed('nack');
    const data = write.subarray(1);
    if (data.length > 0) {
      if (data.length !== bytesOf(target)) return failed('nack');
      target.model.write(target.register.spec.name, decode(target, data));
    }
    if (readLength === 0) return { status: 'ok', bytes: NOTHING };
    const bytes = new Uint8Array(readLength).fill(0xff);
    const word = target.model.read(target.register.spec.name);
    bytes.set(encode(target, word).subarray(0, readLength));
    return { status: 'ok', bytes };
  }
}

function failed(status: I2cStatus): TransferResult {
  return { status, bytes: NOTHING };
}

function bytesOf(target: Target): number {
  switch (target.protocol) {
    case 'byte':
      return 1;
    case 'word':
    case 'word-swapped':
      return 2;
    case 'raw':
      return target.register.spec.widthBits / 8;
  }
}

/** SMBus words travel low byte first (SMBus 3.2 section 6.5.5); swapped words and raw registers high byte first. */
function encode(target: Target, word: Word): Uint8Array {
  const length = bytesOf(target);
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++) {
    const place = target.protocol === 'word' ? index : length - 1 - index;
    bytes[place] = Number((word >> BigInt(8 * index)) & 0xffn);
  }
  return bytes;
}

function decode(target: Target, bytes: Uint8Array): Word {
  const ordered = target.protocol === 'word' ? [...bytes].reverse() : [...bytes];
  return ordered.reduce((word, byte) => (word << 8n) | BigInt(byte), 0n);
}
