// The driver of every device that a profile alone describes: turns requests into register steps, all from data.
// Invariants: plan() is total and touches nothing; no step it makes writes outside limits, width or reserved
// bits; a precious register is read only when named. The largest step is judged by the kernel's register
// policy, which knows what the register holds.
// Faults: REGISTER_UNKNOWN, VALUE_MISSING, VALUE_TOO_WIDE, VALUE_OUT_OF_LIMITS, RESERVED_BITS,
// REGISTER_READ_ONLY, REGISTER_WRITE_ONLY, REQUEST_MALFORMED, OPERATION_UNSUPPORTED, DEVICE_UNKNOWN.

import { type FaultDetails, fault } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';
import { nearestName, quoted } from '#foundation/nearest';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { DeviceDescriptor } from '#model/device';
import type { BehaviourWrite } from '#model/device-behaviour';
import type { Driver, DriverPlan, RegisterValues } from '#model/driver';
import {
  OperationType,
  operationName,
  type RegisterAccessRequest,
  type Target,
} from '#model/operation';
import type { ReadStep, RegisterStep } from '#model/plan';
import { type RegisterSpec, readable, writable } from '#model/register';
import { deviceState, holds } from './behaviour-rules.ts';
import { checkValue, writeStep } from './write-step.ts';

const NAME = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;

export function createRegisterDriver(descriptor: DeviceDescriptor): Driver {
  return new RegisterDriver(descriptor);
}

class RegisterDriver implements Driver {
  readonly descriptor: DeviceDescriptor;
  readonly identifyRegisters: readonly string[];
  readonly observeRegisters: readonly string[];
  readonly #specs: ReadonlyMap<string, RegisterSpec>;

  constructor(descriptor: DeviceDescriptor) {
    this.descriptor = descriptor;
    this.#specs = new Map(descriptor.registers.map(({ spec }) => [spec.name, spec]));
    const { identify, observe } = descriptor.behaviour;
    this.identifyRegisters = [...new Set(identify.map((condition) => condition.register))];
    this.observeRegisters = observe.registers;
  }

  identify(values: RegisterValues): boolean {
    return this.descriptor.behaviour.identify.every(
      (condition) => holds(condition, this.#specs, values) === true,
    );
  }

  observe(values: RegisterValues): ReturnType<Driver['observe']> {
    return deviceState(this.descriptor.behaviour, this.#specs, values);
  }

  plan(type: OperationType, target: Target): Outcome<DriverPlan> {
    if (target.device !== this.descriptor.id) {
      const finding = `device ${target.device} is another device than ${this.descriptor.id}`;
      return this.#refuse('DEVICE_UNKNOWN', { finding });
    }
    const { behaviour } = this.descriptor;
    switch (type) {
      case OperationType.READ:
        return this.#planRead(target.registers);
      case OperationType.WRITE:
        return this.#planWrite(type, target.registers, null);
      case OperationType.CONFIG:
        return this.#planWrite(type, target.registers, behaviour.operations.configure);
      case OperationType.RESET:
        return this.#planOperation(type, target.registers, behaviour.operations.reset);
      case OperationType.ACTIVATE:
        return this.#planOperation(type, target.registers, behaviour.operations.activate);
      case OperationType.DEACTIVATE:
        return this.#planOperation(type, target.registers, behaviour.operations.deactivate);
      case OperationType.EMERGENCY_STOP:
      case OperationType.UNKNOWN:
        return this.#unsupported(type);
      default:
        return this.#refuse('REQUEST_MALFORMED', { finding: `there is no operation ${type}` });
    }
  }

  #planRead(requests: readonly RegisterAccessRequest[]): Outcome<DriverPlan> {
    if (requests.length === 0) {
      const steps = this.descriptor.registers
        .filter(({ spec }) => readable(spec) && !spec.precious)
        .map(({ spec }) => this.#readStep(spec));
      if (steps.length > 0) return succeed({ steps });
      const finding = 'the device has no register that is read without being named';
      return this.#refuse('OPERATION_UNSUPPORTED', { finding });
    }
    const steps: RegisterStep[] = [];
    const seen = new Set<string>();
    for (const request of requests) {
      const found = this.#specOf(request, seen);
      if (!found.ok) return found;
      const spec = found.value;
      const place = this.#place(spec.name);
      if (request.value !== undefined) {
        return this.#refuse('REQUEST_MALFORMED', { place, finding: 'a READ takes no value' });
      }
      if (!readable(spec)) {
        const finding = 'the register is wo and cannot be read';
        return this.#refuse('REGISTER_WRITE_ONLY', { place, finding });
      }
      steps.push(this.#readStep(spec));
    }
    return succeed({ steps });
  }

  /** `allowed` names the only registers of the operation; null allows all writable ones. */
  #planWrite(
    type: OperationType,
    requests: readonly RegisterAccessRequest[],
    allowed: readonly string[] | null,
  ): Outcome<DriverPlan> {
    const name = operationName(type);
    if (requests.length === 0) {
      return this.#refuse('VALUE_MISSING', { finding: `${name} names no register` });
    }
    const steps: RegisterStep[] = [];
    const seen = new Set<string>();
    for (const request of requests) {
      const found = this.#specOf(request, seen);
      if (!found.ok) return found;
      const spec = found.value;
      const place = this.#place(spec.name);
      if (!writable(spec)) {
        const finding = `the register is ${spec.access} and cannot be written`;
        return this.#refuse('REGISTER_READ_ONLY', { place, finding });
      }
      if (allowed !== null && !allowed.includes(spec.name)) {
        const finding = `${name} writes only ${allowed.join(', ')}; write it with WRITE`;
        return this.#refuse('OPERATION_UNSUPPORTED', { place, finding });
      }
      if (request.value === undefined) {
        return this.#refuse('VALUE_MISSING', { place, finding: `${name} came without a value` });
      }
      const value = checkValue(place, spec, request.value);
      if (!value.ok) return value;
      steps.push(writeStep(this.descriptor.id, spec, value.value));
    }
    return succeed({ steps });
  }

  #planOperation(
    type: OperationType,
    requests: readonly RegisterAccessRequest[],
    writes: readonly BehaviourWrite[] | null,
  ): Outcome<DriverPlan> {
    if (writes === null || writes.length === 0) return this.#unsupported(type);
    if (requests.length > 0) {
      const finding = `${operationName(type)} names no registers; the profile says what is written`;
      return this.#refuse('REQUEST_MALFORMED', { finding });
    }
    const steps: RegisterStep[] = [];
    for (const write of writes) {
      const spec = this.#specs.get(write.register);
      if (spec === undefined) return this.#unsupported(type);
      steps.push(writeStep(this.descriptor.id, spec, write.value, write.mask));
    }
    return succeed({ steps });
  }

  /** The register that a request names, once in a request. */
  #specOf(request: RegisterAccessRequest, seen: Set<string>): Outcome<RegisterSpec> {
    const { register } = request;
    const spec = this.#specs.get(register);
    if (spec === undefined) {
      const near = nearestName(register, this.#specs.keys());
      const hint = near === undefined ? '' : `, the nearest is ${near}`;
      // What a stranger sent becomes part of the place only when it could be a register's name.
      const place = NAME.test(register) ? this.#place(register) : this.descriptor.slug;
      const finding = `there is no register ${quoted(register)}${hint}`;
      return this.#refuse('REGISTER_UNKNOWN', { place, finding });
    }
    if (seen.has(register)) {
      const place = this.#place(register);
      return this.#refuse('REQUEST_MALFORMED', { place, finding: 'the register is named twice' });
    }
    seen.add(register);
    return succeed(spec);
  }

  #readStep(spec: RegisterSpec): ReadStep {
    return {
      kind: 'read',
      device: this.descriptor.id,
      register: spec.name,
      widthBits: spec.widthBits,
    };
  }

  #unsupported(type: OperationType): {
    readonly ok: false;
    readonly fault: ReturnType<typeof fault>;
  } {
    const finding = `profile ${this.descriptor.profile} has no ${operationName(type)}`;
    return this.#refuse('OPERATION_UNSUPPORTED', { finding });
  }

  #refuse(code: FaultCode, details: Omit<FaultDetails, 'place'> & { readonly place?: string }) {
    return refuse(fault(code, { place: this.descriptor.slug, ...details }));
  }

  #place(register: string): string {
    return `${this.descriptor.slug}.${register}`;
  }
}
