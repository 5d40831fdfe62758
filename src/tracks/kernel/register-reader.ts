// Reads registers of several devices around a plan: buses side by side, the devices of one bus in turn.
// Invariants: never more than one device of a bus waits in its queue, so that a plan over many devices fills none.

import type { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import type { RegisterReference } from '#model/plan';
import type { Word } from '#model/register';
import { Priority } from './bus-queue.ts';
import type { DeviceAccess } from './device-access.ts';

/** Outcomes by `keyOf`. */
export type FoundWords = ReadonlyMap<string, Outcome<Word>>;

export function keyOf(place: { readonly device: LinearId; readonly register: string }): string {
  return `${place.device}.${place.register}`;
}

/** Each register once, however often it is named. */
export async function readInTurn(
  access: DeviceAccess,
  references: readonly RegisterReference[],
  deadline: Deadline,
): Promise<FoundWords> {
  const wanted = new Map(references.map((reference) => [keyOf(reference), reference]));
  const buses = new Map<string, Map<LinearId, RegisterReference[]>>();
  for (const reference of wanted.values()) {
    const bus = access.devices.get(reference.device)?.busId ?? '';
    const devices = buses.get(bus) ?? new Map<LinearId, RegisterReference[]>();
    devices.set(reference.device, [...(devices.get(reference.device) ?? []), reference]);
    buses.set(bus, devices);
  }
  const found = new Map<string, Outcome<Word>>();
  await Promise.all(
    [...buses.values()].map(async (devices) => {
      for (const registers of devices.values()) {
        const outcomes = await access.readMany(registers, deadline, Priority.OPERATION);
        for (const [index, reference] of registers.entries()) {
          const outcome = outcomes[index];
          if (outcome !== undefined) found.set(keyOf(reference), outcome);
        }
      }
    }),
  );
  return found;
}
