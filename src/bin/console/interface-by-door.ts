// The interface track of each operation: the process that asked for it, be it interface or a console of its own.
// An operation from the local console works while interface is down, because the console's process takes its part.

import type { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import type { RiskAssessment } from '#model/risk';
import type { TrackSnapshot } from '#model/snapshot';
import type { StopOrder, StopReceipt } from '#model/stop';
import type {
  AssessRequest,
  CommitReceipt,
  CommitRequest,
  PrepareRequest,
  PrepareVote,
  Track,
} from '#model/track';

export class InterfaceByDoor implements Track {
  readonly name = 'interface';
  readonly #process: Track;
  readonly #consoles = new Map<string, Track>();

  constructor(process: Track) {
    this.#process = process;
  }

  /**
   * Until the returned function is called, `console` takes interface's part in this operation; undefined when another
   * console has it already.
   */
  enter(operationId: string, console: Track): (() => void) | undefined {
    if (this.#consoles.has(operationId)) return undefined;
    this.#consoles.set(operationId, console);
    return () => this.#consoles.delete(operationId);
  }

  assess(request: AssessRequest, deadline: Deadline): Promise<Outcome<RiskAssessment>> {
    return this.#of(request.intent.operationId).assess(request, deadline);
  }

  prepare(request: PrepareRequest, deadline: Deadline): Promise<Outcome<PrepareVote>> {
    return this.#of(request.operationId).prepare(request, deadline);
  }

  commit(request: CommitRequest, deadline: Deadline): Promise<Outcome<CommitReceipt>> {
    return this.#of(request.operationId).commit(request, deadline);
  }

  abort(operationId: string, deadline: Deadline): Promise<Outcome<void>> {
    return this.#of(operationId).abort(operationId, deadline);
  }

  /** Panels are told by the interface process alone: a console's receipt would not speak for them. */
  stop(order: StopOrder, deadline: Deadline): Promise<Outcome<StopReceipt>> {
    return this.#process.stop(order, deadline);
  }

  snapshot(deadline: Deadline, devices?: readonly LinearId[]): Promise<Outcome<TrackSnapshot>> {
    return this.#process.snapshot(deadline, devices);
  }

  #of(operationId: string): Track {
    return this.#consoles.get(operationId) ?? this.#process;
  }
}
