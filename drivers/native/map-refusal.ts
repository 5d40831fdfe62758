// Why the kernel refused to open or map a register window, said as exactly as this machine lets us know.
// Invariants: a finding names no path and no address; those go into `internal`.

import { fstatSync, readFileSync } from 'node:fs';
import { describeError, type Fault, fault } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';

export interface AddressRange {
  readonly address: number;
  readonly length: number;
}

/** Files that tell why; arguments so that a test can say what a locked-down machine says. */
export interface RefusalEvidence {
  readonly lockdown: string;
  readonly iomem: string;
  readonly status: string;
}

export const SYSTEM_EVIDENCE: RefusalEvidence = {
  lockdown: '/sys/kernel/security/lockdown',
  iomem: '/proc/iomem',
  status: '/proc/self/status',
};

export interface Refusal {
  readonly place: string;
  readonly step: 'open' | 'map' | 'map-bar';
  readonly error: unknown;
  /** Physical range behind the window, where it is known. */
  readonly range?: AddressRange;
}

/** The catalogued fault for a failed open(2) or mmap(2). */
export function mapRefusal(refusal: Refusal, evidence: RefusalEvidence = SYSTEM_EVIDENCE): Fault {
  const { place, step, error, range } = refusal;
  const code = (error as NodeJS.ErrnoException).code ?? 'UNKNOWN';
  const where =
    range === undefined ? '' : ` physical 0x${range.address.toString(16)}+${range.length}`;
  const internal = `${step}: ${describeError(error)}${where}`;
  const say = (faultCode: FaultCode, finding: string) =>
    fault(faultCode, { place, finding, internal });
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ENXIO':
      return say('BUS_ABSENT', 'there is no such window');
    case 'ENODEV':
    case 'EISDIR':
      return say('BUS_ABSENT', 'what the board file names cannot be mapped');
    case 'EACCES':
      return say('BUS_PERMISSION', 'the file permissions refuse this process');
    case 'EROFS':
      return say('BUS_PERMISSION', 'the file is on a read-only file system');
    case 'EPERM':
      return say('BUS_PERMISSION', explainPermission(step, range, evidence));
    case 'EBUSY':
      return say(
        'BUS_PERMISSION',
        `${ownerOf(range, evidence) ?? 'a kernel driver'} owns the range`,
      );
    case 'EINVAL':
      // pci_mmap_resource answers EINVAL for a BAR that a driver claimed exclusively (drivers/pci/pci-sysfs.c).
      return step === 'map-bar'
        ? say('BUS_PERMISSION', `${ownerOf(range, evidence) ?? 'a kernel driver'} owns the range`)
        : say('BUS_IO', 'the kernel refuses to map this window');
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOMEM':
      return say('BUS_IO', 'no more windows can be mapped');
    default:
      return say('BUS_IO', `the window cannot be ${step === 'open' ? 'opened' : 'mapped'}`);
  }
}

/** The physical address of a file offset: itself in /dev/mem (character device 1:1), unknown elsewhere. */
export function physicalAddressOf(fd: number, offset: number): number | undefined {
  try {
    const status = fstatSync(fd);
    return status.isCharacterDevice() && status.rdev === 0x101 ? offset : undefined;
  } catch {
    return undefined;
  }
}

function explainPermission(
  step: Refusal['step'],
  range: AddressRange | undefined,
  evidence: RefusalEvidence,
): string {
  const lockdown = lockdownLevel(evidence.lockdown);
  if (lockdown !== undefined && lockdown !== 'none') {
    return `kernel lockdown (${lockdown}) keeps register windows closed`;
  }
  if (hasRawIoCapability(evidence.status) === false) {
    return 'this process lacks the capability CAP_SYS_RAWIO';
  }
  const owner = ownerOf(range, evidence);
  if (owner === 'System RAM') return 'the range is system memory, which STRICT_DEVMEM keeps closed';
  if (owner !== undefined) return `${owner} owns the range (IO_STRICT_DEVMEM)`;
  return step !== 'open'
    ? 'the kernel keeps this range closed (STRICT_DEVMEM, or a kernel driver owns it)'
    : 'the kernel refuses this process';
}

/** The active word of `none [integrity] confidentiality` (kernel_lockdown(7)). */
function lockdownLevel(path: string): string | undefined {
  return /\[(\w+)\]/.exec(readText(path))?.[1];
}

/** CAP_SYS_RAWIO is bit 17 of the effective set (capabilities(7), linux/capability.h). */
function hasRawIoCapability(path: string): boolean | undefined {
  const set = /^CapEff:\s*([0-9a-f]+)$/m.exec(readText(path))?.[1];
  return set === undefined ? undefined : ((BigInt(`0x${set}`) >> 17n) & 1n) === 1n;
}

/** The innermost named range of /proc/iomem that overlaps; all addresses read as 0 without CAP_SYS_ADMIN. */
function ownerOf(range: AddressRange | undefined, evidence: RefusalEvidence): string | undefined {
  if (range === undefined) return undefined;
  let found: { readonly depth: number; readonly name: string } | undefined;
  for (const line of readText(evidence.iomem).split('\n')) {
    const match = /^( *)([0-9a-f]+)-([0-9a-f]+) : (.*)$/.exec(line);
    if (match === null) continue;
    const [, indent = '', from = '', to = '', name = ''] = match;
    const [first, last] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
    const overlaps = first < range.address + range.length && last >= range.address && last > 0;
    if (overlaps && (found === undefined || indent.length > found.depth)) {
      found = { depth: indent.length, name };
    }
  }
  if (found === undefined) return undefined;
  return found.depth === 0 && found.name !== 'System RAM' ? undefined : found.name;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
