// Composition root of the security process: authority, audit, journal, orchestrator; links to kernel and interface.
// Invariants: no network, no devices; its state directory is its own.

import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { linkDirectoryOf } from '#config/layout';
import { systemClock } from '#foundation/clock';
import { DurableStore } from '#foundation/durable-store';
import { describeFault } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import { SharedLink } from '#link/shared-link';
import { SharedStopLatch } from '#link/stop-latch';
import { Severity } from '#model/event';
import type { TrackName } from '#model/track-name';
import { AuthorizationSigner } from '#tracks/security/authorization';
import { loadBoardFile } from './board-file.ts';
import { announceReady, endOnRequest, readProcessArguments } from './command-line.ts';
import { composeSecurity } from './compose/security.ts';
import { openConsoleDoor } from './console/door.ts';
import { serveSecurityConsole } from './console/security-console.ts';
import { failpoint } from './failpoint.ts';
import { openKeys } from './key-material.ts';
import { watchLink } from './link-watch.ts';
import { StopTestWatch, watchLinkTurns, watchStore } from './loops.ts';
import { makeStorePrivate } from './private-store.ts';
import { dieOnSurprise, openLog } from './process-log.ts';
import { openRunDirectory } from './run-directory.ts';
import { loadSafetyFile } from './safety-file.ts';
import { Watchdog } from './watchdog.ts';

const log = openLog('security');
dieOnSurprise(log);
const { layout, board: boardFile, safety, variables, names } = readProcessArguments();
const clock = systemClock;
/** Behind what is on record by more than a correction of the time service: worth a word. */
const CLOCK_BEHIND_MS = 60_000;
/** EX_IOERR (sysexits.h). */
const EXIT_DISK_FAILED = 74;

function need<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  log.fatal(outcome.fault, describeFault(outcome.fault));
  process.exit(78);
}

const board = need(await loadBoardFile(boardFile, variables));
try {
  // Its silence holds all writes and then stops the system: only kernel goes before it. The unit file says the same.
  setPriority(constants.priority.PRIORITY_ABOVE_NORMAL);
} catch {
  log.info('no right to a higher priority; a busy machine may make it silent');
}

makeStorePrivate(layout.database);
need(openRunDirectory(layout.runDirectory, 'security'));

const store = new DurableStore(layout.database, {
  // Nobody knows what is on disk after this: the next start reads it anew, and kernel stops by itself if none comes.
  onLost: (error) => {
    log.fatal({ err: error }, 'ending, because the disk of journal and audit chain failed');
    process.exit(EXIT_DISK_FAILED);
  },
});
const keys = need(
  await openKeys({
    layout,
    store,
    credentials: process.env.CREDENTIALS_DIRECTORY,
    names,
    wallMs: () => clock.wallMs(),
    onNote: (detail, message) => log.warn(detail, message),
  }),
);
const signer = new AuthorizationSigner(clock);
const latch = new SharedStopLatch({ directory: layout.stopDirectory, self: 'security' });
const onError = (error: unknown, where: string) =>
  log.error({ err: error, where }, 'handler failed');
const linkTo = (peer: TrackName, pair: Parameters<typeof linkDirectoryOf>[1]) => {
  const directory = linkDirectoryOf(layout.runDirectory, pair);
  return new SharedLink({ directory, self: 'security', peer, clock, onError });
};
const kernelLink = linkTo('kernel', 'kernel-security');
const interfaceLink = linkTo('interface', 'security-interface');

const onState = failpoint(layout.runDirectory, process.env);
const security = composeSecurity({
  board,
  policy: need(await loadSafetyFile(safety)),
  store,
  bootId: randomUUID(),
  clock,
  // systemd-timesyncd marks the first successful synchronization of this boot.
  clockQuality: () =>
    existsSync('/run/systemd/timesync/synchronized') ? 'synchronized' : 'unsynchronized',
  databaseFile: layout.database,
  checkpointKey: keys.checkpointKey,
  otherCheckpointKeys: keys.otherCheckpointKeys,
  material: keys.material,
  sealing: keys.sealing,
  signer,
  latch,
  kernelLink,
  interfaceLink,
  newId: randomUUID,
  onError,
  onNote: (detail, message) => log.warn(detail, message),
  ...(onState === undefined ? {} : { onState }),
});

for (const [name, link] of [
  ['kernel', kernelLink],
  ['interface', interfaceLink],
] as const) {
  link.onCorrupt((finding) => {
    log.error({ peer: name, finding }, 'corrupt frame');
    security.announcer.linkCorrupted(name, finding);
  });
  watchLink(link, (finding) => {
    log.warn({ peer: name, finding }, 'link counters moved');
    security.announcer.linkStrained(name, finding);
  });
}
need(await keys.settle(security.audit));
await security.start();
const firstSetup = {
  firstRun: security.firstRun,
  recovery: security.administratorRecovery,
  record: security.record,
  ownUid: process.getuid?.() ?? 0,
};
if (security.firstRun.needed)
  log.warn('nobody administers this appliance yet: run `dsmil setup` at it');
if (security.credentials.shut.size > 0) {
  const reasons = [...new Set(security.credentials.shut.values())].join(', or ');
  const finding = `passwords and one-time codes of ${security.credentials.shut.size} accounts cannot be checked, because ${reasons}; bring the sealing key back, or run \`dsmil setup --recover\` at the machine`;
  security.announcer.systemChanged(finding, Severity.WARNING);
  log.warn({ accounts: [...security.credentials.shut.keys()] }, finding);
}
if (security.floor.behindMs > CLOCK_BEHIND_MS) {
  const finding = `the wall clock is ${Math.round(security.floor.behindMs / 1_000)} s behind what is on record`;
  security.announcer.systemChanged(finding, Severity.WARNING);
  log.warn(finding);
}
const door = await openConsoleDoor({
  path: layout.securityConsole,
  mode: 0o660,
  self: 'security',
  clock,
  admits: () => true,
  serve: (console, peer) =>
    serveSecurityConsole(console, peer, { clock, board, firstSetup, ...security }),
  onError,
  onNote: (detail, message) => log.info(detail, message),
});
if (!door.ok) log.error(door.fault, 'no console: operations need the interface process');

const stopTests = new StopTestWatch(clock, latch, () => kernelLink.peerState === 'up');
const watchdog = new Watchdog({
  clock,
  log,
  stopTest: () => stopTests.state(security.stopTest.tested, security.stopTest.periodMs),
});
for (const link of [kernelLink, interfaceLink]) watchLinkTurns(watchdog, link);
watchStore(watchdog, store);

async function shutDown(): Promise<void> {
  watchdog.stopping('journal and audit chain are closed');
  if (door.ok) void door.value.close();
  await security.auditCare.close();
  store.close();
  kernelLink.close();
  interfaceLink.close();
  latch.close();
  process.exit(0);
}
endOnRequest(() => void shutDown());

announceReady({ pid: process.pid });
watchdog.start();
log.info(
  {
    board: board.name,
    accounts: security.accounts.all().length,
    auditSequence: security.audit.lastSequence,
  },
  'ready',
);
