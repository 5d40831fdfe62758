// What a stop writes, worked out once from the board: stages, in them mapped registers and the devices of each queued bus.
// Invariants: only registers that declare a safe value; a read-back compares no bit that the device clears by itself, and
// reads nothing whose reading has an effect.

import type { Cell } from '#model/bus';
import type { LinearId } from '#model/device';
import { type RegisterSpec, readable, type Word } from '#model/register';
import type { BusQueue } from './bus-queue.ts';
import type { DeviceAccess, RegisterAccessPoint } from './device-access.ts';

export interface SafeWrite {
  readonly point: RegisterAccessPoint;
  readonly word: Word;
  /** Bits to compare afterwards; 0 when the register cannot be read back. */
  readonly mask: Word;
  readonly expected: Word;
}

/** A device on a queued bus, its writes in safe order. */
export interface QueuedDevice {
  readonly id: LinearId;
  readonly queue: BusQueue;
  readonly writes: readonly SafeWrite[];
  readonly compared: readonly SafeWrite[];
  /** Of `compared`, the same array each time. */
  readonly cells: readonly Cell[];
  readonly settleMs: number;
}

export interface SafeStage {
  readonly immediate: readonly SafeWrite[];
  readonly immediateSettleMs: number;
  /** By bus. */
  readonly queued: readonly (readonly QueuedDevice[])[];
}

/** Stages in order, lowest first; within one by device and then by each register's safe order. */
export function safeStagesOf(access: DeviceAccess): readonly SafeStage[] {
  const byStage = new Map<number, LinearId[]>();
  for (const [id, device] of access.devices) {
    const stage = device.stopStage ?? 0;
    byStage.set(stage, [...(byStage.get(stage) ?? []), id]);
  }
  return [...byStage]
    .sort(([left], [right]) => left - right)
    .map(([, devices]) => stageOf(access, devices));
}

function stageOf(access: DeviceAccess, devices: readonly LinearId[]): SafeStage {
  const immediate: SafeWrite[] = [];
  const buses = new Map<BusQueue, QueuedDevice[]>();
  for (const id of devices) {
    const writes = safeWritesOf(access.pointsOf(id));
    const queue = writes[0]?.point.queue;
    if (queue === undefined) continue;
    if (queue.immediate) {
      immediate.push(...writes);
      continue;
    }
    const compared = writes.filter((write) => write.mask !== 0n);
    const cells = compared.map((write) => write.point.cell);
    const settleMs = settleOf(writes);
    const device: QueuedDevice = { id, queue, writes, compared, cells, settleMs };
    buses.set(queue, [...(buses.get(queue) ?? []), device]);
  }
  return { immediate, immediateSettleMs: settleOf(immediate), queued: [...buses.values()] };
}

function safeWritesOf(points: readonly RegisterAccessPoint[]): readonly SafeWrite[] {
  const writes: SafeWrite[] = [];
  for (const point of points) {
    const word = point.spec.safeValue;
    if (word !== null) writes.push({ point, word, ...comparisonOf(point.spec, word) });
  }
  return writes.sort((left, right) => left.point.spec.safeOrder - right.point.spec.safeOrder);
}

function comparisonOf(spec: RegisterSpec, word: Word): Pick<SafeWrite, 'mask' | 'expected'> {
  if (!readable(spec) || spec.precious || spec.access === 'rc') return { mask: 0n, expected: 0n };
  // A written one clears its bit; bits written as zero may be anything.
  if (spec.access === 'w1c') return { mask: word & spec.readBackMask, expected: 0n };
  const mask = spec.readBackMask & ~(spec.selfClearingMask | spec.reservedMask);
  return { mask, expected: word & mask };
}

function settleOf(writes: readonly SafeWrite[]): number {
  return Math.ceil(Math.max(0, ...writes.map(({ point }) => point.spec.settleUs)) / 1_000);
}
