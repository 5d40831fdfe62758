// What an errno of a sysfs attribute means for the register behind it (Documentation/filesystems/sysfs.rst).

import { describeError, type Fault, fault, type Metal } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';

export type SysfsAttempt = 'open' | 'read' | 'write';

interface Meaning {
  readonly code: FaultCode;
  readonly finding: string;
  /** Whether a failed write with this errno may have reached the device. */
  readonly written: Metal;
}

const MEANINGS: Readonly<Record<string, Meaning>> = {
  ENOENT: { code: 'BUS_ABSENT', finding: 'there is no such attribute', written: 'untouched' },
  ENOTDIR: { code: 'BUS_ABSENT', finding: 'there is no such attribute', written: 'untouched' },
  EISDIR: {
    code: 'BUS_ABSENT',
    finding: 'it is a directory, not an attribute',
    written: 'untouched',
  },
  ENODEV: {
    code: 'BUS_ABSENT',
    finding: 'its kernel driver has let go of the device',
    written: 'untouched',
  },
  ESTALE: { code: 'BUS_STALE', finding: 'the attribute was replaced', written: 'untouched' },
  EACCES: { code: 'BUS_PERMISSION', finding: 'permission denied', written: 'untouched' },
  EPERM: {
    code: 'BUS_PERMISSION',
    finding: 'the kernel driver does not permit it',
    written: 'untouched',
  },
  EROFS: { code: 'BUS_PERMISSION', finding: 'sysfs is mounted read-only', written: 'untouched' },
  EINVAL: {
    code: 'BUS_EXCEPTION',
    finding: 'the kernel driver refused the value',
    written: 'untouched',
  },
  ERANGE: {
    code: 'BUS_EXCEPTION',
    finding: 'the kernel driver refused the value as out of range',
    written: 'untouched',
  },
  EOPNOTSUPP: {
    code: 'BUS_EXCEPTION',
    finding: 'the kernel driver does not support it',
    written: 'untouched',
  },
  EBUSY: { code: 'BUS_IO', finding: 'the kernel driver is busy', written: 'untouched' },
  EAGAIN: { code: 'BUS_IO', finding: 'the kernel driver has no value yet', written: 'unknown' },
  ENODATA: { code: 'BUS_NO_ANSWER', finding: 'the kernel driver has no value', written: 'unknown' },
  ENXIO: {
    code: 'BUS_NO_ANSWER',
    finding: 'the chip did not acknowledge its kernel driver',
    written: 'unknown',
  },
  EREMOTEIO: {
    code: 'BUS_NO_ANSWER',
    finding: 'the chip did not acknowledge its kernel driver',
    written: 'unknown',
  },
  ETIMEDOUT: {
    code: 'BUS_TIMEOUT',
    finding: 'the chip did not answer its kernel driver in time',
    written: 'unknown',
  },
  EIO: { code: 'BUS_IO', finding: 'input/output error', written: 'unknown' },
};

/** True when the open file no longer leads to a device, so that nothing reached a driver. */
export function isGone(error: unknown): boolean {
  const code = errnoOf(error);
  return code === 'ENODEV' || code === 'ESTALE';
}

export function sysfsFault(place: string, attempt: SysfsAttempt, error: unknown): Fault {
  const name = errnoOf(error);
  const meaning = MEANINGS[name];
  const finding = `${attempt} failed: ${meaning?.finding ?? name}`;
  const metal = attempt === 'write' ? (meaning?.written ?? 'unknown') : 'untouched';
  const code = meaning?.code ?? 'BUS_IO';
  return fault(code, { place, finding, metal, internal: describeError(error) });
}

function errnoOf(error: unknown): string {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code ?? 'unknown error';
}
