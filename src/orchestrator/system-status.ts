// The state of the whole system in one look, with everything that keeps it from being READY said in a sentence.

import type { Board } from '#model/board';
import { OrchestratorState, type SystemStatus } from '#model/orchestrator-port';
import type { TrackHealth } from '#model/snapshot';
import type { HoldBook } from './hold-book.ts';
import type { OperationDesk } from './operation-desk.ts';
import type { AuditPort, ThreatPort } from './ports.ts';
import type { StateSynchronizer } from './state-sync.ts';
import type { StopCoordinator } from './stop.ts';
import type { StopSelfTest } from './stop-self-test.ts';

export interface StatusParts {
  readonly board: Board;
  readonly bootId: string;
  readonly desk: OperationDesk;
  readonly stops: StopCoordinator;
  readonly stopTest: StopSelfTest;
  readonly holds: HoldBook;
  readonly sync: StateSynchronizer;
  readonly threats: ThreatPort;
  readonly audit: AuditPort;
  readonly stopEngaged: () => boolean;
  readonly health: () => readonly TrackHealth[];
  /** True once kernel has taken the holds and may write. */
  readonly inCharge: () => boolean;
}

export function systemStatus(parts: StatusParts): SystemStatus {
  const { board, stops, stopTest, holds, sync, audit, bootId, inCharge } = parts;
  const tracks = parts.health();
  const stopEngaged = parts.stopEngaged();
  const findings = tracks
    .filter((track) => !track.up)
    .map((track) => `${track.track} ${track.finding}`);
  if (!audit.writable) findings.push(audit.obstacle ?? 'the audit chain cannot be written');
  findings.push(...(audit.findings ?? []));
  findings.push(...parts.threats.findings());
  const tested = stopTest.last;
  if (tested?.ok === false) findings.push(`the stop path failed its test: ${tested.finding}`);
  const kernelUp = tracks.some((track) => track.track === 'kernel' && track.up);
  const settling = kernelUp && !inCharge();
  const working = findings.length === 0 ? OrchestratorState.READY : OrchestratorState.DEGRADED;
  const state = settling ? OrchestratorState.RECOVERING : working;
  return {
    state: stopEngaged ? OrchestratorState.EMERGENCY_STOPPED : state,
    stopEngaged,
    stopCauses: stops.causes,
    stopAcknowledgments: stops.acknowledgments,
    stopTest: tested,
    holds: holds.standing(),
    conflictsOpen: sync.openConflicts,
    selections: parts.desk.selections,
    findings,
    tracks,
    activeOperations: parts.desk.running,
    auditSequence: audit.lastSequence,
    bootId,
    boardName: board.name,
    boardDigest: board.digest,
  };
}
