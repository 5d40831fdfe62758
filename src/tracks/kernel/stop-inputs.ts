// Watches the circuits that allow the system to run, and has kernel stop by itself when one is open or cannot be seen.
// Invariants: looks at each input in its own rhythm, before operations and polling on its bus; an input that cannot be
// read counts as healthy for two looks and no longer; a reset sees each input anew, never an old reading.

import type { Cancel, Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { StopInput } from '#model/board';
import { formatWord, type RegisterSpec, signedValue, type Word, widthMask } from '#model/register';
import { Priority } from './bus-queue.ts';
import type { DeviceAccess } from './device-access.ts';

/** Looks in a row that may fail before the input counts as open. */
const UNREADABLE_MAX = 3;

export interface StopInputParts {
  readonly inputs: readonly StopInput[];
  readonly access: DeviceAccess;
  readonly clock: Clock;
  /** Stops the whole system; called once each time an input opens, and again when it is open without a stop. */
  readonly trip: (reason: string) => void;
  readonly stopEngaged: () => boolean;
}

interface Watched {
  readonly input: StopInput;
  unreadable: number;
  open: boolean;
}

type Look =
  | { readonly state: 'healthy' }
  | { readonly state: 'open'; readonly finding: string }
  | { readonly state: 'unreadable'; readonly finding: string };

export class StopInputs {
  readonly #parts: StopInputParts;
  readonly #watched: readonly Watched[];
  readonly #timers = new Map<Watched, Cancel>();
  #running = false;

  constructor(parts: StopInputParts) {
    this.#parts = parts;
    this.#watched = parts.inputs.map((input) => ({ input, unreadable: 0, open: false }));
  }

  /** Looks at every input at once, then in its own rhythm until `halt`. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    for (const watched of this.#watched) void this.#watch(watched);
  }

  halt(): void {
    this.#running = false;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  /** Reads every input now; a sentence for each that does not allow the system to run. */
  async open(deadline: Deadline): Promise<readonly string[]> {
    const looks = await Promise.all(this.#watched.map(({ input }) => this.#look(input, deadline)));
    return looks.flatMap((look) => (look.state === 'healthy' ? [] : [look.finding]));
  }

  async #watch(watched: Watched): Promise<void> {
    const { clock } = this.#parts;
    const startMs = clock.nowMs();
    const look = await this.#look(watched.input, Deadline.after(clock, this.#limitMs(watched)));
    if (!this.#running) return;
    this.#judge(watched, look);
    // A look that took longer than the period is followed by the next one without a pause, but never two at once.
    const restMs = Math.max(1, watched.input.periodMs - (clock.nowMs() - startMs));
    this.#timers.set(
      watched,
      clock.after(restMs, () => void this.#watch(watched)),
    );
  }

  #judge(watched: Watched, look: Look): void {
    const { trip, stopEngaged } = this.#parts;
    watched.unreadable = look.state === 'unreadable' ? watched.unreadable + 1 : 0;
    if (look.state === 'healthy') {
      watched.open = false;
      return;
    }
    if (look.state === 'unreadable' && watched.unreadable < UNREADABLE_MAX) return;
    if (watched.open && stopEngaged()) return;
    watched.open = true;
    const times = look.state === 'unreadable' ? ` ${watched.unreadable} times in a row` : '';
    trip(`${look.finding}${times}`);
  }

  async #look({ name, device, healthy }: StopInput, deadline: Deadline): Promise<Look> {
    const { access } = this.#parts;
    const point = access.point(device, healthy.register);
    const slug = access.devices.get(device)?.slug ?? `device ${device}`;
    const place = `stop input ${name} (${slug}.${healthy.register})`;
    if (point === undefined) {
      return { state: 'unreadable', finding: `${place} cannot be read: it has no way to metal` };
    }
    const read = await point.queue.read(point.cell, deadline, Priority.STOP_INPUT);
    if (!read.ok)
      return { state: 'unreadable', finding: `${place} cannot be read: ${read.fault.finding}` };
    const seen = comparable(point.spec, healthy.mask, read.value);
    if (seen >= healthy.minimum && seen <= healthy.maximum) return { state: 'healthy' };
    const reading = formatWord(read.value, point.spec.widthBits);
    return { state: 'open', finding: `${place} is open: it reads ${reading}` };
  }

  /** One look may wait for an access that is under way on its bus, and then take its own time. */
  #limitMs({ input }: Watched): number {
    const queue = this.#parts.access.point(input.device, input.healthy.register)?.queue;
    return Math.max(input.periodMs, 2 * (queue?.accessTimeoutMs ?? 0));
  }
}

/** See `RegisterCondition`: the signed value when the mask covers a signed register, else the bits in place. */
function comparable(spec: RegisterSpec, mask: Word, word: Word): bigint {
  return mask === widthMask(spec.widthBits) ? signedValue(spec, word) : word & mask;
}
