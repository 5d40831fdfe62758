// Composition root of the security process: authority, audit, journal, orchestrator; links to kernel and interface.
// Invariants: no network, no devices; its state directory is its own.

import { createPrivateKey, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { loadAccounts } from '#config/accounts';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { DurableStore } from '#foundation/durable-store';
import { describeFault } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import type { PeerState } from '#link/link';
import { serveOrchestrator } from '#link/orchestrator-server';
import { SharedLink } from '#link/shared-link';
import { SharedStopLatch } from '#link/stop-latch';
import { kernelTrackClient, trackClient } from '#link/track-client';
import type { KernelSnapshot, TrackHealth } from '#model/snapshot';
import type { StopCause, StopReceipt } from '#model/stop';
import { TRACKS, type TrackName } from '#model/track-name';
import { EventHub } from '#orchestrator/event-hub';
import { Journal } from '#orchestrator/journal';
import { OperationRunner } from '#orchestrator/operation-runner';
import { Orchestrator } from '#orchestrator/orchestrator';
import { CONSERVATIVE_RULE } from '#orchestrator/risk-aggregate';
import { StopCoordinator } from '#orchestrator/stop';
import { StopRecord } from '#orchestrator/stop-record';
import { decideAccess } from '#tracks/security/access-table';
import { AuditChain } from '#tracks/security/audit-chain';
import { Principals } from '#tracks/security/principals';
import { SecurityTrack } from '#tracks/security/track';
import { loadBoardFile } from './board-file.ts';
import { announceReady, endOnRequest, readProcessArguments } from './command-line.ts';
import { watchLink } from './link-watch.ts';
import { dieOnSurprise, openLog } from './process-log.ts';

/** Between two tries to keep the causes of a stop that the disk would not take. */
const KEEP_AGAIN_MS = 1_000;

const log = openLog('security');
dieOnSurprise(log);
const { layout, board: boardFile, variables } = readProcessArguments();
const clock = systemClock;

function need<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  log.fatal(outcome.fault, describeFault(outcome.fault));
  process.exit(78);
}

const board = need(await loadBoardFile(boardFile, variables));
const accounts = need(loadAccounts(layout.accounts));

mkdirSync(dirname(layout.database), { recursive: true, mode: 0o700 });
const linkDirectory = join(layout.runDirectory, 'links');
const stopDirectory = join(layout.runDirectory, 'stop');
mkdirSync(linkDirectory, { recursive: true, mode: 0o770 });
mkdirSync(stopDirectory, { recursive: true, mode: 0o770 });

const store = new DurableStore(layout.database);
const bootId = randomUUID();
const audit = new AuditChain({
  store,
  clock,
  bootId,
  // systemd-timesyncd marks the first successful synchronization of this boot.
  clockQuality: () =>
    existsSync('/run/systemd/timesync/synchronized') ? 'synchronized' : 'unsynchronized',
  checkpointKey: createPrivateKey(readFileSync(layout.checkpointKey)),
  onAppended: (entry) => orchestrator.auditAppended(entry),
});
const devices = new Map(board.devices.map((device) => [device.id, device]));
const principals = new Principals(clock, accounts);
const track = new SecurityTrack({ clock, devices, audit, principals });
// Whole or not at all: kernel reads it the moment this process attaches to their link.
writeFileSync(`${layout.authorizationKey}.new`, track.signer.publicKeyPem, { mode: 0o644 });
renameSync(`${layout.authorizationKey}.new`, layout.authorizationKey);

const latch = new SharedStopLatch({ directory: stopDirectory, self: 'security' });
const onError = (error: unknown, where: string) =>
  log.error({ err: error, where }, 'handler failed');
const kernelLink = new SharedLink({
  directory: linkDirectory,
  self: 'security',
  peer: 'kernel',
  clock,
  onError,
});
const interfaceLink = new SharedLink({
  directory: linkDirectory,
  self: 'security',
  peer: 'interface',
  clock,
  onError,
});
const kernel = kernelTrackClient(kernelLink);
const interfaceTrack = trackClient(interfaceLink);

const peers = new Map<TrackName, PeerState>([['security', 'up']]);
function healthOf(name: TrackName): TrackHealth {
  const state = peers.get(name) ?? 'absent';
  return { track: name, up: state === 'up', finding: state === 'up' ? 'answers' : `is ${state}` };
}

const stopRecord = new StopRecord(store);
let lastCauses: readonly StopCause[] = [];
/** Until they are on disk, or others have taken their place: the stop has to survive a reboot. */
function keepCauses(causes: readonly StopCause[]): void {
  lastCauses = causes;
  stopRecord.keep(causes).catch((error: unknown) => {
    onError(error, 'stop causes');
    clock.after(KEEP_AGAIN_MS, () => {
      if (lastCauses === causes) keepCauses(causes);
    });
  });
}
const events = new EventHub(clock, (error) => onError(error, 'event listener'));
const stops = new StopCoordinator(
  {
    clock,
    latch,
    kernel,
    security: track,
    interface: interfaceTrack,
    trackUp: (name) => healthOf(name).up,
    grant: (operationId, act, grantedTo) => track.signer.grant(operationId, act, grantedTo),
    newId: randomUUID,
    keepCauses,
  },
  stopRecord.causes(),
);
const authority = {
  decideAccess,
  isQuarantined: track.isQuarantined.bind(track),
  grant: track.signer.grant.bind(track.signer),
  openIncident: (device: number, actor: string, finding: string) => {
    const incident = track.threats.open(device, actor, finding);
    log.warn({ incident }, 'incident opened');
  },
};
const journal = new Journal(store);
const runner = new OperationRunner({
  clock,
  kernel,
  security: track,
  interface: interfaceTrack,
  devices,
  authority,
  approvals: track.approvals,
  audit,
  journal,
  aggregation: CONSERVATIVE_RULE,
  stopEngaged: () => latch.engaged(),
});
const orchestrator: Orchestrator = new Orchestrator({
  clock,
  board,
  bootId,
  runner,
  stops,
  sessions: principals,
  approvals: track.approvals,
  authority,
  audit,
  journal,
  events,
  stopEngaged: () => latch.engaged(),
  health: () => TRACKS.map(healthOf),
});
serveOrchestrator(interfaceLink, orchestrator);

kernelLink.onNotice('snapshot', (body) => orchestrator.takeKernelSnapshot(body as KernelSnapshot));
kernelLink.onNotice('stopped', (body) => {
  const { cause, receipt } = body as {
    readonly cause: StopCause | null;
    readonly receipt: StopReceipt;
  };
  orchestrator.kernelStopped(cause, receipt);
});

async function resendPicture(): Promise<void> {
  const snapshot = await kernel.snapshot(Deadline.after(clock, 1_000));
  if (snapshot.ok && snapshot.value.track === 'kernel')
    orchestrator.takeKernelSnapshot(snapshot.value);
}

function watch(name: TrackName, link: SharedLink): void {
  const take = (state: PeerState) => {
    const before = peers.get(name) ?? 'absent';
    peers.set(name, state);
    if (before === state) return;
    // Panels that just came back need the whole picture, not the next change.
    if (state === 'up' && name === 'interface') void resendPicture();
    if (state === 'up' && name === 'kernel' && stops.causes.length > 0) latch.engage();
    if (before !== 'absent' || state !== 'up') orchestrator.trackChanged(healthOf(name));
  };
  link.onPeer(take);
  take(link.peerState);
  link.onCorrupt((finding) => {
    log.error({ peer: name, finding }, 'corrupt frame');
    orchestrator.linkCorrupted(name, finding);
  });
  watchLink(link, (finding) => {
    log.warn({ peer: name, finding }, 'link counters moved');
    orchestrator.linkStrained(name, finding);
  });
}
watch('kernel', kernelLink);
watch('interface', interfaceLink);
await orchestrator.started();

function shutDown(): void {
  audit.seal();
  store.close();
  kernelLink.close();
  interfaceLink.close();
  latch.close();
  process.exit(0);
}
endOnRequest(shutDown);

announceReady({ pid: process.pid });
log.info(
  { board: board.name, accounts: accounts.length, auditSequence: audit.lastSequence },
  'ready',
);
