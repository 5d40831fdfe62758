// The run directory as one process finds it: every directory owned and open as the layout says, or no start.
// Two ways to be right. On the appliance `/run/dsmil` is root's and was made by systemd-tmpfiles: owners, groups and modes
// are exactly those of RUN_PLACES. In development it belongs to the user who runs everything: nobody else may enter what
// the processes share, and what is missing is made so.
// Invariants: nothing is opened before it was looked at; a link or a latch file that a third user could open is refused.
// Faults: CONFIG_INVALID with the path below the run directory and what was found.

import { lstatSync, mkdirSync, readdirSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import {
  RUN_GROUPS,
  RUN_GROUPS_OF,
  RUN_PLACES,
  type RunGroup,
  type RunPlace,
} from '#config/layout';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { TRACKS, type TrackName } from '#model/track-name';

/** Who asks, as the operating system knows it. */
export interface ProcessIdentity {
  readonly uid: number;
  /** The effective group and all supplementary ones. */
  readonly groups: readonly number[];
}

export function ownIdentity(): ProcessIdentity {
  return {
    uid: process.getuid?.() ?? 0,
    groups: [...new Set([process.getegid?.() ?? 0, ...(process.getgroups?.() ?? [])])],
  };
}

interface Found {
  readonly place: RunPlace;
  readonly status: Stats;
}

const PRIVATE_MODE = 0o700;
const OTHERS_WRITE = 0o022;
const OTHERS_ANY = 0o077;
const MODE_BITS = 0o7777;
/** Widest modes of files inside shared directories, and who may own them. */
const LINK_FILE_MODE = 0o660;
const STOP_FILE_MODES: Readonly<Record<string, number>> = {
  bell: 0o620,
  request: 0o640,
  latch: 0o640,
};
const PEOPLE_FILE_MODES: Readonly<Record<string, number>> = { bell: 0o620, request: 0o664 };

/** Makes what one user alone may make, and judges all of it; to be called before anything in it is opened. */
export function openRunDirectory(
  runDirectory: string,
  self: TrackName,
  identity: ProcessIdentity = ownIdentity(),
): Outcome<void> {
  const finding = findingIn(runDirectory, self, identity);
  if (finding === null) return succeed(undefined);
  const { path, found, internal } = finding;
  return refuse(
    fault('CONFIG_INVALID', {
      place: path === '' ? 'run directory' : `run directory, ${path}`,
      finding: found,
      consequence: `${self} does not start`,
      ...(internal === undefined ? {} : { internal }),
    }),
  );
}

interface Finding {
  readonly path: string;
  readonly found: string;
  readonly internal?: string;
}

function findingIn(
  runDirectory: string,
  self: TrackName,
  identity: ProcessIdentity,
): Finding | null {
  const root = statusOf(runDirectory);
  const single = root === null || (!isError(root) && root.uid === identity.uid);
  const places: Found[] = [];
  for (const place of RUN_PLACES) {
    const found = single ? makeAndLook(runDirectory, place) : look(runDirectory, place);
    if ('found' in found) return found;
    places.push(found);
  }
  return single
    ? privateFinding(places, identity)
    : (sharedFinding(places, self, identity) ?? filesFinding(runDirectory, places));
}

// --- One user runs everything ------------------------------------------------------------------

function privateFinding(places: readonly Found[], identity: ProcessIdentity): Finding | null {
  for (const { place, status } of places) {
    const { path } = place;
    if (status.uid !== identity.uid)
      return { path, found: `belongs to uid ${status.uid}, not to uid ${identity.uid}` };
    // People may be let in to the sockets; nobody else to a link or a latch.
    const closed = place.group !== null && place.group !== 'people';
    const open = status.mode & (closed ? OTHERS_ANY : OTHERS_WRITE);
    if (open !== 0) {
      const who = closed ? 'may be entered by others' : 'may be written by others';
      return { path, found: `${who} (mode ${octal(status.mode)})` };
    }
  }
  return null;
}

// --- A user for each process -------------------------------------------------------------------

function sharedFinding(
  places: readonly Found[],
  self: TrackName,
  identity: ProcessIdentity,
): Finding | null {
  const users = usersOf(places);
  const groups = new Map<RunGroup, number>();
  if (users[self] !== identity.uid) {
    return {
      path: self,
      found: `belongs to uid ${users[self]}, and ${self} runs as uid ${identity.uid}`,
    };
  }
  for (const left of TRACKS) {
    const same = TRACKS.find((right) => right !== left && users[right] === users[left]);
    if (same !== undefined || users[left] === 0)
      return {
        path: left,
        found: `${left} and ${same ?? 'root'} are one user (uid ${users[left]})`,
      };
  }
  for (const { place, status } of places) {
    const { path, owner, group, mode } = place;
    const wanted = owner === 'root' ? 0 : users[owner];
    if (status.uid !== wanted)
      return { path, found: `belongs to uid ${status.uid}, not to ${owner} (uid ${wanted})` };
    if ((status.mode & MODE_BITS) !== mode)
      return { path, found: `has mode ${octal(status.mode)}, not ${octal(mode)}` };
    if (group === null) continue;
    const known = groups.get(group) ?? status.gid;
    if (known !== status.gid)
      return { path, found: `belongs to group ${status.gid}, others of the same kind to ${known}` };
    groups.set(group, known);
  }
  return groupFinding(places, groups, self, identity);
}

/** Who shares what follows from groups alone, so they must differ and this process must be in the right ones. */
function groupFinding(
  places: readonly Found[],
  groups: ReadonlyMap<RunGroup, number>,
  self: TrackName,
  identity: ProcessIdentity,
): Finding | null {
  const pathOf = (group: RunGroup) =>
    places.find(({ place }) => place.group === group)?.place.path ?? '';
  for (const group of RUN_GROUPS) {
    const gid = groups.get(group);
    if (gid === undefined) continue;
    const twin = RUN_GROUPS.find((other) => other !== group && groups.get(other) === gid);
    const path = pathOf(group);
    if (gid === 0 || twin !== undefined)
      return { path, found: `its group ${gid} is also that of ${twin ?? 'root'}` };
    const member = identity.groups.includes(gid);
    const meant = RUN_GROUPS_OF[self].includes(group);
    if (meant && !member)
      return { path, found: `belongs to group ${gid}, which ${self} is no member of` };
    if (!meant && member && group !== 'people')
      return { path, found: `belongs to group ${gid}, which ${self} must not be a member of` };
  }
  return null;
}

function usersOf(places: readonly Found[]): Readonly<Record<TrackName, number>> {
  const ownerOf = (track: TrackName) =>
    places.find(({ place }) => place.path === track)?.status.uid ?? 0;
  return {
    kernel: ownerOf('kernel'),
    security: ownerOf('security'),
    interface: ownerOf('interface'),
  };
}

/** Files that are there already, in directories this process may enter. */
function filesFinding(runDirectory: string, places: readonly Found[]): Finding | null {
  const users = usersOf(places);
  for (const { place, status } of places) {
    const [kind, name = ''] = place.path.split('/');
    const link = kind === 'links' && name !== '';
    const stop = kind === 'stop' && name !== '';
    if (!link && !stop) continue;
    const owners = link
      ? name.split('-').map((track) => users[track as TrackName])
      : [users[place.owner as TrackName]];
    for (const file of entriesOf(join(runDirectory, place.path))) {
      const path = `${place.path}/${file}`;
      const found = statusOf(join(runDirectory, path));
      // Gone meanwhile: a file is made under another name and put into place.
      if (found === null) continue;
      if (isError(found))
        return { path, found: 'cannot be looked at', internal: describeError(found) };
      if (!found.isFile() && !found.isFIFO())
        return { path, found: 'is neither a file nor a bell' };
      if (!owners.includes(found.uid))
        return { path, found: `belongs to uid ${found.uid}, which has no business there` };
      if (found.gid !== status.gid)
        return {
          path,
          found: `belongs to group ${found.gid}, not to its directory's ${status.gid}`,
        };
      const modes = name === 'people' ? PEOPLE_FILE_MODES : STOP_FILE_MODES;
      const allowed = link ? LINK_FILE_MODE : (modes[file] ?? LINK_FILE_MODE);
      if ((found.mode & MODE_BITS & ~allowed) !== 0)
        return { path, found: `has mode ${octal(found.mode)}, at most ${octal(allowed)} is right` };
    }
  }
  return null;
}

// --- Looking -----------------------------------------------------------------------------------

function makeAndLook(runDirectory: string, place: RunPlace): Found | Finding {
  try {
    mkdirSync(join(runDirectory, place.path), { recursive: true, mode: PRIVATE_MODE });
  } catch (error) {
    return { path: place.path, found: 'cannot be made', internal: describeError(error) };
  }
  return look(runDirectory, place);
}

function look(runDirectory: string, place: RunPlace): Found | Finding {
  const { path } = place;
  const status = statusOf(join(runDirectory, path));
  if (status === null)
    return { path, found: 'is not there; `systemd-tmpfiles --create dsmil.conf` makes it' };
  if (isError(status)) {
    return { path, found: 'cannot be looked at', internal: describeError(status) };
  }
  if (!status.isDirectory()) return { path, found: 'is no directory' };
  return { place, status };
}

function statusOf(path: string): Stats | null | Error {
  try {
    return lstatSync(path);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? null : (error as Error);
  }
}

function isError(status: Stats | Error | null): status is Error {
  return status instanceof Error;
}

function entriesOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    // Not this process's: it opens nothing there either.
    return [];
  }
}

function octal(mode: number): string {
  return (mode & MODE_BITS).toString(8).padStart(4, '0');
}
