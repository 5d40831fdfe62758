// Makes people, machines, tokens and certificates through the agent's own doors, by its two administrators.

import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  webcrypto,
  X509Certificate,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { layoutOf } from '#config/layout';
import type { ReadyFile } from '../../support/agent.ts';
import { makeRequest, newKey, privateKeyPem } from '../../support/certificate-requests.ts';
import { httpCall } from '../../support/http-client.ts';
import { Authenticator } from './authenticator.ts';
import { RestPerson } from './rest-person.ts';
import { freshAddress } from './source-addresses.ts';

export interface ClientCertificate {
  readonly certificate: string;
  readonly key: string;
}

export interface Rights {
  readonly kind?: 'person' | 'machine';
  readonly clearance: string;
  readonly administrator?: boolean;
  readonly validFrom?: string | null;
  readonly validUntil?: string | null;
}

export const COMPARTMENTS_ALL = [
  'CRYPTO',
  'SIGNALS',
  'NUCLEAR',
  'WEAPONS',
  'COMMS',
  'SENSORS',
  'MAINT',
  'EMERGENCY',
];
export const PASS_PHRASE = 'seven grey herons stood in the reeds';
const REASON = 'people for the test of every right';
const DAY_MS = 86_400_000;

export interface MadeToken {
  readonly id: string;
  readonly token: string;
}

/** The two demonstration administrators, by certificate: a token makes no tokens. */
export class Ceremony {
  readonly #ready: ReadyFile;
  readonly #first: RestPerson;
  readonly #second: RestPerson;
  readonly #machines = new Set<string>();
  readonly #certificates = new Map<string, ClientCertificate>();

  constructor(ready: ReadyFile) {
    this.#ready = ready;
    this.#first = new RestPerson(ready, 0, 'certificate', '127.0.3.1');
    this.#second = new RestPerson(ready, 1, 'certificate', '127.0.3.2');
  }

  close(): void {
    this.#first.close();
    this.#second.close();
  }

  /** Takes rights: one administrator is enough. */
  async once(path: string, body: object): Promise<Record<string, unknown>> {
    const { status, json, text } = await this.#first.call('POST', path, body);
    if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
    return json as Record<string, unknown>;
  }

  /** Gives rights: nothing happens before the second administrator asks for the same. */
  async twice(path: string, body: object): Promise<Record<string, unknown>> {
    const proposed = await this.once(path, body);
    if (proposed.done !== false) throw new Error(`${path}: done by one person alone`);
    const { status, json, text } = await this.#second.call('POST', path, body);
    if (status !== 200 || json.done !== true) throw new Error(`${path}: ${status} ${text}`);
    // Each of the two is given one half of what opens the account.
    const invitation = `${proposed.invitation ?? ''}${json.invitation ?? ''}`;
    return { ...(json as Record<string, unknown>), invitation };
  }

  /** The invitation of a person; empty for a machine. */
  async account(id: string, rights: Rights): Promise<string> {
    const account = {
      id,
      name: id.replaceAll('-', ' '),
      kind: 'person',
      compartments: COMPARTMENTS_ALL,
      devices: null,
      ...rights,
    };
    if (rights.kind === 'machine') this.#machines.add(id);
    return String((await this.twice('accounts', { account, reason: REASON })).invitation);
  }

  /** Machines get theirs from two administrators; people make their own, by certificate. */
  async token(account: string, scope: readonly string[] | null = null): Promise<MadeToken> {
    const body = { account, name: 'matrix', scope, lifetimeDays: 1 };
    const made = this.#machines.has(account)
      ? await this.twice('tokens', body)
      : await this.#own(account, 'tokens', body);
    return { id: String(made.id), token: String(made.token) };
  }

  /** An account and a token for all that it may. */
  async holder(id: string, rights: Rights): Promise<string> {
    await this.account(id, rights);
    return (await this.token(id)).token;
  }

  async revokeToken(id: string): Promise<void> {
    await this.once(`tokens/${id}/revoke`, { reason: REASON });
  }

  async take(id: string, change: object): Promise<void> {
    await this.once(`accounts/${id}`, { change, reason: REASON });
  }

  async give(id: string, change: object): Promise<void> {
    await this.twice(`accounts/${id}`, { change, reason: REASON });
  }

  /** Lifts a lock by threat detection. */
  async unlock(id: string): Promise<void> {
    await this.twice(`accounts/${id}/unlock`, { reason: REASON });
  }

  // --- Passwords ---------------------------------------------------------------------------------

  /** The person sets a password and proves a first code; two more codes are left for now. */
  async enrol(invitation: string): Promise<Authenticator> {
    const secret = await this.#stranger('auth/enrol', { invitation, password: PASS_PHRASE });
    const telephone = new Authenticator(String(secret.secret));
    await this.#stranger('auth/enrol/confirm', { invitation, code: await telephone.next() });
    return telephone;
  }

  /** The token of a session opened with password and code. */
  async signIn(account: string, telephone: Authenticator): Promise<string> {
    const request = { account, password: PASS_PHRASE, code: await telephone.next(), bearer: true };
    return String((await this.#stranger('auth/login', request)).token);
  }

  /** Three wrong passwords. */
  async guessAt(account: string): Promise<void> {
    const stranger = new RestPerson(this.#ready, 'nobody', 'token', freshAddress());
    for (const password of ['spring', 'summer', 'autumn']) {
      const body = { account, password, code: '000000' };
      const { status, text } = await stranger.call('POST', 'auth/login', body);
      if (status !== 401) throw new Error(`a wrong password: ${status} ${text}`);
    }
    stranger.close();
  }

  async #stranger(path: string, body: object): Promise<Record<string, unknown>> {
    const stranger = new RestPerson(this.#ready, 'nobody', 'token', freshAddress());
    const { status, json, text } = await stranger.call('POST', path, body);
    stranger.close();
    if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
    return json as Record<string, unknown>;
  }

  // --- Certificates ------------------------------------------------------------------------------

  /** By the agent's authority, on its list. */
  async certificate(account: string): Promise<ClientCertificate> {
    const { pem, key } = await makeRequest();
    const body = { account, requestPem: pem, reason: REASON };
    const { certificatePem } = await this.twice('certificates', body);
    return { certificate: String(certificatePem), key: privateKeyPem(key) };
  }

  /** Asked for by the account itself, with its certificate. */
  async #own(account: string, path: string, body: object): Promise<Record<string, unknown>> {
    const own = this.#certificates.get(account) ?? (await this.certificate(account));
    this.#certificates.set(account, own);
    const { hostname: host, port } = new URL(this.#ready.http);
    const { status, json, text } = await httpCall({
      host,
      port: Number(port),
      servername: '',
      ca: readFileSync(this.#ready.ca),
      cert: own.certificate,
      key: own.key,
      method: 'POST',
      path: `/api/v1/${path}`,
      body,
    });
    if (status !== 200) throw new Error(`${path} by ${account}: ${status} ${text}`);
    return json as Record<string, unknown>;
  }

  async revokeCertificate({ certificate }: ClientCertificate): Promise<void> {
    const { serialNumber } = new X509Certificate(certificate);
    await this.once(`certificates/${serialNumber}/revoke`, { reason: REASON });
  }

  /** Signed with the very key of the agent's authority, and never put on its list. */
  unlisted(account: string): Promise<ClientCertificate> {
    return signedFor(account, this.#authority(), Date.now() - DAY_MS);
  }

  /** Signed with the very key of the agent's authority, good from tomorrow on. */
  early(account: string): Promise<ClientCertificate> {
    return signedFor(account, this.#authority(), Date.now() + DAY_MS);
  }

  /** The same subject, URI and name of the authority, by another authority. */
  foreign(account: string): Promise<ClientCertificate> {
    return signedFor(account, { ...this.#authority(), key: newKey() }, Date.now() - DAY_MS);
  }

  #authority(): SigningAuthority {
    const { stateDirectory, runDirectory } = this.#ready;
    const { pki } = layoutOf(stateDirectory, runDirectory);
    const key = createPrivateKey(readFileSync(pki.authorityKey));
    return { subject: new x509.X509Certificate(readFileSync(pki.authority, 'utf8')).subject, key };
  }
}

interface SigningAuthority {
  readonly subject: string;
  readonly key: KeyObject;
}

/** Good for two days, made by another implementation than the agent's own. */
async function signedFor(
  account: string,
  { subject, key }: SigningAuthority,
  notBeforeMs: number,
): Promise<ClientCertificate> {
  x509.cryptoProvider.set(webcrypto as never);
  const curve = key.asymmetricKeyDetails?.namedCurve === 'secp384r1' ? 'P-384' : 'P-256';
  const algorithm = { name: 'ECDSA', namedCurve: curve } as const;
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const signingKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']);
  const own = newKey();
  const spki = createPublicKey(own).export({ type: 'spki', format: 'der' });
  const leaf = { name: 'ECDSA', namedCurve: 'P-256' } as const;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomBytes(8).toString('hex').replace(/^./, '1'),
    subject: `CN=${account}`,
    issuer: subject,
    notBefore: new Date(notBeforeMs),
    notAfter: new Date(notBeforeMs + 2 * DAY_MS),
    signingAlgorithm: { ...algorithm, hash: curve === 'P-384' ? 'SHA-384' : 'SHA-256' },
    publicKey: await webcrypto.subtle.importKey('spki', spki, leaf, true, ['verify']),
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension([
        { type: 'url', value: `urn:dsmil:principal:${account}` },
      ]),
    ],
  });
  return { certificate: certificate.toString('pem'), key: privateKeyPem(own) };
}
