// The units as systemd's own tools judge them: syntax, exposure, users and directories; and that they agree with the code.

import { lstatSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RUN_GROUPS_OF, RUN_PLACES, type RunGroup } from '#config/layout';
import { TRACKS, type TrackName } from '#model/track-name';
import { nodeFlagsOf } from '../../scripts/node-flags.ts';
import { CREDENTIALS } from '../../src/bin/key-store.ts';
import { SEALING_CREDENTIALS } from '../../src/bin/sealing-key-store.ts';
import {
  ApplianceRoot,
  NO_SYSTEMD,
  NOT_ROOT,
  run,
  SYSTEMD,
  UNITS,
} from '../support/appliance-root.ts';

const SERVICES = UNITS.filter((name) => name.endsWith('.service'));
const GROUP_NAMES: Readonly<Record<RunGroup, string>> = {
  authority: 'dsmil-authority',
  requests: 'dsmil-requests',
  stop: 'dsmil-stop',
  people: 'dsmil',
};

/** Every assignment of a key, in order. */
function settings(unit: string, key: string): readonly string[] {
  return readFileSync(join(SYSTEMD, unit), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith(`${key}=`))
    .map((line) => line.slice(key.length + 1));
}

let root: ApplianceRoot;

beforeEach(() => {
  root = new ApplianceRoot();
});
afterEach(() => root.remove());

function verify(): string {
  root.installUnits();
  const paths = UNITS.map((name) => root.path('etc/systemd/system', name));
  const { status, output } = run('systemd-analyze', [
    'verify',
    `--root=${root.directory}`,
    ...paths,
  ]);
  return `${output}${status === 0 ? '' : `\nstatus ${status}`}`.trim();
}

describe.skipIf(NO_SYSTEMD !== null)(
  `systemd-analyze${NO_SYSTEMD ? `: ${NO_SYSTEMD}` : ''}`,
  () => {
    it('has nothing to say about the units', () => {
      root.installPrograms();
      expect(verify()).toBe('');
    });

    it('would say so of a key it does not know, and of a program that is not there', () => {
      expect(verify()).toContain('/usr/lib/dsmil/node is not executable');
      root.installPrograms();
      const unit = root.path('etc/systemd/system/dsmil-kernel.service');
      writeFileSync(unit, readFileSync(unit, 'utf8').replace('RestrictRealtime=', 'RestrictReal='));
      const { output } = run('systemd-analyze', ['verify', `--root=${root.directory}`, unit]);
      expect(output).toContain("Unknown key 'RestrictReal'");
    });

    it.each([
      ['dsmil-kernel.service', 4.0],
      ['dsmil-safe.service', 4.0],
      ['dsmil-security.service', 2.0],
      ['dsmil-interface.service', 2.0],
    ])('finds %s exposed by at most %d', (unit, limit) => {
      const judged = run('systemd-analyze', [
        ...['security', '--offline=true', '--no-pager', '--json=short'],
        join(SYSTEMD, unit),
      ]);
      // One finding for each kind of hardening; the sum is printed only where people read it.
      const findings = JSON.parse(judged.output) as { readonly exposure: string | null }[];
      expect(findings.length).toBeGreaterThan(50);
      const printed = run('systemd-analyze', [
        ...['security', '--offline=true', '--no-pager', `--threshold=${limit * 10}`],
        join(SYSTEMD, unit),
      ]);
      const exposure = Number(/exposure level for \S+: ([\d.]+)/.exec(printed.output)?.[1]);
      expect(exposure).toBeLessThanOrEqual(limit);
      expect(printed.status).toBe(0);
    });
  },
);

describe.skipIf(NO_SYSTEMD !== null)('systemd-sysusers and systemd-tmpfiles', () => {
  it('make the users and groups that the code speaks of, and nobody is in a group too many', () => {
    expect(root.makeUsers().status).toBe(0);
    for (const track of TRACKS) {
      const { uid, gid, groups } = root.userOf(track);
      expect([uid > 0, gid > 0]).toEqual([true, true]);
      const meant = RUN_GROUPS_OF[track].map((group) => root.groupOf(GROUP_NAMES[group]));
      const devices = ['dsmil-devices', 'dialout'].map((name) => root.groupOf(name));
      expect([...groups].sort()).toEqual([...meant, ...(track === 'kernel' ? devices : [])].sort());
    }
  });

  it.skipIf(NOT_ROOT !== null)('make every directory as the processes want to find it', () => {
    root.makeUsers();
    expect(root.makeDirectories()).toEqual({ status: 0, output: '' });
    for (const { path, owner, group, mode } of RUN_PLACES) {
      const status = lstatSync(root.path('run/dsmil', path));
      const uid = owner === 'root' ? 0 : root.userOf(owner).uid;
      const own = owner === 'root' ? 0 : root.userOf(owner).gid;
      const gid = group === null ? own : root.groupOf(GROUP_NAMES[group]);
      expect([path, status.uid, status.gid, (status.mode & 0o7777).toString(8)]).toEqual([
        path,
        uid,
        gid,
        mode.toString(8),
      ]);
    }
    const state = (path: string) => lstatSync(root.path('var/lib/dsmil', path));
    expect(state('security').mode & 0o7777).toBe(0o700);
    expect(state('security').uid).toBe(root.userOf('security').uid);
    expect(state('interface').mode & 0o7777).toBe(0o700);
    expect(state('interface').uid).toBe(root.userOf('interface').uid);
  });
});

describe('the units', () => {
  it.each(TRACKS)(
    'start %s as its own user, in the groups that the code gives it',
    (track: TrackName) => {
      const unit = `dsmil-${track}.service`;
      expect(settings(unit, 'User')).toEqual([`dsmil-${track}`]);
      expect(settings(unit, 'Group')).toEqual([`dsmil-${track}`]);
      const groups = settings(unit, 'SupplementaryGroups').flatMap((line) => line.split(' '));
      const shared = groups.filter((name) => Object.values(GROUP_NAMES).includes(name));
      expect(shared.sort()).toEqual(RUN_GROUPS_OF[track].map((group) => GROUP_NAMES[group]).sort());
    },
  );

  it.each(TRACKS)('run %s with the flags of development and the bench', (track: TrackName) => {
    const [command = ''] = settings(`dsmil-${track}.service`, 'ExecStart');
    const [program, ...rest] = command.split(' ');
    expect(program).toBe('/usr/lib/dsmil/node');
    expect(rest.slice(0, -1).sort()).toEqual([...nodeFlagsOf(track)].sort());
    expect(rest.at(-1)).toBe(`/usr/lib/dsmil/build/bin/${track}.js`);
  });

  it.each(TRACKS)('let %s write nowhere but in its own places', (track: TrackName) => {
    const unit = `dsmil-${track}.service`;
    expect(settings(unit, 'ProtectSystem')).toEqual(['strict']);
    const paths = settings(unit, 'ReadWritePaths').flatMap((line) => line.split(' '));
    const run = paths.filter((path) => path.startsWith('/run/dsmil/'));
    const meant = RUN_PLACES.filter(({ path, owner, group }) => {
      const shared =
        group !== null && path.startsWith('links/') && RUN_GROUPS_OF[track].includes(group);
      return owner === track || shared;
    });
    expect(run.sort()).toEqual(meant.map(({ path }) => `/run/dsmil/${path}`).sort());
    const rest = paths.filter((path) => !path.startsWith('/run/dsmil/'));
    const state = {
      kernel: [],
      security: ['/var/lib/dsmil/pki'],
      interface: ['/var/lib/dsmil/interface'],
    };
    expect(rest).toEqual(state[track]);
  });

  it('give the network to interface alone and devices to kernel alone', () => {
    for (const unit of SERVICES) {
      const network = settings(unit, 'PrivateNetwork');
      expect([unit, network]).toEqual([unit, unit === 'dsmil-interface.service' ? [] : ['yes']]);
      const devices = settings(unit, 'PrivateDevices');
      const drives = unit === 'dsmil-kernel.service' || unit === 'dsmil-safe.service';
      expect([unit, devices]).toEqual([unit, drives ? [] : ['yes']]);
      expect([unit, settings(unit, 'DevicePolicy')]).toEqual([unit, ['closed']]);
    }
  });

  it('hand keys to security alone, under the names that the code looks for', () => {
    for (const unit of SERVICES) {
      const names = [...Object.values(CREDENTIALS), ...Object.values(SEALING_CREDENTIALS)];
      const given = settings(unit, 'LoadCredentialEncrypted');
      expect([unit, [...given].sort()]).toEqual([
        unit,
        unit === 'dsmil-security.service' ? names.sort() : [],
      ]);
    }
  });

  it.each(TRACKS)('watch %s and start it again', (track: TrackName) => {
    const unit = `dsmil-${track}.service`;
    expect(settings(unit, 'Type')).toEqual(['notify']);
    expect(settings(unit, 'NotifyAccess')).toEqual(['main']);
    expect(Number(settings(unit, 'WatchdogSec')[0])).toBeGreaterThan(0);
    expect(settings(unit, 'Restart')).toEqual(['always']);
  });

  it('drive the devices to safe values however kernel ended, and when a unit is given up', () => {
    const drive = '/usr/lib/dsmil/dsmil-safe-drive /run/dsmil/kernel/safe-drive.plan';
    expect(settings('dsmil-kernel.service', 'ExecStopPost')).toEqual([drive]);
    expect(settings('dsmil-safe.service', 'ExecStart')).toEqual([drive]);
    for (const track of ['kernel', 'security'])
      expect(settings(`dsmil-${track}.service`, 'OnFailure')).toEqual(['dsmil-safe.service']);
    const rights = ['User', 'DeviceAllow', 'AmbientCapabilities', 'CapabilityBoundingSet'];
    for (const key of rights)
      expect(settings('dsmil-safe.service', key)).toEqual(settings('dsmil-kernel.service', key));
  });
});
