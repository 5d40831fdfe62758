// Puts on record what people tried and did not get: refusals, probes of quarantined devices, and the reading of who is watched.
// Invariants: an attempt on a device that never was open to anybody locks its session, whatever becomes of the entry.

import { describeFault, type Fault } from '#foundation/fault';
import { type AuditEventName, type AuditRecord, blankRecord } from '#model/audit-entry';
import type { Board } from '#model/board';
import { type LinearId, permanentlyQuarantined } from '#model/device';
import { type Intent, type OperationReceipt, operationName } from '#model/operation';
import { type OperationKey, operationRow } from '#model/operation-table';
import type { Session } from '#model/orchestrator-port';
import type { Credential, Origin } from '#model/principal';
import type { Announcer } from './announcer.ts';
import type { SessionPort, ThreatPort } from './ports.ts';
import type { RefusalRecord } from './refusal-record.ts';

export interface AttemptsParts {
  readonly board: Board;
  readonly sessions: SessionPort;
  readonly threats: ThreatPort;
  readonly announcer: Announcer;
  readonly refusals: RefusalRecord;
}

export class Attempts {
  readonly #parts: AttemptsParts;
  readonly #named: ReadonlySet<LinearId>;

  constructor(parts: AttemptsParts) {
    this.#parts = parts;
    const named = parts.board.devices.filter((device) => device.quarantined);
    this.#named = new Set(named.map((device) => device.id));
  }

  /** A credential that is worth nothing. */
  signIn(credential: Credential, origin: Origin, refused: Fault): void {
    const more = { decision: 'refused', details: { account: '', ...shownBy(credential) } };
    void this.#put('AUTHENTICATION_FAILED', 'unknown', origin, [], refused.finding, more);
  }

  /** Interface refused it before anything was asked here. */
  reported(
    sessionId: string | null,
    origin: Origin,
    code: string,
    finding: string,
    devices: readonly LinearId[],
  ): void {
    const { sessions } = this.#parts;
    const session = sessionId === null ? null : sessions.session(sessionId);
    const actor = session?.ok === true ? session.value.principal.id : 'unknown';
    const more = { details: { code } };
    const probed = code === 'DEVICE_QUARANTINED' ? this.#quarantinedForGood(devices) : [];
    if (probed.length === 0) {
      const told = `${code}: ${finding}`;
      void this.#put('OPERATION_REFUSED', actor, origin, devices, told, more);
      return;
    }
    this.#probe(actor, sessionId, probed, finding);
    void this.#put('QUARANTINE_PROBE', actor, origin, devices, finding, more).then((entry) =>
      // One that was only counted follows hundreds that threat detection knows.
      this.#unrecordedProbe(entry?.ok !== false, actor, probed),
    );
  }

  /** True when the operation was an attempt on a device that is in quarantine for good; it is told as that alone. */
  probed(receipt: OperationReceipt, intent: Intent, session: Session): boolean {
    if (receipt.fault?.code !== 'DEVICE_QUARANTINED') return false;
    const devices = this.#quarantinedForGood(intent.targets.map((target) => target.device));
    if (devices.length === 0) return false;
    const { id } = session.principal;
    this.#probe(id, session.id, devices, receipt.fault.finding);
    this.#unrecordedProbe(receipt.auditSequence > 0, id, devices);
    return true;
  }

  /** What somebody wanted and did not get, where no desk puts that on record by itself. */
  refused(
    operation: OperationKey,
    actor: string,
    origin: Origin | null,
    devices: readonly LinearId[],
    refused: Fault,
  ): void {
    const more = { operation, details: { code: refused.code } };
    const told = describeFault(refused);
    void this.#put('OPERATION_REFUSED', actor, origin, devices, told, more);
  }

  /** What leaves no entry of its own leaves one while the person is watched. */
  asked(key: OperationKey, actor: string): void {
    if (operationRow(key).audit !== 'none' || key === 'readRegisters') return;
    if (!this.#parts.threats.watches(actor)) return;
    void this.#put('WATCHED_ACCESS', actor, null, [], 'asked for', { operation: key });
  }

  dryRun({ operationId, type, targets }: Intent, actor: string, origin: Origin): void {
    if (!this.#parts.threats.watches(actor)) return;
    const devices = targets.map((target) => target.device);
    const more = { operationId, operation: operationName(type) };
    const told = 'asked what it would do';
    void this.#put('WATCHED_ACCESS', actor, origin, devices, told, more);
  }

  /** Nobody waits for these, so that only their own bound keeps them from piling up. */
  #put(
    event: AuditEventName,
    actor: string,
    origin: Origin | null,
    devices: readonly LinearId[],
    result: string,
    more: Partial<AuditRecord>,
  ) {
    const record = { ...blankRecord(event, actor), origin, devices, result, ...more };
    return this.#parts.refusals.put(record);
  }

  /** Those that never were open to anybody: asking for one that people quarantined yesterday is no attack. */
  #quarantinedForGood(devices: readonly LinearId[]): readonly LinearId[] {
    return devices.filter((id) => permanentlyQuarantined(id) || this.#named.has(id));
  }

  #probe(
    actor: string,
    sessionId: string | null,
    devices: readonly LinearId[],
    finding: string,
  ): void {
    const { sessions, announcer } = this.#parts;
    if (sessionId !== null)
      sessions.lock(sessionId, 'locked after an attempt on a quarantined device');
    announcer.quarantineProbe(actor, devices, finding);
  }

  /** Threat detection hears of attempts by their entries, and of those without one in this way. */
  #unrecordedProbe(recorded: boolean, actor: string, devices: readonly LinearId[]): void {
    if (recorded) return;
    for (const device of devices) this.#parts.threats.probed(device, actor);
  }
}

/** What a connection showed, without what would open something. */
function shownBy(credential: Credential): Readonly<Record<string, string>> {
  switch (credential.kind) {
    case 'token':
      return { way: 'token' };
    case 'certificate':
      return { way: 'certificate', uri: credential.uri, fingerprint: credential.fingerprint };
    case 'local':
      return { way: 'local', uid: `${credential.uid}` };
  }
}
