// The proto file holds the specification's fields and enumerations with their numbers, names and types.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { OrchestratorState } from '#model/orchestrator-port';
import {
  AttentionLevel,
  DisplayState,
  OverallStatus,
  PowerState,
  SecurityStatus,
} from '#model/snapshot';
import { EmergencyPriority } from '#model/stop';
import { ResolutionMethod, SyncTrigger } from '#model/unified-state';

const proto = readFileSync(
  new URL('../../../proto/dsmil/communication/v1/communication.proto', import.meta.url),
  'utf8',
);

/** Members of a message, enumeration or service with white space made equal. */
function membersOf(kind: string, name: string): readonly string[] {
  const body = new RegExp(`^${kind} ${name} \\{\\n([\\s\\S]*?)^\\}`, 'm').exec(proto)?.[1] ?? '';
  return body
    .split('\n')
    .map((line) => line.replace(/\/\/.*$/, '').trim())
    .filter((line) => line !== '');
}

// Copied from the specification, section "gRPC High-Performance Messaging"; never to be edited.
const MESSAGES: Readonly<Record<string, string>> = {
  OperationCoordinationRequest:
    'string coordination_id = 1; uint32 device_id = 2; OperationType operation_type = 3; TrackInvolvement track_involvement = 4; SafetyRequirements safety_requirements = 5; AuthContext auth_context = 6; string justification = 7; google.protobuf.Timestamp requested_at = 8;',
  OperationCoordinationResponse:
    'string coordination_id = 1; CoordinationResult result = 2; RiskLevel assessed_risk = 3; repeated TrackResult track_results = 4; string error_message = 5; google.protobuf.Duration coordination_time = 6;',
  TrackInvolvement: 'bool kernel_track = 1; bool security_track = 2; bool interface_track = 3;',
  SafetyRequirements:
    'KernelSafetyRequirements kernel_safety = 1; SecuritySafetyRequirements security_safety = 2; InterfaceSafetyRequirements interface_safety = 3;',
  KernelSafetyRequirements:
    'bool memory_protection_required = 1; bool thermal_monitoring_required = 2; uint32 max_execution_time_ms = 3; bool rollback_capability_required = 4;',
  SecuritySafetyRequirements:
    'ClearanceLevel required_clearance = 1; bool dual_authorization_required = 2; bool audit_required = 3; repeated string required_compartments = 4;',
  InterfaceSafetyRequirements:
    'bool user_confirmation_required = 1; bool risk_disclosure_required = 2; uint32 confirmation_timeout_seconds = 3;',
  EmergencyStopRequest:
    'string reason = 1; EmergencyPriority priority = 2; string triggered_by = 3; google.protobuf.Timestamp timestamp = 4; repeated uint32 affected_devices = 5;',
  EmergencyStopResponse:
    'bool success = 1; repeated TrackEmergencyResult track_results = 2; string error_message = 3; google.protobuf.Duration response_time = 4;',
  EventNotification:
    'string event_id = 1; EventType event_type = 2; EventSeverity severity = 3; TrackSource source_track = 4; google.protobuf.Timestamp timestamp = 5; map<string, string> event_data = 6; uint32 sequence_number = 7;',
};

it.each(Object.entries(MESSAGES))(
  'keeps every field of %s and adds only numbers from 20 on',
  (name, text) => {
    const expected = text.split('; ').map((field) => `${field.replace(/;$/, '')};`);
    const members = membersOf('message', name);
    expect(members.slice(0, expected.length)).toEqual(expected);
    for (const added of members.slice(expected.length)) {
      expect(Number(/= (\d+);$/.exec(added)?.[1])).toBeGreaterThanOrEqual(20);
    }
  },
);

const ENUMERATIONS: Readonly<Record<string, string>> = {
  OperationType:
    'OPERATION_UNKNOWN OPERATION_READ OPERATION_WRITE OPERATION_CONFIG OPERATION_RESET OPERATION_ACTIVATE OPERATION_DEACTIVATE OPERATION_EMERGENCY_STOP',
  RiskLevel:
    'RISK_UNKNOWN RISK_SAFE RISK_LOW RISK_MODERATE RISK_HIGH RISK_CRITICAL RISK_QUARANTINED',
  CoordinationResult:
    'COORDINATION_UNKNOWN COORDINATION_SUCCESS COORDINATION_DENIED COORDINATION_FAILED COORDINATION_EMERGENCY_STOPPED',
  ClearanceLevel:
    'CLEARANCE_NONE CLEARANCE_RESTRICTED CLEARANCE_CONFIDENTIAL CLEARANCE_SECRET CLEARANCE_TOP_SECRET CLEARANCE_SCI CLEARANCE_SAP CLEARANCE_COSMIC',
  EventType:
    'EVENT_UNKNOWN EVENT_DEVICE_STATE_CHANGED EVENT_OPERATION_COMPLETED EVENT_SECURITY_ALERT EVENT_SYSTEM_STATUS_CHANGED EVENT_EMERGENCY_STOP EVENT_AUDIT_ENTRY_CREATED EVENT_PERFORMANCE_THRESHOLD',
  EventSeverity:
    'SEVERITY_UNKNOWN SEVERITY_INFO SEVERITY_WARNING SEVERITY_ERROR SEVERITY_CRITICAL SEVERITY_EMERGENCY',
  TrackSource: 'TRACK_UNKNOWN TRACK_KERNEL TRACK_SECURITY TRACK_INTERFACE TRACK_ORCHESTRATOR',
};

it.each(Object.entries(ENUMERATIONS))('numbers %s as the specification does', (name, text) => {
  expect(membersOf('enum', name)).toEqual(
    text.split(' ').map((value, number) => `${value} = ${number};`),
  );
});

/** Enumerations that DECISIONS section 2 numbers, by the prefix that the wire gives their names. */
const DECIDED: Readonly<Record<string, readonly [string, Readonly<Record<string, number>>]>> = {
  OrchestratorState: ['ORCHESTRATOR', OrchestratorState],
  DevicePowerState: ['POWER', PowerState],
  SecurityStatus: ['SECURITY', SecurityStatus],
  UiDisplayState: ['DISPLAY', DisplayState],
  UserAttentionLevel: ['ATTENTION', AttentionLevel],
  OverallDeviceStatus: ['DEVICE', OverallStatus],
  SyncTriggerReason: ['SYNC', SyncTrigger],
  ConflictResolutionMethod: ['CONFLICT', ResolutionMethod],
  EmergencyPriority: ['PRIORITY', EmergencyPriority],
};

it.each(Object.entries(DECIDED))('numbers %s as the model does', (name, [prefix, table]) => {
  const members = membersOf('enum', name);
  expect(members).toEqual(
    Object.entries(table).map(([value, number]) => `${prefix}_${value} = ${number};`),
  );
});

it('has committed code that is what the proto files give', () => {
  const script = new URL('../../../scripts/generate-protobuf.ts', import.meta.url).pathname;
  const check = spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8' });
  expect(check.stderr).toBe('');
  expect(check.status).toBe(0);
});
