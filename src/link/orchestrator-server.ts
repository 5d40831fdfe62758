// Serves the orchestrator's port to the interface process, which is trusted with nothing: bodies are checked, and no
// fault leaves with what only this machine's log may hold.

import type { Deadline } from '#foundation/deadline';
import type { Fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AdministrationKey, AdministrationRequest } from '#model/administration';
import { type AgentEvent, Severity } from '#model/event';
import type { Intent, OperationReceipt } from '#model/operation';
import type { OrchestratorPort, SessionsEnded, StopRequest } from '#model/orchestrator-port';
import type { Credential, Origin } from '#model/principal';
import type { RiskLevel } from '#model/risk';
import { CONFLICT_ANSWERS, type ConflictAnswer } from '#model/unified-state';
import { administrationShapes } from './administration-shape.ts';
import { type Link, MessageType } from './link.ts';
import {
  credentialShape,
  deviceId,
  deviceIds,
  digest,
  identifier,
  intentShape,
  originShape,
  risk,
  stopRequestShape,
} from './message-schema.ts';
import {
  conform,
  integer,
  listOf,
  nothing,
  nullable,
  object,
  oneOf,
  type Shape,
  text,
} from './shape.ts';
import { listenChecked, serveChecked } from './track-server.ts';
import { faultForPeer } from './wire-fault.ts';

interface InSession {
  readonly sessionId: string;
}
interface InSessionFrom extends InSession {
  readonly origin: Origin;
}

const LIST_MAX = 1000;
/** After this the ring is tried again with what it had no room for. */
const SEND_AGAIN_MS = 20;
const UNSENT_MAX = 1024;
/** Sessions named in one notice, so that it fits into any ring. */
const ENDED_TOGETHER_MAX = 64;
const sessionId = text(256, 1);
const inSession = object<InSession>({ sessionId });

const authenticateShape = object<{ readonly credential: Credential; readonly origin: Origin }>({
  credential: credentialShape,
  origin: originShape,
});
const operateShape = object<InSessionFrom & { readonly intent: Intent }>({
  sessionId,
  intent: intentShape,
  origin: originShape,
});
const operationShape = object<InSession & { readonly operationId: string }>({
  sessionId,
  operationId: identifier,
});
const operationsShape = object<InSession & { readonly limit: number }>({
  sessionId,
  limit: integer(1, LIST_MAX),
});
const stopShape = object<
  Omit<InSessionFrom, 'sessionId'> & {
    readonly sessionId: string | null;
    readonly request: StopRequest;
  }
>({
  sessionId: nullable(sessionId),
  request: stopRequestShape,
  origin: originShape,
});
const resetShape = object<InSessionFrom & { readonly reason: string }>({
  sessionId,
  reason: text(4096),
  origin: originShape,
});
const reason = text(4096);
const fromShape = object<InSessionFrom>({ sessionId, origin: originShape });
const selectedShape = object<InSessionFrom & { readonly operationId: string }>({
  sessionId,
  operationId: identifier,
  origin: originShape,
});
const operateSelectedShape = object<
  InSessionFrom & { readonly operationId: string; readonly confirmedRisk: RiskLevel }
>({ sessionId, operationId: identifier, confirmedRisk: risk, origin: originShape });
const holdShape = object<InSessionFrom & { readonly device: number; readonly reason: string }>({
  sessionId,
  device: deviceId,
  reason,
  origin: originShape,
});
const synchronizeShape = object<InSession & { readonly devices: readonly number[] }>({
  sessionId,
  devices: deviceIds,
});
const resolveShape = object<
  InSessionFrom & {
    readonly conflictId: number;
    readonly answer: ConflictAnswer;
    readonly reason: string;
  }
>({
  sessionId,
  conflictId: integer(0, Number.MAX_SAFE_INTEGER),
  answer: oneOf(CONFLICT_ANSWERS),
  reason,
  origin: originShape,
});
const historyShape = object<InSession & { readonly device: number; readonly limit: number }>({
  sessionId,
  device: deviceId,
  limit: integer(1, LIST_MAX),
});
const approveShape = object<InSessionFrom & { readonly planDigest: string }>({
  sessionId,
  planDigest: digest,
  origin: originShape,
});
const auditShape = object<InSession & { readonly fromSequence: number; readonly limit: number }>({
  sessionId,
  fromSequence: integer(0, Number.MAX_SAFE_INTEGER),
  limit: integer(1, LIST_MAX),
});

interface AdministrationBody {
  readonly sessionId: string | null;
  readonly key: AdministrationKey;
  readonly request: unknown;
  readonly origin: Origin;
}
const administerShape = object<AdministrationBody>({
  sessionId: nullable(sessionId),
  key: oneOf(Object.keys(administrationShapes) as AdministrationKey[]),
  request: () => null,
  origin: originShape,
});

export interface RefusalReport {
  readonly sessionId: string | null;
  readonly origin: Origin;
  readonly code: string;
  readonly finding: string;
  readonly devices: readonly number[];
}

const refusalShape = object<RefusalReport>({
  sessionId: nullable(sessionId),
  origin: originShape,
  code: text(64, 1),
  finding: text(1024),
  devices: listOf(integer(0, 0xffff_ffff), 84),
});

/** Registers every method and forwards events and kernel snapshots; returns a function that stops forwarding. */
export function serveOrchestrator(link: Link, port: OrchestratorPort): () => void {
  serveChecked(link, 'port.authenticate', authenticateShape, ({ credential, origin }, deadline) =>
    port.authenticate(credential, origin, deadline),
  );
  serveChecked(link, 'port.end-session', inSession, (body, deadline) =>
    port.endSession(body.sessionId, deadline),
  );
  serveChecked(link, 'port.sign-out', inSession, (body, deadline) =>
    port.signOut(body.sessionId, deadline),
  );
  serveChecked(link, 'port.administer', administerShape, (body, deadline) =>
    administer(port, body, deadline),
  );
  serveChecked(
    link,
    'port.operate',
    operateShape,
    async ({ sessionId: id, intent, origin }, deadline) =>
      publicReceipt(await port.operate(id, intent, origin, deadline)),
  );
  serveChecked(link, 'port.operation', operationShape, async (body, deadline) =>
    publicReceipt(await port.operation(body.sessionId, body.operationId, deadline)),
  );
  serveChecked(link, 'port.operations', operationsShape, async (body, deadline) => {
    const outcome = await port.operations(body.sessionId, body.limit, deadline);
    return outcome.ok ? succeed(outcome.value.map(withoutInternals)) : outcome;
  });
  serveChecked(link, 'port.stop', stopShape, ({ sessionId: id, request, origin }, deadline) =>
    port.stop(id, request, origin, deadline),
  );
  serveChecked(link, 'port.reset-stop', resetShape, ({ sessionId: id, reason, origin }, deadline) =>
    port.resetStop(id, reason, origin, deadline),
  );
  serveChecked(link, 'port.operate-selected', operateSelectedShape, async (body, deadline) =>
    publicReceipt(
      await port.operateSelected(
        body.sessionId,
        body.operationId,
        body.confirmedRisk,
        body.origin,
        deadline,
      ),
    ),
  );
  serveChecked(link, 'port.release-selected', selectedShape, (body, deadline) =>
    port.releaseSelected(body.sessionId, body.operationId, body.origin, deadline),
  );
  serveChecked(link, 'port.acknowledge-stop', fromShape, (body, deadline) =>
    port.acknowledgeStop(body.sessionId, body.origin, deadline),
  );
  serveChecked(link, 'port.release-device', holdShape, (body, deadline) =>
    port.releaseDevice(body.sessionId, body.device, body.reason, body.origin, deadline),
  );
  serveChecked(link, 'port.quarantine-device', holdShape, (body, deadline) =>
    port.quarantineDevice(body.sessionId, body.device, body.reason, body.origin, deadline),
  );
  serveChecked(link, 'port.synchronize', synchronizeShape, (body, deadline) =>
    port.synchronize(body.sessionId, body.devices, deadline),
  );
  serveChecked(link, 'port.conflicts', inSession, (body, deadline) =>
    port.conflicts(body.sessionId, deadline),
  );
  serveChecked(link, 'port.resolve-conflict', resolveShape, (body, deadline) =>
    port.resolveConflict(
      body.sessionId,
      body.conflictId,
      body.answer,
      body.reason,
      body.origin,
      deadline,
    ),
  );
  serveChecked(link, 'port.history', historyShape, (body, deadline) =>
    port.history(body.sessionId, body.device, body.limit, deadline),
  );
  serveChecked(link, 'port.approvals', inSession, (body, deadline) =>
    port.approvals(body.sessionId, deadline),
  );
  serveChecked(
    link,
    'port.approve',
    approveShape,
    ({ sessionId: id, planDigest, origin }, deadline) =>
      port.approve(id, planDigest, origin, deadline),
  );
  serveChecked(link, 'port.status', nothing, (_body, deadline) => port.status(deadline));
  serveChecked(link, 'port.audit', auditShape, (body, deadline) =>
    port.audit(body.sessionId, body.fromSequence, body.limit, deadline),
  );
  serveChecked(link, 'port.verify-audit', inSession, (body, deadline) =>
    port.verifyAudit(body.sessionId, deadline),
  );
  listenChecked(link, 'port.report-refusal', refusalShape, (report) => {
    const { sessionId: id, origin, code, finding, devices } = report;
    port.reportRefusal(id, origin, code, finding, devices);
  });
  // A notice that finds the ring full is dropped and counted by the link; the next picture replaces it.
  // An operation makes several events and an answer: one wake-up of the peer for all of them, after the answer.
  let waiting: AgentEvent[] = [];
  const flush = () => {
    const events = waiting;
    waiting = [];
    if (events.length > 0) link.notify(MessageType.EVENT, 'port.events', events);
  };
  const stopEvents = port.onEvent((event) => {
    waiting.push(event);
    if (event.severity === Severity.EMERGENCY) flush();
    else if (waiting.length === 1) setImmediate(flush);
  });
  const stopSnapshots = port.onKernelSnapshot((snapshot) => {
    link.notify(MessageType.STATE_SYNC, 'port.kernel-snapshot', snapshot);
  });
  const stopUnified = port.onUnifiedState((states) => {
    link.notify(MessageType.STATE_SYNC, 'port.unified-state', states);
  });
  // The one notice that must not be lost to a full ring: whoever is served would be served on. Interface asks about every
  // session again when the link comes back, so a parted link loses nothing.
  let unsent: SessionsEnded[] = [];
  const sendEnded = () => {
    while (link.peerState === 'up') {
      const [ended] = unsent;
      if (ended === undefined) return;
      if (!link.notify(MessageType.EVENT, 'port.sessions-ended', ended).ok) {
        setTimeout(sendEnded, SEND_AGAIN_MS).unref();
        return;
      }
      unsent.shift();
    }
    unsent = [];
  };
  const stopEnded = port.onSessionsEnded(({ sessionIds, reason }) => {
    const waiting = unsent.length > 0;
    for (let first = 0; first < sessionIds.length; first += ENDED_TOGETHER_MAX) {
      const some = sessionIds.slice(first, first + ENDED_TOGETHER_MAX);
      unsent.push({ sessionIds: some, reason });
    }
    unsent = unsent.slice(-UNSENT_MAX);
    if (!waiting) sendEnded();
  });
  return () => {
    stopEnded();
    stopEvents();
    stopSnapshots();
    stopUnified();
  };
}

/** The request's own shape is known once its key is. */
async function administer<K extends AdministrationKey>(
  port: OrchestratorPort,
  body: AdministrationBody & { readonly key: K },
  deadline: Deadline,
): Promise<Outcome<unknown>> {
  const { key, origin } = body;
  const shape = administrationShapes[key] as Shape<AdministrationRequest<K>>;
  const request = conform(shape, body.request, `port.administer ${key}`);
  if (!request.ok) return refuse(request.fault);
  return port.administer(body.sessionId, key, request.value, origin, deadline);
}

function publicReceipt(outcome: Outcome<OperationReceipt>): Outcome<OperationReceipt> {
  return outcome.ok ? succeed(withoutInternals(outcome.value)) : outcome;
}

/** A receipt whose faults hold nothing for this machine's log only. */
function withoutInternals(receipt: OperationReceipt): OperationReceipt {
  const clean = <T extends { readonly fault?: Fault }>(part: T): T =>
    part.fault?.internal === undefined
      ? part
      : { ...part, fault: faultForPeer(part.fault, 'interface') };
  return clean({
    ...receipt,
    readings: receipt.readings.map(clean),
    tracks: receipt.tracks.map(clean),
  });
}
