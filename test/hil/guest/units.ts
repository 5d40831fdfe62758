// The units of systemd/ under a real systemd on a real kernel: started, tried, killed, hung, given up and stopped.
// Nothing here is about how soon: every wait ends when something is so.

import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { TRACKS, type TrackName } from '#model/track-name';
import { check, inGuest, mark } from './report.ts';
import { checkCredentials, makeSiteKeys } from './units/credentials.ts';
import { DEVICES, makeUnsafe, unsafePlaces } from './units/metal.ts';
import {
  addDropIn,
  groupOf,
  journalOf,
  must,
  pidOf,
  property,
  removeDropIn,
  run,
  unitOf,
  untilAnew,
  untilIs,
  untilState,
  userOf,
} from './units/service.ts';
import { checkNodes, checkWalls } from './units/walls.ts';

const PLAN = '/run/dsmil/kernel/safe-drive.plan';
const KERNEL = unitOf('kernel');
const SAFE = 'dsmil-safe.service';
/** Long enough for a life that does not hang. */
const HASTY_S = 45;

/** The plan holds a step for every device: all buses are open and security has said whom not to touch. */
function untilPlanned(): Promise<void> {
  const missing = () => {
    const plan = readFileSync(PLAN, 'latin1');
    return DEVICES.filter((device) => !plan.includes(`\nstep ${device.slice(2)} `)).join(' ');
  };
  return untilIs('devices without a step in the plan', '', missing);
}

/** Kernel stands still, so that nothing but what follows can drive the metal. */
async function freezeUnsafe(): Promise<number> {
  for (;;) {
    await untilPlanned();
    await untilState(KERNEL, 'active');
    const pid = pidOf('kernel');
    process.kill(pid, 'SIGSTOP');
    await makeUnsafe();
    // A watchdog may have been faster on a busy host: once more, with the next life.
    if (pidOf('kernel') === pid && property(KERNEL, 'SubState') === 'running') return pid;
    await untilAnew('kernel', pid);
  }
}

/** The safe drive has said of every device that it is safe, in this unit's journal from a line on. */
function saidSafe(unit: string, from: number): string {
  const said = journalOf(unit, from);
  const safe = DEVICES.filter((device) => said.some((line) => line.startsWith(`${device} safe`)));
  assert.deepEqual(safe, DEVICES, said.join('\n'));
  return said.find((line) => line.startsWith('dsmil-safe-drive:')) ?? '';
}

async function checkStart(): Promise<void> {
  const keys = makeSiteKeys();
  await check('systemd-tmpfiles has made every directory for its user', () => {
    const status = statSync('/run/dsmil/links/kernel-security');
    assert.equal((status.mode & 0o7777).toString(8), '3770');
    assert.equal(status.gid, groupOf('dsmil-authority'));
    assert.equal(statSync('/var/lib/dsmil/security').uid, userOf('dsmil-security').uid);
    return 'as tmpfiles.d has them';
  });
  await checkNodes();
  await check('all three services announce that they answer, started by their target', async () => {
    must('systemctl', 'start', '--no-block', 'dsmil.target');
    for (const track of TRACKS) {
      await untilState(unitOf(track), 'active');
      mark(`${track} active`);
      assert.equal(property(unitOf(track), 'Type'), 'notify');
      assert.notEqual(property(unitOf(track), 'WatchdogUSec'), '0');
    }
    await untilState('dsmil.target', 'active');
    const restarts = TRACKS.map((track) => `${track} ${property(unitOf(track), 'NRestarts')}`);
    assert.deepEqual(restarts, ['kernel 0', 'security 0', 'interface 0']);
    return restarts.join(', ');
  });
  await checkCredentials(keys);
}

async function checkSetup(): Promise<void> {
  await check('root makes the first two administrators with dsmil at the console', () => {
    const dsmil = ['/usr/lib/dsmil/node', '/usr/lib/dsmil/build/bin/dsmil.js'] as const;
    const [node, program] = dsmil;
    const text = must(node, program, 'setup', 'alice=Alice', 'bob=Bob');
    assert.match(text, /alice/);
    return 'alice and bob are invited';
  });
}

async function checkKilled(): Promise<void> {
  await check('a kernel that is killed leaves its devices safe, and comes back', async () => {
    // The manager asks a process at its start how long it has to wait: this is for the next life, which is to hang.
    addDropIn('kernel', 'hasty', ['[Service]', `WatchdogSec=${HASTY_S}`]);
    const pid = await freezeUnsafe();
    const from = journalOf(KERNEL).length;
    process.kill(pid, 'SIGKILL');
    await untilAnew('kernel', pid);
    assert.deepEqual(await unsafePlaces(), []);
    mark('kernel back after SIGKILL');
    return saidSafe(KERNEL, from);
  });
}

async function checkHung(): Promise<void> {
  await check(
    'a kernel that hangs is ended by the watchdog, devices safe, and comes back',
    async () => {
      // Time to look at it; taken away again, the restart is due at once.
      addDropIn('kernel', 'pause', ['[Service]', 'RestartSec=300']);
      const pid = await freezeUnsafe();
      const from = journalOf(KERNEL).length;
      const before = Number(property(KERNEL, 'NRestarts'));
      await untilIs('state of the hung kernel', 'auto-restart', () => property(KERNEL, 'SubState'));
      assert.equal(property(KERNEL, 'Result'), 'watchdog');
      // SIGABRT, signal(7).
      assert.equal(property(KERNEL, 'ExecMainStatus'), '6');
      assert.deepEqual(await unsafePlaces(), []);
      const said = saidSafe(KERNEL, from);
      removeDropIn('kernel', 'hasty');
      removeDropIn('kernel', 'pause');
      await untilAnew('kernel', pid);
      assert.equal(Number(property(KERNEL, 'NRestarts')), before + 1);
      mark('kernel back after SIGABRT');
      return said;
    },
  );
}

async function checkAlone(): Promise<void> {
  await check('interface is started again without the other two', async () => {
    const others: readonly TrackName[] = ['kernel', 'security'];
    const before = others.map(pidOf);
    const own = pidOf('interface');
    must('systemctl', 'restart', unitOf('interface'));
    await untilState(unitOf('interface'), 'active');
    assert.notEqual(pidOf('interface'), own);
    assert.deepEqual(others.map(pidOf), before);
    mark('interface back');
    return 'the others kept their processes';
  });
}

async function checkFed(): Promise<void> {
  await check('the watchdog of security is fed while its loops come round', async () => {
    const unit = unitOf('security');
    const stamp = (name: string) => Number(property(unit, `${name}TimestampMonotonic`));
    await untilIs('a kick since the start', 'true', () =>
      String(stamp('Watchdog') > stamp('ActiveEnter')),
    );
    assert.equal(property(unit, 'NRestarts'), '0');
    return `${((stamp('Watchdog') - stamp('ActiveEnter')) / 1e6).toFixed(1)} s after its start`;
  });
}

async function checkStopped(): Promise<void> {
  await check('the target stops all three by themselves, devices safe', async () => {
    await untilPlanned();
    await makeUnsafe();
    const from = journalOf(KERNEL).length;
    must('systemctl', 'stop', 'dsmil.target');
    for (const track of TRACKS) await untilState(unitOf(track), 'inactive');
    for (const track of TRACKS) {
      const unit = unitOf(track);
      // CLD_EXITED, waitid(2).
      const ended = [property(unit, 'ExecMainCode'), property(unit, 'ExecMainStatus')];
      assert.deepEqual([track, property(unit, 'Result'), ...ended], [track, 'success', '1', '0']);
    }
    assert.deepEqual(await unsafePlaces(), []);
    const said = journalOf(KERNEL, from).join('\n');
    assert.match(said, /driven to their safe values, ending/);
    return 'each ended with 0';
  });
}

async function checkGivenUp(): Promise<void> {
  await check('when kernel is given up, the safe drive of its own unit runs', async () => {
    // Without the drive after each end, so that what is seen is that of dsmil-safe.
    addDropIn('kernel', 'given-up', [
      ...['[Unit]', 'StartLimitIntervalSec=3600', 'StartLimitBurst=1'],
      ...['[Service]', 'ExecStopPost='],
    ]);
    must('systemctl', 'reset-failed');
    must('systemctl', 'start', KERNEL);
    const pid = await freezeUnsafe();
    const [from, started] = [journalOf(SAFE).length, journalOf(KERNEL).length];
    process.kill(pid, 'SIGKILL');
    await untilState(KERNEL, 'failed');
    // systemd 252 keeps the first reason in Result.
    assert.match(journalOf(KERNEL, started).join('\n'), /repeated too quickly/);
    await untilIs('the safe drive', 'exited', () =>
      property(SAFE, 'ExecMainExitTimestampMonotonic') === '0' ? 'not yet' : 'exited',
    );
    await untilState(SAFE, 'inactive');
    assert.equal(property(SAFE, 'Result'), 'success');
    assert.deepEqual(await unsafePlaces(), []);
    return saidSafe(SAFE, from);
  });
}

await inGuest(async () => {
  mark('node');
  await checkStart();
  await checkSetup();
  await checkWalls();
  mark('walls');
  await checkKilled();
  await checkHung();
  await checkAlone();
  await checkFed();
  await checkStopped();
  await checkGivenUp();
  mark(`done ${run('systemctl', 'is-system-running').text}`);
});
