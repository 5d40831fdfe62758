// Milliseconds against protobuf's Timestamp and Duration (google/protobuf/timestamp.proto, duration.proto).

import type { Duration } from './generated/google/protobuf/duration.ts';
import type { Timestamp } from './generated/google/protobuf/timestamp.ts';

/** Both messages: whole seconds and nanoseconds 0..999,999,999 (also below zero for a Timestamp). */
function split(milliseconds: number): { seconds: bigint; nanos: number } {
  const seconds = Math.floor(milliseconds / 1000);
  const nanos = Math.min(999_999_999, Math.round((milliseconds - seconds * 1000) * 1e6));
  return { seconds: BigInt(seconds), nanos };
}

export function timestampToWire(wallMs: number): Timestamp {
  return split(wallMs);
}

/** Absent for 0, which stands for never. */
export function timestampOrNone(wallMs: number): Timestamp | undefined {
  return wallMs > 0 ? timestampToWire(wallMs) : undefined;
}

export function timestampFromWire(value: Timestamp | undefined): number {
  return value === undefined ? 0 : Number(value.seconds) * 1000 + value.nanos / 1e6;
}

/** A duration is never negative here. */
export function durationToWire(milliseconds: number): Duration {
  return split(Math.max(0, milliseconds));
}

export function durationFromWire(value: Duration | undefined): number {
  return value === undefined ? 0 : Number(value.seconds) * 1000 + value.nanos / 1e6;
}
