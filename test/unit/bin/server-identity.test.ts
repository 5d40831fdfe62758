// Interface's own server certificate: made for its own key, kept to start without security, renewed in time.

import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { CertificateClient } from '#link/certificates';
import type { TrustMaterial } from '#model/server-certificate';
import { secureContext, type TlsMaterial } from '#tracks/interface/tls-material';
import { Authority, SERVER_LIFE_MS } from '#tracks/security/certificates/authority';
import { certificateLibrary } from '../../../src/bin/certificate-library.ts';
import { ServerIdentity } from '../../../src/bin/server-identity.ts';
import { newKey } from '../../support/certificate-requests.ts';
import { must } from '../../support/kernel-bench.ts';

const NOW_MS = Date.now();
const HOUR_MS = 3_600_000;
let directory: string;
let path: string;
let clock: VirtualClock;
let authority: Authority;
let names: readonly string[];
let revokedServers: readonly string[];
let listNumber: number;
let away: boolean;
/** Until security begins to answer about a certificate. */
let slowMs: number;
let asked: string[];
let changed: () => void;
let notes: string[];
/** Answers that security has not given yet. */
let underWay = 0;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-identity-'));
  path = join(directory, 'interface', 'server.json');
  clock = new VirtualClock(NOW_MS);
  authority = await begin();
  names = ['localhost', '127.0.0.1'];
  revokedServers = [];
  listNumber = 1;
  away = false;
  slowMs = 0;
  asked = [];
  notes = [];
});
afterEach(() => rmSync(directory, { recursive: true }));

async function begin(): Promise<Authority> {
  return must(await Authority.begin(newKey(), 'identity', NOW_MS, certificateLibrary));
}

/** Security, at the other end of the link. */
const client: CertificateClient = {
  trust: () => answer(async () => succeed(await trust())),
  certify: async ({ publicKeyPem }, deadline) => {
    asked.push(publicKeyPem);
    if (slowMs > 0) await clock.sleep(Math.min(slowMs, deadline.remainingMs()));
    if (deadline.expired())
      return refuse(fault('DEADLINE_EXCEEDED', { place: 'link', finding: '' }));
    return answer(async () => {
      const key = createPublicKey(publicKeyPem);
      const issued = must(await authority.issueServer(names, key, clock.wallMs()));
      return succeed({ certificatePem: issued.certificatePem, ...(await trust()) });
    });
  },
  onTrustChanged: (listen) => {
    changed = listen;
  },
};

async function answer<T>(give: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
  if (away) return gone();
  underWay += 1;
  return give().finally(() => {
    underWay -= 1;
  });
}

/** Virtual time, and as much of the real one as signing takes. */
async function pass(byMs: number): Promise<void> {
  await clock.advance(byMs);
  while (underWay > 0) await clock.advance(0);
  await clock.advance(0);
}

function gone() {
  return refuse(fault('TRACK_UNAVAILABLE', { place: 'security track', finding: 'is absent' }));
}

async function trust(): Promise<TrustMaterial> {
  const id = `${authority.fingerprint} ${listNumber}`;
  const revocationListPem = lists.get(id) ?? (await newList());
  lists.set(id, revocationListPem);
  return { authorityPem: authority.certificatePem, revocationListPem, names, revokedServers };
}

const lists = new Map<string, string>();
async function newList(): Promise<string> {
  const made = await authority.revocationList({
    number: listNumber,
    thisUpdateWallMs: NOW_MS - HOUR_MS,
    nextUpdateWallMs: NOW_MS + 1_000 * HOUR_MS,
    revoked: Array.from({ length: listNumber }, (_, index) => ({
      serial: `4${index}`,
      revokedWallMs: NOW_MS - HOUR_MS,
    })),
  });
  return must(made);
}

function identity(): ServerIdentity {
  const onNote = (detail: object, message: string) =>
    notes.push(`${JSON.stringify(detail)} ${message}`);
  return new ServerIdentity({ path, clock, client, onNote });
}

async function followed(): Promise<{ readonly own: ServerIdentity; readonly seen: TlsMaterial[] }> {
  const own = identity();
  const seen = [await own.first()];
  own.follow((tls) => seen.push(tls));
  await pass(0);
  return { own, seen };
}

const serialOf = (tls: TlsMaterial | undefined) =>
  new X509Certificate(tls?.certificate ?? '').serialNumber;

describe('the first start', () => {
  it('makes a key, has it certified, and keeps both where its owner alone can read them', async () => {
    const tls = await identity().first();
    const certificate = new X509Certificate(tls.certificate);
    expect(certificate.checkPrivateKey(createPrivateKey(tls.key))).toBe(true);
    expect(asked[0]).toContain('BEGIN PUBLIC KEY');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(notes.join()).not.toMatch(/PRIVATE/);
  });

  it('waits for security where there is nothing yet, and says so once', async () => {
    away = true;
    const first = identity().first();
    await pass(2_000);
    expect(notes).toHaveLength(1);
    away = false;
    await pass(200);
    expect((await first).certificate).toContain('BEGIN CERTIFICATE');
  });
});

describe('a later start', () => {
  it('waits for a security that takes long, and asks for one certificate alone', async () => {
    slowMs = 40_000;
    const first = identity().first();
    await pass(0);
    for (let second = 0; second < 45; second++) await pass(1_000);
    const { key, certificate } = await first;
    expect(new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(asked).toHaveLength(1);
  });

  it('needs no security while what is kept is good', async () => {
    const before = await identity().first();
    away = true;
    expect(await identity().first()).toEqual(before);
    expect(asked).toHaveLength(1);
  });

  it.each([
    ['the file is cut short', (text: string) => text.slice(0, 500)],
    ['key and certificate do not fit', (text: string) => withOtherKey(text)],
    ['the file is empty', () => ''],
  ])('asks anew where %s', async (_, damage) => {
    const before = await identity().first();
    writeFileSync(path, damage(readFileSync(path, 'utf8')));
    expect(serialOf(await identity().first())).not.toBe(serialOf(before));
  });

  it('asks anew where the certificate has run out', async () => {
    const before = await identity().first();
    clock.jumpWall(SERVER_LIFE_MS + HOUR_MS);
    expect(serialOf(await identity().first())).not.toBe(serialOf(before));
  });

  it('goes on with a certificate that cannot be kept', async () => {
    writeFileSync(join(directory, 'interface'), 'in the way');
    expect((await identity().first()).certificate).toContain('BEGIN CERTIFICATE');
    expect(notes.join()).toMatch(/cannot be kept/);
  });
});

describe('while it runs', () => {
  it('two thirds of its life later there is another certificate, for another key', async () => {
    const { seen } = await followed();
    clock.jumpWall((SERVER_LIFE_MS * 2) / 3 - 2 * HOUR_MS);
    await pass(HOUR_MS);
    expect(seen).toHaveLength(1);
    await pass(HOUR_MS);
    expect(seen).toHaveLength(2);
    expect(seen[1]?.key).not.toBe(seen[0]?.key);
    expect(new Set(asked).size).toBe(2);
    expect(notes.at(-1)).toMatch(/two thirds of its life are over/);
  });

  it.each([
    [
      'the names of the machine change',
      /names of this machine/,
      () => {
        names = ['appliance.example', ...names];
      },
    ],
    [
      'the authority is another one',
      /authority is another/,
      async () => {
        authority = await begin();
      },
    ],
    [
      'it is revoked',
      /was revoked/,
      (tls: TlsMaterial) => {
        revokedServers = [new X509Certificate(tls.certificate).fingerprint256];
      },
    ],
  ])('there is another one at once when %s', async (_, because, change) => {
    const { seen } = await followed();
    const [first] = seen;
    if (first !== undefined) await change(first);
    changed();
    await pass(0);
    expect(notes.at(-1)).toMatch(because);
    expect(seen).toHaveLength(2);
    expect(serialOf(seen[1])).not.toBe(serialOf(first));
  });

  it('a new revocation list is taken with the key and certificate that are there, and kept', async () => {
    const { seen } = await followed();
    listNumber = 2;
    changed();
    await pass(0);
    expect(seen).toHaveLength(2);
    expect(seen[1]).toMatchObject({ key: seen[0]?.key, certificate: seen[0]?.certificate });
    expect(seen[1]?.revocationList).not.toBe(seen[0]?.revocationList);
    away = true;
    expect((await identity().first()).revocationList).toBe(seen[1]?.revocationList);
  });

  it('nothing changes while security is away', async () => {
    const { seen } = await followed();
    away = true;
    clock.jumpWall(SERVER_LIFE_MS);
    await pass(3 * HOUR_MS);
    expect(seen).toHaveLength(1);
    away = false;
    await pass(HOUR_MS);
    expect(seen).toHaveLength(2);
  });

  it('open connections stay open while new ones see the new certificate', async () => {
    const { own, seen } = await followed();
    const [first] = seen;
    if (first === undefined) throw new Error('no certificate');
    const listener = createServer(secureContext(first), (socket) => socket.pipe(socket));
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    const open = async (): Promise<TLSSocket> => {
      const socket = connect({
        port,
        host: '127.0.0.1',
        servername: 'localhost',
        ca: first.authority,
      });
      await once(socket, 'secureConnect');
      return socket;
    };
    const serial = (socket: TLSSocket) => socket.getPeerCertificate().serialNumber;
    const before = await open();
    names = ['localhost'];
    await own.look();
    listener.setSecureContext(secureContext(seen[1] ?? first));
    const after = await open();
    expect(serial(before)).toBe(serialOf(first));
    expect(serial(after)).toBe(serialOf(seen[1]));
    before.write('still here');
    expect(String((await once(before, 'data'))[0])).toBe('still here');
    before.destroy();
    after.destroy();
    listener.close();
  });
});

function withOtherKey(text: string): string {
  const kept = JSON.parse(text) as Record<string, unknown>;
  const keyPem = newKey().export({ type: 'pkcs8', format: 'pem' });
  return JSON.stringify({ ...kept, keyPem });
}
