// First setup of a state directory for demonstration: people, their tokens and their client certificates.
// Invariants: certificates that are there are kept, demonstration tokens are new each time; secrets are readable by their
// owner alone.

import { mkdirSync } from 'node:fs';
import type { Layout } from '#config/layout';
import { DurableStore } from '#foundation/durable-store';
import { ClearanceLevel, COMPARTMENTS } from '#model/principal';
import { certificateUri } from '#tracks/security/certificates/authority';
import { newToken } from '#tracks/security/identity/secrets';
import { certifyDemo, clientFiles } from './demo-certificates.ts';
import { accountFor, type Persona, seedPeople } from './persona.ts';
import { makeStorePrivate } from './private-store.ts';

/** How a demonstration person signs in. */
export interface DemoPerson {
  readonly id: string;
  readonly clearance: string;
  readonly token: string;
  /** Paths of the client certificate and its key. */
  readonly certificate: string;
  readonly key: string;
}

const DEMO_PEOPLE = ['demo-operator', 'demo-supervisor'] as const;

/**
 * Makes a state directory for demonstration: two people who can approve each other's operations, and a technician
 * for the local user who runs it. Their tokens exist in the returned value only.
 */
export async function provisionDemo(
  layout: Layout,
  localUid: number,
): Promise<readonly DemoPerson[]> {
  mkdirSync(layout.runDirectory, { recursive: true, mode: 0o750 });
  makeStorePrivate(layout.database);
  const people: DemoPerson[] = [];
  const personas: Persona[] = [technician(localUid)];
  for (const id of DEMO_PEOPLE) {
    const token = newToken();
    personas.push(administrator(id, token));
    people.push({ id, clearance: 'TOP_SECRET', token, ...clientFiles(layout, id) });
  }
  // Security is not there yet: nobody else has the store open.
  const store = new DurableStore(layout.database);
  try {
    seedPeople(store, personas, Date.now());
    await certifyDemo(layout, store, DEMO_PEOPLE, Date.now());
  } finally {
    store.close();
  }
  return people;
}

/** May do everything, and manages the accounts: two of them can give each other any right. */
function administrator(id: string, token: string): Persona {
  const principal = {
    id,
    name: id.replace('-', ' '),
    kind: 'person',
    clearance: ClearanceLevel.TOP_SECRET,
    compartments: [...COMPARTMENTS],
    devices: null,
    underReview: false,
  } as const;
  const account = accountFor(principal, {
    administrator: true,
    certificateUris: [certificateUri(id)],
  });
  return { account, token };
}

/** The local user who runs the demonstration, at the console without a token. */
function technician(localUid: number): Persona {
  const principal = {
    id: 'technician',
    name: 'technician at the local console',
    kind: 'person',
    clearance: ClearanceLevel.CONFIDENTIAL,
    compartments: ['MAINT', 'SENSORS'],
    devices: null,
    underReview: false,
  } as const;
  return { account: accountFor(principal, { localUids: [localUid] }), token: null };
}
