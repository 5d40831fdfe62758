// The registers of guest/units/board.yaml past the agent: made unsafe as a runaway would leave them, and looked at afterwards.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { UioBus } from '#drivers/bus/uio';
import { systemClock } from '#foundation/clock';
import type { Cell, RegisterBus } from '#model/bus';
import type { Word } from '#model/register';
import { at, opened, read, write } from '../access.ts';
import { BARE_CHIP, i2cBus, on, STUB } from '../chips.ts';
import { eduBus } from '../windows.ts';

const LIMIT = '/sys/class/hwmon/hwmon0/temp1_max';
/** A busy host may let one access pass its deadline. */
const TRIES = 5;

interface Place {
  readonly name: string;
  readonly unsafe: Word;
  readonly safe: Word;
  read(): Promise<Word>;
  write(word: Word): Promise<void>;
}

function onBus(
  name: string,
  words: { readonly unsafe: Word; readonly safe: Word },
  makeBus: () => RegisterBus,
  cell: Cell,
): Place {
  const using = async <T>(use: (bus: RegisterBus) => Promise<T>): Promise<T> => {
    for (let tried = 1; ; tried++) {
      const bus = makeBus();
      try {
        return await use(await opened(bus));
      } catch (error) {
        if (tried === TRIES) throw error;
        await systemClock.sleep(1_000);
      } finally {
        await bus.close();
      }
    }
  };
  return {
    name,
    ...words,
    read: () => using((bus) => read(bus, cell)),
    write: (word) => using((bus) => write(bus, cell, word)),
  };
}

function sharedBus(): UioBus {
  return new UioBus(
    {
      id: 'shared',
      kind: 'uio',
      match: { name: 'CIF_???' },
      map: 1,
      root: '/sys/class/uio',
      accessTimeoutMs: 5_000,
    },
    [{ device: 0, place: 'shared', address: 0, length: 0x1000 }],
  );
}

const PLACES: readonly Place[] = [
  // docs/specs/edu: bit 7 of the status raises an interrupt after a computation.
  onBus('card.status', { unsafe: 0x80n, safe: 0n }, eduBus, at(0x20)),
  onBus('shared-memory.drive', { unsafe: 0xbad0_0badn, safe: 0n }, sharedBus, at(0)),
  {
    name: 'board-temperature.overtemperature',
    unsafe: 120_000n,
    safe: 60_000n,
    read: async () => BigInt(readFileSync(LIMIT, 'latin1').trim()),
    write: async (word) => writeFileSync(LIMIT, String(word)),
  },
  onBus(
    'bare-temperature.overtemperature',
    { unsafe: 0x7d00n, safe: 0x5000n },
    () => i2cBus(STUB),
    on(BARE_CHIP, 3, 'word-swapped', 16),
  ),
];

/** Devices of the board; two of them are the same card. */
export const DEVICES = ['0x8000', '0x8001', '0x8002', '0x8003', '0x8006'] as const;

export async function makeUnsafe(): Promise<void> {
  for (const place of PLACES) {
    await place.write(place.unsafe);
    assert.equal(await place.read(), place.unsafe, `${place.name} does not take its unsafe value`);
  }
}

/** Each register that is not at its safe value, as `name=word`. */
export async function unsafePlaces(): Promise<readonly string[]> {
  const found: string[] = [];
  for (const place of PLACES) {
    const word = await place.read();
    if (word !== place.safe) found.push(`${place.name}=0x${word.toString(16)}`);
  }
  return found;
}
