// Security's own console: the orchestrator's port for people at this machine, when interface does not answer.
// Invariants: on this door everybody is the local user that the operating system names, whatever a message claims; a
// session is good on the connection that opened it alone, and ends with it.

import type { PeerCredentials } from '#drivers/native/host';
import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { UnsupervisedReport } from '#link/kernel-console';
import { type Link, MessageType, type RequestHandler } from '#link/link';
import { serveOrchestrator } from '#link/orchestrator-server';
import { integer, object } from '#link/shape';
import { trackClient } from '#link/track-client';
import { serveChecked } from '#link/track-server';
import type { Board } from '#model/board';
import type { DeviceDescriptor } from '#model/device';
import { Severity } from '#model/event';
import type { OrchestratorPort, Session } from '#model/orchestrator-port';
import type { Credential, Origin } from '#model/principal';
import type { KernelTrack } from '#model/track';
import type { Announcer } from '#orchestrator/announcer';
import { type FirstSetupParts, serveFirstSetup } from './first-setup.ts';
import type { InterfaceByDoor } from './interface-by-door.ts';

export interface SecurityConsoleParts {
  readonly clock: Clock;
  readonly board: Board;
  readonly orchestrator: OrchestratorPort;
  readonly kernel: KernelTrack;
  readonly interfaceTrack: InterfaceByDoor;
  /** No setup at this console where absent. */
  readonly firstSetup?: FirstSetupParts;
}

/** A part of the board, whole in as many answers as it takes. */
export interface BoardPart {
  /** Without its devices. */
  readonly board: Board;
  readonly devices: readonly DeviceDescriptor[];
  /** Where the next part begins; 0 after the last. */
  readonly next: number;
}

const SESSIONS_MAX = 4;
const DEVICES_PER_PART = 12;
const PICTURE_LIMIT_MS = 1_000;
const END_LIMIT_MS = 1_000;
const fromShape = object<{ readonly from: number }>({ from: integer(0, 1_000) });

/** Serves one client; what it returns ends the client's sessions. */
export function serveSecurityConsole(
  link: Link,
  peer: PeerCredentials,
  parts: SecurityConsoleParts,
): () => void {
  const { clock, board, orchestrator, kernel } = parts;
  serveChecked(link, 'console.board', fromShape, async ({ from }) => succeed(partOf(board, from)));
  // The picture goes out as the notice that panels get, before the answer that says so.
  serveChecked(link, 'console.picture', fromShape, async () => {
    const snapshot = await kernel.snapshot(Deadline.after(clock, PICTURE_LIMIT_MS));
    if (snapshot.ok) link.notify(MessageType.STATE_SYNC, 'port.kernel-snapshot', snapshot.value);
    return snapshot.ok ? succeed({}) : snapshot;
  });
  if (parts.firstSetup !== undefined) serveFirstSetup(link, peer, parts.firstSetup);
  const endSession = (session: string) =>
    void orchestrator.endSession(session, Deadline.after(clock, END_LIMIT_MS));
  const door = new LocalDoor(link, peer, parts.interfaceTrack, endSession);
  const stopForwarding = serveOrchestrator(door, orchestrator);
  return () => {
    stopForwarding();
    door.leave();
  };
}

function partOf(board: Board, from: number): BoardPart {
  const next = from + DEVICES_PER_PART;
  return {
    // A console needs the devices; where their buses are is nobody's business out there.
    board: { ...board, file: '', buses: [], devices: [] },
    devices: board.devices.slice(from, next),
    next: next < board.devices.length ? next : 0,
  };
}

type Body = Readonly<Record<string, unknown>>;

/** The link with identity and origin of every request put in by this side, and interface's part taken by the console. */
class LocalDoor implements Link {
  readonly #sessions = new Set<string>();
  readonly #link: Link;
  readonly #credential: Credential;
  readonly #origin: Origin;
  readonly #interfaceTrack: InterfaceByDoor;
  readonly #endSession: (session: string) => void;
  #signingIn = 0;
  #left = false;

  constructor(
    link: Link,
    { uid, gid, pid }: PeerCredentials,
    interfaceTrack: InterfaceByDoor,
    endSession: (session: string) => void,
  ) {
    this.#link = link;
    this.#endSession = endSession;
    this.#credential = { kind: 'local', uid, gid, pid };
    this.#origin = { transport: 'local', peer: `uid ${uid}` };
    this.#interfaceTrack = interfaceTrack;
  }

  get self() {
    return this.#link.self;
  }

  get peer() {
    return this.#link.peer;
  }

  get peerState() {
    return this.#link.peerState;
  }

  request: Link['request'] = (...call) => this.#link.request(...call);
  notify: Link['notify'] = (...call) => this.#link.notify(...call);
  onPeer: Link['onPeer'] = (listener) => this.#link.onPeer(listener);
  counters: Link['counters'] = () => this.#link.counters();
  close: Link['close'] = () => this.#link.close();

  /** The client is gone. */
  leave(): void {
    this.#left = true;
    for (const session of this.#sessions) this.#endSession(session);
  }

  serve(method: string, handler: RequestHandler): void {
    this.#link.serve(method, async (body, deadline) => {
      const known = this.#known(body);
      if (!known.ok) return known;
      if (method === 'port.authenticate') return this.#signIn(handler, known.value, deadline);
      if (method === 'port.end-session' || method === 'port.sign-out')
        return this.#signOut(handler, known.value, deadline);
      const operationId = operationOf(method, body);
      if (operationId === null) return handler(known.value, deadline);
      const leave = this.#interfaceTrack.enter(operationId, trackClient(this.#link));
      if (leave === undefined) {
        const finding = 'is asked for at another console already';
        return refuse(fault('BUSY', { place: `operation ${operationId}`, finding }));
      }
      try {
        return await handler(known.value, deadline);
      } finally {
        leave();
      }
    });
  }

  onNotice(method: string, listener: (body: unknown) => void): void {
    this.#link.onNotice(method, (body) => {
      const known = this.#known(body);
      if (known.ok) listener(known.value);
    });
  }

  /** The body with our word on who and where from, for a session of this connection. */
  #known(body: unknown): Outcome<unknown> {
    if (typeof body !== 'object' || body === null) return succeed(body);
    const given = body as Body;
    const { sessionId } = given;
    if (typeof sessionId === 'string' && !this.#sessions.has(sessionId)) {
      const finding = 'was not opened on this connection';
      return refuse(fault('NOT_AUTHENTICATED', { place: 'session', finding }));
    }
    return succeed({
      ...given,
      ...('credential' in given ? { credential: this.#credential } : {}),
      ...('origin' in given ? { origin: this.#origin } : {}),
    });
  }

  async #signIn(
    handler: RequestHandler,
    body: unknown,
    deadline: Deadline,
  ): Promise<Outcome<unknown>> {
    if (this.#sessions.size + this.#signingIn >= SESSIONS_MAX) {
      const finding = `${SESSIONS_MAX} sessions are open on this connection`;
      return refuse(fault('BUSY', { place: 'sign-in', finding }));
    }
    this.#signingIn += 1;
    const session = await handler(body, deadline).finally(() => {
      this.#signingIn -= 1;
    });
    if (!session.ok) return session;
    const { id } = session.value as Session;
    if (this.#left) this.#endSession(id);
    else this.#sessions.add(id);
    return session;
  }

  #signOut(handler: RequestHandler, body: unknown, deadline: Deadline): Promise<Outcome<unknown>> {
    const { sessionId } = body as { readonly sessionId?: unknown };
    if (typeof sessionId === 'string') this.#sessions.delete(sessionId);
    return handler(body, deadline);
  }
}

/** The operation in which the asking process takes interface's part; null for every other request. */
function operationOf(method: string, body: unknown): string | null {
  const given = (typeof body === 'object' && body !== null ? body : {}) as Body;
  const named =
    method === 'port.operate'
      ? (given.intent as Body | undefined)?.operationId
      : method === 'port.operate-selected'
        ? given.operationId
        : null;
  return typeof named === 'string' ? named : null;
}

/** Puts what was done at kernel's console on record; refused while the record cannot take all of it. */
export async function recordUnsupervised(
  announcer: Announcer,
  report: UnsupervisedReport,
): Promise<Outcome<void>> {
  for (const access of report.accesses) {
    const { peer, what, devices, detail, count, number, firstWallMs, lastWallMs } = access;
    const times = count === 1 ? 'once' : `${count} times`;
    const entry = await announcer.record(
      'UNSUPERVISED_ACCESS',
      peer,
      { transport: 'local', peer },
      devices,
      `${what} at kernel's console ${times} while security was away`,
      { reason: detail, details: { kernelLife: report.life, number, firstWallMs, lastWallMs } },
    );
    if (!entry.ok) return entry;
  }
  if (report.forgotten > 0) {
    const finding = `${report.forgotten} more accesses at kernel's console, of which it kept no details`;
    const entry = await announcer.record('UNSUPERVISED_ACCESS', 'unknown', null, [], finding);
    if (!entry.ok) return entry;
  }
  const finding = 'kernel was used at its own console while security was away';
  announcer.systemChanged(finding, Severity.WARNING);
  return succeed(undefined);
}
