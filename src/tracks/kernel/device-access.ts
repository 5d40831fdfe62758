// Every device's registers by name, each with its cell and its queue: the one way from a plan to metal.

import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse } from '#foundation/outcome';
import type { Cell } from '#model/bus';
import { type DeviceDescriptor, type LinearId, permanentlyQuarantined } from '#model/device';
import type { RegisterReference } from '#model/plan';
import type { RegisterSpec, Word } from '#model/register';
import type { BusQueue, Priority } from './bus-queue.ts';

/** A register ready for access. */
export interface RegisterAccessPoint {
  readonly device: DeviceDescriptor;
  readonly spec: RegisterSpec;
  readonly cell: Cell;
  readonly queue: BusQueue;
}

export class DeviceAccess {
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly queues: ReadonlyMap<string, BusQueue>;
  readonly #points = new Map<LinearId, ReadonlyMap<string, RegisterAccessPoint>>();

  constructor(devices: readonly DeviceDescriptor[], queues: ReadonlyMap<string, BusQueue>) {
    this.devices = new Map(devices.map((device) => [device.id, device]));
    this.queues = queues;
    for (const device of devices) {
      const queue = queues.get(device.busId);
      // A device without a queue (quarantined, or its bus is unknown) has no way to metal at all.
      const forbidden = device.quarantined || permanentlyQuarantined(device.id);
      if (queue === undefined || forbidden) continue;
      this.#points.set(
        device.id,
        new Map(
          device.registers.map((register) => {
            const cell: Cell = {
              device: device.id,
              place: `${device.slug}.${register.spec.name}`,
              widthBits: register.spec.widthBits,
              signed: register.spec.signed,
              location: register.location,
            };
            return [register.spec.name, { device, spec: register.spec, cell, queue }];
          }),
        ),
      );
    }
  }

  point(device: LinearId, register: string): RegisterAccessPoint | undefined {
    return this.#points.get(device)?.get(register);
  }

  /** All registers of a device, in the profile's order; empty for a device that may not be touched. */
  pointsOf(device: LinearId): readonly RegisterAccessPoint[] {
    return [...(this.#points.get(device)?.values() ?? [])];
  }

  placeOf(reference: RegisterReference): string {
    const slug = this.devices.get(reference.device)?.slug ?? `device ${reference.device}`;
    return `${slug}.${reference.register}`;
  }

  read(
    reference: RegisterReference,
    deadline: Deadline,
    priority: Priority,
  ): Promise<Outcome<Word>> {
    const point = this.point(reference.device, reference.register);
    if (point === undefined) return Promise.resolve(this.#unknown(reference));
    return point.queue.read(point.cell, deadline, priority);
  }

  write(
    reference: RegisterReference,
    word: Word,
    deadline: Deadline,
    priority: Priority,
  ): Promise<Outcome<void>> {
    const point = this.point(reference.device, reference.register);
    if (point === undefined) return Promise.resolve(this.#unknown(reference));
    return point.queue.write(point.cell, word, deadline, priority);
  }

  /** Registers of any devices, grouped so that each device's part is one bus access; outcomes in order. */
  async readMany(
    references: readonly RegisterReference[],
    deadline: Deadline,
    priority: Priority,
  ): Promise<readonly Outcome<Word>[]> {
    const outcomes: Outcome<Word>[] = references.map((reference) => this.#unknown(reference));
    const groups = new Map<
      LinearId,
      { readonly queue: BusQueue; readonly at: number[]; readonly cells: Cell[] }
    >();
    for (const [index, reference] of references.entries()) {
      const point = this.point(reference.device, reference.register);
      if (point === undefined) continue;
      const group = groups.get(reference.device) ?? { queue: point.queue, at: [], cells: [] };
      group.at.push(index);
      group.cells.push(point.cell);
      groups.set(reference.device, group);
    }
    await Promise.all(
      [...groups.values()].map(async (group) => {
        const results = await group.queue.readMany(group.cells, deadline, priority);
        for (const [index, result] of results.entries()) {
          const at = group.at[index];
          if (at !== undefined) outcomes[at] = result;
        }
      }),
    );
    return outcomes;
  }

  #unknown(reference: RegisterReference): {
    readonly ok: false;
    readonly fault: ReturnType<typeof fault>;
  } {
    const device = this.devices.get(reference.device);
    const place = this.placeOf(reference);
    if (device?.quarantined === true) {
      return refuse(
        fault('DEVICE_QUARANTINED', { place, finding: 'a quarantined device has no way to metal' }),
      );
    }
    return refuse(
      fault('REGISTER_UNKNOWN', { place, finding: 'no such register on a bus of this board' }),
    );
  }
}
