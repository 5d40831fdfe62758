// First setup of a state directory for demonstration: certificate authority, server certificate, people, audit checkpoint key.
// Invariants: certificates that are there are kept, demonstration tokens are new each time; secrets are readable by their
// owner alone.

import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Layout } from '#config/layout';
import { DurableStore } from '#foundation/durable-store';
import { ClearanceLevel, COMPARTMENTS } from '#model/principal';
import {
  certificateUri,
  createAuthority,
  type Issued,
  issueClient,
  issueServer,
} from '#tracks/security/certificates/pki';
import { newToken } from '#tracks/security/identity/secrets';
import { accountFor, type Persona, seedPeople } from './persona.ts';

/** How a demonstration person signs in. */
export interface DemoPerson {
  readonly id: string;
  readonly clearance: string;
  readonly token: string;
  /** Paths of the client certificate and its key. */
  readonly certificate: string;
  readonly key: string;
}

/** Names under which the server certificate is valid. */
const SERVER_NAMES = ['localhost', '127.0.0.1', '::1'];
const DEMO_PEOPLE = ['demo-operator', 'demo-supervisor'] as const;

/**
 * Makes a state directory for demonstration: two people who can approve each other's operations, and a technician
 * for the local user who runs it. Their tokens exist in the returned value only.
 */
export async function provisionDemo(
  layout: Layout,
  localUid: number,
): Promise<readonly DemoPerson[]> {
  for (const path of [
    layout.database,
    layout.pki.server,
    layout.pki.authority,
    join(layout.runDirectory, 'x'),
  ]) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
  }
  mkdirSync(layout.pki.peopleDirectory, { recursive: true, mode: 0o700 });
  if (!existsSync(layout.pki.authority)) await createPki(layout);
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
  } finally {
    store.close();
  }
  return people;
}

async function createPki(layout: Layout): Promise<void> {
  // An hour of slack for panels whose clocks run behind.
  const notBefore = new Date(Date.now() - 3_600_000);
  const authority = await createAuthority('DSMIL appliance demonstration authority', notBefore);
  const server = await issueServer(authority, SERVER_NAMES, notBefore);
  keepIssued(layout.pki.server, layout.pki.serverKey, server);
  for (const id of DEMO_PEOPLE) {
    const files = clientFiles(layout, id);
    keepIssued(files.certificate, files.key, await issueClient(authority, id, notBefore));
  }
  const checkpoint = generateKeyPairSync('ed25519').privateKey.export({
    type: 'pkcs8',
    format: 'pem',
  });
  keep(layout.checkpointKey, checkpoint.toString(), 0o600);
  // Last, as the mark that everything else is there.
  keepIssued(layout.pki.authority, layout.pki.authorityKey, authority);
}

function clientFiles(
  layout: Layout,
  id: string,
): { readonly certificate: string; readonly key: string } {
  const base = join(layout.pki.peopleDirectory, id);
  return { certificate: `${base}.pem`, key: `${base}-key.pem` };
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

function keepIssued(certificatePath: string, keyPath: string, issued: Issued): void {
  keep(certificatePath, issued.certificatePem, 0o644);
  keep(keyPath, issued.privateKeyPem, 0o600);
}

function keep(path: string, text: string, mode: number): void {
  writeFileSync(path, text, { mode, flush: true });
}
