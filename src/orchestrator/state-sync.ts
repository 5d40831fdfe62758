// The unified state of every device, put together from what each track publishes with its own version.

import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import type { KernelSnapshot } from '#model/snapshot';
import type {
  Conflict,
  ConflictAnswer,
  HistoryEntry,
  SyncTrigger,
  UnifiedDeviceState,
} from '#model/unified-state';

export class StateSynchronizer {
  readonly #listeners = new Set<(states: readonly UnifiedDeviceState[]) => void>();

  /** Conflicts that wait for a person. */
  get openConflicts(): number {
    return 0;
  }

  takeKernel(_snapshot: KernelSnapshot): void {}

  async synchronize(
    _devices: readonly LinearId[],
    _trigger: SyncTrigger,
    _deadline: Deadline,
  ): Promise<Outcome<readonly UnifiedDeviceState[]>> {
    return succeed([]);
  }

  conflicts(): readonly Conflict[] {
    return [];
  }

  async resolve(
    _by: string,
    conflictId: number,
    _answer: ConflictAnswer,
    _reason: string,
  ): Promise<Outcome<Conflict>> {
    const place = `conflict ${conflictId}`;
    return refuse(fault('CONFLICT_UNKNOWN', { place, finding: 'no conflict of this number' }));
  }

  history(_device: LinearId, _limit: number): readonly HistoryEntry[] {
    return [];
  }

  onChange(listen: (states: readonly UnifiedDeviceState[]) => void): () => void {
    this.#listeners.add(listen);
    return () => this.#listeners.delete(listen);
  }
}
