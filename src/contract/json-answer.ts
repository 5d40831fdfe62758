// What the agent says in JSON: names instead of numbers, words as 0x-hexadecimal text, times as RFC 3339.
// Invariants: no locations, no internal texts; 64-bit values are always text.

import { describeFault, type Fault } from '#foundation/fault';
import { FAULT_CATALOGUE } from '#foundation/fault-catalogue';
import type { AuditEntry } from '#model/audit-entry';
import type { PlacedRegister } from '#model/device';
import { type AgentEvent, EventType, Severity } from '#model/event';
import {
  CoordinationResult,
  type OperationReceipt,
  operationName,
  type RegisterReading,
  type WritePreview,
} from '#model/operation';
import type { ApprovalRequest, Session, StopReport } from '#model/orchestrator-port';
import { clearanceName } from '#model/principal';
import { riskName } from '#model/risk';
import { deviceRef, nameIn, timeOrNull, wordToJson } from './json-parts.ts';

export { wordToJson } from './json-parts.ts';
export { type DeviceJson, deviceToJson, type StatusJson, statusToJson } from './json-state.ts';

/** RFC 9457 problem details with the catalogue's code; the type names the code, not a page. */
export function problemOf(found: Fault) {
  const { http, action, retry } = FAULT_CATALOGUE[found.code];
  return {
    type: `urn:dsmil:fault:${found.code}`,
    title: action,
    status: http,
    detail: describeFault(found),
    code: found.code,
    place: found.place,
    finding: found.finding,
    consequence: found.consequence,
    metal: found.metal,
    retry,
  };
}
export type ProblemJson = ReturnType<typeof problemOf>;

function faultToJson(found: Fault) {
  const { code, place, finding, consequence, metal } = found;
  return { code, place, finding, consequence, metal };
}

function readingToJson(reading: RegisterReading) {
  return {
    ...deviceRef(reading.device),
    register: reading.register,
    ...(reading.value === undefined ? {} : { value: wordToJson(reading.value) }),
    ...(reading.before === undefined ? {} : { before: wordToJson(reading.before) }),
    ...(reading.fault === undefined ? {} : { fault: faultToJson(reading.fault) }),
  };
}

function previewToJson(write: WritePreview) {
  return {
    ...deviceRef(write.device),
    register: write.register,
    ...(write.before === undefined ? {} : { before: wordToJson(write.before) }),
    ...(write.after === undefined ? {} : { after: wordToJson(write.after) }),
    rollback: write.rollback,
  };
}

export function receiptToJson(receipt: OperationReceipt) {
  return {
    operationId: receipt.operationId,
    operation: operationName(receipt.type),
    state: receipt.state,
    result: nameIn(CoordinationResult, receipt.result),
    risk: riskName(receipt.risk),
    reasons: receipt.reasons,
    effect: receipt.effect,
    planDigest: receipt.planDigest,
    readings: receipt.readings.map(readingToJson),
    tracks: receipt.tracks.map((track) => ({
      track: track.track,
      ok: track.ok,
      durationMs: track.durationMs,
      ...(track.fault === undefined ? {} : { fault: faultToJson(track.fault) }),
    })),
    auditSequence: receipt.auditSequence,
    durationMs: receipt.durationMs,
    ...(receipt.fault === undefined ? {} : { fault: faultToJson(receipt.fault) }),
    ...(receipt.transactions === undefined ? {} : { transactions: receipt.transactions }),
    ...(receipt.approvalsNeeded === undefined ? {} : { approvalsNeeded: receipt.approvalsNeeded }),
    ...(receipt.preview === undefined ? {} : { preview: receipt.preview.map(previewToJson) }),
    ...(receipt.assessments === undefined
      ? {}
      : {
          assessments: receipt.assessments.map(({ track, level, reasons }) => ({
            track,
            risk: riskName(level),
            reasons,
          })),
        }),
    ...(receipt.worstCaseMs === undefined ? {} : { worstCaseMs: receipt.worstCaseMs }),
    ...(receipt.selectedUntilWallMs === undefined
      ? {}
      : { selectedUntil: timeOrNull(receipt.selectedUntilWallMs) }),
  };
}
export type ReceiptJson = ReturnType<typeof receiptToJson>;

export function registerToJson({ spec }: PlacedRegister) {
  return {
    name: spec.name,
    widthBits: spec.widthBits,
    access: spec.access,
    precious: spec.precious,
    volatile: spec.volatile,
    signed: spec.signed,
    unit: spec.unit,
    scale: spec.scale,
    description: spec.description,
    limits:
      spec.limits === null
        ? null
        : { minimum: spec.limits.minimum.toString(), maximum: spec.limits.maximum.toString() },
    // Without these nobody could choose a value that is accepted at once.
    maxStep: spec.maxStep === null ? null : spec.maxStep.toString(),
    reservedMask: wordToJson(spec.reservedMask),
    safeValue: spec.safeValue === null ? null : wordToJson(spec.safeValue),
    riskFloor: riskName(spec.riskFloor),
    fields: spec.fields,
  };
}

export function sessionToJson(session: Session) {
  const { principal, administrator, way, scope, expiresAtWallMs } = session;
  return {
    id: principal.id,
    name: principal.name,
    kind: principal.kind,
    clearance: clearanceName(principal.clearance),
    compartments: principal.compartments,
    devices: principal.devices,
    administrator,
    way,
    /** Rows of the operation table; null for all that the account may. */
    scope,
    expiresAt: new Date(expiresAtWallMs).toISOString(),
  };
}

export function approvalToJson(approval: ApprovalRequest) {
  return {
    planDigest: approval.planDigest,
    operation: approval.operation,
    devices: approval.devices.map((id) => deviceRef(id)),
    requestedBy: approval.requestedBy,
    justification: approval.justification,
    risk: riskName(approval.risk),
    transactions: approval.transactions,
    expiresAt: new Date(approval.expiresAtWallMs).toISOString(),
    approvedBy: approval.approvedBy,
  };
}
export type ApprovalJson = ReturnType<typeof approvalToJson>;

export function stopReportToJson(report: StopReport) {
  return {
    success: report.success,
    // Said twice, in words and as a flag: nobody should take a stop of everything for one of nothing.
    scope: report.scope,
    wholeSystem: report.devices.length === 0,
    devices: report.devices.map((id) => deviceRef(id)),
    unsafe: report.receipts.flatMap((receipt) =>
      receipt.unsafe.map(({ device, finding }) => ({ ...deviceRef(device), finding })),
    ),
    durationMs: report.durationMs,
    tracks: report.receipts.map((receipt) => ({
      track: receipt.track,
      ok: receipt.ok,
      message: receipt.message,
      durationMs: receipt.durationMs,
      safe: receipt.safe.map((id) => deviceRef(id)),
      unsafe: receipt.unsafe.map(({ device, finding }) => ({ ...deviceRef(device), finding })),
    })),
  };
}
export type StopReportJson = ReturnType<typeof stopReportToJson>;

export function auditEntryToJson(entry: AuditEntry) {
  return { ...entry, at: new Date(entry.wallMs).toISOString() };
}

export function eventToJson(event: AgentEvent) {
  return {
    sequence: event.sequence,
    type: nameIn(EventType, event.type),
    severity: nameIn(Severity, event.severity),
    source: event.source,
    at: new Date(event.wallMs).toISOString(),
    data: event.data,
  };
}

/** JSON text in which a big integer is 0x-hexadecimal text. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'bigint' ? wordToJson(member) : member,
  );
}
