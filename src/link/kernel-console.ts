// What kernel answers at its own console while nobody supervises: status, reads and the stop; shapes, server and client.

import type { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import { DEVICE_COUNT_MAX, type LinearId } from '#model/device';
import type { RegisterReading } from '#model/operation';
import type { WidthBits } from '#model/register';
import type { KernelSnapshot } from '#model/snapshot';
import type { StopReceipt } from '#model/stop';
import { type Link, MessageType } from './link.ts';
import { deviceId, kernelSnapshotShape, stopReceiptShape } from './message-schema.ts';
import {
  flag,
  integer,
  listOf,
  nothing,
  object,
  oneOf,
  quantity,
  type Shape,
  text,
} from './shape.ts';
import { askChecked } from './track-client.ts';
import { serveChecked } from './track-server.ts';

/** Registers of one read at the console. */
export const CONSOLE_REGISTERS_MAX = 64;
/** Accesses that kernel remembers until security has them. */
export const ACCESSES_MAX = 256;
const REASON_LENGTH_MAX = 512;

export interface ConsoleDevice {
  readonly id: LinearId;
  readonly slug: string;
  readonly quarantined: boolean;
}

export interface ConsoleStatus {
  /** True while security does not answer kernel. */
  readonly unsupervised: boolean;
  /** Why writes are on hold; empty when they are not. */
  readonly holdReason: string;
  /** Every device of the board, those in quarantine too. */
  readonly devices: readonly ConsoleDevice[];
  readonly snapshot: KernelSnapshot;
}

/** No registers: all that are safe to read. */
export interface ConsoleReadRequest {
  readonly device: LinearId;
  readonly registers: readonly string[];
}

export interface ConsoleReading extends RegisterReading {
  readonly widthBits: WidthBits;
}

/** The whole surface of the console: nothing of it writes but the stop. */
export interface KernelConsolePort {
  status(deadline: Deadline): Promise<Outcome<ConsoleStatus>>;
  read(
    request: ConsoleReadRequest,
    deadline: Deadline,
  ): Promise<Outcome<readonly ConsoleReading[]>>;
  stop(reason: string, deadline: Deadline): Promise<Outcome<StopReceipt>>;
}

/** What somebody did at the console while nobody supervised; equal ones that follow each other are one. */
export interface UnsupervisedAccess {
  /** Counts up in one life of kernel. */
  readonly number: number;
  readonly firstWallMs: number;
  readonly lastWallMs: number;
  readonly count: number;
  /** `uid 0 pid 4711`. */
  readonly peer: string;
  readonly what: 'status' | 'read' | 'stop';
  readonly devices: readonly LinearId[];
  /** Registers read, the reason of a stop. */
  readonly detail: string;
}

export interface UnsupervisedReport {
  /** Life of the kernel process that saw them. */
  readonly life: string;
  readonly accesses: readonly UnsupervisedAccess[];
  /** Accesses beyond the bound, of which nothing more is known. */
  readonly forgotten: number;
}

const count = integer(0, Number.MAX_SAFE_INTEGER);
const readShape = object<ConsoleReadRequest>({
  device: deviceId,
  registers: listOf(text(128, 1), CONSOLE_REGISTERS_MAX),
});
const stopShape = object<{ readonly reason: string }>({ reason: text(REASON_LENGTH_MAX, 1) });
const statusShape = object<ConsoleStatus>({
  unsupervised: flag,
  holdReason: text(8192),
  devices: listOf(
    object<ConsoleDevice>({ id: deviceId, slug: text(128), quarantined: flag }),
    DEVICE_COUNT_MAX,
  ),
  snapshot: kernelSnapshotShape,
});
/** Kernel is the more trusted side. */
const readings: Shape<readonly ConsoleReading[]> = (value) =>
  Array.isArray(value) && value.length <= CONSOLE_REGISTERS_MAX ? null : ': not a list of readings';

export const unsupervisedReportShape = object<UnsupervisedReport>({
  life: text(64),
  accesses: listOf(
    object<UnsupervisedAccess>({
      number: count,
      firstWallMs: quantity,
      lastWallMs: quantity,
      count,
      peer: text(64),
      what: oneOf(['status', 'read', 'stop'] as const),
      devices: listOf(deviceId, DEVICE_COUNT_MAX),
      detail: text(16_384),
    }),
    ACCESSES_MAX,
  ),
  forgotten: count,
});

export function serveKernelConsole(link: Link, port: KernelConsolePort): void {
  serveChecked(link, 'console.status', nothing, (_body, deadline) => port.status(deadline));
  serveChecked(link, 'console.read', readShape, (body, deadline) => port.read(body, deadline));
  serveChecked(link, 'console.stop', stopShape, ({ reason }, deadline) =>
    port.stop(reason, deadline),
  );
}

export function kernelConsoleClient(link: Link): KernelConsolePort {
  return {
    status: (deadline) => {
      const method = 'console.status';
      const call = { type: MessageType.HEALTH, method, body: undefined } as const;
      return askChecked(link, { ...call, shape: statusShape, effect: 'none' }, deadline);
    },
    read: (body, deadline) => {
      const call = { type: MessageType.OPERATION_REQUEST, method: 'console.read', body } as const;
      return askChecked(link, { ...call, shape: readings, effect: 'none' }, deadline);
    },
    stop: (reason, deadline) => {
      const body = { reason: reason.slice(0, REASON_LENGTH_MAX) };
      const call = { type: MessageType.EMERGENCY_STOP, method: 'console.stop', body } as const;
      return askChecked(link, { ...call, shape: stopReceiptShape, effect: 'writes' }, deadline);
    },
  };
}
