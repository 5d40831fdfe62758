// Valid messages of the links, made by the product's own clients: whatever they ask is written down instead of sent.

import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { encodeBody } from '#link/codec';
import type { Link, LinkCounters, MessageType, PeerState } from '#link/link';
import type { Message } from '#link/message';
import { orchestratorClient } from '#link/orchestrator-client';
import { noCounts } from '#link/request-server';
import { kernelTrackClient } from '#link/track-client';
import type { AdministrationKey } from '#model/administration';
import type { Authorization } from '#model/authorization';
import { type Intent, NO_REQUIREMENTS, OperationType } from '#model/operation';
import { ClearanceLevel, type Credential, type Origin } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { EmergencyPriority } from '#model/stop';
import type { TrackName } from '#model/track-name';
import { PUMP, planWith, STOP_CAUSE, writeStep } from '../../support/kernel-bench.ts';
import { person } from '../../support/scripted-orchestrator.ts';
import { ADMINISTRATION_EXAMPLES } from './administration-examples.ts';

export const SESSION = 'session-1';
/** In a life whose clock is at most this; the real one ends it where a peer asks for more. */
const DEADLINE_MS = 2 ** 40;

class Recorder implements Link {
  readonly self: TrackName;
  readonly peer: TrackName;
  readonly peerState: PeerState = 'up';
  readonly messages: Message[] = [];

  constructor(self: TrackName, peer: TrackName) {
    this.self = self;
    this.peer = peer;
  }

  request(type: MessageType, method: string, body: unknown): Promise<Outcome<unknown>> {
    this.#note('request', type, method, body);
    const finding = 'only writes down what it is asked';
    return Promise.resolve(refuse(fault('TRACK_UNAVAILABLE', { place: 'recorder', finding })));
  }

  notify(type: MessageType, method: string, body: unknown): Outcome<void> {
    this.#note('notice', type, method, body);
    return succeed(undefined);
  }

  #note(kind: 'request' | 'notice', type: MessageType, method: string, body: unknown): void {
    const correlation = kind === 'request' ? this.messages.length + 1 : 0;
    const deadlineMs = kind === 'request' ? DEADLINE_MS : 0;
    this.messages.push({ type, kind, correlation, deadlineMs, method, text: encodeBody(body) });
  }

  serve(): void {}
  onNotice(): void {}
  onPeer(): () => void {
    return () => undefined;
  }
  counters(): LinkCounters {
    return noCounts();
  }
  close(): void {}
}

const INTENT: Intent = {
  operationId: 'operation-1',
  type: OperationType.WRITE,
  targets: [{ device: PUMP, registers: [{ register: 'DATA', value: 0xffff_ffffn }] }],
  requirements: NO_REQUIREMENTS,
  justification: 'the pump stands still',
  confirmedRisk: RiskLevel.LOW,
  dryRun: false,
  selectForSeconds: 30,
  involved: ['kernel'],
  claims: 'user=alice',
  interfaceRisk: { track: 'interface', level: RiskLevel.LOW, reasons: ['one device'] },
};

/** Everything interface may ask of security. */
export async function portMessages(): Promise<readonly Message[]> {
  const recorder = new Recorder('interface', 'security');
  const port = orchestratorClient(recorder);
  const deadline = Deadline.after(systemClock, 1_000);
  const origin: Origin = { transport: 'grpc', peer: '127.0.0.1:1' };
  const credentials: readonly Credential[] = [
    { kind: 'token', token: 'token-alice' },
    { kind: 'certificate', uri: 'urn:dsmil:person:alice', fingerprint: 'ab'.repeat(32) },
    { kind: 'local', uid: 0, gid: 0, pid: 1 },
  ];
  for (const credential of credentials) await port.authenticate(credential, origin, deadline);
  await port.operate(SESSION, INTENT, origin, deadline);
  await port.operation(SESSION, 'operation-1', deadline);
  await port.operations(SESSION, 10, deadline);
  const stop = {
    reason: 'smoke',
    priority: EmergencyPriority.IMMEDIATE,
    devices: [1],
    groups: [0],
  };
  await port.stop(SESSION, stop, origin, deadline);
  await port.resetStop(SESSION, 'all is well', origin, deadline);
  await port.operateSelected(SESSION, 'operation-1', RiskLevel.LOW, origin, deadline);
  await port.releaseSelected(SESSION, 'operation-1', origin, deadline);
  await port.acknowledgeStop(SESSION, origin, deadline);
  await port.releaseDevice(SESSION, 1, 'mended', origin, deadline);
  await port.quarantineDevice(SESSION, 1, 'suspicious', origin, deadline);
  await port.synchronize(SESSION, [0, 1], deadline);
  await port.conflicts(SESSION, deadline);
  await port.resolveConflict(SESSION, 7, 'INHIBIT', 'seen', origin, deadline);
  await port.history(SESSION, 1, 10, deadline);
  await port.approvals(SESSION, deadline);
  await port.approve(SESSION, 'ab'.repeat(32), origin, deadline);
  await port.status(deadline);
  await port.audit(SESSION, 1, 10, deadline);
  await port.verifyAudit(SESSION, deadline);
  await port.endSession(SESSION, deadline);
  await port.signOut(SESSION, deadline);
  port.reportRefusal(SESSION, origin, 'NOT_AUTHORIZED', 'too little clearance', [1]);
  for (const key of Object.keys(ADMINISTRATION_EXAMPLES) as AdministrationKey[]) {
    await port.administer(SESSION, key, ADMINISTRATION_EXAMPLES[key], origin, deadline);
  }
  return recorder.messages;
}

/** Everything security may ask of kernel. */
export async function kernelMessages(): Promise<readonly Message[]> {
  const recorder = new Recorder('security', 'kernel');
  const kernel = kernelTrackClient(recorder);
  const deadline = Deadline.after(systemClock, 1_000);
  const plan = planWith(writeStep(PUMP, 'DATA', 7n));
  const authorization: Authorization = {
    operationId: 'operation-1',
    planDigest: plan.digest,
    basis: '',
    grantedTo: ['alice'],
    expiresAtMs: DEADLINE_MS,
    keyId: 'ab'.repeat(8),
    signature: Buffer.alloc(64, 7).toString('base64'),
  };
  const granted = { operationId: 'operation-1', planDigest: plan.digest, authorization };
  const principal = person('alice', ClearanceLevel.SECRET);
  const hold = { device: PUMP, kind: 'quarantined', reason: 'seen', sinceWallMs: 1 } as const;
  await kernel.assess({ intent: INTENT, plan, principal }, deadline);
  await kernel.prepare(granted, deadline);
  await kernel.commit({ ...granted, deadlineMs: DEADLINE_MS }, deadline);
  await kernel.abort('operation-1', deadline);
  await kernel.stop({ cause: STOP_CAUSE }, deadline);
  await kernel.snapshot(deadline, [PUMP]);
  await kernel.snapshot(deadline);
  await kernel.plan(INTENT, deadline);
  const life = 'life-2';
  const publicKeyPem = '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n';
  const keys = [{ keyId: 'ab'.repeat(8), publicKeyPem, untilMs: null }];
  await kernel.trust({ life, keys }, deadline);
  const selected = { operationId: 'operation-1', planDigest: plan.digest, untilMs: 60_000 };
  await kernel.select(selected, deadline);
  const accounted = [{ device: PUMP, changeCount: 1 }];
  await kernel.supervise({ holds: [hold], writes: 'allow', accounted }, deadline);
  await kernel.lift({ device: PUMP, kind: 'quarantined', authorization }, deadline);
  const priors = [{ device: PUMP, register: 'DATA', value: 0n }];
  await kernel.recover({ operationId: 'operation-1', plan, priors, authorization }, deadline);
  await kernel.observe([PUMP], deadline);
  await kernel.testStop(deadline, 10_000);
  await kernel.releaseStop(authorization, deadline);
  return recorder.messages;
}
