// What the interface track says about itself, and about the system while nobody else can.

import type { Board } from '#model/board';
import { OrchestratorState, type SystemStatus } from '#model/orchestrator-port';
import type { InterfaceDeviceState, InterfaceSnapshot } from '#model/snapshot';

/** Reported for a picture that was never taken: longer than any machine is up, and still a number. */
const NEVER_MS = 1e12;

export class InterfaceState {
  #version = 0;
  #sessions = -1;

  /** The track's version moves only when the number of sessions does; each device has its own. */
  snapshot(
    sessions: number,
    pictureAgeMs: number,
    devices: readonly InterfaceDeviceState[],
  ): InterfaceSnapshot {
    if (sessions !== this.#sessions) {
      this.#sessions = sessions;
      this.#version += 1;
    }
    return {
      track: 'interface',
      version: this.#version,
      devices,
      sessions,
      pictureAgeMs: Math.min(pictureAgeMs, NEVER_MS),
    };
  }
}

/** The last status that security gave, corrected by what this process still sees itself. */
export function statusWithoutSecurity(
  board: Board,
  last: SystemStatus | null,
  now: Pick<SystemStatus, 'stopEngaged' | 'activeOperations'>,
): SystemStatus {
  return {
    state: now.stopEngaged ? OrchestratorState.EMERGENCY_STOPPED : OrchestratorState.DEGRADED,
    stopEngaged: now.stopEngaged,
    stopCauses: last?.stopCauses ?? [],
    stopAcknowledgments: last?.stopAcknowledgments ?? [],
    stopTest: last?.stopTest ?? null,
    holds: last?.holds ?? [],
    conflictsOpen: last?.conflictsOpen ?? 0,
    selections: last?.selections ?? [],
    findings: ['security does not answer'],
    tracks: [
      { track: 'kernel', up: false, finding: 'cannot be asked without security' },
      { track: 'security', up: false, finding: 'does not answer' },
      { track: 'interface', up: true, finding: '' },
    ],
    activeOperations: now.activeOperations,
    auditSequence: last?.auditSequence ?? 0,
    bootId: last?.bootId ?? '',
    boardName: board.name,
    boardDigest: board.digest,
  };
}
