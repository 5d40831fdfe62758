// Composition root of the kernel process: buses, drivers, the kernel track, the stop latch, the link to security.
// Invariants: no network server, no disk, no secret; writes only what security signed; silence of security means stop.

import { randomUUID } from 'node:crypto';
import { constants, setPriority } from 'node:os';
import { linkDirectoryOf } from '#config/layout';
import { createRegisterDriver } from '#drivers/device/register-driver';
import { openBus } from '#drivers/index';
import { systemClock } from '#foundation/clock';
import { describeFault } from '#foundation/fault';
import { serveKernelConsole } from '#link/kernel-console';
import { SharedLink } from '#link/shared-link';
import { SharedStopLatch } from '#link/stop-latch';
import { loadBoardFile } from './board-file.ts';
import { announceReady, endOnRequest, readProcessArguments } from './command-line.ts';
import { ComposedKernel } from './compose/kernel.ts';
import { openConsoleDoor } from './console/door.ts';
import { watchLink } from './link-watch.ts';
import {
  OPEN_LIMIT_MS,
  observeLimitMs,
  StopTestWatch,
  watchLinkTurns,
  watchQueues,
} from './loops.ts';
import { dieOnSurprise, openLog } from './process-log.ts';
import { QuarantineFile } from './quarantine-file.ts';
import { openRunDirectory } from './run-directory.ts';
import { SafeDrivePlan } from './safe-drive-plan.ts';
import { type StopTestState, Watchdog } from './watchdog.ts';

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
const place = openRunDirectory(layout.runDirectory, 'kernel');
if (!place.ok) {
  log.fatal(place.fault, describeFault(place.fault));
  process.exit(78);
}
const latch = new SharedStopLatch({ directory: layout.stopDirectory, self: 'kernel' });
// First start since power-up: security engages the latch again when a stop was left standing.
if (latch.fresh) latch.release();

const link = new SharedLink({
  directory: linkDirectoryOf(layout.runDirectory, 'kernel-security'),
  self: 'kernel',
  peer: 'security',
  clock,
  // Between any few requests of panels the loop has to hear the stop bell.
  framesPerTurn: 4,
  onError: (error, where) => log.error({ err: error, where }, 'handler failed'),
});
let stopTested: StopTestState['last'] = null;
/** As security told with the first test; before it nobody can say when one is overdue. */
let stopTestPeriodMs: number | null = null;
const stopTests = new StopTestWatch(clock, latch, () => link.peerState === 'up');
const watchdog = new Watchdog({
  clock,
  log,
  stopTest: () =>
    stopTestPeriodMs === null
      ? { last: null, periodMs: 1, possibleSinceMs: null }
      : stopTests.state(stopTested, stopTestPeriodMs),
});
const onOneBus = board.buses.map(
  ({ id }) => board.devices.filter(({ busId }) => busId === id).length,
);
const observed = watchdog.loop('looking at devices', observeLimitMs(Math.max(1, ...onOneBus)));
const opened = watchdog.loop('opening buses', OPEN_LIMIT_MS);
const quarantine = new QuarantineFile(layout.quarantine, (error) =>
  log.error({ err: error }, 'the quarantine file'),
);
const kernel = new ComposedKernel({
  board,
  clock,
  latch,
  link,
  openBus: (description, devices) => openBus(description, devices, clock),
  createDriver: createRegisterDriver,
  quarantine: {
    recall: () => quarantine.recall(),
    remember: (holds) => {
      quarantine.remember(holds);
      safeDrive.write();
    },
  },
  onTurn: (loop) => (loop === 'observe' ? observed() : opened()),
  onStopTested: (ok, periodMs) => {
    stopTested = { ok, atMs: clock.nowMs() };
    stopTestPeriodMs = periodMs ?? stopTestPeriodMs;
  },
  onReach: (change) => (change === 'supervised' ? safeDrive.supervised() : safeDrive.write()),
  life: randomUUID(),
  log,
});
const safeDrive = new SafeDrivePlan({
  path: layout.safeDrivePlan,
  board,
  access: kernel.access,
  leftOut: (device) => kernel.interlock.has(device, 'quarantined'),
  onError: (error) => log.error({ err: error }, 'the plan of the safe drive'),
});
latch.onEngaged(() => void kernel.track.stopByLatch());
latch.onTested(() => kernel.track.bellTested());
watchLinkTurns(watchdog, link);
watchQueues(watchdog, kernel.queues);
watchLink(link, (finding) => log.warn({ finding }, 'link counters moved'));
link.onCorrupt((finding) => kernel.trip(`frame from security corrupt: ${finding}`));

const ownUid = process.getuid?.() ?? 0;
const door = await openConsoleDoor({
  path: layout.kernelConsole,
  mode: 0o600,
  self: 'kernel',
  clock,
  admits: ({ uid }) => uid === 0 || uid === ownUid,
  serve: (console, { uid, pid }) => {
    serveKernelConsole(console, kernel.console.portOf(`uid ${uid} pid ${pid}`));
    return () => undefined;
  },
  onError: (error, where) => log.error({ err: error, where }, 'console failed'),
  onNote: (detail, message) => log.info(detail, message),
});
if (!door.ok) log.error(door.fault, 'no console: kernel cannot be asked without security');

async function shutDown(): Promise<void> {
  watchdog.stopping('devices go to their safe values');
  if (door.ok) void door.value.close();
  await kernel.end();
  link.close();
  latch.close();
  process.exit(0);
}
endOnRequest(() => void shutDown());

await kernel.start();
announceReady({ pid: process.pid });
watchdog.start();
log.info({ board: board.name, devices: kernel.devices.length, buses: board.buses.length }, 'ready');
await kernel.observeNow();
