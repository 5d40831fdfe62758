// The one door behind every transport: admission by the operation table, sessions, limits, quarantine, then security.
// gRPC, REST, WebSocket and the local socket are thin adapters over this service; none of them decides anything.
// Invariants: identity comes from the connection alone; whatever is refused here was not sent to security; an
// emergency stop by an authenticated connection passes every limit and engages the latch even when security is away.

import type { OperationRequest } from '#contract/operation-request';
import type { Cancel, Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeError, type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type {
  AdministrationAnswer,
  AdministrationKey,
  AdministrationRequest,
} from '#model/administration';
import type { AuditEntry } from '#model/audit-entry';
import type { Board } from '#model/board';
import { EventType } from '#model/event';
import { type OperationReceipt, OperationType } from '#model/operation';
import type { OperationKey } from '#model/operation-table';
import type {
  ApprovalRequest,
  OrchestratorPort,
  Session,
  SystemStatus,
} from '#model/orchestrator-port';
import type { RiskLevel } from '#model/risk';
import { EmergencyPriority, type StopLatch } from '#model/stop';
import { AdministrationDesk } from './administration-desk.ts';
import { Admission, type Caller } from './admission.ts';
import { assessInterfaceRisk } from './assess.ts';
import type { Connection } from './connection.ts';
import { ConnectionGate } from './connection-gate.ts';
import { DeviceAttention } from './device-attention.ts';
import { DeviceDesk } from './device-desk.ts';
import { DevicePicture } from './device-picture.ts';
import { EventHub } from './event-hub.ts';
import { DEFAULT_LIMITS, type InterfaceLimits } from './limits.ts';
import { InterfaceMetrics } from './metrics.ts';
import { checkOperation, chooseOperationId, quarantineReceipt } from './operation-check.ts';
import type { SessionWatcher } from './session-watches.ts';
import { statusWithoutSecurity } from './snapshot.ts';
import { StopDesk } from './stop-desk.ts';
import { StrangerReports } from './stranger-reports.ts';

export interface InterfaceServiceParts {
  readonly orchestrator: OrchestratorPort;
  readonly board: Board;
  readonly clock: Clock;
  /** This process's word of the stop latch; absent where there is none (bench in one process). */
  readonly latch?: Pick<StopLatch, 'engage' | 'engaged'>;
  readonly limits?: InterfaceLimits;
  /** The log of this machine; gets texts that never go over the network. */
  readonly log?: (message: string) => void;
}

export type { Caller } from './admission.ts';
export { DEFAULT_LIMITS, type InterfaceLimits } from './limits.ts';

const LATCH_WATCH_EVERY_MS = 100;
/** A session that has reached its end is cut off no later. */
const SWEEP_EVERY_MS = 5_000;
const LIST_LENGTH_MAX = 1_000;

export class InterfaceService {
  readonly board: Board;
  readonly clock: Clock;
  readonly picture: DevicePicture;
  /** What people have to do with each device. */
  readonly attention: DeviceAttention;
  readonly events: EventHub;
  readonly metrics: InterfaceMetrics;
  readonly limits: InterfaceLimits;
  /** Asked by every network door before TLS. */
  readonly gate: ConnectionGate;
  /** What nobody with an identity did. */
  readonly strangers: StrangerReports;
  /** Engaging, acknowledging and resetting the emergency stop. */
  readonly stops: StopDesk;
  /** Devices as a whole: picture, comparison, history, holds and conflicts. */
  readonly devices: DeviceDesk;
  /** Sign-in, accounts, certificates, audit, threats and exercises. */
  readonly administration: AdministrationDesk;
  readonly #orchestrator: OrchestratorPort;
  readonly #latch: Pick<StopLatch, 'engage' | 'engaged'> | undefined;
  readonly #admission: Admission;
  /** The log of this machine, for texts that never go over the network. */
  readonly log: (message: string) => void;
  readonly #unsubscribe: readonly (() => void)[];
  readonly #gone = new Set<(connectionId: string) => void>();
  #lastStatus: SystemStatus | null = null;
  #running = 0;
  #closed = false;
  #cancelSweep: Cancel = () => undefined;
  #cancelWatch: Cancel = () => undefined;

  constructor(parts: InterfaceServiceParts) {
    const { orchestrator, board, clock } = parts;
    this.limits = parts.limits ?? DEFAULT_LIMITS;
    this.board = board;
    this.clock = clock;
    this.#orchestrator = orchestrator;
    this.gate = new ConnectionGate(this.limits.connections);
    this.strangers = new StrangerReports({
      clock,
      tell: (code, origin, text) => orchestrator.reportRefusal(null, origin, code, text, []),
    });
    this.#latch = parts.latch;
    this.log = parts.log ?? (() => undefined);
    this.picture = new DevicePicture(clock, board, () => this.#latch?.engaged() ?? false);
    this.events = new EventHub(clock);
    this.attention = new DeviceAttention({
      clock,
      entries: () => this.picture.entries(),
      entry: (device) => this.picture.entry(device),
      listeners: () => this.events.listeners,
    });
    this.metrics = new InterfaceMetrics({
      sessions: () => this.#admission.sessions,
      running: () => this.#running,
      listeners: () => this.events.listeners,
      limited: () => this.#admission.limited,
      pictureAgeMs: () => this.picture.ageMs(),
      buses: () => this.picture.buses(),
    });
    this.metrics.countDoors(this.gate, this.strangers);
    this.#admission = new Admission({
      orchestrator,
      clock,
      limits: this.limits,
      onRefusal: (code) => this.metrics.refused(code),
      onGone: (connectionId) => {
        for (const listen of this.#gone) listen(connectionId);
      },
    });
    const { picture, events, attention } = this;
    const admission = this.#admission;
    const latch = this.#latch;
    this.stops = new StopDesk({ orchestrator, clock, picture, events, admission, latch });
    this.devices = new DeviceDesk({ orchestrator, picture, admission, attention });
    const deadline = () => this.deadline();
    this.administration = new AdministrationDesk({ orchestrator, admission, deadline });
    this.#unsubscribe = [
      orchestrator.onEvent((event) => {
        this.events.publish(event);
        this.attention.takeEvent(event);
        const { reason, account } = event.data;
        if (event.type !== EventType.SECURITY_ALERT || reason !== 'account locked') return;
        admission.recheck(account ?? '', this.deadline()).catch(() => undefined);
      }),
      orchestrator.onKernelSnapshot((snapshot) => this.picture.update(snapshot)),
      orchestrator.onUnifiedState((states) => this.picture.takeUnified(states)),
      orchestrator.onAvailable((available) => {
        this.picture.setAvailable(available);
        admission.setAvailable(available);
      }),
      orchestrator.onSessionsEnded((ended) => admission.end(ended)),
    ];
    this.#sweep();
    this.#watchLatch(this.stopEngaged());
  }

  close(): void {
    this.#closed = true;
    this.#cancelSweep();
    this.#cancelWatch();
    this.strangers.close();
    for (const stop of this.#unsubscribe) stop();
  }

  /** Null when clients can be served and told, else what is wrong. */
  health(): string | null {
    if (this.#closed) return 'the interface is shutting down';
    return this.picture.available ? null : 'the link to security is down';
  }

  get sessions(): number {
    return this.#admission.sessions;
  }

  /** Default 5 s, never more than 30 s, whatever the caller wishes. */
  deadline(wishedMs: number = this.limits.callTimeoutMs): Deadline {
    const boundedMs = Math.min(Math.max(wishedMs, 0), this.limits.callTimeoutMsMax);
    return Deadline.after(this.clock, boundedMs);
  }

  /** Presents the connection's credential to security now (sign-in). */
  async authenticate(connection: Connection, deadline: Deadline): Promise<Outcome<Session>> {
    const session = await this.#admission.authenticate(connection, deadline);
    if (session.ok) this.gate.prove(connection.origin.peer);
    return session;
  }

  closeConnection(connectionId: string): void {
    this.#admission.closeConnection(connectionId);
  }

  /** Hears of the end or the lock of a connection's session, whoever caused it; returns the way to stop listening. */
  watchSession(connection: Connection, watcher: SessionWatcher): () => void {
    return this.#admission.watch(connection, watcher);
  }

  /** Refused before anybody asked whose it is, such as a page of another site. */
  refusedEarly(found: Fault, { origin, address }: Connection): void {
    this.metrics.refused(found.code);
    this.strangers.take(found, origin, address);
  }

  /** Connections whose session is over for good: what else was kept for them is worth nothing any more. */
  onSessionGone(listen: (connectionId: string) => void): void {
    this.#gone.add(listen);
  }

  /** Admits, performs and counts one call; whatever is thrown on the way becomes INTERNAL without its text. */
  async call<T>(
    key: OperationKey,
    connection: Connection,
    deadline: Deadline,
    perform: (caller: Caller) => Promise<Outcome<T>> | Outcome<T>,
  ): Promise<Outcome<T>> {
    const startedMs = this.clock.nowMs();
    let answer: Outcome<T>;
    try {
      const caller = await this.#admission.admit(key, connection, deadline);
      if (caller.ok && caller.value.session !== null) this.gate.prove(connection.origin.peer);
      answer = caller.ok ? await perform(caller.value) : caller;
    } catch (error) {
      const internal = describeError(error);
      this.log(`${key}: ${internal}`);
      const finding = 'could not be answered because of an error in the agent';
      answer = refuse(fault('INTERNAL', { place: key, finding, metal: 'unknown', internal }));
    }
    const { transport } = connection.origin;
    const result = answer.ok ? 'ok' : answer.fault.code;
    this.metrics.called(key, transport, result, this.clock.nowMs() - startedMs);
    return answer;
  }

  // --- Operations --------------------------------------------------------------------------------

  /** Plans or performs; a refusal by rule is a receipt with DENIED, anything malformed a fault. */
  async operate(
    caller: Caller,
    request: OperationRequest,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    const startedMs = this.clock.nowMs();
    if (request.type === OperationType.EMERGENCY_STOP) {
      return this.stops.operate(caller, request, deadline);
    }
    const own = caller.session?.principal.devices ?? null;
    const checked = checkOperation(request, this.picture, own);
    if (!checked.ok) return checked;
    const { intent, quarantined } = checked.value;
    if (quarantined.length > 0) {
      const receipt = quarantineReceipt(intent, quarantined, this.clock.nowMs() - startedMs);
      if (receipt.fault !== undefined) {
        this.#admission.report(receipt.fault, caller.connection, caller.session, quarantined);
      }
      // A device that people quarantined yesterday is asked for in good faith; the ones that always were are a probe.
      const probe = quarantined.some((device) => this.picture.quarantinedForGood(device));
      if (probe && caller.session !== null) this.#admission.lock(caller.session);
      return succeed(receipt);
    }
    const { session, connection } = caller;
    const touched = intent.targets.map((target) => target.device);
    this.attention.touched(session?.id ?? connection.id, touched);
    const assessed =
      session === null
        ? intent
        : {
            ...intent,
            interfaceRisk: assessInterfaceRisk(
              { intent, principal: session.principal },
              this.picture,
            ),
          };
    return this.#counted(intent.operationId, () =>
      this.#admission.asSession(caller, deadline, (sessionId) =>
        this.#orchestrator.operate(sessionId, assessed, connection.origin, deadline),
      ),
    );
  }

  async operation(
    caller: Caller,
    id: string,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    const checked = chooseOperationId(id === '' ? ' ' : id);
    if (!checked.ok) return checked;
    return this.#admission.asSession(caller, deadline, (sessionId) =>
      this.#orchestrator.operation(sessionId, checked.value, deadline),
    );
  }

  async operations(
    caller: Caller,
    limit: number,
    deadline: Deadline,
  ): Promise<Outcome<readonly OperationReceipt[]>> {
    return this.#admission.asSession(caller, deadline, (sessionId) =>
      this.#orchestrator.operations(sessionId, Math.min(limit, LIST_LENGTH_MAX), deadline),
    );
  }

  async approvals(
    caller: Caller,
    deadline: Deadline,
  ): Promise<Outcome<readonly ApprovalRequest[]>> {
    return this.#admission.asSession(caller, deadline, (sessionId) =>
      this.#orchestrator.approvals(sessionId, deadline),
    );
  }

  async approve(
    caller: Caller,
    digest: string,
    deadline: Deadline,
  ): Promise<Outcome<ApprovalRequest>> {
    if (!/^[0-9a-f]{64}$/.test(digest)) {
      const finding = 'is not 64 lower-case hexadecimal digits';
      return refuse(fault('REQUEST_MALFORMED', { place: 'plan digest', finding }));
    }
    return this.#admission.asSession(caller, deadline, (sessionId) =>
      this.#orchestrator.approve(sessionId, digest, caller.connection.origin, deadline),
    );
  }

  async audit(
    caller: Caller,
    fromSequence: number,
    limit: number,
    deadline: Deadline,
  ): Promise<Outcome<readonly AuditEntry[]>> {
    return this.#admission.asSession(caller, deadline, (sessionId) =>
      this.#orchestrator.audit(sessionId, fromSequence, Math.min(limit, LIST_LENGTH_MAX), deadline),
    );
  }

  async verifyAudit(
    caller: Caller,
    deadline: Deadline,
  ): Promise<
    Outcome<{ readonly entries: number; readonly intact: boolean; readonly finding: string }>
  > {
    return this.#admission.asSession(caller, deadline, (sessionId) =>
      this.#orchestrator.verifyAudit(sessionId, deadline),
    );
  }

  /** The person leaves: the session is over here at once, and its sign-in on every transport. */
  async endSession(session: Session, deadline: Deadline): Promise<Outcome<void>> {
    this.#admission.end({ sessionIds: [session.id], reason: 'the person signed out' });
    return this.#orchestrator.signOut(session.id, deadline);
  }

  /** The session of a connection that is signed in, without asking anybody. */
  knownSession(connection: Connection): Session | undefined {
    return this.#admission.known(connection);
  }

  // --- Administration ----------------------------------------------------------------------------

  /** Asks security's desk for this row; rows for anyone need no session. */
  administer<K extends AdministrationKey>(
    caller: Caller,
    key: K,
    request: AdministrationRequest<K>,
    deadline: Deadline,
  ): Promise<Outcome<AdministrationAnswer<K>>> {
    return this.administration.ask(caller, key, request, deadline);
  }

  // --- Select before operate ---------------------------------------------------------------------

  /** Performs what this person selected, under the limits of every operation. */
  async operateSelected(
    caller: Caller,
    id: string,
    confirmedRisk: RiskLevel,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    const checked = chooseOperationId(id === '' ? ' ' : id);
    if (!checked.ok) return checked;
    const { origin } = caller.connection;
    return this.#counted(checked.value, () =>
      this.#admission.asSession(caller, deadline, (sessionId) =>
        this.#orchestrator.operateSelected(
          sessionId,
          checked.value,
          confirmedRisk,
          origin,
          deadline,
        ),
      ),
    );
  }

  async releaseSelected(caller: Caller, id: string, deadline: Deadline): Promise<Outcome<void>> {
    const checked = chooseOperationId(id === '' ? ' ' : id);
    if (!checked.ok) return checked;
    return this.#admission.asSession(caller, deadline, (sessionId) =>
      this.#orchestrator.releaseSelected(
        sessionId,
        checked.value,
        caller.connection.origin,
        deadline,
      ),
    );
  }

  // --- Picture -----------------------------------------------------------------------------------

  /** Security's word on the system; without it the last one, marked degraded. */
  async status(deadline: Deadline): Promise<SystemStatus> {
    const answer = await this.#orchestrator.status(deadline);
    if (answer.ok) {
      this.#lastStatus = answer.value;
      this.picture.takeHolds(answer.value.holds);
      return answer.value;
    }
    return statusWithoutSecurity(this.board, this.#lastStatus, {
      stopEngaged: this.stopEngaged(),
      activeOperations: this.#running,
    });
  }

  stopEngaged(): boolean {
    return this.stops.engaged();
  }

  // Kernel may stop by itself while security, which would send the event, is away: clients are told all the same.
  #watchLatch(before: boolean): void {
    this.#cancelWatch = this.clock.after(LATCH_WATCH_EVERY_MS, () => {
      const engaged = this.stopEngaged();
      if (engaged && !before && !this.events.toldStopRecently()) {
        const cause = { source: 'interface', reason: 'the stop latch is engaged' } as const;
        const priority = EmergencyPriority.IMMEDIATE;
        const wallMs = this.clock.wallMs();
        this.events.announceStop({
          cause: { ...cause, id: 0, devices: [], priority, triggeredBy: 'latch', wallMs },
        });
      }
      this.#watchLatch(engaged);
    });
  }

  /** At most so many operations at once; a stop is not counted. */
  async #counted<T>(id: string, perform: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
    if (this.#running >= this.limits.concurrentOperations) {
      const finding = `${this.#running} operations are already running`;
      return refuse(fault('BUSY', { place: `operation ${id}`, finding }));
    }
    this.#running += 1;
    try {
      return await perform();
    } finally {
      this.#running -= 1;
    }
  }

  #sweep(): void {
    this.#cancelSweep = this.clock.after(SWEEP_EVERY_MS, () => {
      this.#admission.sweep();
      this.#sweep();
    });
  }
}
