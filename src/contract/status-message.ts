// The system's status, its stops, holds, conflicts and history on the wire.

import type { DeviceHold } from '#model/hold';
import type { SystemStatus } from '#model/orchestrator-port';
import type { StopAcknowledgment, StopCause } from '#model/stop';
import { type Conflict, type HistoryEntry, ResolutionMethod } from '#model/unified-state';
import {
  conflictAnswerToWire,
  conflictRuleToWire,
  holdKindToWire,
  sourceToWire,
} from './enumerations.ts';
import * as appliance from './generated/dsmil/appliance/v1/appliance.ts';
import { durationToWire, timestampOrNone, timestampToWire } from './time-message.ts';

function stopCauseToWire(cause: StopCause): appliance.StopCause {
  return {
    id: BigInt(cause.id),
    wholeSystem: cause.devices.length === 0,
    deviceIds: [...cause.devices],
    source: sourceToWire(cause.source),
    reason: cause.reason,
    priority: cause.priority,
    triggeredBy: cause.triggeredBy,
    at: timestampToWire(cause.wallMs),
  };
}

export function acknowledgmentToWire(given: StopAcknowledgment): appliance.StopAcknowledgment {
  return { stopId: BigInt(given.stopId), by: given.by, at: timestampToWire(given.wallMs) };
}

export function holdToWire(hold: DeviceHold): appliance.DeviceHold {
  return {
    deviceId: hold.device,
    kind: holdKindToWire(hold.kind),
    reason: hold.reason,
    since: timestampToWire(hold.sinceWallMs),
  };
}

export function statusToWire(status: SystemStatus): appliance.GetStatusResponse {
  const test = status.stopTest;
  return {
    state: status.state,
    stopEngaged: status.stopEngaged,
    stopCauses: status.stopCauses.map(stopCauseToWire),
    stopAcknowledgments: status.stopAcknowledgments.map(acknowledgmentToWire),
    stopTest:
      test === null
        ? undefined
        : {
            ok: test.ok,
            finding: test.finding,
            at: timestampToWire(test.wallMs),
            duration: durationToWire(test.durationMs),
          },
    holds: status.holds.map(holdToWire),
    conflictsOpen: status.conflictsOpen,
    findings: [...status.findings],
    tracks: status.tracks.map(({ track, up, finding }) => ({
      track: sourceToWire(track),
      up,
      finding,
    })),
    activeOperations: status.activeOperations,
    auditSequence: BigInt(status.auditSequence),
    bootId: status.bootId,
    boardName: status.boardName,
    boardDigest: status.boardDigest,
  };
}

export function conflictToWire(conflict: Conflict): appliance.Conflict {
  return {
    id: BigInt(conflict.id),
    rule: conflictRuleToWire(conflict.rule),
    deviceId: conflict.device,
    finding: conflict.finding,
    positions: conflict.positions.map(({ track, value, answer }) => ({
      track: sourceToWire(track),
      value,
      answer: conflictAnswerToWire(answer),
    })),
    method: ResolutionMethod[conflict.method],
    openedAt: timestampToWire(conflict.openedWallMs),
    deadline: timestampOrNone(conflict.deadlineWallMs),
    answer:
      conflict.answer === null
        ? appliance.ConflictAnswer.ANSWER_UNKNOWN
        : conflictAnswerToWire(conflict.answer),
    resolvedBy: conflict.resolvedBy,
    resolvedAt: timestampOrNone(conflict.resolvedWallMs),
  };
}

export function historyEntryToWire(entry: HistoryEntry): appliance.HistoryEntry {
  return {
    deviceId: entry.device,
    at: timestampToWire(entry.wallMs),
    what: entry.what,
    from: entry.from,
    to: entry.to,
  };
}
