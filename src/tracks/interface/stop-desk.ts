// Everything people ask about the emergency stop: engage it, see that it was seen, and ask for the way back.
// Invariants: the latch is engaged before security is asked; a stop is never refused for its wording nor delayed by a
// limit; a stop whose named devices all fall away never becomes a stop of the whole system, nor the other way round.

import { randomUUID } from 'node:crypto';
import type { OperationRequest, StopRequestMessage } from '#contract/operation-request';
import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { formatToken, GROUP_COUNT, type LinearId } from '#model/device';
import {
  CoordinationResult,
  type Intent,
  type OperationReceipt,
  OperationType,
} from '#model/operation';
import type { OperationKey } from '#model/operation-table';
import type {
  OrchestratorPort,
  ResetProgress,
  StopReport,
  StopRequest,
} from '#model/orchestrator-port';
import { RiskLevel } from '#model/risk';
import { EmergencyPriority, type StopAcknowledgment, type StopLatch } from '#model/stop';
import type { Admission, Caller } from './admission.ts';
import type { DevicePicture } from './device-picture.ts';
import type { EventHub } from './event-hub.ts';
import { chooseOperationId, findDevice } from './operation-check.ts';
import { stopPriority, stopReason } from './stop.ts';

export interface StopDeskParts {
  readonly orchestrator: OrchestratorPort;
  readonly clock: Clock;
  readonly picture: DevicePicture;
  readonly events: EventHub;
  readonly admission: Admission;
  readonly latch: Pick<StopLatch, 'engage' | 'engaged'> | undefined;
}

/** Kernel stops on the latch in milliseconds; its receipt waits for the slowest bus, at most its own 5 s. */
const STOP_TIMEOUT_MS = 4_500;
const REASON_LENGTH_MIN = 10;
const REASON_LENGTH_MAX = 512;

interface Scope {
  readonly devices: readonly LinearId[];
  readonly groups: readonly number[];
}

/** A stop in the shape of an operation is admitted as a stop: no limit, lock or clearance holds it up. */
export function rowOfOperation(type: number, kind: 'plan' | 'act'): OperationKey {
  return type === OperationType.EMERGENCY_STOP && kind === 'act' ? 'stop' : 'operate';
}

export class StopDesk {
  readonly #parts: StopDeskParts;

  constructor(parts: StopDeskParts) {
    this.#parts = parts;
  }

  /** Engages the latch first, then asks security to reach every track and report. */
  async stop(
    caller: Caller,
    message: StopRequestMessage,
    deadline: Deadline,
  ): Promise<Outcome<StopReport>> {
    const scope = this.#scope(caller, message.deviceIds, message.groups);
    if (!scope.ok) return scope;
    const request = {
      reason: stopReason(message),
      priority: stopPriority(message),
      ...scope.value,
    };
    this.#engage(scope.value);
    return this.#ask(caller, request, deadline);
  }

  /** EMERGENCY_STOP in the shape of an operation: a dry run shows the plan, anything else stops like the stop call. */
  async operate(
    caller: Caller,
    asked: OperationRequest,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    const deviceIds = asked.targets.map((target) => target.deviceId);
    const scope = this.#scope(caller, deviceIds, []);
    if (!scope.ok) return scope;
    const id = chooseOperationId(asked.operationId);
    const reason = stopReason({ reason: asked.justification, claims: asked.claims });
    const intent: Intent = {
      operationId: id.ok ? id.value : randomUUID(),
      type: OperationType.EMERGENCY_STOP,
      // A stop writes the safe values of the profiles; registers that somebody names have no part in it.
      targets: scope.value.devices.map((device) => ({ device, registers: [] })),
      requirements: asked.requirements,
      justification: reason,
      confirmedRisk: asked.confirmedRisk,
      dryRun: asked.dryRun,
      involved: asked.involved,
    };
    if (!asked.dryRun) this.#engage(scope.value);
    const answer = await this.#operate(caller, intent, deadline);
    if (answer.ok || asked.dryRun) return answer;
    // Whatever keeps security from taking it as an operation must not keep the devices running; to ask twice does no harm.
    const request = { reason, priority: EmergencyPriority.IMMEDIATE, ...scope.value };
    const report = await this.#ask(caller, request, deadline);
    return report.ok ? succeed(receiptOf(intent, report.value)) : report;
  }

  /** The caller has seen every stop that stands now. */
  acknowledge(caller: Caller, deadline: Deadline): Promise<Outcome<readonly StopAcknowledgment[]>> {
    return this.#parts.admission.asSession(caller, deadline, (sessionId) =>
      this.#parts.orchestrator.acknowledgeStop(sessionId, caller.connection.origin, deadline),
    );
  }

  async reset(caller: Caller, reason: string, deadline: Deadline): Promise<Outcome<ResetProgress>> {
    const text = checkedReason(reason, 'reason of the reset');
    if (!text.ok) return text;
    return this.#parts.admission.asSession(caller, deadline, (sessionId) =>
      this.#parts.orchestrator.resetStop(sessionId, text.value, caller.connection.origin, deadline),
    );
  }

  /** The latch where this process maps it, else what kernel last said. */
  engaged(): boolean {
    return this.#parts.latch?.engaged() ?? this.#parts.picture.stopEngaged();
  }

  #engage(scope: Scope): void {
    if (whole(scope)) this.#parts.latch?.engage();
  }

  /** The devices to stop; those in quarantine are never driven, not even to a safe value, and drop out. */
  #scope(caller: Caller, deviceIds: readonly number[], groups: readonly number[]): Outcome<Scope> {
    const { picture, admission } = this.#parts;
    const consequence = 'nothing was stopped; a stop that names no device stops the whole system';
    for (const group of groups) {
      if (group >= 0 && group < GROUP_COUNT) continue;
      const finding = `is not a group; they are 0 to ${GROUP_COUNT - 1}`;
      return refuse(fault('REQUEST_MALFORMED', { place: `group ${group}`, finding, consequence }));
    }
    const devices: LinearId[] = [];
    for (const deviceId of deviceIds) {
      const device = findDevice(deviceId, picture);
      if (!device.ok) return refuse({ ...device.fault, consequence });
      if (!devices.includes(device.value)) devices.push(device.value);
    }
    const touchable = devices.filter((device) => !picture.quarantined(device));
    if (devices.length > 0 && touchable.length === 0 && groups.length === 0) {
      const place = devices.map((id) => `device ${formatToken(id)}`).join(', ');
      const finding = 'is never driven, not even to a safe value';
      const found = fault('DEVICE_QUARANTINED', { place, finding });
      admission.report(found, caller.connection, caller.session, devices);
      return refuse(found);
    }
    return succeed({ devices: touchable, groups: [...new Set(groups)] });
  }

  async #operate(
    caller: Caller,
    intent: Intent,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    const { admission, orchestrator } = this.#parts;
    if (caller.session === null) return refuse(unknownConnection());
    const until = intent.dryRun ? deadline : deadline.within(STOP_TIMEOUT_MS);
    return admission.asSession(caller, deadline, (sessionId) =>
      orchestrator.operate(sessionId, intent, caller.connection.origin, until),
    );
  }

  async #ask(
    caller: Caller,
    request: StopRequest,
    deadline: Deadline,
  ): Promise<Outcome<StopReport>> {
    const { admission, orchestrator, clock, events, latch } = this.#parts;
    const startedMs = clock.nowMs();
    const { origin } = caller.connection;
    const report =
      caller.session === null
        ? await orchestrator.stop(null, request, origin, deadline.within(STOP_TIMEOUT_MS))
        : await admission.asSession(caller, deadline, (sessionId) =>
            orchestrator.stop(sessionId, request, origin, deadline.within(STOP_TIMEOUT_MS)),
          );
    if (report.ok || !whole(request) || latch === undefined) return report;
    // Security gave no receipt, but kernel acts on the latch alone; nobody can vouch for the devices.
    const { reason, priority } = request;
    const cause = { id: 0, devices: [], source: 'interface', reason, priority } as const;
    events.announceStop({
      cause: { ...cause, triggeredBy: origin.peer, wallMs: clock.wallMs() },
    });
    return succeed({
      success: false,
      scope: 'whole system; latch engaged, receipts missing',
      devices: [],
      receipts: [],
      durationMs: clock.nowMs() - startedMs,
    });
  }
}

function whole(scope: Scope): boolean {
  return scope.devices.length === 0 && scope.groups.length === 0;
}

function unknownConnection(): Fault {
  return fault('TRACK_UNAVAILABLE', {
    place: 'security',
    finding: 'does not know this connection',
  });
}

/** A text of 10 to 512 characters: what security demands of every reason, said before it is asked. */
export function checkedReason(reason: string, place: string): Outcome<string> {
  const text = reason.trim();
  if (text.length >= REASON_LENGTH_MIN && text.length <= REASON_LENGTH_MAX) return succeed(text);
  const finding = `has ${text.length} characters, not ${REASON_LENGTH_MIN} to ${REASON_LENGTH_MAX}`;
  return refuse(fault('JUSTIFICATION_NEEDED', { place, finding }));
}

/** A stop's report in the shape of an operation's receipt. */
function receiptOf(intent: Intent, report: StopReport): OperationReceipt {
  const failed = report.receipts.filter((receipt) => !receipt.ok);
  const missing = report.receipts.length === 0 ? 'no track gave a receipt' : '';
  const finding = failed.map(({ track, message }) => `${track}: ${message}`).join('; ');
  return {
    operationId: intent.operationId,
    type: intent.type,
    state: 'EMERGENCY_STOPPED',
    result: report.success ? CoordinationResult.SUCCESS : CoordinationResult.FAILED,
    risk: RiskLevel.SAFE,
    reasons: [`interface: a stop of the ${report.scope} needs no assessment`],
    effect: 'stopped',
    planDigest: '',
    readings: [],
    tracks: report.receipts.map(({ track, ok, message, durationMs }) => ({
      track,
      ok,
      durationMs,
      ...(ok
        ? {}
        : {
            fault: fault('TRACK_UNAVAILABLE', { place: track, finding: message, metal: 'unknown' }),
          }),
    })),
    auditSequence: 0,
    durationMs: report.durationMs,
    ...(report.success
      ? {}
      : {
          fault: fault('TRACK_UNAVAILABLE', {
            place: `stop of the ${report.scope}`,
            finding: missing === '' ? finding || 'not every device is safe' : missing,
            consequence: 'the stop stands; make sure of the devices that nobody vouches for',
            metal: 'unknown',
          }),
        }),
  };
}
