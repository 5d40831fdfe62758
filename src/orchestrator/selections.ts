// Operations that people have selected and not yet operated: whose they are, for which plan, until when.
// Invariants: one selection is used once, by the person who made it; every end is on record, and frees the devices in
// kernel, which lets go by itself at the same time when it cannot be reached.

import type { Cancel, Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import { type Intent, operationName } from '#model/operation';
import type { OpenSelection } from '#model/orchestrator-port';
import type { Origin, Principal } from '#model/principal';
import type { KernelTrack } from '#model/track';
import type { Announcer } from './announcer.ts';

export interface Selection {
  readonly intent: Intent;
  /** Principal id. */
  readonly by: string;
  readonly planDigest: string;
  /** State of the devices it was made for, see `RegisterPlan.basis`. */
  readonly basis: string;
  readonly devices: readonly LinearId[];
  /** Monotonic milliseconds. */
  readonly untilMs: number;
}

export interface SelectionsParts {
  readonly clock: Clock;
  readonly kernel: KernelTrack;
  readonly announcer: Announcer;
  /** Why this device may not be operated any more whoever selected it, or nothing. */
  readonly forbidden: (device: LinearId) => string | undefined;
}

export const SELECTIONS_MAX = 64;
export const SELECTIONS_OF_ONE_MAX = 16;
const ABORT_LIMIT_MS = 1_000;

interface Open {
  readonly selection: Selection;
  readonly cancel: Cancel;
}

/** Why a selection ended while its operation ran, and who ended it. */
interface Ended {
  readonly reason: string;
  readonly actor: string;
}

export class Selections {
  readonly #parts: SelectionsParts;
  readonly #open = new Map<string, Open>();
  /** Taken for an operation that has not ended yet: they count, and can be put back. */
  readonly #taken = new Map<string, { readonly selection: Selection; ended: Ended | null }>();

  constructor(parts: SelectionsParts) {
    this.#parts = parts;
  }

  get count(): number {
    return this.#open.size + this.#taken.size;
  }

  /** Also while its operation runs. */
  has(operationId: string): boolean {
    return this.#open.has(operationId) || this.#taken.has(operationId);
  }

  /** Those that wait for their person. */
  list(): readonly OpenSelection[] {
    const { clock } = this.#parts;
    const offsetMs = clock.wallMs() - clock.nowMs();
    return [...this.#open.values()].map(({ selection: { intent, by, devices, untilMs } }) => ({
      operationId: intent.operationId,
      by,
      operation: operationName(intent.type),
      devices,
      untilWallMs: Math.round(untilMs + offsetMs),
    }));
  }

  /** Room for one more of this person, or BUSY. */
  room(operationId: string, by: string): Outcome<void> {
    const all = [...this.#open.values(), ...this.#taken.values()];
    const own = all.filter(({ selection }) => selection.by === by).length;
    if (all.length < SELECTIONS_MAX && own < SELECTIONS_OF_ONE_MAX) return succeed(undefined);
    const finding =
      own < SELECTIONS_OF_ONE_MAX
        ? `${SELECTIONS_MAX} operations are selected already`
        : `${by} has ${SELECTIONS_OF_ONE_MAX} operations selected already`;
    return refuse(fault('BUSY', { place: `operation ${operationId}`, finding }));
  }

  /** Kernel holds the devices from here on. */
  add(selection: Selection): void {
    const { clock } = this.#parts;
    const { operationId } = selection.intent;
    const leftMs = selection.untilMs - clock.nowMs();
    const cancel = clock.after(leftMs, () => this.#end(operationId, 'expired', 'security'));
    this.#open.set(operationId, { selection, cancel });
  }

  /** The person's own selection; from here on nobody else finds it. */
  take(operationId: string, principal: Principal): Outcome<Selection> {
    const found = this.#find(operationId, principal);
    if (!found.ok) return found;
    const forbidden = found.value.selection.devices.flatMap(
      (device) => this.#parts.forbidden(device) ?? [],
    )[0];
    if (forbidden !== undefined) {
      this.#end(operationId, forbidden, 'security');
      const finding = `the selection has ended: a device of it is ${forbidden}`;
      return refuse(fault('SELECTION_UNKNOWN', { place: `operation ${operationId}`, finding }));
    }
    found.value.cancel();
    this.#open.delete(operationId);
    const { selection } = found.value;
    this.#taken.set(operationId, { selection, ended: null });
    return succeed(selection);
  }

  /** The operation was refused for want of people before anything was tried: it may come again. */
  putBack(selection: Selection): void {
    const { operationId } = selection.intent;
    const ended = this.#taken.get(operationId)?.ended;
    this.#taken.delete(operationId);
    this.add(selection);
    if (ended !== undefined && ended !== null) this.#end(operationId, ended.reason, ended.actor);
  }

  /** Ends one selection, whoever made it. */
  drop(operationId: string, reason: string): void {
    this.#end(operationId, reason, 'security');
  }

  /** The operation it was taken for has ended; `free` when kernel may still hold the devices. */
  async used(selection: Selection, how: string, leases: 'free' | 'gone'): Promise<void> {
    this.#taken.delete(selection.intent.operationId);
    if (leases === 'free') await this.#abort(selection);
    this.#record(selection, how, selection.by);
  }

  /** The person lets go; a selection that kernel could not be told of stays until it expires. */
  async release(operationId: string, principal: Principal, origin: Origin): Promise<Outcome<void>> {
    const taken = this.take(operationId, principal);
    if (!taken.ok) return taken;
    const freed = await this.#abort(taken.value);
    if (!freed.ok) {
      this.putBack(taken.value);
      return freed;
    }
    this.#taken.delete(operationId);
    this.#record(taken.value, 'released', principal.id, origin);
    return succeed(undefined);
  }

  /** Ends every selection that holds one of these devices; empty means all. */
  endOn(devices: readonly LinearId[], reason: string, actor: string): void {
    const touches = (selection: Selection) =>
      devices.length === 0 || selection.devices.some((device) => devices.includes(device));
    for (const [operationId, { selection }] of this.#open)
      if (touches(selection)) this.#end(operationId, reason, actor);
    for (const taken of this.#taken.values())
      if (touches(taken.selection)) taken.ended ??= { reason, actor };
  }

  #find(operationId: string, principal: Principal): Outcome<Open> {
    const place = `operation ${operationId}`;
    const open = this.#open.get(operationId);
    if (open === undefined || open.selection.untilMs <= this.#parts.clock.nowMs()) {
      const finding = 'no selection of this id is open; it may have expired';
      return refuse(fault('SELECTION_UNKNOWN', { place, finding }));
    }
    if (open.selection.by !== principal.id) {
      const finding = `${open.selection.by} selected it, not ${principal.id}`;
      return refuse(fault('NOT_PERMITTED', { place, finding }));
    }
    return succeed(open);
  }

  #end(operationId: string, reason: string, actor: string): void {
    const open = this.#open.get(operationId);
    if (open === undefined) return;
    open.cancel();
    this.#open.delete(operationId);
    void this.#abort(open.selection);
    this.#record(open.selection, reason, actor);
  }

  #abort(selection: Selection): Promise<Outcome<void>> {
    const { clock, kernel } = this.#parts;
    return kernel.abort(selection.intent.operationId, Deadline.after(clock, ABORT_LIMIT_MS));
  }

  #record(selection: Selection, how: string, actor: string, origin: Origin | null = null): void {
    const { intent, planDigest, devices, by } = selection;
    void this.#parts.announcer.record('SELECTION_ENDED', actor, origin, devices, how, {
      operationId: intent.operationId,
      operation: operationName(intent.type),
      planDigest,
      details: { selectedBy: by },
    });
  }
}
