// What the agent tells whoever listens, with the specification's types, severities and priorities.

import type { EventSource } from './track-name.ts';

export const EventType = {
  UNKNOWN: 0,
  DEVICE_STATE_CHANGED: 1,
  OPERATION_COMPLETED: 2,
  SECURITY_ALERT: 3,
  SYSTEM_STATUS_CHANGED: 4,
  EMERGENCY_STOP: 5,
  AUDIT_ENTRY_CREATED: 6,
  PERFORMANCE_THRESHOLD: 7,
} as const;
export type EventType = (typeof EventType)[keyof typeof EventType];

export const Severity = {
  UNKNOWN: 0,
  INFO: 1,
  WARNING: 2,
  ERROR: 3,
  CRITICAL: 4,
  EMERGENCY: 5,
} as const;
export type Severity = (typeof Severity)[keyof typeof Severity];

export interface AgentEvent {
  /** Full 64-bit sequence in practice below 2^53; the wire's uint32 field carries its low half. */
  readonly sequence: number;
  readonly type: EventType;
  readonly severity: Severity;
  readonly source: EventSource;
  readonly wallMs: number;
  /** Flat text members, as the specification's event_data. */
  readonly data: Readonly<Record<string, string>>;
}

export type AgentEventDraft = Omit<AgentEvent, 'sequence' | 'wallMs'>;
