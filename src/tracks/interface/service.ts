// The one door behind every transport: admission by the operation table, sessions, limits, quarantine, then security.
// gRPC, REST, WebSocket and the local socket are thin adapters over this service; none of them decides anything.
// Invariants: identity comes from the connection alone; whatever is refused here was not sent to security; an
// emergency stop by an authenticated connection passes every limit and engages the latch even when security is away.

import type { OperationRequest, StopRequestMessage } from '#contract/operation-request';
import type { Cancel, Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AuditEntry } from '#model/audit-entry';
import type { Board } from '#model/board';
import { formatToken, type LinearId } from '#model/device';
import type { OperationReceipt } from '#model/operation';
import type { OperationKey } from '#model/operation-table';
import type {
  ApprovalRequest,
  OrchestratorPort,
  ResetProgress,
  Session,
  StopReport,
  SystemStatus,
} from '#model/orchestrator-port';
import { EmergencyPriority, type StopLatch } from '#model/stop';
import { Admission, type Caller } from './admission.ts';
import { assessInterfaceRisk } from './assess.ts';
import { DevicePicture, type DevicePictureEntry } from './device-picture.ts';
import { EventHub } from './event-hub.ts';
import { DEFAULT_LIMITS, type InterfaceLimits } from './limits.ts';
import { InterfaceMetrics } from './metrics.ts';
import {
  checkOperation,
  chooseOperationId,
  findDevice,
  quarantineReceipt,
} from './operation-check.ts';
import type { Connection } from './session-cache.ts';
import { statusWithoutSecurity } from './snapshot.ts';
import { stopPriority, stopReason } from './stop.ts';

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
const SWEEP_EVERY_MS = 60_000;
/** Kernel stops on the latch in milliseconds; its receipt waits for the slowest bus, at most its own 5 s. */
const STOP_TIMEOUT_MS = 4_500;
const RESET_REASON_LENGTH_MAX = 512;
const LIST_LENGTH_MAX = 1_000;

export class InterfaceService {
  readonly board: Board;
  readonly clock: Clock;
  readonly picture: DevicePicture;
  readonly events: EventHub;
  readonly metrics: InterfaceMetrics;
  readonly limits: InterfaceLimits;
  readonly #orchestrator: OrchestratorPort;
  readonly #latch: Pick<StopLatch, 'engage' | 'engaged'> | undefined;
  readonly #admission: Admission;
  /** The log of this machine, for texts that never go over the network. */
  readonly log: (message: string) => void;
  readonly #unsubscribe: readonly (() => void)[];
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
    this.#latch = parts.latch;
    this.log = parts.log ?? (() => undefined);
    this.picture = new DevicePicture(clock, board);
    this.events = new EventHub(clock);
    this.metrics = new InterfaceMetrics({
      sessions: () => this.#admission.sessions,
      running: () => this.#running,
      listeners: () => this.events.listeners,
      limited: () => this.#admission.limited,
      pictureAgeMs: () => this.picture.ageMs(),
      buses: () => this.picture.buses(),
    });
    this.#admission = new Admission({
      orchestrator,
      clock,
      limits: this.limits,
      onRefusal: (code) => this.metrics.refused(code),
    });
    this.#unsubscribe = [
      orchestrator.onEvent((event) => this.events.publish(event)),
      orchestrator.onKernelSnapshot((snapshot) => this.picture.update(snapshot)),
      orchestrator.onAvailable((available) => this.picture.setAvailable(available)),
    ];
    this.#sweep();
    this.#watchLatch(this.stopEngaged());
  }

  close(): void {
    this.#closed = true;
    this.#cancelSweep();
    this.#cancelWatch();
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
  authenticate(connection: Connection, deadline: Deadline): Promise<Outcome<Session>> {
    return this.#admission.authenticate(connection, deadline);
  }

  closeConnection(connectionId: string): void {
    this.#admission.closeConnection(connectionId);
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
    const checked = checkOperation(request, this.picture);
    if (!checked.ok) return checked;
    const { intent, quarantined } = checked.value;
    if (quarantined.length > 0) {
      const receipt = quarantineReceipt(intent, quarantined, this.clock.nowMs() - startedMs);
      if (receipt.fault !== undefined) {
        this.#admission.report(receipt.fault, caller.connection, caller.session, quarantined);
      }
      if (caller.session !== null) this.#admission.lock(caller.session);
      return succeed(receipt);
    }
    if (this.#running >= this.limits.concurrentOperations) {
      return refuse(
        fault('BUSY', {
          place: `operation ${intent.operationId}`,
          finding: `${this.#running} operations are already running`,
        }),
      );
    }
    this.#running += 1;
    try {
      const { session, connection } = caller;
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
      return await this.#admission.asSession(caller, deadline, (sessionId) =>
        this.#orchestrator.operate(sessionId, assessed, connection.origin, deadline),
      );
    } finally {
      this.#running -= 1;
    }
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

  async endSession(caller: Caller, deadline: Deadline): Promise<Outcome<void>> {
    if (caller.session === null) return succeed(undefined);
    this.#admission.forget(caller.session);
    return this.#orchestrator.endSession(caller.session.id, deadline);
  }

  // --- Stop --------------------------------------------------------------------------------------

  /** Engages the latch first, then asks security to reach every track and report. */
  async stop(
    caller: Caller,
    message: StopRequestMessage,
    deadline: Deadline,
  ): Promise<Outcome<StopReport>> {
    const startedMs = this.clock.nowMs();
    const devices: LinearId[] = [];
    for (const deviceId of message.deviceIds) {
      const device = findDevice(deviceId, this.picture);
      if (!device.ok) return device;
      if (!devices.includes(device.value)) devices.push(device.value);
    }
    const touchable = devices.filter((device) => !this.picture.quarantined(device));
    if (devices.length > 0 && touchable.length === 0) {
      const place = devices.map((id) => `device ${formatToken(id)}`).join(', ');
      const found = fault('DEVICE_QUARANTINED', {
        place,
        finding: 'is never driven, not even to a safe value',
      });
      this.#admission.report(found, caller.connection, caller.session, devices);
      return refuse(found);
    }
    if (devices.length === 0) this.#latch?.engage();
    const reason = stopReason(message);
    const priority = stopPriority(message);
    const request = { reason, priority, devices: touchable, groups: [] };
    const report =
      caller.session === null
        ? refuse(
            fault('TRACK_UNAVAILABLE', {
              place: 'security',
              finding: 'does not know this connection',
            }),
          )
        : await this.#admission.asSession(caller, deadline, (sessionId) =>
            this.#orchestrator.stop(
              sessionId,
              request,
              caller.connection.origin,
              deadline.within(STOP_TIMEOUT_MS),
            ),
          );
    if (report.ok || devices.length > 0 || this.#latch === undefined) return report;
    // Security gave no receipt, but kernel acts on the latch alone; nobody can vouch for the devices.
    const cause = {
      id: 0,
      devices: [],
      source: 'interface',
      reason,
      priority,
      triggeredBy: caller.connection.origin.peer,
    } as const;
    this.events.announceStop({ cause: { ...cause, wallMs: this.clock.wallMs() } });
    return succeed({
      success: false,
      scope: 'whole system; latch engaged, receipts missing',
      devices: [],
      receipts: [],
      durationMs: this.clock.nowMs() - startedMs,
    });
  }

  async reset(caller: Caller, reason: string, deadline: Deadline): Promise<Outcome<ResetProgress>> {
    const text = reason.trim();
    if (text.length < 10 || text.length > RESET_REASON_LENGTH_MAX) {
      const finding = `has ${text.length} characters, not 10 to ${RESET_REASON_LENGTH_MAX}`;
      return refuse(fault('JUSTIFICATION_NEEDED', { place: 'reason of the reset', finding }));
    }
    return this.#admission.asSession(caller, deadline, (sessionId) =>
      this.#orchestrator.resetStop(sessionId, text, caller.connection.origin, deadline),
    );
  }

  // --- Picture -----------------------------------------------------------------------------------

  devices(caller: Caller): readonly DevicePictureEntry[] {
    const allowed = caller.session?.principal.devices ?? null;
    const entries = this.picture.entries();
    return allowed === null ? entries : entries.filter(({ device }) => allowed.includes(device.id));
  }

  device(caller: Caller, deviceId: number): Outcome<DevicePictureEntry> {
    const id = findDevice(deviceId, this.picture);
    if (!id.ok) return id;
    const entry = this.devices(caller).find(({ device }) => device.id === id.value);
    if (entry !== undefined) return succeed(entry);
    const finding = 'is not among the devices of this caller';
    return refuse(fault('DEVICE_UNKNOWN', { place: `device ${formatToken(id.value)}`, finding }));
  }

  /** Security's word on the system; without it the last one, marked degraded. */
  async status(deadline: Deadline): Promise<SystemStatus> {
    const answer = await this.#orchestrator.status(deadline);
    if (answer.ok) {
      this.#lastStatus = answer.value;
      return answer.value;
    }
    return statusWithoutSecurity(this.board, this.#lastStatus, {
      stopEngaged: this.stopEngaged(),
      activeOperations: this.#running,
    });
  }

  /** The latch where this process maps it, else what kernel last said. */
  stopEngaged(): boolean {
    return this.#latch?.engaged() ?? this.picture.stopEngaged();
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

  #sweep(): void {
    this.#cancelSweep = this.clock.after(SWEEP_EVERY_MS, () => {
      this.#admission.sweep();
      this.#sweep();
    });
  }
}
