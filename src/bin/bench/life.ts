// One life of a simulated process: everything it can reach stops answering the moment it is killed.
// Invariants: after `end` no timer of this life fires, no access of its begins, nothing of its is made durable; an access
// that was on the wire ends on the metal or not, as it would.

import type { DatabaseSync } from 'node:sqlite';
import type { Cancel, Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { DurableStore } from '#foundation/durable-store';
import { fault } from '#foundation/fault';
import { type Outcome, refuse } from '#foundation/outcome';
import type { BusCounters, BusKind, Cell, ImmediateBus, RegisterBus } from '#model/bus';
import { isImmediate } from '#model/bus';
import type { Word } from '#model/register';

/** Never settles: whoever waits for a dead process's own answers is dead too. */
function never<T>(): Promise<T> {
  return new Promise(() => undefined);
}

export class Life {
  readonly #world: Clock;
  /** Counts the lives of one bench. */
  readonly number: number;
  #endedAtMs = Number.POSITIVE_INFINITY;
  #tailMs = 0;

  constructor(world: Clock, number: number) {
    this.#world = world;
    this.number = number;
  }

  get alive(): boolean {
    return this.#endedAtMs === Number.POSITIVE_INFINITY;
  }

  /** `tailMs`: for so long what is on a wire already still reaches the device. */
  end(tailMs: number): void {
    if (!this.alive) return;
    this.#endedAtMs = this.#world.nowMs();
    this.#tailMs = tailMs;
  }

  /** The process's own time: stands still once it is dead. */
  readonly clock: Clock = {
    nowMs: () => this.#world.nowMs(),
    wallMs: () => this.#world.wallMs(),
    after: (delayMs, call) => this.#after(delayMs, call, () => this.alive),
    sleep: (delayMs) => new Promise((resolve) => this.clock.after(delayMs, resolve)),
  };

  /** Time on the wires of this life's buses. */
  readonly wireClock: Clock = {
    nowMs: () => this.#world.nowMs(),
    wallMs: () => this.#world.wallMs(),
    after: (delayMs, call) => this.#after(delayMs, call, () => this.#onWire()),
    sleep: (delayMs) => new Promise((resolve) => this.wireClock.after(delayMs, resolve)),
  };

  #onWire(): boolean {
    return this.alive || this.#world.nowMs() <= this.#endedAtMs + this.#tailMs;
  }

  #after(delayMs: number, call: () => void, permitted: () => boolean): Cancel {
    return this.#world.after(delayMs, () => {
      if (permitted()) call();
    });
  }
}

/** What a bus was asked for, seen as it is handed over. */
export interface BusWatch {
  reading(bus: string, cell: Cell): void;
  /** `ended` is called when the access is over, whatever became of it. */
  writing(bus: string, cell: Cell, word: Word): { readonly ended: () => void };
  hasRead(bus: string, cell: Cell, word: Word): void;
}

export class MortalBus implements ImmediateBus {
  readonly id: string;
  readonly kind: BusKind;
  // A queued bus carries the methods too; `immediate` says whether anybody may use them.
  readonly immediate: true;
  readonly #inner: RegisterBus;
  readonly #life: Life;
  readonly #watch: BusWatch;

  constructor(inner: RegisterBus, life: Life, watch: BusWatch) {
    this.id = inner.id;
    this.kind = inner.kind;
    this.immediate = inner.immediate as true;
    this.#inner = inner;
    this.#life = life;
    this.#watch = watch;
  }

  open(deadline: Deadline): Promise<Outcome<void>> {
    return this.#living(() => this.#inner.open(deadline));
  }

  read(cell: Cell, deadline: Deadline): Promise<Outcome<Word>> {
    return this.#living(async () => {
      this.#watch.reading(this.id, cell);
      const outcome = await this.#inner.read(cell, deadline);
      if (outcome.ok) this.#watch.hasRead(this.id, cell, outcome.value);
      return outcome;
    });
  }

  write(cell: Cell, word: Word, deadline: Deadline): Promise<Outcome<void>> {
    return this.#living(async () => {
      const { ended } = this.#watch.writing(this.id, cell, word);
      const outcome = await this.#inner.write(cell, word, deadline);
      ended();
      return outcome;
    });
  }

  readMany(cells: readonly Cell[], deadline: Deadline): Promise<readonly Outcome<Word>[]> {
    return this.#living(async () => {
      for (const cell of cells) this.#watch.reading(this.id, cell);
      const outcomes = await this.#inner.readMany(cells, deadline);
      for (const [index, outcome] of outcomes.entries()) {
        const cell = cells[index];
        if (outcome.ok && cell !== undefined) this.#watch.hasRead(this.id, cell, outcome.value);
      }
      return outcomes;
    });
  }

  readNow(cell: Cell): Outcome<Word> {
    if (!this.#life.alive || !isImmediate(this.#inner)) return this.#dead(cell);
    this.#watch.reading(this.id, cell);
    const outcome = this.#inner.readNow(cell);
    if (outcome.ok) this.#watch.hasRead(this.id, cell, outcome.value);
    return outcome;
  }

  writeNow(cell: Cell, word: Word): Outcome<void> {
    if (!this.#life.alive || !isImmediate(this.#inner)) return this.#dead(cell);
    const { ended } = this.#watch.writing(this.id, cell, word);
    const outcome = this.#inner.writeNow(cell, word);
    ended();
    return outcome;
  }

  counters(): BusCounters {
    return this.#inner.counters();
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  async #living<T>(act: () => Promise<T>): Promise<T> {
    if (!this.#life.alive) return never();
    const result = await act();
    return this.#life.alive ? result : never();
  }

  #dead(cell: Cell): ReturnType<typeof refuse> {
    return refuse(fault('BUS_ABSENT', { place: cell.place, finding: 'this process is dead' }));
  }
}

export type FlushMoment = 'before' | 'after';

/** What had not been flushed when the process died is lost, what had is on disk. */
export class MortalStore extends DurableStore {
  readonly #life: Life;
  readonly #onFlush: (moment: FlushMoment) => void;

  constructor(path: string, life: Life, onFlush: (moment: FlushMoment) => void) {
    super(path);
    this.#life = life;
    this.#onFlush = onFlush;
  }

  override transact<T>(write: (database: DatabaseSync) => T): Promise<T> {
    if (!this.#life.alive) return never();
    return super.transact(write).then(
      (value) => (this.#life.alive ? value : never<T>()),
      (error: unknown) => (this.#life.alive ? Promise.reject(error) : never<T>()),
    );
  }

  override flush(): void {
    if (!this.#life.alive) return;
    this.#onFlush('before');
    if (!this.#life.alive) return;
    super.flush();
    this.#onFlush('after');
  }
}
