// Rights by user and group, shown by trying: the agent works as three users, and a program that is one of them, with
// everything that process has, is refused whatever belongs to the others.

import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { linkDirectoryOf } from '#config/layout';
import { TRACKS, type TrackName } from '#model/track-name';
import { REPOSITORY } from '../support/agent.ts';
import { Appliance } from '../support/appliance.ts';
import { NO_SYSTEMD, NOT_ROOT } from '../support/appliance-root.ts';
import { pause } from './watch.ts';

const REASON = NOT_ROOT ?? NO_SYSTEMD;
const PROBE = join(REPOSITORY, 'test/support/rights-probe.py');
const REFUSED = /^(EACCES|EPERM)$/;

type Attempt = readonly [kind: string, path: string, ...more: string[]];

let appliance: Appliance;

beforeAll(async () => {
  if (REASON !== null) return;
  appliance = await Appliance.start();
});
afterAll(() => appliance?.stop());

/** What became of each attempt, by a program that is the user of a track, or root. */
function tried(as: TrackName | 'root', attempts: readonly Attempt[]): readonly string[] {
  const program = readFileSync(PROBE, 'utf8');
  const command = ['/usr/bin/python3', '-c', program];
  const [file = '', ...rest] = as === 'root' ? command : appliance.commandAs(as, command);
  const { stdout, stderr } = spawnSync(file, rest, {
    encoding: 'utf8',
    input: JSON.stringify(attempts),
    cwd: '/',
  });
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as readonly string[];
}

function expectRefused(as: TrackName, attempts: readonly Attempt[]): void {
  expect(attempts.length).toBeGreaterThan(0);
  const outcomes = tried(as, attempts);
  const taken = attempts
    .map((attempt, index) => `${attempt.join(' ')}: ${outcomes[index]}`)
    .filter((_, index) => !REFUSED.test(outcomes[index] ?? ''));
  expect(taken).toEqual([]);
}

const run = (...parts: string[]) => join(appliance.layout.runDirectory, ...parts);
const filesIn = (directory: string) => readdirSync(directory).map((name) => join(directory, name));
const opened = (paths: readonly string[]): readonly Attempt[] =>
  paths.flatMap(
    (path) =>
      [
        ['read', path],
        ['both', path],
        ['chmod', path],
      ] as const,
  );

/** Registers in every mechanism of the simulated board, and the real machine's. */
function deviceAttempts(): readonly Attempt[] {
  const { devices } = appliance;
  const paths = ['memory', 'serial-0', 'serial-1', 'sys/class/hwmon'].map((name) =>
    join(devices, name),
  );
  const real = ['/dev/mem', '/dev/kmem', '/dev/port'].filter(existsSync);
  return [
    ...opened([...paths, ...real]),
    ['connect', join(devices, 'i2c.sock')],
    ['connect', join(devices, 'control.sock')],
    ['list', devices],
  ];
}

function secretAttempts(): readonly Attempt[] {
  const { layout } = appliance;
  const directory = join(layout.stateDirectory, 'security');
  const files = filesIn(directory);
  expect(files.some((path) => path === layout.database)).toBe(true);
  expect(files.some((path) => path === layout.checkpointKey)).toBe(true);
  expect(files.some((path) => path === layout.sealingKey)).toBe(true);
  expect(files.some((path) => path === layout.pki.authorityKey)).toBe(true);
  return [
    ...opened(files),
    ...files.map((path): Attempt => ['unlink', path]),
    ['create', join(directory, 'agent.db-journal')],
    ['list', directory],
    ['rename', directory, `${directory}.old`],
  ];
}

function processAttempts(others: readonly TrackName[]): readonly Attempt[] {
  return others.flatMap((track): readonly Attempt[] => {
    const pid = String(appliance.pid(track));
    return [
      ...['SIGCONT', 'SIGSTOP', 'SIGTERM', 'SIGKILL'].map((name): Attempt => ['kill', pid, name]),
      ['ptrace', pid],
      ...['mem', 'environ', 'maps'].map((name): Attempt => ['read', `/proc/${pid}/${name}`]),
      ['both', `/proc/${pid}/mem`],
      ['list', `/proc/${pid}/fd`],
    ];
  });
}

/** Everything one could do to files in a directory where one has no business. */
function directoryAttempts(directory: string): readonly Attempt[] {
  const files = filesIn(directory);
  expect(files).not.toEqual([]);
  return [
    ...files.flatMap((path): readonly Attempt[] => [
      ['unlink', path],
      ['rename', path, `${path}.away`],
      ['replace', path, `${path}.mine`],
    ]),
    ['create', join(directory, 'mine')],
    ['rename', directory, `${directory}.away`],
  ];
}

function othersOf(track: TrackName): readonly TrackName[] {
  return TRACKS.filter((other) => other !== track);
}

const NAME = `three users of one agent${REASON === null ? '' : ` (skipped: ${REASON})`}`;

describe.skipIf(REASON !== null)(NAME, () => {
  it('run under their own ids and groups, without a capability', () => {
    for (const track of TRACKS) {
      const status = readFileSync(`/proc/${appliance.pid(track)}/status`, 'utf8');
      const field = (name: string) => new RegExp(`^${name}:\\s*(.*?)\\s*$`, 'm').exec(status)?.[1];
      const { uid, gid, groups } = appliance.root.userOf(track);
      expect(field('Uid')).toBe(Array(4).fill(uid).join('\t'));
      expect(field('Gid')).toBe(Array(4).fill(gid).join('\t'));
      expect(field('Groups')?.split(' ').map(Number).sort()).toEqual([gid, ...groups].sort());
      expect([field('CapEff'), field('CapBnd')]).toEqual(['0000000000000000', '0000000000000000']);
      // Filtered, as its unit says.
      expect([field('NoNewPrivs'), field('Seccomp')]).toEqual(['1', '2']);
    }
  });

  it('work together: a person reads and writes a register', async () => {
    let last = '';
    for (let tries = 0; tries < 200 && last !== '200'; tries++) {
      const answer = await appliance.rest(0, 'POST', 'operations', {
        operation: 'WRITE',
        device: '0x8003',
        registers: [{ name: 'CONFIG', value: '0x77' }],
        justification: 'a test of three users',
      });
      last = String(answer.status);
      if (last !== '200') await pause(100);
    }
    expect(last).toBe('200');
    const read = await appliance.rest(1, 'GET', 'devices/0x8003/registers?names=CONFIG');
    expect([read.status, read.text]).toEqual([200, expect.stringMatching(/"(0x0*77|119)"/)]);
  });

  it('leave a plan for the safe drive that kernel alone can read', () => {
    const { safeDrivePlan } = appliance.layout;
    const { uid } = appliance.root.userOf('kernel');
    expect([lstatSync(safeDrivePlan).uid, lstatSync(safeDrivePlan).mode & 0o777]).toEqual([
      uid,
      0o600,
    ]);
    for (const track of othersOf('kernel')) expectRefused(track, opened([safeDrivePlan]));
  });

  it('show that these attempts succeed where the right is there', () => {
    const { layout } = appliance;
    const rights: readonly (readonly [TrackName, Attempt])[] = [
      ['kernel', ['both', join(appliance.devices, 'memory')]],
      ['kernel', ['list', join(layout.runDirectory, 'kernel')]],
      ['kernel', ['both', run('stop/kernel/latch')]],
      ['kernel', ['both', run('links/kernel-security/kernel-security.link')]],
      ['kernel', ['connect', layout.kernelConsole]],
      ['security', ['both', layout.database]],
      ['security', ['read', layout.checkpointKey]],
      ['security', ['both', run('links/kernel-security/kernel-security.link')]],
      ['security', ['both', run('links/security-interface/security-interface.link')]],
      ['interface', ['both', run('links/security-interface/security-interface.link')]],
      ['interface', ['both', run('stop/interface/request')]],
      ['interface', ['read', run('stop/kernel/latch')]],
      ['interface', ['write', run('stop/kernel/bell')]],
      ['interface', ['connect', layout.localSocket]],
      ['interface', ['kill', String(appliance.pid('interface')), 'SIGCONT']],
    ];
    for (const [track, attempt] of rights)
      expect([track, attempt, ...tried(track, [attempt])]).toEqual([track, attempt, 'done']);
  });
});

describe.skipIf(REASON !== null)('a program that is interface', () => {
  it('reaches no device', () => expectRefused('interface', deviceAttempts()));

  it('reaches neither keys nor audit chain', () => expectRefused('interface', secretAttempts()));

  it('reaches neither the link of kernel and security nor its bells', () => {
    const directory = linkDirectoryOf(appliance.layout.runDirectory, 'kernel-security');
    const files = filesIn(directory);
    expect(files).toHaveLength(3);
    expectRefused('interface', [
      ...opened(files),
      ...directoryAttempts(directory),
      ['list', directory],
    ]);
  });

  it('cannot take back, replace or remove a stop, nor hear the bell in place of kernel', () => {
    expectRefused('interface', [
      ...['kernel', 'security', 'people'].flatMap((name) => directoryAttempts(run('stop', name))),
      ...['kernel/latch', 'kernel/request', 'security/request', 'people/request'].map(
        (name): Attempt => ['both', run('stop', name)],
      ),
      ...['kernel/bell', 'people/bell'].map((name): Attempt => ['read', run('stop', name)]),
      ...['kernel/bell', 'kernel/latch'].map((name): Attempt => ['chmod', run('stop', name)]),
      ...['stop', 'links', 'kernel', 'security'].map(
        (name): Attempt => ['rename', run(name), run('away')],
      ),
      ['create', run('mine')],
      ['create', run('stop/mine')],
      ['create', run('links/mine')],
    ]);
  });

  it('cannot replace what security made in the link they share', () => {
    const directory = linkDirectoryOf(appliance.layout.runDirectory, 'security-interface');
    const uid = appliance.root.userOf('security').uid;
    const theirs = filesIn(directory).filter((path) => lstatSync(path).uid === uid);
    expect(theirs).not.toEqual([]);
    expectRefused(
      'interface',
      theirs.flatMap((path): readonly Attempt[] => [
        ['unlink', path],
        ['rename', path, `${path}.away`],
        ['chmod', path],
      ]),
    );
  });

  it('is let in at neither console of the other two', () =>
    expectRefused('interface', [
      ['connect', appliance.layout.kernelConsole],
      ['connect', appliance.layout.securityConsole],
      ['unlink', appliance.layout.kernelConsole],
      ['unlink', appliance.layout.securityConsole],
      ['replace', appliance.layout.securityConsole, run('security/mine')],
    ]));

  it('can neither look into, nor signal, nor become another process', () => {
    expectRefused('interface', processAttempts(othersOf('interface')));
    const kernel = appliance.root.userOf('kernel');
    expectRefused('interface', [
      ['raise', '0'],
      ['raise', String(kernel.uid)],
      ['group', String(appliance.root.groupOf('dsmil-authority'))],
    ]);
  });
});

describe.skipIf(REASON !== null)('a program that is kernel', () => {
  it('reaches neither keys nor audit chain nor the TLS key', () => {
    expectRefused('kernel', secretAttempts());
    expectRefused('kernel', opened([appliance.layout.pki.server]));
  });

  it('reaches neither the link of security and interface nor their words and sockets', () => {
    const directory = linkDirectoryOf(appliance.layout.runDirectory, 'security-interface');
    expectRefused('kernel', [
      ...opened(filesIn(directory)),
      ...directoryAttempts(directory),
      ...directoryAttempts(run('stop/security')),
      ...directoryAttempts(run('stop/interface')),
      ...['security/request', 'interface/request'].map(
        (name): Attempt => ['both', run('stop', name)],
      ),
      ['connect', appliance.layout.localSocket],
      ['connect', appliance.layout.securityConsole],
      ['unlink', appliance.layout.localSocket],
    ]);
  });

  it('can neither look into, nor signal, nor become another process', () =>
    expectRefused('kernel', [...processAttempts(othersOf('kernel')), ['raise', '0']]));
});

describe.skipIf(REASON !== null)('a program that is security', () => {
  it('reaches no device', () => expectRefused('security', deviceAttempts()));

  it('cannot write the latch, nor what kernel and interface keep for themselves', () =>
    expectRefused('security', [
      ...directoryAttempts(run('stop/kernel')),
      ...['kernel/latch', 'kernel/request', 'interface/request', 'people/request'].map(
        (name): Attempt => ['both', run('stop', name)],
      ),
      ...opened([appliance.layout.safeDrivePlan, appliance.layout.pki.server]),
      ['list', run('kernel')],
      ['connect', appliance.layout.kernelConsole],
      ['connect', appliance.layout.localSocket],
    ]));

  it('can neither look into, nor signal, nor become another process', () =>
    expectRefused('security', [...processAttempts(othersOf('security')), ['raise', '0']]));
});

describe.skipIf(REASON !== null)('after all these attempts', () => {
  it('the three are the same processes, and a person stops the system', async () => {
    const answer = await appliance.rest(0, 'POST', 'emergency-stop', {
      reason: 'a test of three users',
    });
    expect([answer.status, answer.text]).toEqual([200, expect.any(String)]);
    const status = await appliance.rest(0, 'GET', 'system/status');
    expect(status.body).toMatchObject({ stopEngaged: true });
    for (const track of TRACKS)
      expect(existsSync(`/proc/${appliance.pid(track)}/status`)).toBe(true);
  });

  it.each([
    ['security', 'links/kernel-security', 0o3777],
    ['kernel', 'stop/kernel', 0o2770],
    ['interface', 'links/security-interface', 0o2770],
  ] as const)('%s does not start where %s was opened to others', async (track, path, mode) => {
    await appliance.end(track);
    const before = lstatSync(run(path)).mode & 0o7777;
    chmodSync(run(path), mode);
    expect(await appliance.launch(track)).toBe(78);
    expect(appliance.output(track)).toContain(`run directory, ${path}`);
    chmodSync(run(path), before);
    if (track !== 'interface') expect(await appliance.launch(track)).toBe(null);
  });
});
