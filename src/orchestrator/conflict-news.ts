// Puts conflicts on record and tells the listeners: what was found, and how it was settled.

import type { Outcome } from '#foundation/outcome';
import type { AuditEntry } from '#model/audit-entry';
import { formatToken } from '#model/device';
import { EventType, Severity } from '#model/event';
import type { Origin } from '#model/principal';
import type { Conflict, ConflictRule } from '#model/unified-state';
import type { Announcer } from './announcer.ts';
import type { ConflictCase, ConflictRecord } from './conflict-record.ts';
import type { DeviceHistory } from './device-history.ts';
import type { EventHub } from './event-hub.ts';

const ALERTING: readonly ConflictRule[] = [
  'ACTIVE_WHILE_QUARANTINED',
  'ACTIVE_WHILE_LOCKED',
  'RUNNING_WHILE_STOPPED',
  'CHANGED_WITHOUT_OPERATION',
];

export interface ConflictNewsParts {
  readonly announcer: Announcer;
  readonly events: EventHub;
  readonly record: ConflictRecord;
  readonly history: DeviceHistory;
  readonly onError: (error: unknown, where: string) => void;
}

export class ConflictNews {
  readonly #parts: ConflictNewsParts;

  constructor(parts: ConflictNewsParts) {
    this.#parts = parts;
  }

  opened(kept: ConflictCase): void {
    const { conflict } = kept;
    this.#parts.history.add(
      conflict.device,
      'conflict',
      '',
      `${conflict.rule}: ${conflict.finding}`,
    );
    const alert = ALERTING.includes(conflict.rule);
    this.#parts.events.publish({
      type: alert ? EventType.SECURITY_ALERT : EventType.SYSTEM_STATUS_CHANGED,
      severity: alert ? Severity.ERROR : Severity.WARNING,
      source: 'orchestrator',
      data: { ...eventData(conflict), conflict_state: 'open' },
    });
    const result = conflict.deadlineWallMs === 0 ? 'settled at once' : 'waits for a person';
    this.report(
      this.#record('CONFLICT_OPENED', 'orchestrator', kept, result, null, conflict.finding),
    );
  }

  settled(conflict: Conflict): void {
    const { device, rule, answer, resolvedBy } = conflict;
    this.#parts.history.add(device, 'conflict', rule, `${answer} by ${resolvedBy}`);
    this.#parts.events.publish({
      type: EventType.SYSTEM_STATUS_CHANGED,
      severity: Severity.INFO,
      source: 'orchestrator',
      data: {
        ...eventData(conflict),
        conflict_state: 'settled',
        answer: conflict.answer ?? '',
        resolved_by: conflict.resolvedBy,
      },
    });
  }

  recordSettled(
    kept: ConflictCase,
    reason: string,
    origin: Origin | null,
  ): Promise<Outcome<AuditEntry>> {
    const { answer, resolvedBy } = kept.conflict;
    const result = `${answer} by ${resolvedBy}`;
    return this.#record('CONFLICT_RESOLVED', resolvedBy, kept, result, origin, reason);
  }

  /** What could not be put on record is at least in the log. */
  report(recording: Promise<Outcome<AuditEntry>>): void {
    void recording.then((entry) => {
      if (!entry.ok) this.#parts.onError(new Error(entry.fault.finding), 'conflict record');
    });
  }

  #record(
    event: 'CONFLICT_OPENED' | 'CONFLICT_RESOLVED',
    actor: string,
    kept: ConflictCase,
    result: string,
    origin: Origin | null,
    reason: string,
  ): Promise<Outcome<AuditEntry>> {
    const { announcer, record } = this.#parts;
    const { id, rule, device, method, answer } = kept.conflict;
    const positions = kept.conflict.positions.map((position) => ({ ...position }));
    const details = { conflict: id, rule, method, answer, positions };
    const more = { reason, decision: answer ?? '', details };
    return announcer.record(event, actor, origin, [device], result, more, () =>
      record.keepBeside(kept),
    );
  }
}

function eventData(conflict: Conflict): Readonly<Record<string, string>> {
  return {
    reason: 'tracks disagree',
    conflict_id: String(conflict.id),
    rule: conflict.rule,
    method: conflict.method,
    devices: formatToken(conflict.device),
    finding: `${formatToken(conflict.device)}: ${conflict.finding}`,
  };
}
