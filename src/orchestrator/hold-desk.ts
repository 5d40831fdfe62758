// How people put devices on hold and let them go again: one person for what is in doubt, two for a quarantine.
// Invariants: the permanent quarantine is never let go; the first of two counts only while it still could ask; kernel lifts a hold before the record says so; a release that
// cannot be put on record is none.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Authorization } from '#model/authorization';
import { type DeviceDescriptor, type LinearId, permanentlyQuarantined } from '#model/device';
import { type DeviceHold, type HoldKind, releaseHoldAct } from '#model/hold';
import type { HoldProgress } from '#model/orchestrator-port';
import { ClearanceLevel, clearanceName, type Principal } from '#model/principal';
import type { KernelTrack } from '#model/track';
import { type FirstPerson, lapsedBecause, sameCredential } from './first-person.ts';
import type { HoldBook } from './hold-book.ts';
import { NO_PROOF, type Proof } from './ports.ts';
import type { Supervision } from './supervision.ts';

export interface HoldDeskParts {
  readonly clock: Clock;
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly kernel: KernelTrack;
  readonly holds: HoldBook;
  readonly supervision: Supervision;
  readonly grant: (operationId: string, act: string, grantedTo: readonly string[]) => Authorization;
  readonly newId: () => string;
}

/** Puts a hold or its end on record; `beside` runs in the same durable transaction. */
export type RecordHold = (told: string, beside: () => void) => Promise<Outcome<unknown>>;

/** Time for the second person, milliseconds. */
const SECOND_PERSON_MS = 300_000;
const REASON_LENGTH_MIN = 10;
const REASON_LENGTH_MAX = 512;

export class HoldDesk {
  readonly #parts: HoldDeskParts;
  /** One for each device of the board at most. */
  readonly #asked = new Map<LinearId, FirstPerson>();

  constructor(parts: HoldDeskParts) {
    this.#parts = parts;
  }

  /** `record` goes on trying by itself: the device is held whether its entry could be made or not. */
  async quarantine(
    principal: Principal,
    device: LinearId,
    reason: string,
    record?: RecordHold,
  ): Promise<Outcome<DeviceHold>> {
    const allowed = this.#allowed(principal, device, reason);
    if (!allowed.ok) return allowed;
    const { clock, supervision } = this.#parts;
    const sinceWallMs = clock.wallMs();
    const hold: DeviceHold = { device, kind: 'quarantined', reason, sinceWallMs };
    this.#asked.delete(device);
    const place = allowed.value.slug;
    const recorded =
      record === undefined
        ? await this.#durable(hold, place)
        : await this.#entered(hold, place, record);
    // Kernel drives the device to its safe values first; when it is away it gets the hold before anything else.
    await supervision.refresh();
    return recorded.ok ? succeed(hold) : recorded;
  }

  /** The hold and its entry are one transaction; a hold that the disk takes without its entry is better than none. */
  async #entered(hold: DeviceHold, place: string, record: RecordHold): Promise<Outcome<void>> {
    const { holds } = this.#parts;
    const told = holds.add([hold], (write) => record('quarantined', write));
    const entered = await onRecord(told, place, {
      finding: 'its quarantine could not be put on record',
      consequence: 'the device is held, and the entry follows as soon as the disk takes it',
    });
    if (entered.ok) return entered;
    const durable = await this.#durable(hold, place);
    return durable.ok ? entered : durable;
  }

  #durable(hold: DeviceHold, place: string): Promise<Outcome<void>> {
    return onRecord(this.#parts.holds.add([hold]), place, {
      finding: 'its quarantine could not be made durable',
      consequence: 'the device is held, but a restart of security would forget it',
    });
  }

  async release(
    principal: Principal,
    device: LinearId,
    reason: string,
    deadline: Deadline,
    record: RecordHold,
    proof = NO_PROOF,
  ): Promise<Outcome<HoldProgress>> {
    const allowed = this.#allowed(principal, device, reason);
    if (!allowed.ok) return allowed;
    const { holds } = this.#parts;
    const place = allowed.value.slug;
    const open = holds.unsettledOn(device);
    if (open !== undefined) {
      const finding = `operation ${open} is not settled yet; kernel has to say first what stands`;
      return refuse(fault('DEVICE_BUSY', { place, finding }));
    }
    if (holds.has(device, 'quarantined')) {
      const first = this.#firstPerson(principal, proof, device, reason);
      if (typeof first === 'string') return succeed({ released: false, message: first });
      if (sameCredential(first, proof)) {
        const finding = `${principal.id} signed in with what ${first.by.id} asked with, so that it might be one person`;
        return refuse(fault('NOT_PERMITTED', { place, finding }));
      }
      this.#asked.delete(device);
      return this.#lift(device, 'quarantined', [first.by.id, principal.id], deadline, record);
    }
    if (holds.has(device, 'in-doubt')) {
      return this.#lift(device, 'in-doubt', [principal.id], deadline, record);
    }
    const [other] = holds.of(device);
    const finding =
      other === undefined
        ? 'no hold is on record'
        : `it is ${other.kind}, which ends ${other.kind === 'stopped' ? 'with the reset of the stop' : 'with its activation'}`;
    return refuse(fault('HOLD_UNKNOWN', { place, finding }));
  }

  /** Who asked before and still could; else what to tell the one who is now the first. */
  #firstPerson(
    principal: Principal,
    proof: Proof,
    device: LinearId,
    reason: string,
  ): FirstPerson | string {
    const { clock } = this.#parts;
    const first = this.#asked.get(device);
    const other =
      first !== undefined && first.untilMs > clock.nowMs() && first.by.id !== principal.id;
    const lapsed = other ? lapsedBecause(first, (by) => this.#allowed(by, device, reason)) : null;
    if (other && lapsed === null) return first;
    this.#asked.set(device, { by: principal, proof, untilMs: clock.nowMs() + SECOND_PERSON_MS });
    const before =
      lapsed === null ? '' : `${first?.by.id} had asked for the release and ${lapsed}; `;
    return `${before}${principal.id} asked for the release; a second person has to ask within ${SECOND_PERSON_MS / 1000} s`;
  }

  async #lift(
    device: LinearId,
    kind: HoldKind,
    grantedTo: readonly string[],
    deadline: Deadline,
    record: RecordHold,
  ): Promise<Outcome<HoldProgress>> {
    const { kernel, holds, supervision, grant, newId } = this.#parts;
    const authorization = grant(newId(), releaseHoldAct(device, kind), grantedTo);
    const lifted = await kernel.lift({ device, kind, authorization }, deadline);
    if (!lifted.ok) return lifted;
    const message = `${kind} was released by ${grantedTo.join(' and ')}`;
    const recorded = await record(message, () => holds.liftBeside(device, kind));
    if (!recorded.ok) {
      // Nobody would ever know who let it go: kernel takes the hold back.
      holds.reread();
      await supervision.refresh();
      return refuse({ ...recorded.fault, consequence: 'the device stays held' });
    }
    return succeed({ released: true, message });
  }

  #allowed(principal: Principal, device: LinearId, reason: string): Outcome<DeviceDescriptor> {
    const descriptor = this.#parts.devices.get(device);
    const place = descriptor?.slug ?? `device ${device}`;
    if (descriptor === undefined) {
      return refuse(fault('DEVICE_UNKNOWN', { place, finding: 'not on this board' }));
    }
    if (descriptor.quarantined || permanentlyQuarantined(device)) {
      const finding = 'its quarantine is permanent';
      return refuse(fault('DEVICE_QUARANTINED', { place, finding }));
    }
    if (principal.kind !== 'person') {
      const finding = 'only people put devices on hold or let them go';
      return refuse(fault('NOT_PERMITTED', { place, finding }));
    }
    if (principal.devices !== null && !principal.devices.includes(device)) {
      const finding = `${principal.id} may not operate this device`;
      return refuse(fault('NOT_PERMITTED', { place, finding }));
    }
    const needed = Math.max(ClearanceLevel.SECRET, descriptor.clearanceMinimum) as ClearanceLevel;
    if (principal.clearance < needed) {
      const finding = `it needs ${clearanceName(needed)}, ${principal.id} has ${clearanceName(principal.clearance)}`;
      return refuse(fault('CLEARANCE_TOO_LOW', { place, finding }));
    }
    const missing = descriptor.compartments.filter(
      (compartment) => !principal.compartments.includes(compartment),
    );
    if (missing.length > 0) {
      const finding = `${principal.id} does not hold ${missing.join(', ')}`;
      return refuse(fault('COMPARTMENT_MISSING', { place, finding }));
    }
    const { length } = reason.trim();
    if (length < REASON_LENGTH_MIN || length > REASON_LENGTH_MAX) {
      const finding = `the reason has ${length} characters, not ${REASON_LENGTH_MIN} to ${REASON_LENGTH_MAX}`;
      return refuse(fault('JUSTIFICATION_NEEDED', { place, finding }));
    }
    return succeed(descriptor);
  }
}

/** A disk that takes nothing is a refusal like any other. */
async function onRecord(
  writing: Promise<void>,
  place: string,
  told: { readonly finding: string; readonly consequence: string },
): Promise<Outcome<void>> {
  try {
    return succeed(await writing);
  } catch (error) {
    const internal = describeError(error);
    return refuse(fault('AUDIT_UNAVAILABLE', { place, ...told, internal }));
  }
}
