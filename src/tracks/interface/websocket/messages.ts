// The WebSocket's messages: what a client may send, checked by schema, and how events and faults are said.
// Invariants: every message from outside is checked before it is looked at; texts sent are catalogued or our own.

import { Ajv } from 'ajv';
import type { RightsJson } from '#contract/json-administration';
import { RightsQuestion } from '#contract/json-administration-schema';
import { eventToJson, jsonText, problemOf } from '#contract/json-answer';
import {
  ConfirmedRiskSchema,
  DeviceIdSchema,
  DeviceListSchema,
  type OperationJson,
  OperationSchema,
  type StopJson,
  StopSchema,
} from '#contract/json-request';
import { Type } from '#contract/json-schema';
import { findHiddenText } from '#contract/plain-text';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { type AgentEvent, EventType, Severity } from '#model/event';
import { OperationType } from '#model/operation';
import { type OperationKey, operationOfMessage } from '#model/operation-table';
import type { RiskName } from '#model/risk';
import { rowOfOperation } from '../stop-desk.ts';

/** The specification's message types for events, and our own for a signed checkpoint of the audit chain. */
export const EVENT_MESSAGES = [
  'SYSTEM_STATUS',
  'DEVICE_UPDATE',
  'SECURITY_ALERT',
  'AUDIT_EVENT',
  'AUDIT_CHECKPOINT',
  'EMERGENCY_STOP',
] as const;
export type EventMessage = (typeof EVENT_MESSAGES)[number];

export type Priority = 'LOW' | 'NORMAL' | 'HIGH' | 'EMERGENCY';

export interface SubscriptionJson {
  /** Chosen by the client; the same id again replaces the subscription. */
  readonly id?: string;
  readonly types?: readonly EventMessage[];
  readonly minimumPriority?: Priority;
  readonly devices?: readonly (number | string)[];
}

export type ClientMessage =
  | { readonly type: 'AUTHENTICATE'; readonly token: string }
  | {
      readonly type: 'SUBSCRIBE';
      readonly subscription: SubscriptionJson;
      readonly lastSequence?: number;
    }
  | { readonly type: 'UNSUBSCRIBE'; readonly subscription: { readonly id: string } }
  | { readonly type: 'PING' }
  | { readonly type: 'REQUEST_STATUS' }
  | { readonly type: 'ACKNOWLEDGE'; readonly id: string }
  | { readonly type: 'OPERATION'; readonly id: string; readonly request: OperationJson }
  | {
      readonly type: 'OPERATE_SELECTED';
      readonly id: string;
      readonly operationId: string;
      readonly confirmedRisk?: RiskName;
    }
  | { readonly type: 'RELEASE_SELECTED'; readonly id: string; readonly operationId: string }
  | {
      readonly type: 'SYNCHRONIZE';
      readonly id: string;
      readonly devices?: readonly (number | string)[];
    }
  | ({ readonly type: 'REQUEST_RIGHTS'; readonly id: string } & RightsJson)
  | { readonly type: 'EMERGENCY_STOP'; readonly id?: string; readonly request?: StopJson };

const strict = { additionalProperties: false } as const;
const Id = Type.String({ minLength: 1, maxLength: 64 });
const message = (type: ClientMessage['type'], members: Parameters<typeof Type.Object>[0] = {}) =>
  Type.Object({ type: Type.Literal(type), ...members }, strict);

const SCHEMAS: Readonly<Record<ClientMessage['type'], object>> = {
  AUTHENTICATE: message('AUTHENTICATE', { token: Type.String({ minLength: 1, maxLength: 4096 }) }),
  SUBSCRIBE: message('SUBSCRIBE', {
    subscription: Type.Object(
      {
        id: Type.Optional(Id),
        types: Type.Optional(
          Type.Array(Type.Union(EVENT_MESSAGES.map((name) => Type.Literal(name))), { maxItems: 8 }),
        ),
        minimumPriority: Type.Optional(
          Type.Union(['LOW', 'NORMAL', 'HIGH', 'EMERGENCY'].map((name) => Type.Literal(name))),
        ),
        devices: Type.Optional(Type.Array(DeviceIdSchema, { maxItems: 84 })),
      },
      strict,
    ),
    lastSequence: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
  }),
  UNSUBSCRIBE: message('UNSUBSCRIBE', { subscription: Type.Object({ id: Id }, strict) }),
  PING: message('PING'),
  REQUEST_STATUS: message('REQUEST_STATUS'),
  ACKNOWLEDGE: message('ACKNOWLEDGE', { id: Id }),
  OPERATION: message('OPERATION', { id: Id, request: OperationSchema }),
  OPERATE_SELECTED: message('OPERATE_SELECTED', {
    id: Id,
    operationId: Id,
    confirmedRisk: ConfirmedRiskSchema,
  }),
  RELEASE_SELECTED: message('RELEASE_SELECTED', { id: Id, operationId: Id }),
  SYNCHRONIZE: message('SYNCHRONIZE', { id: Id, devices: DeviceListSchema }),
  REQUEST_RIGHTS: message('REQUEST_RIGHTS', { id: Id, ...RightsQuestion }),
  // A stop is never refused for its wording: only what it names is looked at.
  EMERGENCY_STOP: Type.Object({
    type: Type.Literal('EMERGENCY_STOP'),
    id: Type.Optional(Id),
    request: Type.Optional(StopSchema),
  }),
};

export const MESSAGE_TYPES = Object.keys(SCHEMAS) as readonly ClientMessage['type'][];

/** Compiles the schemas once for all connections. */
export function messageReader(): (text: string) => Outcome<ClientMessage> {
  const ajv = new Ajv({ strict: false, allErrors: false });
  const checks = new Map(MESSAGE_TYPES.map((type) => [type as string, ajv.compile(SCHEMAS[type])]));
  return (text) => {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return malformed('message', 'is not JSON');
    }
    const type = typeof value === 'object' && value !== null && 'type' in value ? value.type : '';
    const check = typeof type === 'string' ? checks.get(type) : undefined;
    if (check === undefined) return malformed('message', 'has no type that is known here');
    const texts = type === 'EMERGENCY_STOP' ? 'keys' : 'keys and texts';
    const hidden = findHiddenText(value, 'message', texts, ['token']);
    if (hidden !== null) return malformed(hidden.place, hidden.finding);
    if (check(value)) return succeed(value as ClientMessage);
    const [first] = check.errors ?? [];
    return malformed(`message${first?.instancePath ?? ''}`, first?.message ?? 'does not fit');
  };
}

/** The row of the operation table under which a message is admitted: a stop goes by as a stop. */
export function rowOfMessage(message: ClientMessage): OperationKey | undefined {
  if (message.type !== 'OPERATION') return operationOfMessage(message.type);
  const { operation, dryRun } = message.request;
  return rowOfOperation(OperationType[operation], dryRun === true ? 'plan' : 'act');
}

function malformed(place: string, finding: string): { readonly ok: false; readonly fault: Fault } {
  return refuse(fault('REQUEST_MALFORMED', { place, finding }));
}

export function messageTypeOf(event: AgentEvent): EventMessage {
  switch (event.type) {
    case EventType.DEVICE_STATE_CHANGED:
    case EventType.OPERATION_COMPLETED:
      return 'DEVICE_UPDATE';
    case EventType.SECURITY_ALERT:
      return 'SECURITY_ALERT';
    case EventType.EMERGENCY_STOP:
      return 'EMERGENCY_STOP';
    case EventType.AUDIT_ENTRY_CREATED:
      return event.data.checkpoint === undefined ? 'AUDIT_EVENT' : 'AUDIT_CHECKPOINT';
    case EventType.SYSTEM_STATUS_CHANGED:
    case EventType.PERFORMANCE_THRESHOLD:
    case EventType.UNKNOWN:
      return 'SYSTEM_STATUS';
  }
}

/** Whether a subscription to these types includes the event: whoever takes audit events takes its checkpoints too. */
export function isOfTypes(event: AgentEvent, types: ReadonlySet<string>): boolean {
  const type = messageTypeOf(event);
  return types.has(type) || (type === 'AUDIT_CHECKPOINT' && types.has('AUDIT_EVENT'));
}

const PRIORITIES: readonly Priority[] = ['LOW', 'NORMAL', 'HIGH', 'EMERGENCY'];

/** DECISIONS section 2; a severity that is not known is as urgent as can be. */
export function priorityOf(severity: Severity): Priority {
  switch (severity) {
    case Severity.INFO:
      return 'LOW';
    case Severity.WARNING:
      return 'NORMAL';
    case Severity.ERROR:
    case Severity.CRITICAL:
      return 'HIGH';
    case Severity.EMERGENCY:
    case Severity.UNKNOWN:
      return 'EMERGENCY';
  }
}

export function priorityRank(priority: Priority): number {
  return PRIORITIES.indexOf(priority);
}

/** Names one stop for its acknowledgment; an order without a sequence is named by its time. */
export function stopIdOf(event: AgentEvent): string {
  return event.sequence > 0 ? `stop-${event.sequence}` : `stop-at-${event.wallMs}`;
}

export function isStopId(id: string): boolean {
  return id.startsWith('stop-');
}

/** An event as the specification's WebSocketMessage, with its sequence and, for a stop, what to acknowledge. */
export function eventText(event: AgentEvent): string {
  const { data, at, source, sequence, type } = eventToJson(event);
  const stop = event.type === EventType.EMERGENCY_STOP;
  return jsonText({
    type: messageTypeOf(event),
    priority: stop ? 'EMERGENCY' : priorityOf(event.severity),
    data: stop ? { ...data, requires_acknowledgment: true, acknowledge: stopIdOf(event) } : data,
    timestamp: at,
    source_track: source.toUpperCase(),
    sequence,
    event: type,
  });
}

export function errorText(found: Fault, id?: string): string {
  return jsonText({ type: 'ERROR', ...(id === undefined ? {} : { id }), error: problemOf(found) });
}
