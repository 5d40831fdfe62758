// Drives devices to the safe values of their profiles: mapped memory at once, the other buses side by side.
// Invariants: writes only registers that declare a safe value; a failing device never keeps another from its safe state.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { LinearId } from '#model/device';
import type { Word } from '#model/register';
import type { StopReceipt } from '#model/stop';
import { Priority } from './bus-queue.ts';
import type { DeviceAccess, RegisterAccessPoint } from './device-access.ts';

export interface SafeStateReport {
  readonly safe: readonly LinearId[];
  readonly unsafe: StopReceipt['unsafe'];
  readonly durationMs: number;
  /** Time until the last immediate (mapped memory) device was safe, milliseconds. */
  readonly immediateMs: number;
}

interface SafeWrite {
  readonly point: RegisterAccessPoint;
  readonly word: Word;
}

export class SafeState {
  readonly #access: DeviceAccess;
  readonly #clock: Clock;
  readonly #budgetMs: number;
  /** Declared order: by device, then by each register's safe order. Computed once, used without allocation. */
  readonly #immediate: readonly SafeWrite[];
  readonly #queued: ReadonlyMap<LinearId, readonly SafeWrite[]>;

  constructor(access: DeviceAccess, clock: Clock, budgetMs: number) {
    this.#access = access;
    this.#clock = clock;
    this.#budgetMs = budgetMs;
    const immediate: SafeWrite[] = [];
    const queued = new Map<LinearId, readonly SafeWrite[]>();
    for (const id of access.devices.keys()) {
      const writes = safeWritesOf(access.pointsOf(id));
      if (writes.every((write) => write.point.queue.immediate)) immediate.push(...writes);
      else queued.set(id, writes);
    }
    this.#immediate = immediate;
    this.#queued = queued;
  }

  /** Empty `devices` means all. */
  async drive(devices: readonly LinearId[]): Promise<SafeStateReport> {
    const startMs = this.#clock.nowMs();
    const wanted = new Set(devices.length === 0 ? this.#access.devices.keys() : devices);
    const findings = new Map<LinearId, string>();
    for (const { point, word } of this.#immediate) {
      if (!wanted.has(point.device.id)) continue;
      const written = point.queue.writeNow(point.cell, word);
      if (!written.ok) findings.set(point.device.id, written.fault.finding);
    }
    const immediateMs = this.#clock.nowMs() - startMs;
    const deadline = Deadline.after(this.#clock, this.#budgetMs);
    const slow = [...this.#queued].filter(([id]) => wanted.has(id));
    await Promise.all(
      slow.map(async ([id, writes]) => {
        for (const { point, word } of writes) {
          const written = await point.queue.write(point.cell, word, deadline, Priority.STOP);
          if (!written.ok) findings.set(id, `${point.cell.place}: ${written.fault.finding}`);
        }
      }),
    );
    const reachable = [...wanted].filter((id) => this.#access.pointsOf(id).length > 0);
    return {
      safe: reachable.filter((id) => !findings.has(id)),
      unsafe: [...findings].map(([device, finding]) => ({ device, finding })),
      durationMs: this.#clock.nowMs() - startMs,
      immediateMs,
    };
  }
}

function safeWritesOf(points: readonly RegisterAccessPoint[]): readonly SafeWrite[] {
  const writes: SafeWrite[] = [];
  for (const point of points) {
    const word = point.spec.safeValue;
    if (word !== null) writes.push({ point, word });
  }
  return writes.sort((left, right) => left.point.spec.safeOrder - right.point.spec.safeOrder);
}
