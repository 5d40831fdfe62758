// The registers of one simulated device, with the side effects that reads and writes have on metal.
// Invariants: contents always fit the register's width; a read-only register changes by `poke` alone; reserved
// bits keep their power-on content; self-clearing bits are never stored; stuck bits win over everything.

import { type RegisterSpec, type Word, widthMask } from '#model/register';

/** Bits that hold a fixed value whatever is written: a short to ground or to supply. */
export interface StuckBits {
  readonly mask: Word;
  readonly value: Word;
}

export interface WriteEffect {
  /** False when the register ignores writes. */
  readonly taken: boolean;
  /** Self-clearing bits that were written as ones. */
  readonly strobes: Word;
}

interface Slot {
  readonly spec: RegisterSpec;
  readonly powerOn: Word;
  word: Word;
  stuck: StuckBits | null;
}

export class RegisterFile {
  readonly #slots = new Map<string, Slot>();

  /** Registers without a power-on value start at 0. */
  constructor(specs: readonly RegisterSpec[], powerOn: ReadonlyMap<string, Word>) {
    for (const spec of specs) {
      const word = (powerOn.get(spec.name) ?? 0n) & widthMask(spec.widthBits);
      this.#slots.set(spec.name, { spec, powerOn: word, word, stuck: null });
    }
  }

  has(name: string): boolean {
    return this.#slots.has(name);
  }

  spec(name: string): RegisterSpec {
    return this.#slot(name).spec;
  }

  /** As the bus reads: an `rc` register is cleared, a `wo` register shows zeros. */
  read(name: string): Word {
    const slot = this.#slot(name);
    const word = this.shown(name);
    if (slot.spec.access === 'rc') slot.word = 0n;
    return word;
  }

  /** As `read`, without side effects. */
  shown(name: string): Word {
    const slot = this.#slot(name);
    return withStuck(slot, slot.spec.access === 'wo' ? 0n : slot.word);
  }

  /** As the bus writes. */
  write(name: string, word: Word): WriteEffect {
    const slot = this.#slot(name);
    const { spec } = slot;
    const written = word & widthMask(spec.widthBits);
    switch (spec.access) {
      case 'ro':
      case 'rc':
        return { taken: false, strobes: 0n };
      case 'w1c':
        slot.word &= ~(written & ~spec.reservedMask);
        return { taken: true, strobes: 0n };
      case 'rw':
      case 'wo': {
        const strobes = written & spec.selfClearingMask & ~spec.reservedMask;
        const stored = written & ~spec.selfClearingMask & ~spec.reservedMask;
        slot.word = stored | (slot.word & spec.reservedMask);
        return { taken: true, strobes };
      }
    }
  }

  /** The content without side effects, stuck bits included. */
  peek(name: string): Word {
    const slot = this.#slot(name);
    return withStuck(slot, slot.word);
  }

  /** Changes the content from inside the device: a sensor moved, an interrupt came. */
  poke(name: string, word: Word): void {
    const slot = this.#slot(name);
    slot.word = word & widthMask(slot.spec.widthBits);
  }

  stick(name: string, stuck: StuckBits | null): void {
    this.#slot(name).stuck = stuck;
  }

  /** Back to the power-on contents; stuck bits stay stuck. */
  reset(): void {
    for (const slot of this.#slots.values()) slot.word = slot.powerOn;
  }

  #slot(name: string): Slot {
    const slot = this.#slots.get(name);
    if (slot === undefined) throw new RangeError(`simulated device has no register ${name}`);
    return slot;
  }
}

function withStuck(slot: Slot, word: Word): Word {
  if (slot.stuck === null) return word;
  const mask = slot.stuck.mask & widthMask(slot.spec.widthBits);
  return (word & ~mask) | (slot.stuck.value & mask);
}
