// Drives devices to the safe values of their profiles, stage by stage: mapped memory at once, the other buses side by
// side; and reads every value back before it calls a device safe.
// Invariants: writes only registers that declare a safe value, and nothing of a device that is left out; a failing device
// keeps no other from its safe state: it has its turn again after every other of its bus, and a stage waits for it no
// longer than its share of the budget.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Fault } from '#foundation/fault';
import type { LinearId } from '#model/device';
import type { Word } from '#model/register';
import type { StopReceipt } from '#model/stop';
import { Priority } from './bus-queue.ts';
import type { DeviceAccess } from './device-access.ts';
import { type QueuedDevice, type SafeStage, type SafeWrite, safeStagesOf } from './safe-plan.ts';

export interface SafeStateReport {
  readonly safe: readonly LinearId[];
  readonly unsafe: StopReceipt['unsafe'];
  readonly durationMs: number;
  /** Time until the last immediate (mapped memory) device was written, milliseconds. */
  readonly immediateMs: number;
}

/** One drive under way. */
interface Drive {
  readonly covers: (device: LinearId) => boolean;
  /** Mapped writes that were refused, and why. */
  readonly refused: Map<SafeWrite, Fault>;
  /** The first finding of each device that is not safe. */
  readonly findings: Map<LinearId, string>;
}

/** A device that did not take a write at first, and where to go on. */
interface Late {
  readonly device: QueuedDevice;
  readonly from: number;
  readonly found: Fault | null;
}

export class SafeState {
  readonly #access: DeviceAccess;
  readonly #clock: Clock;
  readonly #budgetMs: number;
  readonly #leftOut: (device: LinearId) => boolean;
  /** Computed once, used without allocation on the way to mapped memory. */
  readonly #stages: readonly SafeStage[];

  /** `leftOut`: devices that must not be touched now, beside those that have no way to metal at all. */
  constructor(
    access: DeviceAccess,
    clock: Clock,
    budgetMs: number,
    leftOut: (device: LinearId) => boolean = () => false,
  ) {
    this.#access = access;
    this.#clock = clock;
    this.#budgetMs = budgetMs;
    this.#leftOut = leftOut;
    this.#stages = safeStagesOf(access);
  }

  /** Empty `devices` means all. */
  async drive(
    devices: readonly LinearId[],
    budgetMs: number = this.#budgetMs,
  ): Promise<SafeStateReport> {
    const startMs = this.#clock.nowMs();
    const chosen = devices.length === 0 ? null : new Set(devices);
    const covers = (id: LinearId) => (chosen === null || chosen.has(id)) && !this.#leftOut(id);
    const drive: Drive = { covers, refused: new Map(), findings: new Map() };
    let immediateMs = 0;
    for (const [index, stage] of this.#stages.entries()) {
      for (const write of stage.immediate) {
        if (covers(write.point.device.id)) writeNow(write, drive);
      }
      const nowMs = this.#clock.nowMs();
      if (stage.immediate.length > 0) immediateMs = nowMs - startMs;
      const shareMs = (startMs + budgetMs - nowMs) / (this.#stages.length - index);
      const deadline = Deadline.after(this.#clock, Math.max(0, shareMs));
      const buses = stage.queued.map((bus) => this.#driveBus(bus, drive, deadline));
      await Promise.all([...buses, this.#confirmImmediate(stage, drive)]);
    }
    const { findings } = drive;
    const reachable = [...this.#access.devices.keys()].filter(
      (id) => covers(id) && this.#access.pointsOf(id).length > 0,
    );
    return {
      safe: reachable.filter((id) => !findings.has(id)),
      unsafe: [...findings].map(([device, finding]) => ({ device, finding })),
      durationMs: this.#clock.nowMs() - startMs,
      immediateMs,
    };
  }

  /** Buses that are not open, each with how many devices a stop could not be sure to reach. */
  closedBuses(): readonly string[] {
    const found: string[] = [];
    for (const queue of this.#access.queues.values()) {
      const { open, id } = queue.state();
      if (open) continue;
      const devices = new Set<LinearId>();
      for (const stage of this.#stages) {
        const queued = stage.queued.flatMap((bus) => bus.flatMap((device) => device.writes));
        for (const { point } of [...stage.immediate, ...queued]) {
          if (point.queue === queue) devices.add(point.device.id);
        }
      }
      const { size } = devices;
      if (size > 0) {
        found.push(`bus ${id} is not open, a stop may not reach its ${size} device${plural(size)}`);
      }
    }
    return found;
  }

  // --- Mapped memory -----------------------------------------------------------------------------

  async #confirmImmediate(stage: SafeStage, drive: Drive): Promise<void> {
    const concerned = stage.immediate.some(({ point }) => drive.covers(point.device.id));
    if (!concerned) return;
    if (stage.immediateSettleMs > 0) await this.#clock.sleep(stage.immediateSettleMs);
    const again: SafeWrite[] = [];
    for (const write of stage.immediate) {
      if (drive.covers(write.point.device.id) && problemNow(write, drive) !== null)
        again.push(write);
    }
    if (again.length === 0) return;
    for (const write of again) writeNow(write, drive);
    if (stage.immediateSettleMs > 0) await this.#clock.sleep(stage.immediateSettleMs);
    for (const write of again) {
      const finding = problemNow(write, drive);
      if (finding !== null) note(drive, write, finding);
    }
  }

  // --- Queued buses ------------------------------------------------------------------------------

  async #driveBus(bus: readonly QueuedDevice[], drive: Drive, deadline: Deadline): Promise<void> {
    const late: Late[] = [];
    await Promise.all(
      bus.map(async (device) => {
        if (!drive.covers(device.id)) return;
        // Known not to answer: it comes after those that do.
        const first = device.queue.suspect(device.id)
          ? { device, from: 0, found: null }
          : await this.#firstRound(device, drive, deadline);
        if (first !== null) late.push(first);
      }),
    );
    await Promise.all(late.map((one) => this.#secondRound(one, drive, deadline)));
  }

  /** Null when the device is done with, else where it did not answer. */
  async #firstRound(device: QueuedDevice, drive: Drive, deadline: Deadline): Promise<Late | null> {
    for (const [from, { point, word }] of device.writes.entries()) {
      const written = await device.queue.write(point.cell, word, deadline, Priority.STOP);
      if (!written.ok) return { device, from, found: written.fault };
    }
    await this.#confirm(device, drive, deadline);
    return null;
  }

  /** Every remaining write is tried, whatever became of the one before: one stuck register keeps no other back. */
  async #secondRound(late: Late, drive: Drive, deadline: Deadline): Promise<void> {
    const { device, from, found } = late;
    let sound = true;
    for (const [index, write] of device.writes.entries()) {
      if (index < from) continue;
      const { point, word } = write;
      const written = await device.queue.write(point.cell, word, deadline, Priority.STOP);
      if (written.ok) continue;
      sound = false;
      // Why it was late says more than that the time was up in the end.
      const known = index === from && written.fault.code === 'DEADLINE_EXCEEDED' ? found : null;
      note(drive, write, findingAt(write, known ?? written.fault));
    }
    if (sound) await this.#confirm(device, drive, deadline);
  }

  /** Reads every safe value back; what differs is written once more. */
  async #confirm(device: QueuedDevice, drive: Drive, deadline: Deadline): Promise<void> {
    const different = await this.#differing(device, deadline);
    if (different.size === 0) return;
    for (const { point, word } of different.keys()) {
      await device.queue.write(point.cell, word, deadline, Priority.STOP);
    }
    for (const [write, finding] of await this.#differing(device, deadline)) {
      note(drive, write, finding);
    }
  }

  async #differing(
    device: QueuedDevice,
    deadline: Deadline,
  ): Promise<ReadonlyMap<SafeWrite, string>> {
    const found = new Map<SafeWrite, string>();
    if (device.compared.length === 0) return found;
    if (device.settleMs > 0) await this.#clock.sleep(device.settleMs);
    const words = await device.queue.readMany(device.cells, deadline, Priority.STOP);
    for (const [index, write] of device.compared.entries()) {
      const word = words[index];
      const finding =
        word === undefined
          ? `${write.point.cell.place}: not read back`
          : word.ok
            ? difference(write, word.value)
            : unread(write, word.fault);
      if (finding !== null) found.set(write, finding);
    }
    return found;
  }
}

function writeNow(write: SafeWrite, drive: Drive): void {
  const written = write.point.queue.writeNow(write.point.cell, write.word);
  if (!written.ok) drive.refused.set(write, written.fault);
  else if (drive.refused.size > 0) drive.refused.delete(write);
}

/** Null when the register took its safe value and, where it can be read back, holds it. */
function problemNow(write: SafeWrite, drive: Drive): string | null {
  const refusal = drive.refused.get(write);
  if (refusal !== undefined) return findingAt(write, refusal);
  if (write.mask === 0n) return null;
  const read = write.point.queue.readNow(write.point.cell);
  return read.ok ? difference(write, read.value) : unread(write, read.fault);
}

function difference({ point, mask, expected }: SafeWrite, value: Word): string | null {
  const seen = value & mask;
  if (seen === expected) return null;
  return `${point.cell.place}: wrote ${short(expected)}, read back ${short(seen)}`;
}

function unread(write: SafeWrite, { finding }: Fault): string {
  return `${write.point.cell.place}: wrote ${short(write.expected)}, not read back: ${finding}`;
}

function findingAt(write: SafeWrite, { finding }: Fault): string {
  return `${write.point.cell.place}: ${finding}`;
}

function note(drive: Drive, write: SafeWrite, finding: string): void {
  const { id } = write.point.device;
  if (!drive.findings.has(id)) drive.findings.set(id, finding);
}

function short(word: Word): string {
  return `0x${word.toString(16).toUpperCase()}`;
}

function plural(count: number): string {
  return count === 1 ? '' : 's';
}
