// Files of secret keys: who may be able to read them, and how they are written and removed.
// Invariants: written whole or not at all, readable by its owner alone from the first byte on; no content is ever part of a fault.
// Faults: CONFIG_INVALID naming the file and what is wrong with it.

import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { describeError, type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';

const KEY_BYTES_MAX = 16_384;
/** Bits of the mode that nobody may have set on a key of the state directory. */
export const GROUP_OR_OTHERS = 0o077;
/** And on a credential: systemd lets the unit's user in with an access list, whose mask shows in the group's bits (acl(5)). */
export const OTHERS = 0o007;

/** `consequence`: of a file that is unfit. */
export function readKeyFile(path: string, forbidden: number, consequence: string): Outcome<string> {
  const no = (finding: string, internal = path) =>
    refuse(
      fault('CONFIG_INVALID', { place: `key ${basename(path)}`, finding, consequence, internal }),
    );
  try {
    const descriptor = openSync(
      path,
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
    try {
      const unfit = fileRefusal(fstatSync(descriptor), forbidden);
      if (unfit !== null) return no(unfit);
      return succeed(readFileSync(descriptor, 'utf8'));
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    return no('cannot be read, or is a symbolic link', describeError(error));
  }
}

function fileRefusal(status: Stats, forbidden: number): string | null {
  if (!status.isFile()) return 'is no plain file';
  if (status.size > KEY_BYTES_MAX) return `is larger than ${KEY_BYTES_MAX} bytes`;
  const mode = (status.mode & 0o777).toString(8).padStart(4, '0');
  if ((status.mode & forbidden) !== 0) {
    const who = (status.mode & forbidden & OTHERS) === 0 ? 'its group' : 'others';
    return `has the mode ${mode}, so that ${who} can get at it; it has to be 0600 or 0400`;
  }
  const self = process.geteuid?.() ?? 0;
  if (status.uid === self || status.uid === 0) return null;
  return `belongs to the user ${status.uid}, who could change it`;
}

/** Throws where the disk does not take it. */
export function writeKeyFile(path: string, text: string): void {
  const fresh = `${path}.new`;
  rmSync(fresh, { force: true });
  writeFileSync(fresh, text, { mode: 0o600, flag: 'wx', flush: true });
  renameSync(fresh, path);
  syncDirectory(dirname(path));
}

/** Overwritten before it goes, for what that is worth on the disk that it lies on. */
export function wipeKeyFile(path: string): void {
  try {
    const descriptor = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW);
    try {
      writeSync(descriptor, Buffer.alloc(fstatSync(descriptor).size));
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } finally {
    rmSync(path, { force: true });
    syncDirectory(dirname(path));
  }
}

/** The one before it is still needed, and a second change would write over it. */
export function unfinished(path: string): Fault {
  const finding =
    'is being changed already; where that does not end, start security again, it settles for one';
  return fault('BUSY', { place: `key ${basename(path)}`, finding });
}

export function syncDirectory(path: string): void {
  const descriptor = openSync(path, constants.O_RDONLY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
