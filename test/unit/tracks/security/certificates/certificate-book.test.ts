// What a certificate is worth: only what is on the list, for the very name it was issued for, in its time, not revoked.

import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type PeerCertificate } from 'node:tls';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DurableStore } from '#foundation/durable-store';
import { certificateCredential } from '#tracks/interface/peer';
import { Authority } from '#tracks/security/certificates/authority';
import {
  CertificateBook,
  type CertificateRecord,
} from '#tracks/security/certificates/certificate-book';
import { certificateLibrary } from '../../../../../src/bin/certificate-library.ts';
import { newKey } from '../../../../support/certificate-requests.ts';
import { must } from '../../../../support/kernel-bench.ts';
import { implicit, signWithNames, userPrincipalName } from './signed-names.ts';

const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2027, 0, 15);
const URI = 'urn:dsmil:principal:alice';
let directory: string;
let store: DurableStore;
let nowMs: number;
let book: CertificateBook;
let authority: Authority;
const authorityKey = newKey();

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-book-'));
  store = new DurableStore(join(directory, 'agent.db'));
  nowMs = NOW_MS;
  book = new CertificateBook(store, () => nowMs);
  authority = await begin(authorityKey, NOW_MS - DAY_MS);
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true });
});

async function enter(record: CertificateRecord): Promise<CertificateRecord> {
  await store.transact(() => book.write(record));
  book.noteSaved(record);
  return record;
}

async function begin(key: KeyObject, wallMs: number): Promise<Authority> {
  return must(await Authority.begin(key, 'test', wallMs, certificateLibrary));
}

async function issue(id = 'alice', untilWallMs: number | null = null) {
  return must(await authority.issueClient(id, createPublicKey(newKey()), nowMs, untilWallMs));
}

describe('a certificate', () => {
  it('on the list is good for its own name', async () => {
    const { fingerprint } = await enter((await issue()).record);
    expect(book.refusal(URI, fingerprint)).toBeNull();
  });

  it('that is properly signed and on no list is refused', async () => {
    const { certificatePem, record } = await issue();
    const parsed = new X509Certificate(certificatePem);
    expect(parsed.verify(new X509Certificate(authority.certificatePem).publicKey)).toBe(true);
    expect(book.refusal(URI, record.fingerprint)).toMatch(/not on the list/);
  });

  it('of another authority with the same name in it is refused', async () => {
    await enter((await issue()).record);
    const other = await begin(newKey(), NOW_MS - DAY_MS);
    const issued = await other.issueClient('alice', createPublicKey(newKey()), nowMs, null);
    const { record } = must(issued);
    expect(book.refusal(URI, record.fingerprint)).toMatch(/not on the list/);
  });

  it('shown with any other name than its own is refused', async () => {
    const { fingerprint } = await enter((await issue()).record);
    const other = fc.string().filter((uri) => uri !== URI);
    fc.assert(fc.property(other, (uri) => book.refusal(uri, fingerprint) !== null));
    for (const uri of lookAlikes) expect(book.refusal(uri, fingerprint)).toMatch(/issued for urn/);
  });

  it('of a server names no client', async () => {
    const issued = await authority.issueServer(['localhost'], createPublicKey(newKey()), nowMs);
    const { record } = must(issued);
    await enter(record);
    expect(book.refusal('', record.fingerprint)).toMatch(/one of a server/);
    expect(book.refusal(URI, record.fingerprint)).toMatch(/one of a server/);
  });

  it('is good from its first moment to its last, by the time that the agent reckons with', async () => {
    const record = await enter((await issue('alice', NOW_MS + 10_000)).record);
    const at = (ms: number) => {
      nowMs = ms;
      return book.refusal(URI, record.fingerprint);
    };
    expect(at(record.notBeforeWallMs - 1)).toMatch(/not valid before 2027-01-14T23:00:00/);
    expect(at(record.notBeforeWallMs)).toBeNull();
    expect(at(record.notAfterWallMs - 1)).toBeNull();
    expect(at(record.notAfterWallMs)).toMatch(/ran out on 2027-01-15T00:00:10/);
  });

  it('that was revoked is refused with when and why, over a restart too', async () => {
    const record = await enter((await issue()).record);
    const other = await enter((await issue('bob')).record);
    await enter({ ...record, revokedWallMs: NOW_MS, revokedBecause: 'laptop lost' });
    const refusal = /was revoked on 2027-01-15T00:00:00.000Z: laptop lost/;
    expect(book.refusal(URI, record.fingerprint)).toMatch(refusal);
    const again = new CertificateBook(store, () => nowMs);
    expect(again.refusal(URI, record.fingerprint)).toMatch(refusal);
    expect(again.refusal('urn:dsmil:principal:bob', other.fingerprint)).toBeNull();
    expect(again.all().map(({ serial }) => serial)).toEqual([record.serial, other.serial]);
  });

  it('does not count before its row is on disk', async () => {
    const { record } = await issue();
    store.transact(() => book.write(record)).catch(() => undefined);
    expect(book.refusal(URI, record.fingerprint)).not.toBeNull();
  });

  it('cannot be entered again under the fingerprint of another one', async () => {
    const record = await enter((await issue()).record);
    const copy = { ...record, serial: 'AA', uri: 'urn:dsmil:principal:root' };
    await expect(store.transact(() => book.write(copy))).rejects.toThrow(/UNIQUE/);
  });

  it('is shown without what only security needs', async () => {
    await enter((await issue()).record);
    expect(Object.keys(book.views()[0] ?? {}).sort()).toEqual([
      'fingerprint',
      'notAfterWallMs',
      'notBeforeWallMs',
      'purpose',
      'revokedBecause',
      'revokedWallMs',
      'serial',
      'subject',
    ]);
    expect(book.find(book.views()[0]?.serial.toLowerCase() ?? '')?.uri).toBe(URI);
  });
});

const lookAlikes = [
  'urn:dsmil:principal:alice.',
  'urn:dsmil:principal:Alice',
  'URN:dsmil:principal:alice',
  'urn:dsmil:principal:alice ',
  ' urn:dsmil:principal:alice',
  'urn:dsmil:principal:alic\u0435',
  'urn:dsmil:principal:al\u0131ce',
  'urn:dsmil:principal:alice\u0000',
  'urn:dsmil:principal:alice\u0000.evil.example',
  'urn:dsmil:principal:alice\u200b',
  'urn:dsmil:principal:%61lice',
  'urn:dsmil:principal:alice, URI:urn:dsmil:principal:bob',
  'urn:dsmil:principal:alice#',
  'urn:dsmil:principal:alice?x',
];

/** What Node shows our servers of a client certificate that TLS has found good. */
async function shownBy(names: readonly Buffer[]): Promise<PeerCertificate> {
  const key = newKey();
  const wallMs = Date.now();
  const live = await begin(authorityKey, wallMs);
  const host = must(await authority.issueServer(['localhost'], createPublicKey(key), wallMs));
  const text = key.export({ type: 'pkcs8', format: 'pem' }).toString();
  const client = await signWithNames(
    authorityKey,
    live.certificatePem,
    createPublicKey(key),
    names,
  );
  const listener = createServer({
    cert: host.certificatePem,
    key: text,
    ca: live.certificatePem,
    requestCert: true,
    rejectUnauthorized: false,
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  const socket = connect({ port, rejectUnauthorized: false, cert: client, key: text });
  socket.on('error', () => undefined);
  const [far] = await once(listener, 'secureConnection');
  const shown = far.getPeerCertificate() as PeerCertificate;
  expect(far.authorized).toBe(true);
  socket.destroy();
  far.destroy();
  listener.close();
  return shown;
}

const uri = (text: string) => implicit(6, Buffer.from(text, 'utf8'));
const dns = (text: string) => implicit(2, Buffer.from(text, 'utf8'));

describe('names in a certificate that our own authority might have been talked into', () => {
  it.each([
    ['one URI', [uri(URI)], URI],
    ['a URI beside a host name', [dns('alice.example'), uri(URI)], URI],
    ['no name', [dns('alice.example')], null],
    ['two URIs', [uri(URI), uri('urn:dsmil:principal:bob')], null],
    ['twice the same URI', [uri(URI), uri(URI)], null],
    ['a host name that looks like a URI', [dns(`URI:${URI}`)], null],
    ['a host name that hides a URI behind a comma', [dns(`x, URI:${URI}`)], null],
    ['another name that looks like a URI', [userPrincipalName(`URI:${URI}`)], null],
    ['a mail address that looks like one', [implicit(1, Buffer.from(`a, URI:${URI}`))], null],
    ['a URI that hides a second one', [uri(`${URI}, URI:urn:dsmil:principal:bob`)], null],
    ['an empty URI', [uri('')], null],
    ['a NUL at the end', [uri(`${URI}\u0000`)], null],
    ['a NUL inside', [uri(`${URI}\u0000.evil`)], null],
  ] as const)('%s', async (_, names, expected) => {
    const credential = certificateCredential(await shownBy(names));
    expect(credential?.kind === 'certificate' ? credential.uri : null).toBe(expected);
  });

  it.each(lookAlikes.map((text) => [JSON.stringify(text), text] as const))(
    '%s is not alice',
    async (_, text) => {
      const credential = certificateCredential(await shownBy([uri(text)]));
      expect(credential?.kind === 'certificate' ? credential.uri : null).not.toBe(URI);
    },
  );
});
