// What a process says of a run directory before it opens anything in it: right ones are taken, every opened door is named.

import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RUN_GROUPS_OF, RUN_PLACES, type RunGroup } from '#config/layout';
import { TRACKS, type TrackName } from '#model/track-name';
import { openRunDirectory, type ProcessIdentity } from '../../../src/bin/run-directory.ts';

const root = process.getuid?.() === 0;
/** No user of this machine. */
const UID: Readonly<Record<'root' | TrackName, number>> = {
  root: 0,
  kernel: 61_001,
  security: 61_002,
  interface: 61_003,
};
const GID: Readonly<Record<RunGroup, number>> = {
  authority: 61_011,
  requests: 61_012,
  stop: 61_013,
  people: 61_014,
};

let parent: string;
let directory: string;

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'run-'));
  directory = join(parent, 'run');
});
afterEach(() => rmSync(parent, { recursive: true }));

const at = (path: string) => join(directory, path);

function identityOf(track: TrackName): ProcessIdentity {
  return {
    uid: UID[track],
    groups: [UID[track], ...RUN_GROUPS_OF[track].map((group) => GID[group])],
  };
}

function findingFor(track: TrackName, identity = identityOf(track)): string {
  const outcome = openRunDirectory(directory, track, identity);
  if (outcome.ok) return '';
  expect(outcome.fault.code).toBe('CONFIG_INVALID');
  expect(outcome.fault.consequence).toBe(`${track} does not start`);
  return `${outcome.fault.place}: ${outcome.fault.finding}`;
}

/** As systemd-tmpfiles makes it. */
function asOnTheAppliance(): void {
  for (const { path, owner, group, mode } of RUN_PLACES) {
    mkdirSync(at(path));
    chownSync(at(path), UID[owner], group === null ? UID[owner] : GID[group]);
    chmodSync(at(path), mode);
  }
}

function file(path: string, owner: TrackName, gid: number, mode: number): void {
  writeFileSync(at(path), '');
  chownSync(at(path), UID[owner], gid);
  chmodSync(at(path), mode);
}

describe('a run directory of one user', () => {
  const self: ProcessIdentity = { uid: process.getuid?.() ?? 0, groups: [process.getgid?.() ?? 0] };

  it.each(TRACKS)('is made where it is missing, and closed to others, by %s', (track) => {
    expect(findingFor(track, self)).toBe('');
    for (const { path } of RUN_PLACES) expect(lstatSync(at(path)).mode & 0o777).toBe(0o700);
    expect(findingFor(track, self)).toBe('');
  });

  it.each([
    ['links/kernel-security', 0o710],
    ['links/security-interface', 0o770],
    ['stop/kernel', 0o705],
    ['stop/security', 0o750],
  ])('is refused when others may enter %s (%i)', (path, mode) => {
    expect(findingFor('security', self)).toBe('');
    chmodSync(at(path), mode);
    expect(findingFor('security', self)).toBe(
      `run directory, ${path}: may be entered by others (mode 0${mode.toString(8)})`,
    );
  });

  it('is refused when others may write it or the directory of a socket', () => {
    expect(findingFor('kernel', self)).toBe('');
    chmodSync(at('interface'), 0o755);
    expect(findingFor('kernel', self)).toBe('');
    chmodSync(at('interface'), 0o775);
    expect(findingFor('kernel', self)).toContain(
      'run directory, interface: may be written by others',
    );
    chmodSync(at('interface'), 0o755);
    chmodSync(directory, 0o777);
    expect(findingFor('kernel', self)).toBe('run directory: may be written by others (mode 0777)');
  });

  it('is refused when a link leads elsewhere', () => {
    mkdirSync(directory, { mode: 0o700 });
    mkdirSync(join(parent, 'elsewhere'));
    symlinkSync(join(parent, 'elsewhere'), at('stop'));
    expect(findingFor('kernel', self)).toBe('run directory, stop: is no directory');
    expect(existsSync(join(parent, 'elsewhere/kernel'))).toBe(false);
  });
});

describe.skipIf(!root)('a run directory of the appliance (only root can make one)', () => {
  it.each(TRACKS)('is right for %s as systemd-tmpfiles makes it', (track) => {
    asOnTheAppliance();
    expect(findingFor(track)).toBe('');
  });

  it.each(
    RUN_PLACES.flatMap(({ path, mode }) =>
      [0o002, 0o020, 0o001]
        .filter((bit) => (mode & bit) === 0)
        .map((bit) => [path, bit, mode] as const),
    ),
  )('is refused by all when "%s" has the bit %i too many', (path, bit, mode) => {
    asOnTheAppliance();
    chmodSync(at(path), mode | bit);
    for (const track of TRACKS) expect(findingFor(track)).toMatch(/has mode \d+, not \d+$/);
    if (path !== '') expect(findingFor('kernel')).toContain(`run directory, ${path}: `);
  });

  it.each(['links/kernel-security', 'links/security-interface'])(
    'is refused when %s lost the bit that keeps one maker from the other',
    (path) => {
      asOnTheAppliance();
      chmodSync(at(path), 0o2770);
      expect(findingFor('security')).toContain(`${path}: has mode 2770, not 3770`);
    },
  );

  it.each(RUN_PLACES.filter(({ path }) => path !== ''))(
    "is refused when $path is somebody else's",
    (place) => {
      asOnTheAppliance();
      const { gid } = lstatSync(at(place.path));
      chownSync(at(place.path), 61_099, gid);
      chmodSync(at(place.path), place.mode);
      const findings = TRACKS.map((track) => findingFor(track));
      // Whose directory it was finds itself to be another user, everybody else finds what hangs on it.
      for (const finding of findings) expect(finding).toMatch(/belongs to uid|are one user/);
    },
  );

  it('is refused when a third track is in a group that is not its own', () => {
    asOnTheAppliance();
    const { uid, groups } = identityOf('interface');
    const both = { uid, groups: [...groups, GID.authority] };
    expect(findingFor('interface', both)).toBe(
      `run directory, links/kernel-security: belongs to group ${GID.authority}, which interface must not be a member of`,
    );
    const none = { uid, groups: groups.filter((gid) => gid !== GID.requests) };
    expect(findingFor('interface', none)).toContain('which interface is no member of');
  });

  it('is refused when one group opens both links', () => {
    asOnTheAppliance();
    chownSync(at('links/security-interface'), 0, GID.authority);
    chmodSync(at('links/security-interface'), 0o3770);
    expect(findingFor('kernel')).toContain('is also that of requests');
  });

  it('is refused when two tracks are one user, or one is root', () => {
    asOnTheAppliance();
    chownSync(at('security'), UID.interface, GID.people);
    chmodSync(at('security'), 0o2755);
    expect(findingFor('kernel')).toContain('security and interface are one user');
    chownSync(at('security'), 0, GID.people);
    chmodSync(at('security'), 0o2755);
    expect(findingFor('kernel')).toContain('security and root are one user');
  });

  it.each([
    [
      'a link of a third user',
      'links/kernel-security/kernel-security.link',
      'interface',
      GID.authority,
      0o660,
    ],
    [
      'a link of a third group',
      'links/kernel-security/kernel-security.link',
      'kernel',
      GID.stop,
      0o660,
    ],
    [
      'a link that all may read',
      'links/kernel-security/kernel-security.link',
      'kernel',
      GID.authority,
      0o664,
    ],
    ['a latch of another track', 'stop/kernel/latch', 'interface', GID.stop, 0o640],
    ['a latch that its group may write', 'stop/kernel/latch', 'kernel', GID.stop, 0o660],
    ['a request that its group may write', 'stop/interface/request', 'interface', GID.stop, 0o660],
    ['a bell that its group may hear', 'stop/kernel/bell', 'kernel', GID.stop, 0o660],
    ['a request of people that all may write', 'stop/people/request', 'kernel', GID.people, 0o666],
  ] as const)('is refused with %s', (_what, path, owner, gid, mode) => {
    asOnTheAppliance();
    file(path, owner, gid, mode);
    expect(findingFor('kernel')).toMatch(
      new RegExp(`^run directory, ${path}: (belongs to|has mode)`),
    );
  });

  it('is right with the files that the tracks make', () => {
    asOnTheAppliance();
    file('links/kernel-security/kernel-security.link', 'security', GID.authority, 0o660);
    file('links/kernel-security/kernel-security.kernel.bell', 'kernel', GID.authority, 0o660);
    file('stop/kernel/latch', 'kernel', GID.stop, 0o640);
    file('stop/kernel/bell', 'kernel', GID.stop, 0o620);
    file('stop/interface/request', 'interface', GID.stop, 0o640);
    file('stop/people/request', 'kernel', GID.people, 0o664);
    for (const track of TRACKS) expect(findingFor(track)).toBe('');
  });

  it('is refused, not made, when something is missing', () => {
    asOnTheAppliance();
    rmSync(at('links'), { recursive: true });
    expect(findingFor('interface')).toBe(
      'run directory, links: is not there; `systemd-tmpfiles --create dsmil.conf` makes it',
    );
    expect(existsSync(at('links'))).toBe(false);
  });
});
