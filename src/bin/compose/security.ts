// Builds the security track and the orchestrator around given links, latch, store and clock.
// The security process and the simulation build the same thing here; only what they hand in differs.

import type { KeyObject } from 'node:crypto';
import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { DurableStore } from '#foundation/durable-store';
import { unsupervisedReportShape } from '#link/kernel-console';
import type { Link, PeerState } from '#link/link';
import { kernelSnapshotShape, stoppedShape } from '#link/message-schema';
import { serveOrchestrator } from '#link/orchestrator-server';
import { kernelTrackClient, trackClient } from '#link/track-client';
import { listenChecked, serveChecked } from '#link/track-server';
import type { Board } from '#model/board';
import { type LinearId, permanentlyQuarantined } from '#model/device';
import type { SafetyPolicy } from '#model/safety-policy';
import type { TrackHealth } from '#model/snapshot';
import type { StopLatch } from '#model/stop';
import type { KernelTrack } from '#model/track';
import { TRACKS, type TrackName } from '#model/track-name';
import type { TransactionState } from '#model/transaction';
import { SyncTrigger } from '#model/unified-state';
import { Announcer } from '#orchestrator/announcer';
import { ApprovalDesk } from '#orchestrator/approval-desk';
import type { DeviceHistory } from '#orchestrator/device-history';
import { Disclosures } from '#orchestrator/disclosures';
import { EventHub } from '#orchestrator/event-hub';
import { HoldBook } from '#orchestrator/hold-book';
import { HoldDesk } from '#orchestrator/hold-desk';
import { Journal } from '#orchestrator/journal';
import { OperationDesk } from '#orchestrator/operation-desk';
import { OperationRunner } from '#orchestrator/operation-runner';
import { Orchestrator } from '#orchestrator/orchestrator';
import { RefusalRecord } from '#orchestrator/refusal-record';
import { Selections } from '#orchestrator/selections';
import type { StateSynchronizer } from '#orchestrator/state-sync';
import { StopCoordinator } from '#orchestrator/stop';
import { StopRecord } from '#orchestrator/stop-record';
import { StopSelfTest } from '#orchestrator/stop-self-test';
import { Supervision } from '#orchestrator/supervision';
import { TransactionRecovery } from '#orchestrator/transaction-recovery';
import { type AccessQuestion, decideAccess } from '#tracks/security/access-table';
import { Administration } from '#tracks/security/administration';
import type { AuditCare } from '#tracks/security/audit/audit-care';
import type { AuditChain } from '#tracks/security/audit/audit-chain';
import type { AuthorizationSigner } from '#tracks/security/authorization';
import { ChaosDesk } from '#tracks/security/chaos/chaos-desk';
import { ExerciseBook } from '#tracks/security/chaos/exercise-book';
import { sourceOf } from '#tracks/security/identity/sources';
import type { ThreatMonitor } from '#tracks/security/threats/threat-monitor';
import { SecurityTrack } from '#tracks/security/track';
import { InterfaceByDoor } from '../console/interface-by-door.ts';
import { recordUnsupervised } from '../console/security-console.ts';
import { composeAudit } from './audit.ts';
import { composeCertificates, type KeyMaterial } from './certificates.ts';
import { composeDesks } from './desks.ts';
import { type ComposedIdentity, composeIdentity } from './identity.ts';
import { KernelKeys } from './kernel-keys.ts';
import type { SealingMaterial } from './sealing.ts';
import { type ComposedState, composeState } from './state.ts';
import { type ComposedThreats, composeThreats } from './threats.ts';

export interface SecurityParts {
  readonly board: Board;
  readonly policy: SafetyPolicy;
  readonly store: DurableStore;
  readonly bootId: string;
  readonly clock: Clock;
  readonly clockQuality: () => 'synchronized' | 'unsynchronized';
  readonly checkpointKey: KeyObject;
  /** Of the store; where absent the disk is not watched and nothing is archived. */
  readonly databaseFile?: string;
  /** Keys of a rotation that may have been cut short; the chain uses the one it names. */
  readonly otherCheckpointKeys?: readonly KeyObject[];
  /** Nothing is certified where absent. */
  readonly material?: KeyMaterial;
  /** Secrets in the store are sealed with a key of this life alone where absent. */
  readonly sealing?: SealingMaterial;
  readonly signer: AuthorizationSigner;
  readonly latch: StopLatch;
  readonly kernelLink: Link;
  readonly interfaceLink: Link;
  readonly newId: () => string;
  readonly onError: (error: unknown, where: string) => void;
  /** For the log of this machine. */
  readonly onNote: (detail: object, message: string) => void;
  /** Called as a transaction reaches each of its states; for tests that end processes just there. */
  readonly onState?: (state: TransactionState, operationId: string) => void;
}

export interface ComposedSecurity extends ComposedIdentity {
  readonly orchestrator: Orchestrator;
  readonly announcer: Announcer;
  readonly audit: AuditChain;
  readonly auditCare: AuditCare;
  readonly track: SecurityTrack;
  readonly threats: ThreatMonitor;
  readonly holds: HoldBook;
  readonly holdDesk: HoldDesk;
  readonly journal: Journal;
  readonly recovery: TransactionRecovery;
  readonly runner: OperationRunner;
  readonly stops: StopCoordinator;
  readonly stopRecord: StopRecord;
  readonly stopTest: StopSelfTest;
  readonly supervision: Supervision;
  readonly sync: StateSynchronizer;
  readonly history: DeviceHistory;
  readonly kernel: KernelTrack;
  /** Interface's part, by whoever asks. */
  readonly interfaceTrack: InterfaceByDoor;
  /** Records the start and takes charge of whoever is up. */
  start(): Promise<void>;
}

export function composeSecurity(parts: SecurityParts): ComposedSecurity {
  const { board, clock, store, policy, latch, kernelLink, interfaceLink, signer, onError } = parts;
  const devices = new Map(board.devices.map((device) => [device.id, device]));
  const events = new EventHub(clock, (error) => onError(error, 'event listener'));
  const {
    chain: audit,
    care,
    handlers: auditHandlers,
  } = composeAudit({
    store,
    clock,
    policy: policy.audit,
    boardName: board.name,
    bootId: parts.bootId,
    clockQuality: parts.clockQuality,
    checkpointKey: parts.checkpointKey,
    ...(parts.otherCheckpointKeys === undefined
      ? {}
      : { otherCheckpointKeys: parts.otherCheckpointKeys }),
    ...(parts.databaseFile === undefined ? {} : { databaseFile: parts.databaseFile }),
    onAppended: (entry) => {
      floor.note(entry.wallMs);
      track.noteEntry(entry);
      threats.monitor.observe(entry);
      announcer.auditAppended(entry);
    },
    publish: (event) => events.publish(event),
    onError,
    onNote: parts.onNote,
  });
  const announcer = new Announcer(clock, events, audit);
  const identity = composeIdentity({
    clock,
    store,
    policy: policy.identity,
    audit,
    announcer,
    sealing: parts.sealing,
    onNote: parts.onNote,
  });
  const {
    accounts,
    certificates,
    entryDesk,
    floor,
    lockouts,
    principals,
    record,
    second,
    tokens,
    turns,
  } = identity;
  const { wallMs } = floor;
  const threats: ComposedThreats = composeThreats({
    clock,
    store,
    bootId: parts.bootId,
    policy,
    devices,
    isQuarantined: (device): boolean => track.isQuarantined(device),
    audit,
    announcer,
    accounts,
    sessions: principals,
    lockStands: (account) => lockouts.lockOf(account)?.standing === true,
    stop: (...order) => stops.stop(...order),
    endSelections: (...ended) => selections.endOn(...ended),
    noteState: (trigger, changed) => sync.note(trigger, changed),
    onError,
    onNote: parts.onNote,
  });
  const chaos = new ChaosDesk({
    clock,
    wallMs,
    simulated: board.simulated !== undefined,
    devices: board.devices,
    isQuarantined: (device): boolean => track.isQuarantined(device),
    book: new ExerciseBook(store),
    accounts,
    tokens,
    sessions: principals,
    audit,
    second,
    turns,
    stopEngaged: () => latch.engaged(),
    inDoubt: (): readonly LinearId[] =>
      holds
        .all()
        .filter(({ kind }) => kind === 'in-doubt')
        .map(({ device }) => device),
    onError,
  });
  const refusals = new RefusalRecord({
    clock,
    append: (record) => audit.append(record),
    sourceOf,
  });
  // Each desk adds its handlers here.
  const administration = new Administration({
    audit,
    session: (id) => principals.session(id),
    credentialOf: (id) => principals.credentialOf(id),
    holder: (id) => principals.holder(id),
    watched: (account) => threats.monitor.incidents.watches(account),
    recordRefusal: (record) => refusals.put(record),
    handlers: {
      ...auditHandlers,
      ...entryDesk.handlers(),
      ...threats.handlers,
      ...chaos.handlers(),
      ...composeDesks({
        ...identity,
        devices,
        policy,
        sessions: principals,
        wallMs,
        isQuarantined: (device) => track.isQuarantined(device),
        incidentOn: (device) => track.threats.openOn(device.id),
        dualRequired: (device) => track.threats.openOn(device.id),
        underReview: (device) =>
          conflicts.underReview(device.id) || track.threats.reviewOn(device.id),
      }),
      ...composeCertificates({
        material: parts.material,
        clock,
        store,
        audit,
        book: certificates,
        accounts,
        sessions: principals,
        signer,
        sealing: identity.sealing,
        offerKeys: (keys) => kernelKeys.offer(keys),
        second,
        turns,
        record,
        interfaceLink,
        wallMs,
        onError,
      }),
    },
  });
  const holds = new HoldBook(store);
  const track = new SecurityTrack({
    clock,
    devices,
    audit,
    signer,
    heldInQuarantine: (device) => holds.has(device, 'quarantined'),
    holds: () => holds.all(),
    underReview: (device) => conflicts.underReview(device),
    stopEngaged: () => latch.engaged(),
    threats: {
      openOn: (device) => threats.monitor.incidents.openOn(device),
      reviewOn: (device) => threats.monitor.incidents.reviewOn(device),
    },
  });
  const kernel = kernelTrackClient(kernelLink);
  // Before anything else is sent to kernel.
  const kernelKeys = new KernelKeys({ clock, link: kernelLink, kernel, keys: () => signer.keys() });
  const interfaceTrack = new InterfaceByDoor(trackClient(interfaceLink));

  const peers = new Map<TrackName, PeerState>([['security', 'up']]);
  function healthOf(name: TrackName): TrackHealth {
    const state = peers.get(name) ?? 'absent';
    return { track: name, up: state === 'up', finding: state === 'up' ? 'answers' : `is ${state}` };
  }

  const stopRecord = new StopRecord({ store, holds, clock, onError });
  const stops = new StopCoordinator({
    clock,
    latch,
    kernel,
    security: track,
    interface: interfaceTrack,
    devices,
    isQuarantined: (id) => {
      const device = devices.get(id);
      return device === undefined || track.isQuarantined(device);
    },
    trackUp: (name) => healthOf(name).up,
    grant: (operationId, act, grantedTo) => signer.grant(operationId, act, grantedTo),
    newId: parts.newId,
    record: stopRecord,
    holds,
    refreshHolds: () => supervision.refresh(),
  });
  const authority = {
    decideAccess: (question: AccessQuestion) =>
      decideAccess({ ...question, dualRequired: (device) => track.threats.openOn(device.id) }),
    isQuarantined: track.isQuarantined.bind(track),
    grant: signer.grant.bind(signer),
  };
  const journal = new Journal(store);
  const recovery = new TransactionRecovery({
    journal,
    holds,
    announcer,
    clock,
    kernel,
    others: [track, interfaceTrack],
    devices: board.devices.filter(({ id }) => !permanentlyQuarantined(id)).map(({ id }) => id),
    grant: (operationId, digest, grantedTo) => signer.grant(operationId, digest, grantedTo),
    onHolds: () => void supervision.refresh(),
    onError,
  });
  const supervision = new Supervision({
    clock,
    kernel,
    holds,
    settle: (deadline) => recovery.settleAll(deadline),
    stopStands: () => stops.wholeSystem,
    engageStop: () => latch.engage(),
    onError,
  });
  const selections = new Selections({
    clock,
    kernel,
    announcer,
    forbidden: (device) =>
      (['quarantined', 'stopped'] as const).find((kind) => holds.has(device, kind)),
  });
  const runner = new OperationRunner({
    clock,
    kernel,
    security: track,
    interface: interfaceTrack,
    devices,
    authority,
    approvals: track.approvals,
    disclosures: new Disclosures(clock),
    selections,
    audit,
    journal,
    holds,
    recovery,
    onHolds: () => void supervision.refresh(),
    ...(parts.onState === undefined ? {} : { onState: parts.onState }),
    aggregation: policy.risk,
    stopEngaged: () => latch.engaged(),
  });
  const holdDesk = new HoldDesk({
    clock,
    devices,
    kernel,
    holds,
    supervision,
    grant: authority.grant,
    newId: parts.newId,
  });
  const stopTest = new StopSelfTest({
    clock,
    latch,
    kernel,
    periodMs: policy.stop.selfTestPeriodMs,
    kernelUp: () => healthOf('kernel').up,
    announcer,
    onEngaged: () => orchestrator.latchFound(),
  });
  const {
    sync,
    desk: conflicts,
    history,
  }: ComposedState = composeState({
    clock,
    store,
    devices,
    policy,
    kernel,
    interface: interfaceTrack,
    track,
    holds,
    stops,
    stopEngaged: () => latch.engaged(),
    supervision,
    announcer,
    events,
    trackUp: (name) => healthOf(name).up,
    resendPicture,
    onError,
  });
  const orchestrator: Orchestrator = new Orchestrator({
    board,
    bootId: parts.bootId,
    desk: new OperationDesk({
      runner,
      selections,
      stops,
      announcer,
      selectionSecondsMax: policy.selection.secondsMax,
    }),
    approvalDesk: new ApprovalDesk({
      kernel,
      devices,
      approvals: track.approvals,
      authority,
      announcer,
    }),
    stops,
    stopTest,
    holds,
    holdDesk,
    sync,
    sessions: principals,
    administration,
    threats: threats.port,
    audit,
    events,
    announcer,
    refusals,
    stopEngaged: () => latch.engaged(),
    health: () => TRACKS.map(healthOf),
    inCharge: () => supervision.inCharge,
  });
  serveOrchestrator(interfaceLink, orchestrator);
  listenChecked(kernelLink, 'snapshot', kernelSnapshotShape, (snapshot) =>
    orchestrator.takeKernelSnapshot(snapshot),
  );
  listenChecked(kernelLink, 'stopped', stoppedShape, ({ cause, receipt }) =>
    orchestrator.kernelStopped(cause, receipt),
  );
  serveChecked(kernelLink, 'unsupervised', unsupervisedReportShape, (report) =>
    recordUnsupervised(announcer, report),
  );
  // Kernel says so after each start of either process, and again until somebody comes.
  kernelLink.onNotice('waiting', takeCharge);

  function takeCharge(): void {
    void supervision.take().then(() => sync.note(SyncTrigger.RECOVERY));
  }

  async function resendPicture(): Promise<boolean> {
    const snapshot = await kernel.snapshot(Deadline.after(clock, 1_000));
    if (!snapshot.ok || snapshot.value.track !== 'kernel') return false;
    orchestrator.takeKernelSnapshot(snapshot.value);
    return true;
  }

  function watch(name: TrackName, link: Link): void {
    const take = (state: PeerState) => {
      const before = peers.get(name) ?? 'absent';
      peers.set(name, state);
      if (before === state) return;
      if (state !== 'up' && name === 'kernel') supervision.lost();
      // A kernel that was only late may not know that it was missed, and then waits for nobody.
      if (state === 'up' && name === 'kernel' && before === 'silent') takeCharge();
      // Panels that just came back need the whole picture, not the next change.
      if (state === 'up' && name === 'interface') void resendPicture();
      if (before !== 'absent' || state !== 'up') announcer.trackChanged(healthOf(name));
      sync.trackChanged(name, state === 'up' ? 'up' : 'away');
    };
    link.onPeer(take);
    take(link.peerState);
  }

  return {
    ...identity,
    orchestrator,
    announcer,
    audit,
    auditCare: care,
    track,
    threats: threats.monitor,
    holds,
    holdDesk,
    journal,
    recovery,
    runner,
    stops,
    stopRecord,
    stopTest,
    supervision,
    sync,
    history,
    kernel,
    interfaceTrack,
    start: async () => {
      await care.start();
      // Before anybody is let in: no token of an exercise outlives the process that permitted it.
      await chaos.start();
      watch('kernel', kernelLink);
      watch('interface', interfaceLink);
      await announcer.record('AGENT_STARTED', 'security', null, [], `board ${board.name}`);
      stopTest.start();
      sync.start();
      // Nobody waits for it: entries that come meanwhile are counted beside it.
      void threats.monitor.start().catch((error: unknown) => onError(error, 'threat detection'));
    },
  };
}
