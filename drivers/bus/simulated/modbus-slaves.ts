// The Modbus units of one simulated line: a request in, an answer or silence out; no tty and no timer here.
// Function codes 1-6, 15 and 16 (Modbus Application Protocol 1.1b3 section 6); registers wider than 16 bits take
// consecutive addresses, high word first.
// Invariants: a request that is refused changes nothing; units that the board does not name never answer.

import type { DeviceModel } from './device-model.ts';

export const EXCEPTION_ILLEGAL_FUNCTION = 1;
export const EXCEPTION_ILLEGAL_ADDRESS = 2;
export const EXCEPTION_ILLEGAL_VALUE = 3;

/** Protocol data unit: function code and data, without unit and CRC. */
export type Pdu = Uint8Array;

type Table = 'holding' | 'input' | 'coil' | 'discrete';

/** One 16-bit word (or bit) of a register. */
interface Place {
  readonly register: string;
  /** Bits to shift the register right to find this word. */
  readonly shift: number;
  readonly writable: boolean;
}

const REGISTERS_READ_MAX = 125;
const BITS_READ_MAX = 2000;
const REGISTERS_WRITE_MAX = 123;
const BITS_WRITE_MAX = 1968;

class Refusal extends Error {
  readonly exception: number;
  constructor(exception: number) {
    super(`Modbus exception ${exception}`);
    this.exception = exception;
  }
}

export class ModbusSlaves {
  readonly #units = new Map<number, Unit>();

  constructor(models: readonly DeviceModel[]) {
    for (const model of models) {
      for (const placed of model.device.registers) {
        const { location } = placed;
        if (location.kind !== 'modbus') continue;
        const unit = this.#units.get(location.unit) ?? new Unit();
        this.#units.set(location.unit, unit);
        unit.place(model, location.table, location.address, placed.spec.name);
      }
    }
  }

  /** The device's slug behind a unit, for the fault plan. */
  deviceAt(unit: number): string | null {
    return this.#units.get(unit)?.owner ?? null;
  }

  /** The answer's PDU, or null from a unit that is not there (and from broadcasts, which are ignored). */
  answer(unit: number, request: Pdu): Pdu | null {
    const target = this.#units.get(unit);
    if (target === undefined || request.length === 0) return null;
    try {
      return target.answer(Buffer.from(request));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return exceptionPdu(request[0] ?? 0, error.exception);
    }
  }
}

export function exceptionPdu(functionCode: number, exception: number): Pdu {
  return Uint8Array.of(functionCode | 0x80, exception);
}

class Unit {
  owner: string | null = null;
  readonly #tables: Record<Table, Map<number, Place & { readonly model: DeviceModel }>> = {
    holding: new Map(),
    input: new Map(),
    coil: new Map(),
    discrete: new Map(),
  };

  place(model: DeviceModel, table: Table, address: number, register: string): void {
    const spec = model.register(register)?.spec;
    if (spec === undefined) return;
    this.owner ??= model.device.slug;
    const words = table === 'coil' || table === 'discrete' ? 1 : Math.ceil(spec.widthBits / 16);
    const writable = spec.access !== 'ro' && spec.access !== 'rc';
    for (let word = 0; word < words; word++) {
      const shift = 16 * (words - 1 - word);
      this.#tables[table].set(address + word, { model, register, shift, writable });
    }
  }

  answer(request: Buffer): Pdu {
    const code = request.readUInt8(0);
    switch (code) {
      case 1:
        return this.#readBits('coil', request);
      case 2:
        return this.#readBits('discrete', request);
      case 3:
        return this.#readRegisters('holding', request);
      case 4:
        return this.#readRegisters('input', request);
      case 5:
        return this.#writeOneBit(request);
      case 6:
        return this.#writeOneRegister(request);
      case 15:
        return this.#writeBits(request);
      case 16:
        return this.#writeRegisters(request);
      default:
        throw new Refusal(EXCEPTION_ILLEGAL_FUNCTION);
    }
  }

  #readRegisters(table: 'holding' | 'input', request: Buffer): Pdu {
    const { address, count } = span(request, REGISTERS_READ_MAX);
    const words = this.#read(table, address, count);
    const answer = Buffer.alloc(2 + 2 * count);
    answer.writeUInt8(request.readUInt8(0), 0);
    answer.writeUInt8(2 * count, 1);
    words.forEach((word, index) => {
      answer.writeUInt16BE(Number(word & 0xffffn), 2 + 2 * index);
    });
    return answer;
  }

  #readBits(table: 'coil' | 'discrete', request: Buffer): Pdu {
    const { address, count } = span(request, BITS_READ_MAX);
    const bits = this.#read(table, address, count);
    const answer = Buffer.alloc(2 + Math.ceil(count / 8));
    answer.writeUInt8(request.readUInt8(0), 0);
    answer.writeUInt8(answer.length - 2, 1);
    bits.forEach((bit, index) => {
      const at = 2 + (index >> 3);
      if (bit !== 0n) answer.writeUInt8(answer.readUInt8(at) | (1 << (index & 7)), at);
    });
    return answer;
  }

  #writeOneRegister(request: Buffer): Pdu {
    if (request.length !== 5) throw new Refusal(EXCEPTION_ILLEGAL_VALUE);
    this.#write('holding', request.readUInt16BE(1), [BigInt(request.readUInt16BE(3))]);
    return request;
  }

  #writeOneBit(request: Buffer): Pdu {
    if (request.length !== 5) throw new Refusal(EXCEPTION_ILLEGAL_VALUE);
    const value = request.readUInt16BE(3);
    if (value !== 0 && value !== 0xff00) throw new Refusal(EXCEPTION_ILLEGAL_VALUE);
    this.#write('coil', request.readUInt16BE(1), [value === 0 ? 0n : 1n]);
    return request;
  }

  #writeRegisters(request: Buffer): Pdu {
    const { address, count } = span(request, REGISTERS_WRITE_MAX);
    if (request.length !== 6 + 2 * count || request.readUInt8(5) !== 2 * count) {
      throw new Refusal(EXCEPTION_ILLEGAL_VALUE);
    }
    const words = Array.from({ length: count }, (_, index) =>
      BigInt(request.readUInt16BE(6 + 2 * index)),
    );
    this.#write('holding', address, words);
    return request.subarray(0, 5);
  }

  #writeBits(request: Buffer): Pdu {
    const { address, count } = span(request, BITS_WRITE_MAX);
    const bytes = Math.ceil(count / 8);
    if (request.length !== 6 + bytes || request.readUInt8(5) !== bytes) {
      throw new Refusal(EXCEPTION_ILLEGAL_VALUE);
    }
    const bits = Array.from({ length: count }, (_, index) =>
      BigInt((request.readUInt8(6 + (index >> 3)) >> (index & 7)) & 1),
    );
    this.#write('coil', address, bits);
    return request.subarray(0, 5);
  }

  /** Each register is read once however many of its words are asked for, so that side effects happen once. */
  #read(table: Table, address: number, count: number): readonly bigint[] {
    const places = this.#span(table, address, count);
    const seen = new Map<string, bigint>();
    return places.map(({ model, register, shift }) => {
      const key = `${model.device.slug}.${register}`;
      const word = seen.get(key) ?? model.read(register);
      seen.set(key, word);
      return word >> BigInt(shift);
    });
  }

  #write(table: 'holding' | 'coil', address: number, values: readonly bigint[]): void {
    const places = this.#span(table, address, values.length);
    const writes = new Map<string, { model: DeviceModel; register: string; word: bigint }>();
    places.forEach(({ model, register, shift, writable }, index) => {
      if (!writable) throw new Refusal(EXCEPTION_ILLEGAL_ADDRESS);
      const key = `${model.device.slug}.${register}`;
      const write = writes.get(key) ?? { model, register, word: mergeBase(model, register) };
      const mask = 0xffffn << BigInt(shift);
      write.word = (write.word & ~mask) | ((values[index] ?? 0n) << BigInt(shift));
      writes.set(key, write);
    });
    for (const { model, register, word } of writes.values()) {
      if (!acceptable(model, register, word)) throw new Refusal(EXCEPTION_ILLEGAL_VALUE);
    }
    for (const { model, register, word } of writes.values()) model.write(register, word);
  }

  #span(
    table: Table,
    address: number,
    count: number,
  ): readonly (Place & { readonly model: DeviceModel })[] {
    return Array.from({ length: count }, (_, index) => {
      const place = this.#tables[table].get(address + index);
      if (place === undefined) throw new Refusal(EXCEPTION_ILLEGAL_ADDRESS);
      return place;
    });
  }
}

/** The words of a wide register that a write leaves out keep their content; a w1c register takes zeros there. */
function mergeBase(model: DeviceModel, register: string): bigint {
  return model.register(register)?.spec.access === 'rw' ? model.peek(register) : 0n;
}

function acceptable(model: DeviceModel, register: string, word: bigint): boolean {
  const spec = model.register(register)?.spec;
  if (spec === undefined) return false;
  if (word >> BigInt(spec.widthBits) !== 0n) return false;
  if (spec.limits === null) return true;
  const value = spec.signed ? BigInt.asIntN(spec.widthBits, word) : word;
  return value >= spec.limits.minimum && value <= spec.limits.maximum;
}

function span(
  request: Buffer,
  countMax: number,
): { readonly address: number; readonly count: number } {
  if (request.length < 5) throw new Refusal(EXCEPTION_ILLEGAL_VALUE);
  const address = request.readUInt16BE(1);
  const count = request.readUInt16BE(3);
  if (count < 1 || count > countMax) throw new Refusal(EXCEPTION_ILLEGAL_VALUE);
  return { address, count };
}
