// Composition root of the kernel process: buses, drivers, the kernel track, the stop latch, the link to security.
// Invariants: no network server, no disk, no secret; writes only what security signed; silence of security means stop.

import { createPublicKey } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createRegisterDriver } from '#drivers/device/register-driver';
import { openBus } from '#drivers/index';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { MessageType } from '#link/link';
import { SharedLink } from '#link/shared-link';
import { SharedStopLatch } from '#link/stop-latch';
import { serveKernelTrack } from '#link/track-server';
import { permanentlyQuarantined } from '#model/device';
import { EmergencyPriority, type StopCause, type StopReceipt } from '#model/stop';
import { BusQueue } from '#tracks/kernel/bus-queue';
import { DeviceAccess } from '#tracks/kernel/device-access';
import { Interlock } from '#tracks/kernel/interlock';
import { KernelDeviceTrack } from '#tracks/kernel/track';
import { loadBoardFile } from './board-file.ts';
import { announceReady, endOnRequest, readProcessArguments } from './command-line.ts';
import { watchLink } from './link-watch.ts';
import { dieOnSurprise, openLog } from './process-log.ts';

const QUEUE_LIMITS = { waitingMax: 256, failuresMax: 3, coolDownMs: 2_000 } as const;
const SAFE_STATE_BUDGET_MS = 5_000;
/** Security may restart within this time without a stop; until it is back nothing is written. */
const SECURITY_SILENCE_MS_MAX = 2_000;
const OBSERVE_PERIOD_MS = 1_000;
const OBSERVE_LIMIT_MS = 800;
const REOPEN_PERIOD_MS = 1_000;
const UNREPORTED_MAX = 32;

const log = openLog('kernel');
dieOnSurprise(log);
const { layout, board: boardFile, variables } = readProcessArguments();
const clock = systemClock;
try {
  // The stop goes before everything else on this machine; the unit file says the same to systemd.
  setPriority(constants.priority.PRIORITY_HIGH);
} catch {
  log.info('no right to a higher priority; the stop shares the processor like any process');
}

const loaded = await loadBoardFile(boardFile, variables);
if (!loaded.ok) {
  log.fatal(loaded.fault, 'the board file is not used');
  process.exit(78);
}
const board = loaded.value;
const stopDirectory = join(layout.runDirectory, 'stop');
mkdirSync(stopDirectory, { recursive: true, mode: 0o770 });
const latch = new SharedStopLatch({ directory: stopDirectory, self: 'kernel' });
// First start since power-up: security engages the latch again when a stop was left standing.
if (latch.fresh) latch.release();
const interlock = new Interlock(latch);
interlock.hold('security has not answered yet');

const devices = board.devices.filter(
  (device) => !device.quarantined && !permanentlyQuarantined(device.id),
);
const queues = new Map<string, BusQueue>();
for (const description of board.buses) {
  const bus = openBus(
    description,
    devices.filter((device) => device.busId === description.id),
    clock,
  );
  const limits = { ...QUEUE_LIMITS, accessTimeoutMs: description.accessTimeoutMs };
  queues.set(
    description.id,
    new BusQueue({
      bus,
      clock,
      limits,
      isQuarantined: (id) =>
        permanentlyQuarantined(id) || !devices.some((device) => device.id === id),
      isStopped: (id) => interlock.stopEngaged(id),
    }),
  );
}

const access = new DeviceAccess(board.devices, queues);
const drivers = new Map(devices.map((device) => [device.id, createRegisterDriver(device)]));
const linkDirectory = join(layout.runDirectory, 'links');
mkdirSync(linkDirectory, { recursive: true, mode: 0o770 });
const link = new SharedLink({
  directory: linkDirectory,
  self: 'kernel',
  peer: 'security',
  clock,
  onError: (error, where) => log.error({ err: error, where }, 'handler failed'),
});

/** Stops that security has not been told of: it may be the reason for them. */
const unreported: { readonly cause: StopCause | null; readonly receipt: StopReceipt }[] = [];
function reportStops(): void {
  for (let next = unreported[0]; next !== undefined; next = unreported[0]) {
    if (!link.notify(MessageType.EMERGENCY_STOP, 'stopped', next).ok) break;
    unreported.shift();
  }
  // The first says why, the last what became of the devices.
  if (unreported.length > UNREPORTED_MAX) unreported.splice(1, unreported.length - UNREPORTED_MAX);
}

const track = new KernelDeviceTrack({
  access,
  drivers,
  latch,
  interlock,
  clock,
  safeStateBudgetMs: SAFE_STATE_BUDGET_MS,
  onStopped: (cause, receipt) => {
    log.warn({ cause, receipt }, 'devices driven to their safe values');
    unreported.push({ cause, receipt });
    reportStops();
    publish();
  },
});
serveKernelTrack(link, track);
latch.onEngaged(() => void track.stopByLatch());

let tripping = false;
function trip(reason: string): void {
  // A peer that sends nothing but garbage is one reason to stop, not one for each frame.
  if (tripping) return;
  tripping = true;
  const cause: StopCause = {
    source: 'kernel',
    reason,
    priority: EmergencyPriority.IMMEDIATE,
    triggeredBy: 'kernel',
    wallMs: clock.wallMs(),
  };
  log.error({ reason }, 'stopping by itself');
  void track.stop({ cause, devices: [] }).finally(() => {
    tripping = false;
  });
}

let published = false;
let silence: (() => void) | null = null;
let sawSecurity = false;
function onSecurity(state: string): void {
  if (state === 'up') {
    silence?.();
    silence = null;
    sawSecurity = true;
    track.authorizations.trust(createPublicKey(readFileSync(layout.authorizationKey, 'utf8')));
    interlock.resume();
    log.info('security answers, writes are possible');
    reportStops();
    published = false;
    publish();
    return;
  }
  interlock.hold(`security is ${state}`);
  log.warn({ security: state }, 'writes are on hold');
  // Before the first contact there is nothing running that silence could endanger.
  if (!sawSecurity || silence !== null) return;
  silence = clock.after(SECURITY_SILENCE_MS_MAX, () =>
    trip(`security was ${state} for ${SECURITY_SILENCE_MS_MAX} ms`),
  );
}
link.onPeer(onSecurity);
watchLink(link, (finding) => log.warn({ finding }, 'link counters moved'));
link.onCorrupt((finding) => trip(`frame from security corrupt: ${finding}`));
if (link.peerState === 'up') onSecurity('up');

/** Also without a change: its arrival tells panels that their picture is fresh. */
function publish(): void {
  const snapshot = published ? track.memory.changes() : track.memory.whole();
  // What could not be sent counts as changed: the next picture is a whole one.
  published = link.notify(MessageType.STATE_SYNC, 'snapshot', snapshot).ok;
}

async function openBuses(): Promise<void> {
  const limit = Deadline.after(clock, OBSERVE_LIMIT_MS);
  let news = false;
  await Promise.all(
    [...queues.values()].map(async (queue) => {
      if (queue.state().open) return;
      const opened = await queue.open(limit);
      if (opened.ok) news = true;
      else log.warn({ bus: queue.bus.id, fault: opened.fault }, 'bus not open');
    }),
  );
  // The stop may be older than this process, or have come while the bus was away.
  if (news && latch.engaged()) await track.stopAgain();
}

async function observe(): Promise<void> {
  // Devices of one bus in turn, buses side by side: a slow line delays only itself.
  await Promise.all(
    [...queues.keys()].map(async (busId) => {
      for (const device of devices) {
        if (device.busId !== busId) continue;
        await track.memory.observe(device.id, OBSERVE_LIMIT_MS);
        // Mapped memory answers without leaving this turn of the loop: sixty devices in a row would hold up the stop.
        await nextTurn();
      }
    }),
  );
  publish();
}

async function repeat(periodMs: number, action: () => Promise<void>): Promise<never> {
  for (;;) {
    await clock.sleep(periodMs);
    await action();
  }
}

async function shutDown(): Promise<void> {
  interlock.hold('kernel is ending');
  const { safe, unsafe, durationMs } = await track.endSafely();
  log.info(
    { safe: safe.length, unsafe, durationMs },
    'devices driven to their safe values, ending',
  );
  for (const queue of queues.values()) await queue.bus.close();
  link.close();
  latch.close();
  process.exit(0);
}
endOnRequest(() => void shutDown());

await openBuses();
announceReady({ pid: process.pid });
log.info({ board: board.name, devices: devices.length, buses: board.buses.length }, 'ready');
void repeat(REOPEN_PERIOD_MS, openBuses);
void repeat(OBSERVE_PERIOD_MS, observe);
await observe();
