// Carries out control requests on the simulated hardware: untrusted JSON in, an answer or a sentence out.
// Invariants: a request that is refused changes nothing; every refusal names the member that is wrong.

import { formatWord, type RegisterSpec, signedValue, type Word, widthMask } from '#model/register';
import type { ControlAnswer, ControlResults } from './control-protocol.ts';
import type { DeviceModel } from './device-model.ts';
import { FAULT_KINDS, type FaultTarget, type HardwareFault, misplaced } from './fault-plan.ts';
import type { SimulatedHardware } from './hardware.ts';
import type { Mechanism } from './mechanism.ts';

type Members = Readonly<Record<string, unknown>>;

const LOG_COUNT_DEFAULT = 100;
const LOG_COUNT_MAX = 10_000;
const COUNT_MAX = 1_000_000;
const DELAY_MS_MAX = 60_000;
const DURATION_MS_MAX = 86_400_000;

class Refused extends Error {}

export class ControlDesk {
  readonly #hardware: SimulatedHardware;
  readonly #mechanisms: readonly Mechanism[];

  constructor(hardware: SimulatedHardware, mechanisms: readonly Mechanism[]) {
    this.#hardware = hardware;
    this.#mechanisms = mechanisms;
  }

  /** `request` is whatever JSON.parse gave. */
  answer(request: unknown): ControlAnswer {
    try {
      if (request === null || typeof request !== 'object' || Array.isArray(request)) {
        throw new Refused('a request is one JSON object');
      }
      return { ok: true, ...this.#carryOut(request as Members) };
    } catch (error) {
      if (error instanceof Refused) return { ok: false, error: error.message };
      return { ok: false, error: `the simulator failed: ${String(error)}` };
    }
  }

  #carryOut(request: Members): ControlResults[keyof ControlResults] {
    switch (request.do) {
      case 'ping':
        return { nowMs: this.#hardware.clock.nowMs(), devices: this.#hardware.models.size };
      case 'devices':
        return { devices: [...this.#hardware.models.values()].map(listed) };
      case 'get':
        return this.#get(request);
      case 'set':
        return this.#set(request);
      case 'fault':
        return this.#fault(request);
      case 'faults':
        return this.#faults();
      case 'clear':
        return { ended: this.#hardware.clear() };
      case 'log':
        return this.#log(request);
      case 'forget':
        this.#flush();
        this.#hardware.log.clear();
        return {};
      case 'canaries':
        return this.#canaries();
      default:
        throw new Refused(
          `do: ${show(request.do)} is unknown; use ping, devices, get, set, fault, faults, clear, log, forget or canaries`,
        );
    }
  }

  #get(request: Members): ControlResults['get'] {
    this.#flush();
    const model = this.#model(request);
    return shownWord(this.#spec(model, request), model);
  }

  #set(request: Members): ControlResults['set'] {
    const model = this.#model(request);
    if (model.device.quarantined) throw new Refused(`device: ${model.device.slug} is quarantined`);
    const spec = this.#spec(model, request);
    this.#hardware.set(model, spec.name, numberOf(request, 'value', spec.widthBits));
    return shownWord(spec, model);
  }

  #fault(request: Members): ControlResults['fault'] {
    const target = this.#target(request);
    const { kind } = request;
    if (kind === 'restore' || kind === 'return') {
      return { ended: this.#hardware.faults.restore(target) };
    }
    const fault = faultOf(request);
    const limits = {
      count: optionalWhole(request, 'count', 1, COUNT_MAX),
      durationMs: optionalWhole(request, 'durationMs', 1, DURATION_MS_MAX),
    };
    const wrong = misplaced(target, fault, limits);
    if (wrong !== null) throw new Refused(`kind: ${wrong}`);
    this.#hardware.faults.inject(target, fault, limits);
    return { ended: 0 };
  }

  #faults(): ControlResults['faults'] {
    return {
      faults: this.#hardware.faults.list().map(({ target, fault, remaining }) => ({
        bus: target.busId,
        device: target.device,
        register: target.register,
        kind: fault.kind,
        remaining,
      })),
    };
  }

  #log(request: Members): ControlResults['log'] {
    this.#flush();
    const count = optionalWhole(request, 'count', 0, LOG_COUNT_MAX) ?? LOG_COUNT_DEFAULT;
    const device = request.device === undefined ? undefined : this.#model(request).device.slug;
    return {
      total: this.#hardware.log.count,
      writes: this.#hardware.log.last(count, device).map((write) => ({
        ...write,
        value: `0x${write.value.toString(16).toUpperCase()}`,
      })),
    };
  }

  #canaries(): ControlResults['canaries'] {
    const quarantined = [...this.#hardware.models.values()].filter(
      (model) => model.device.quarantined,
    );
    const touched = new Set(this.#mechanisms.flatMap((mechanism) => mechanism.touched()));
    for (const model of quarantined) if (model.touches > 0) touched.add(model.device.slug);
    return { quarantined: quarantined.map((model) => model.device.slug), touched: [...touched] };
  }

  #flush(): void {
    for (const mechanism of this.#mechanisms) mechanism.flush();
  }

  #target(request: Members): FaultTarget {
    if ((request.device === undefined) === (request.bus === undefined)) {
      throw new Refused('name either a device or a bus');
    }
    if (request.device !== undefined) {
      const model = this.#model(request);
      const register = request.register === undefined ? null : this.#spec(model, request).name;
      const { busId, busKind, slug } = model.device;
      if (model.device.quarantined) throw new Refused(`device: ${slug} is quarantined`);
      return { busId, busKind, device: slug, register };
    }
    const bus = typeof request.bus === 'string' ? this.#hardware.bus(request.bus) : undefined;
    if (bus === undefined) {
      const ids = this.#hardware.board.buses.map(({ id }) => id).join(', ');
      throw new Refused(`bus: ${show(request.bus)} is none of ${ids}`);
    }
    if (request.register !== undefined) throw new Refused('register: needs a device, not a bus');
    return { busId: bus.id, busKind: bus.kind, device: null, register: null };
  }

  #model(request: Members): DeviceModel {
    const name = request.device;
    const text = typeof name === 'number' ? String(name) : name;
    const model = typeof text === 'string' ? this.#hardware.find(text) : undefined;
    if (model === undefined) {
      throw new Refused(`device: ${show(name)} is no slug, linear id or token of this board`);
    }
    return model;
  }

  #spec(model: DeviceModel, request: Members): RegisterSpec {
    const placed =
      typeof request.register === 'string' ? model.register(request.register) : undefined;
    if (placed === undefined) {
      const names = model.device.registers.map(({ spec }) => spec.name).join(', ');
      throw new Refused(
        `register: ${model.device.slug} has no ${show(request.register)}; it has ${names}`,
      );
    }
    return placed.spec;
  }
}

function faultOf(request: Members): HardwareFault {
  const { kind } = request;
  switch (kind) {
    case 'late':
      return { kind, ms: whole(request, 'ms', 1, DELAY_MS_MAX) };
    case 'exception':
      return { kind, code: whole(request, 'code', 1, 255) };
    case 'bad-crc':
    case 'silent':
    case 'wrong-unit':
    case 'nack':
    case 'stuck':
    case 'arbitration':
    case 'vanish':
    case 'eio':
    case 'absent':
    case 'garbage':
      return { kind };
    case 'stuck-bits':
      return { kind, mask: numberOf(request, 'mask', 64), value: numberOf(request, 'value', 64) };
    case 'truncate':
      return { kind, sizeBytes: optionalWhole(request, 'sizeBytes', 0, 2 ** 40) ?? 0 };
    default:
      throw new Refused(
        `kind: ${show(kind)} is none of ${FAULT_KINDS.join(', ')}, restore, return`,
      );
  }
}

function whole(request: Members, name: string, minimum: number, maximum: number): number {
  const value = request[name];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < minimum || value > maximum) {
    throw new Refused(`${name}: ${show(value)} is no whole number within ${minimum}..${maximum}`);
  }
  return value;
}

function optionalWhole(
  request: Members,
  name: string,
  minimum: number,
  maximum: number,
): number | null {
  return request[name] === undefined ? null : whole(request, name, minimum, maximum);
}

/** A word at the register's width; negative numbers are two's complement. */
function numberOf(request: Members, name: string, widthBits: 8 | 16 | 32 | 64): Word {
  const text = typeof request[name] === 'number' ? String(request[name]) : request[name];
  const match =
    typeof text === 'string' ? /^(-?)(0[xX][0-9a-fA-F]{1,16}|\d{1,20})$/.exec(text) : null;
  if (match?.[2] === undefined) {
    throw new Refused(`${name}: ${show(request[name])} is no decimal or 0x number in quotes`);
  }
  const value = match[1] === '-' ? -BigInt(match[2]) : BigInt(match[2]);
  if (value > widthMask(widthBits) || value < -(1n << BigInt(widthBits - 1))) {
    throw new Refused(`${name}: ${text} does not fit ${widthBits} bits`);
  }
  return BigInt.asUintN(widthBits, value);
}

function shownWord(spec: RegisterSpec, model: DeviceModel): ControlResults['get'] {
  const word = model.peek(spec.name);
  return { value: signedValue(spec, word).toString(), hex: formatWord(word, spec.widthBits) };
}

function listed({ device }: DeviceModel): ControlResults['devices']['devices'][number] {
  return {
    id: device.id,
    device: device.slug,
    bus: device.busId,
    registers: device.registers.map(({ spec }) => spec.name),
    quarantined: device.quarantined,
  };
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
