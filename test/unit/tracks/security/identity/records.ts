// Account records for the tests of the desks, and any record there can be.

import fc from 'fast-check';
import type { AccountRecord } from '#model/account';
import { CLEARANCE_NAMES, COMPARTMENTS } from '#model/principal';

/** A person with nothing much. */
export function recordOf(id: string, changes: Partial<AccountRecord> = {}): AccountRecord {
  return {
    id,
    name: id,
    kind: 'person',
    clearance: 'RESTRICTED',
    compartments: [],
    devices: [],
    administrator: false,
    enabled: true,
    underReview: false,
    validFromWallMs: null,
    validUntilWallMs: null,
    certificateUris: [],
    localUids: [],
    ...changes,
  };
}

export function administratorOf(id: string, changes: Partial<AccountRecord> = {}): AccountRecord {
  return recordOf(id, { administrator: true, clearance: 'SECRET', devices: null, ...changes });
}

/** Times that windows of `anyRights` open and close at. */
export const MOMENTS = [0, 1_000, 2_000, 3_000] as const;
export const DEVICES = [0, 1, 2, 3] as const;
export const URIS = ['urn:a', 'urn:b'] as const;
export const UIDS = [1000, 1001] as const;

/** Records of one account, with any rights from a small world. */
export function anyRights(id = 'carol'): fc.Arbitrary<AccountRecord> {
  const moment = fc.option(fc.constantFrom(...MOMENTS));
  return fc.record({
    id: fc.constant(id),
    name: fc.constant(id),
    kind: fc.constant('person' as const),
    clearance: fc.constantFrom(...CLEARANCE_NAMES),
    compartments: fc.subarray([...COMPARTMENTS]),
    devices: fc.option(fc.shuffledSubarray([...DEVICES])),
    administrator: fc.boolean(),
    enabled: fc.boolean(),
    underReview: fc.boolean(),
    validFromWallMs: moment,
    validUntilWallMs: moment,
    certificateUris: fc.subarray([...URIS]),
    localUids: fc.subarray([...UIDS]),
  });
}
