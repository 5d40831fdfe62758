// Registers that are sysfs attributes: numbers as text, in directories found by names that survive a reboot.
//
// Invariants: one write(2) for one register write; a read that fails or comes back empty is tried once more on a
// newly found and opened file; a write is tried again only when its file no longer led to a device.
// Faults: BUS_CORRUPT for text that is no number of the register's width; errno as in sysfs-fault.ts.

import { realpathSync } from 'node:fs';
import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { BusDescription } from '#model/board';
import type { BusCounters, Cell, RegisterBus } from '#model/bus';
import type { Word } from '#model/register';
import { checkWord, type LocationOf, locationOn, misplaced } from './cell-check.ts';
import { BusTally } from './counter.ts';
import { type AttributeText, SysfsAttribute, type SysfsContext } from './sysfs-attribute.ts';
import { isGone, sysfsFault } from './sysfs-fault.ts';
import { isPathComponent, SysfsFinder } from './sysfs-locator.ts';
import { formatAttribute, NAMED_VALUES, type NamedValues, parseAttribute } from './sysfs-text.ts';

export type SysfsDescription = Extract<BusDescription, { readonly kind: 'sysfs' }>;

interface Entry {
  readonly attribute: SysfsAttribute;
  readonly names: NamedValues | undefined;
}

const ATTRIBUTES_MAX = 4096;
const DIRECTION_NAMES = NAMED_VALUES['gpio:direction'];

export class SysfsBus implements RegisterBus {
  readonly id: string;
  readonly kind = 'sysfs';
  readonly immediate = false;
  readonly #root: string;
  readonly #context: SysfsContext;
  /** By directory, then attribute: two look-ups of constant strings cost less than joining them. */
  readonly #entries = new Map<string, Map<string, Entry>>();
  #entryCount = 0;

  constructor(description: SysfsDescription, clock: Clock) {
    this.id = description.id;
    this.#root = description.root;
    const finder = new SysfsFinder(description.root);
    this.#context = { clock, finder, tally: new BusTally(), hung: { count: 0 } };
  }

  async open(_deadline: Deadline): Promise<Outcome<void>> {
    await this.close();
    try {
      realpathSync(this.#root);
      return succeed(undefined);
    } catch (error) {
      const internal = describeError(error);
      const finding = 'the sysfs root is absent';
      return refuse(fault('BUS_ABSENT', { place: `bus ${this.id}`, finding, internal }));
    }
  }

  async read(cell: Cell, deadline: Deadline): Promise<Outcome<Word>> {
    const entry = this.#entryOf(cell);
    return this.#context.tally.finish(
      'reads',
      entry.ok ? await this.#read(entry.value, cell, deadline) : entry,
    );
  }

  async write(cell: Cell, word: Word, deadline: Deadline): Promise<Outcome<void>> {
    const fits = checkWord(cell, word);
    const entry = fits.ok ? this.#entryOf(cell) : fits;
    const outcome = entry.ok
      ? await entry.value.attribute.turnstile.run(cell.place, deadline, () =>
          this.#write(entry.value, cell, word, deadline),
        )
      : entry;
    return this.#context.tally.finish('writes', outcome);
  }

  async readMany(cells: readonly Cell[], deadline: Deadline): Promise<readonly Outcome<Word>[]> {
    const outcomes: Outcome<Word>[] = [];
    for (const cell of cells) outcomes.push(await this.read(cell, deadline));
    return outcomes;
  }

  counters(): BusCounters {
    return this.#context.tally.counters();
  }

  async close(): Promise<void> {
    for (const siblings of this.#entries.values()) {
      for (const { attribute } of siblings.values()) attribute.close();
    }
  }

  #read(entry: Entry, cell: Cell, deadline: Deadline): Promise<Outcome<Word>> | Outcome<Word> {
    const now = entry.attribute.readNow();
    if (now !== undefined && now.length > 0) return wordOf(now, entry, cell);
    return entry.attribute.turnstile.run(cell.place, deadline, () =>
      this.#readTwice(entry, cell, deadline),
    );
  }

  async #readTwice(entry: Entry, cell: Cell, deadline: Deadline): Promise<Outcome<Word>> {
    const first = await this.#readOnce(entry, cell, deadline);
    if (first.ok || first.retry === 'no') return first;
    this.#context.tally.add('resynchronizations');
    return this.#readOnce(entry, cell, deadline);
  }

  async #readOnce(
    { attribute, names }: Entry,
    cell: Cell,
    deadline: Deadline,
  ): Promise<Outcome<Word> & { readonly retry?: 'no' }> {
    const { place } = cell;
    const ready = attribute.ready('read', place, deadline);
    if (!ready.ok) return { ...ready, retry: 'no' };
    const attempt = await attribute.read(deadline);
    if (attempt.kind === 'late') {
      const finding = 'the kernel driver did not return before the deadline';
      return { ...refuse(fault('BUS_TIMEOUT', { place, finding })), retry: 'no' };
    }
    if (attempt.kind === 'done' && attempt.value.length > 0) {
      return wordOf(attempt.value, { attribute, names }, cell);
    }
    // Both directions: a device that went away and came back has new files, and a write to the old one is lost.
    attribute.close();
    if (attempt.kind === 'error') return refuse(sysfsFault(place, 'read', attempt.error));
    return refuse(fault('BUS_CORRUPT', { place, finding: 'read an empty text' }));
  }

  async #write(entry: Entry, cell: Cell, word: Word, deadline: Deadline): Promise<Outcome<void>> {
    const { place } = cell;
    const { attribute } = entry;
    const signedness = cell.signed === false ? 'unsigned' : 'signed';
    const text = await this.#glitchFree(
      entry,
      formatAttribute(word, cell.widthBits, signedness, entry.names),
      deadline,
    );
    for (let repeatsLeft = 1; ; repeatsLeft--) {
      const ready = attribute.ready('write', place, deadline);
      if (!ready.ok) return ready;
      const attempt = await attribute.write(text, deadline);
      if (attempt.kind === 'late') {
        const finding = 'the kernel driver did not return before the deadline';
        return refuse(fault('BUS_TIMEOUT', { place, finding, metal: 'unknown' }));
      }
      if (attempt.kind === 'done') {
        if (attempt.value === text.length) return succeed(undefined);
        const finding = `the kernel took ${attempt.value} of ${text.length} bytes`;
        return refuse(fault('BUS_IO', { place, finding, metal: 'unknown' }));
      }
      attribute.close();
      if (!isGone(attempt.error) || repeatsLeft === 0) {
        return refuse(sysfsFault(place, 'write', attempt.error));
      }
      this.#context.tally.add('resynchronizations');
    }
  }

  /** Turning a GPIO line to output keeps the level it has: `out` alone drives it low (gpio/sysfs.rst). */
  async #glitchFree(entry: Entry, text: string, deadline: Deadline): Promise<string> {
    if (entry.names !== DIRECTION_NAMES || text !== 'out\n') return text;
    const level = new SysfsAttribute(this.#context, entry.attribute.directory, 'value');
    try {
      if (!level.ready('read', 'value', deadline).ok) return text;
      const attempt = await level.read(deadline);
      if (attempt.kind !== 'done') return text;
      return parseAttribute(attempt.value.bytes, attempt.value.length, 8) === 1n
        ? 'high\n'
        : 'low\n';
    } finally {
      level.close();
    }
  }

  #entryOf(cell: Cell): Outcome<Entry> {
    const located = locationOn(cell, 'sysfs');
    if (!located.ok) return located;
    const { directory, attribute } = located.value;
    const known = this.#entries.get(directory)?.get(attribute);
    return known === undefined ? this.#addEntry(cell, located.value) : succeed(known);
  }

  #addEntry(cell: Cell, { directory, attribute }: LocationOf<'sysfs'>): Outcome<Entry> {
    const { place } = cell;
    if (!isPathComponent(attribute)) {
      return refuse(misplaced(cell, `"${attribute.slice(0, 80)}" is no attribute name`));
    }
    if (this.#entryCount >= ATTRIBUTES_MAX) {
      const finding = `${ATTRIBUTES_MAX} attributes are already in use`;
      return refuse(fault('BUS_QUEUE_FULL', { place, finding }));
    }
    const scheme = directory.split(':', 1)[0] ?? '';
    const entry: Entry = {
      attribute: new SysfsAttribute(this.#context, directory, attribute),
      names: NAMED_VALUES[`${scheme}:${attribute}`],
    };
    const siblings = this.#entries.get(directory) ?? new Map<string, Entry>();
    this.#entries.set(directory, siblings.set(attribute, entry));
    this.#entryCount += 1;
    return succeed(entry);
  }
}

function wordOf(text: AttributeText, entry: Entry, cell: Cell): Outcome<Word> {
  const word = parseAttribute(text.bytes, text.length, cell.widthBits, entry.names);
  if (typeof word === 'bigint') return succeed(word);
  const finding = `read "${word}", which is no number of ${cell.widthBits} bits`;
  return refuse(fault('BUS_CORRUPT', { place: cell.place, finding }));
}
