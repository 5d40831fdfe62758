// Builds the certificate and key desks of security, and serves interface what its TLS servers need.
// Where nobody hands in an authority (the simulation) nothing is issued, and the list of certificates is judged all the same.

import type { KeyObject } from 'node:crypto';
import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import { describeFault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { announceTrustChanged, serveCertificates } from '#link/certificates';
import type { Link } from '#link/link';
import type { AuditRecord } from '#model/audit-entry';
import type { AuthorizationKeys } from '#model/authorization';
import type { AuditChain } from '#tracks/security/audit/audit-chain';
import type { AuthorizationSigner } from '#tracks/security/authorization';
import type { Authority } from '#tracks/security/certificates/authority';
import type { CertificateBook } from '#tracks/security/certificates/certificate-book';
import { CertificateDesk } from '#tracks/security/certificates/certificate-desk';
import { KeyDesk, type NewPublicKey } from '#tracks/security/certificates/key-desk';
import { RevocationList } from '#tracks/security/certificates/revocation-list';
import { ServerCertificates } from '#tracks/security/certificates/server-certificates';
import type { AccountBook } from '#tracks/security/identity/account-book';
import type { SecondAdministrator } from '#tracks/security/identity/second-administrator';
import type { Turns } from '#tracks/security/identity/turns';
import type { AdministrationCaller, RecordAct, SessionControl } from '#tracks/security/ports';
import type { ComposedSealing } from './sealing.ts';

/** What the security process alone has: keys on disk and the names of this machine. */
export interface KeyMaterial {
  readonly authority: Authority;
  /** Of the server certificate. */
  readonly names: readonly string[];
  /** Makes a new checkpoint key durable beside the one before it. */
  readonly newCheckpointKey: () => Outcome<KeyObject>;
  /** One of the two is in use for good. */
  readonly settleCheckpointKey: (keyId: string) => void;
}

export interface CertificateParts {
  readonly material: KeyMaterial | undefined;
  readonly clock: Clock;
  readonly store: DurableStore;
  readonly audit: AuditChain;
  readonly book: CertificateBook;
  readonly accounts: AccountBook;
  readonly sessions: SessionControl;
  readonly signer: AuthorizationSigner;
  readonly sealing: ComposedSealing;
  readonly offerKeys: (keys: AuthorizationKeys) => Promise<Outcome<void>>;
  readonly second: SecondAdministrator;
  readonly turns: Turns;
  readonly record: RecordAct;
  readonly interfaceLink: Link;
  /** Of the wall floor. */
  readonly wallMs: () => number;
  readonly onError: (error: unknown, where: string) => void;
}

const LOOK_EVERY_MS = 3_600_000;
const RETRY_AFTER_MS = 10_000;

export function composeCertificates(parts: CertificateParts) {
  const { material, audit, signer, second, record, sealing } = parts;
  const keys = new KeyDesk({
    signer,
    second,
    record,
    offer: parts.offerKeys,
    checkpointKeyId: () => audit.book.keyId,
    rotateCheckpointKey: (caller, more) => rotateCheckpointKey(audit, material, caller, more),
    sealingKeyId: () => sealing.seals.currentId ?? '',
    rotateSealingKey: (caller, more) => sealing.rotate(caller, more),
  });
  if (material === undefined) return keys.handlers();
  return { ...keys.handlers(), ...composeAuthority(parts, material) };
}

async function rotateCheckpointKey(
  audit: AuditChain,
  material: KeyMaterial | undefined,
  { session, origin }: AdministrationCaller,
  { reason = '' }: Partial<AuditRecord>,
): Promise<Outcome<NewPublicKey>> {
  if (material === undefined) {
    const finding = 'this agent keeps no key on disk';
    return refuse(fault('OPERATION_UNSUPPORTED', { place: 'rotateKey', finding }));
  }
  const made = material.newCheckpointKey();
  if (!made.ok) return made;
  const actor = session?.principal.id ?? 'unknown';
  const rotated = await audit.rotate(made.value, { actor, origin, reason });
  // Whichever of the two the chain names now.
  material.settleCheckpointKey(audit.book.keyId);
  if (!rotated.ok) return rotated;
  const { keyId, publicKey } = audit.book;
  return succeed({
    keyId,
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  });
}

function composeAuthority(parts: CertificateParts, { authority, names }: KeyMaterial) {
  const { store, audit, book, accounts, sessions, second, turns, record, clock } = parts;
  const { wallMs, interfaceLink, onError } = parts;
  const list = new RevocationList(store, authority, book, wallMs);
  const changed = () => announceTrustChanged(interfaceLink);
  let retries = false;
  const failed = (error: unknown) => {
    onError(error, 'revocation list');
    if (retries) return;
    retries = true;
    clock.after(RETRY_AFTER_MS, () => {
      retries = false;
      void renewDue();
    });
  };
  const renewDue = async () => {
    try {
      const renewed = await list.renewDue();
      if (!renewed.ok) return failed(new Error(describeFault(renewed.fault)));
      if (renewed.value) changed();
    } catch (error) {
      failed(error);
    }
  };
  const look = () => {
    clock.after(LOOK_EVERY_MS, look);
    void renewDue();
  };
  const servers = new ServerCertificates({ authority, book, list, audit, names, wallMs });
  // Nobody gets trust material without a list: a server without one would take revoked certificates.
  const began = renewDue();
  const withList = async <T>(answer: () => Outcome<T> | Promise<Outcome<T>>) => {
    await began;
    if (list.pem !== '') return answer();
    const finding = 'has no revocation list yet';
    return refuse(fault('TRACK_UNAVAILABLE', { place: 'certificate authority', finding }));
  };
  serveCertificates(interfaceLink, {
    certify: (request) => withList(() => servers.certify(request)),
    trust: () => withList(() => succeed(servers.trust())),
  });
  clock.after(LOOK_EVERY_MS, look);
  const desk = new CertificateDesk({
    authority,
    book,
    list,
    accounts,
    sessions,
    second,
    record,
    turns,
    wallMs,
    renewList: renewDue,
  });
  return desk.handlers();
}
