// Hardware on a slow bus, in memory: registers behind a line with latency on the test's clock that can stick, refuse,
// stay silent and tear, with a log of everything that reached it.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { BusCounters, BusKind, Cell, RegisterBus } from '#model/bus';
import type { Word } from '#model/register';

/** One access as it arrived at the hardware. */
export interface PeerAccess {
  readonly kind: 'read' | 'write';
  readonly place: string;
  readonly word?: Word;
  readonly atMs: number;
}

/**
 * What a register does instead of its duty. nack: does not acknowledge. silence: answers nothing until the caller gives
 * up, a write is taken nevertheless. absent: the bus is gone. stuck: takes a write and keeps its content.
 */
export type Misbehaviour = 'nack' | 'silence' | 'absent' | 'stuck';

export class RegisterPeer implements RegisterBus {
  readonly id: string;
  readonly kind: BusKind = 'i2c';
  readonly immediate = false;
  readonly words = new Map<string, Word>();
  readonly accesses: PeerAccess[] = [];
  readonly misbehaviours = new Map<string, Misbehaviour>();
  /** Called when an access arrives, before it is served: the moment for a test to interfere. */
  onAccess: (access: PeerAccess) => void = () => undefined;
  latencyMs = 1;
  inFlight = 0;
  inFlightMax = 0;
  opens = 0;
  readonly #clock: Clock;
  readonly #counts = { reads: 0, writes: 0, timeouts: 0, noAnswers: 0 };

  constructor(id: string, clock: Clock) {
    this.id = id;
    this.#clock = clock;
  }

  /** Places written, in order. */
  written(): readonly string[] {
    return this.accesses
      .filter((access) => access.kind === 'write')
      .map((access) => `${access.place}=${access.word?.toString(16)}`);
  }

  async open(): Promise<Outcome<void>> {
    this.opens += 1;
    return succeed(undefined);
  }

  async read(cell: Cell, deadline: Deadline): Promise<Outcome<Word>> {
    const failed = await this.#arrive({ kind: 'read', place: cell.place }, deadline);
    this.#counts.reads += 1;
    return failed === undefined ? succeed(this.words.get(cell.place) ?? 0n) : refuse(failed);
  }

  async write(cell: Cell, word: Word, deadline: Deadline): Promise<Outcome<void>> {
    const failed = await this.#arrive({ kind: 'write', place: cell.place, word }, deadline);
    this.#counts.writes += 1;
    const trick = this.misbehaviours.get(cell.place);
    if (trick === undefined || trick === 'silence') this.words.set(cell.place, word);
    return failed === undefined ? succeed(undefined) : refuse(failed);
  }

  async readMany(cells: readonly Cell[], deadline: Deadline): Promise<readonly Outcome<Word>[]> {
    const outcomes: Outcome<Word>[] = [];
    for (const cell of cells) outcomes.push(await this.read(cell, deadline));
    return outcomes;
  }

  counters(): BusCounters {
    const rest = { corruptAnswers: 0, otherFailures: 0, resynchronizations: 0, strayAnswers: 0 };
    return { ...this.#counts, ...rest };
  }

  async close(): Promise<void> {}

  async #arrive(access: Omit<PeerAccess, 'atMs'>, deadline: Deadline): Promise<Fault | undefined> {
    const arrived = { ...access, atMs: this.#clock.nowMs() };
    this.accesses.push(arrived);
    this.inFlight += 1;
    this.inFlightMax = Math.max(this.inFlightMax, this.inFlight);
    this.onAccess(arrived);
    const trick = this.misbehaviours.get(access.place);
    await this.#clock.sleep(trick === 'silence' ? deadline.remainingMs() : this.latencyMs);
    this.inFlight -= 1;
    const { place } = access;
    switch (trick) {
      case 'nack':
        this.#counts.noAnswers += 1;
        return fault('BUS_NO_ANSWER', { place, finding: 'the chip did not acknowledge' });
      case 'silence': {
        this.#counts.timeouts += 1;
        const metal = access.kind === 'write' ? 'unknown' : 'untouched';
        return fault('BUS_TIMEOUT', { place, finding: 'no answer in time', metal });
      }
      case 'absent':
        return fault('BUS_ABSENT', { place, finding: 'the adapter is gone' });
      default:
        return undefined;
    }
  }
}
