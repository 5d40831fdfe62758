// The sign-in of a person in one login session of this machine, kept in memory-backed $XDG_RUNTIME_DIR until it ends.
// Invariants: readable by its user alone (mode 0600 in a directory of mode 0700, never through a link); good for the terminal
// session and the socket it was made for, so that two people who share a user do not act as each other.
// Faults: NOT_PERMITTED where the file or its directory is open to others, REQUEST_MALFORMED where there is no place for it.

import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';

export interface KeptSignIn {
  readonly token: string;
  readonly account: string;
  /** RFC 3339. */
  readonly expiresAt: string;
}

const FILE_BYTES_MAX = 8_192;
const TOKEN_LENGTH_MAX = 4_096;

export class SignInFile {
  readonly #directory: string | null;
  readonly #socket: string;

  /** `runtimeDirectory`: $XDG_RUNTIME_DIR; undefined where there is none. */
  constructor(runtimeDirectory: string | undefined, socket: string) {
    this.#directory =
      runtimeDirectory === undefined || !runtimeDirectory.startsWith('/')
        ? null
        : join(runtimeDirectory, 'dsmil');
    this.#socket = socket;
  }

  /** Null when nobody signed in here. */
  read(): Outcome<KeptSignIn | null> {
    if (this.#directory === null) return succeed(null);
    const path = this.#path(this.#directory);
    let file: number;
    try {
      file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return succeed(null);
      return refuse(unreadable(path, describeError(error)));
    }
    try {
      const status = fstatSync(file);
      const open = openToOthers(status);
      if (open !== null) return refuse(notOurs(path, open));
      if (status.size > FILE_BYTES_MAX) return refuse(unreadable(path, 'too long'));
      return understand(path, readFileSync(file, 'utf8'));
    } finally {
      closeSync(file);
    }
  }

  write(signIn: KeptSignIn): Outcome<void> {
    const place = this.#prepared();
    if (!place.ok) return place;
    const path = this.#path(place.value);
    // Renamed into place: whoever reads meanwhile finds the old one or the new one.
    const fresh = `${path}.${process.pid}`;
    try {
      writeFileSync(fresh, JSON.stringify(signIn), { mode: 0o600, flag: 'wx' });
      renameSync(fresh, path);
      return succeed(undefined);
    } catch (error) {
      rmSync(fresh, { force: true });
      const finding = 'the sign-in cannot be kept there';
      return refuse(
        fault('TRACK_UNAVAILABLE', { place: path, finding, internal: describeError(error) }),
      );
    }
  }

  /** Null when it can be kept; asked before somebody types a password for nothing. */
  prepare(): Outcome<void> {
    const place = this.#prepared();
    return place.ok ? succeed(undefined) : place;
  }

  remove(): void {
    if (this.#directory !== null) rmSync(this.#path(this.#directory), { force: true });
  }

  #prepared(): Outcome<string> {
    const directory = this.#directory;
    if (directory === null) {
      const finding = 'is not set (sudo and su leave it out), and a sign-in is kept nowhere else';
      const consequence =
        'you are not signed in; set it to a directory in memory that is yours alone (/run/user/UID), or use DSMIL_TOKEN';
      return refuse(fault('REQUEST_MALFORMED', { place: 'XDG_RUNTIME_DIR', finding, consequence }));
    }
    try {
      mkdirSync(directory, { mode: 0o700, recursive: false });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        return refuse(unreadable(directory, describeError(error)));
      }
    }
    const status = lstatSync(directory);
    const open = status.isDirectory() ? openToOthers(status) : 'is no directory';
    return open === null ? succeed(directory) : refuse(notOurs(directory, open));
  }

  #path(directory: string): string {
    const where = `${loginSession()} ${this.#socket}`;
    const name = createHash('sha256').update(where).digest('hex').slice(0, 24);
    return join(directory, `sign-in-${name}.json`);
  }
}

function openToOthers(status: { readonly uid: number; readonly mode: number }): string | null {
  const uid = process.getuid?.() ?? 0;
  if (status.uid !== uid) return `belongs to uid ${status.uid}, not to uid ${uid}`;
  return (status.mode & 0o077) === 0 ? null : 'is open to other users of this machine';
}

/**
 * The session of processes this one belongs to (setsid(2)): everything started from one terminal login. Its leader's start
 * time tells it from a later one with the same number (proc_pid_stat(5), fields 6 and 22).
 */
function loginSession(): string {
  const session = statField('self', 6) ?? 'none';
  return `${session} ${statField(session, 22) ?? 'ended'}`;
}

function statField(process: string, field: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${process}/stat`, 'utf8');
    // The second field is a name in parentheses that may hold anything; the third follows the last of them.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[field - 3];
  } catch {
    return undefined;
  }
}

function understand(path: string, text: string): Outcome<KeptSignIn | null> {
  try {
    const { token, account, expiresAt } = JSON.parse(text) as Partial<Record<string, unknown>>;
    const good =
      typeof token === 'string' &&
      token.length <= TOKEN_LENGTH_MAX &&
      /^[\x21-\x7e]+$/.test(token) &&
      typeof account === 'string' &&
      typeof expiresAt === 'string';
    if (good) return succeed({ token, account, expiresAt });
  } catch {
    // Said below.
  }
  return refuse(unreadable(path, 'not what was written'));
}

function notOurs(place: string, finding: string) {
  const consequence = 'the sign-in is not used; remove it with `dsmil logout` and sign in again';
  return fault('NOT_PERMITTED', { place, finding, consequence });
}

function unreadable(place: string, internal: string) {
  const finding = 'the sign-in cannot be read';
  const consequence = 'it is not used; remove it with `dsmil logout` and sign in again';
  return fault('CONFIG_INVALID', { place, finding, consequence, internal });
}
