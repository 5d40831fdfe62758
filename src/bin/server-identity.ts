// Key and certificate of interface's TLS servers: the key is made here, security signs, and both are kept to start without it.
// Invariants: the private key never leaves this process but into its own file (0600), and is another one at each renewal;
// what is kept is written whole or not at all, so that key and certificate always belong together.
// Faults: none that ends the process; while security is away what is kept goes on, and what is missing is waited for.

import { createPrivateKey, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeError, describeFault } from '#foundation/fault';
import { type Outcome, succeed } from '#foundation/outcome';
import type { CertificateClient } from '#link/certificates';
import {
  type ServerCertificate,
  serverProofBytes,
  type TrustMaterial,
} from '#model/server-certificate';
import type { TlsMaterial } from '#tracks/interface/tls-material';

export interface ServerIdentityParts {
  /** File of key, certificate and trust material. */
  readonly path: string;
  readonly clock: Clock;
  readonly client: CertificateClient;
  /** For the log of this machine. */
  readonly onNote: (detail: object, message: string) => void;
}

interface Kept extends Omit<ServerCertificate, 'revokedServers'> {
  readonly keyPem: string;
}

const LOOK_EVERY_MS = 3_600_000;
/** Between two looks while there is no certificate at all. */
const FIRST_LOOK_EVERY_MS = 100;
const ASK_LIMIT_MS = 5_000;
/** Each one that is given up all the same counts for those that security issues in a day, and is in the way of the next. */
const CERTIFY_LIMIT_MS = 60_000;
const RENEW_AFTER = 2 / 3;

export class ServerIdentity {
  readonly #parts: ServerIdentityParts;
  readonly #listeners = new Set<(tls: TlsMaterial) => void>();
  #kept: Kept | null;
  #looking: Promise<void> | null = null;
  #again = false;
  #told = '';

  constructor(parts: ServerIdentityParts) {
    this.#parts = parts;
    this.#kept = readKept(parts.path);
    parts.client.onTrustChanged(() => void this.look());
  }

  /** What is kept and still good, at once; else what security gives, as soon as it answers. */
  async first(): Promise<TlsMaterial> {
    const { clock } = this.#parts;
    for (;;) {
      if (this.#kept !== null && !hasEnded(this.#kept, clock.wallMs()))
        return materialOf(this.#kept);
      await this.look();
      if (this.#kept === null || hasEnded(this.#kept, clock.wallMs())) {
        await clock.sleep(FIRST_LOOK_EVERY_MS);
      }
    }
  }

  /** Looks now, and every hour from now on. */
  follow(changed: (tls: TlsMaterial) => void): void {
    this.#listeners.add(changed);
    const again = () => {
      void this.look();
      this.#parts.clock.after(LOOK_EVERY_MS, again);
    };
    again();
  }

  /** Asks security what holds now; one look at a time, and another one after it where somebody asked meanwhile. */
  look(): Promise<void> {
    if (this.#looking !== null) {
      this.#again = true;
      return this.#looking;
    }
    this.#looking = this.#lookOnce().finally(() => {
      this.#looking = null;
      if (!this.#again) return;
      this.#again = false;
      void this.look();
    });
    return this.#looking;
  }

  async #lookOnce(): Promise<void> {
    const { clock, client } = this.#parts;
    const trust = await client.trust(Deadline.after(clock, ASK_LIMIT_MS));
    if (!trust.ok) return this.#tell(describeFault(trust.fault));
    const because = renewalReason(this.#kept, trust.value, clock.wallMs());
    if (because !== null) {
      const made = await this.#certify();
      if (!made.ok) return this.#tell(describeFault(made.fault));
      this.#parts.onNote({ because }, 'the server certificate is a new one');
      return this.#keep(made.value);
    }
    const kept = this.#kept;
    const { revocationListPem } = trust.value;
    if (kept !== null && kept.revocationListPem !== revocationListPem) {
      this.#keep({ ...kept, revocationListPem });
    }
  }

  async #certify(): Promise<Outcome<Kept>> {
    const { clock, client } = this.#parts;
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const proof = sign('sha256', serverProofBytes(publicKeyPem), privateKey).toString('base64');
    const deadline = Deadline.after(clock, CERTIFY_LIMIT_MS);
    const given = await client.certify({ publicKeyPem, proof }, deadline);
    if (!given.ok) return given;
    const { revokedServers: _, ...rest } = given.value;
    const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    return succeed({ ...rest, keyPem });
  }

  #keep(kept: Kept): void {
    this.#kept = kept;
    const { path, onNote } = this.#parts;
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      const fresh = `${path}.new`;
      rmSync(fresh, { force: true });
      writeFileSync(fresh, JSON.stringify(kept), { mode: 0o600, flag: 'wx', flush: true });
      renameSync(fresh, path);
    } catch (error) {
      onNote(
        { error: describeError(error) },
        'the server certificate cannot be kept: a start needs security',
      );
    }
    try {
      for (const listen of this.#listeners) listen(materialOf(kept));
    } catch (error) {
      onNote({ error: describeError(error) }, 'a server goes on with the certificate it had');
    }
  }

  /** The same trouble is told once. */
  #tell(finding: string): void {
    if (finding === this.#told) return;
    this.#told = finding;
    this.#parts.onNote({ finding }, 'security gives no server certificate now');
  }
}

/** Why another certificate is needed; null while the one that is there does. */
export function renewalReason(
  kept: Omit<Kept, 'keyPem'> | null,
  trust: TrustMaterial,
  wallMs: number,
): string | null {
  if (kept === null) return 'there was none';
  if (kept.authorityPem !== trust.authorityPem) return 'the authority is another one';
  if (kept.names.join() !== trust.names.join()) return 'the names of this machine have changed';
  const { fingerprint256, validFromDate, validToDate } = new X509Certificate(kept.certificatePem);
  if (trust.revokedServers.includes(fingerprint256)) return 'it was revoked';
  const from = validFromDate.getTime();
  const life = validToDate.getTime() - from;
  return wallMs >= from + life * RENEW_AFTER ? 'two thirds of its life are over' : null;
}

function hasEnded({ certificatePem }: Kept, wallMs: number): boolean {
  return new X509Certificate(certificatePem).validToDate.getTime() <= wallMs;
}

/** Null where there is none, or where what is there does not fit together. */
function readKept(path: string): Kept | null {
  try {
    const kept = JSON.parse(readFileSync(path, 'utf8')) as Kept;
    const { names, revocationListPem } = kept;
    const certificate = new X509Certificate(kept.certificatePem);
    const issuer = new X509Certificate(kept.authorityPem);
    const fits =
      certificate.checkPrivateKey(createPrivateKey(kept.keyPem)) &&
      certificate.verify(issuer.publicKey) &&
      Array.isArray(names) &&
      typeof revocationListPem === 'string';
    return fits ? kept : null;
  } catch {
    return null;
  }
}

function materialOf(kept: Kept): TlsMaterial {
  const { authorityPem: authority, certificatePem: certificate, keyPem: key } = kept;
  return { authority, certificate, key, revocationList: kept.revocationListPem };
}
