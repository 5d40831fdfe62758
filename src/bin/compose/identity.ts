// Builds who one is: accounts, the ways to prove it, locks, sessions, and the second administrator, over one store.

import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import type { SafetyPolicy } from '#model/safety-policy';
import type { Announcer } from '#orchestrator/announcer';
import { recordActs } from '#tracks/security/administration';
import type { AuditChain } from '#tracks/security/audit/audit-chain';
import { CertificateBook } from '#tracks/security/certificates/certificate-book';
import { AccountBook } from '#tracks/security/identity/account-book';
import { AdministratorRecovery } from '#tracks/security/identity/administrator-recovery';
import { CredentialBook } from '#tracks/security/identity/credential-book';
import { EntryDesk } from '#tracks/security/identity/entry-desk';
import { FirstRun } from '#tracks/security/identity/first-run';
import { Invitations } from '#tracks/security/identity/invitations';
import { Lockouts } from '#tracks/security/identity/lockouts';
import { Passwords } from '#tracks/security/identity/passwords';
import { Principals } from '#tracks/security/identity/principals';
import { SecondAdministrator } from '#tracks/security/identity/second-administrator';
import { SignIns } from '#tracks/security/identity/sign-ins';
import { Sources } from '#tracks/security/identity/sources';
import { TokenBook } from '#tracks/security/identity/token-book';
import { Turns } from '#tracks/security/identity/turns';
import { WallFloor } from '#tracks/security/identity/wall-floor';
import { openSealing, type SealingMaterial } from './sealing.ts';

export interface IdentityParts {
  readonly clock: Clock;
  readonly store: DurableStore;
  readonly policy: SafetyPolicy['identity'];
  readonly audit: AuditChain;
  readonly announcer: Announcer;
  /** Secrets are sealed with a key of this life alone where absent. */
  readonly sealing?: SealingMaterial | undefined;
  readonly onNote: (detail: object, message: string) => void;
}

export type ComposedIdentity = ReturnType<typeof composeIdentity>;

export function composeIdentity(parts: IdentityParts) {
  const { clock, store, policy, audit, announcer } = parts;
  const accounts = new AccountBook(store);
  // Whoever judges whether something has expired asks this, not the clock.
  const floor = new WallFloor(store, clock);
  const { wallMs } = floor;
  const tokens = new TokenBook(store, wallMs);
  const certificates = new CertificateBook(store, wallMs);
  const lockouts = new Lockouts({
    store,
    wallMs,
    isAccount: (name) => accounts.account(name) !== undefined,
    policy,
  });
  const sources = new Sources(clock);
  const signIns = new SignIns({ store, clock, wallMs, policy });
  const principals = new Principals({
    clock,
    wallMs,
    accounts,
    tokens,
    certificates,
    lockouts,
    sources,
    signIns,
    onLocked: (account, because) => {
      announcer.accountLocked(account, because);
      void announcer.record('ACCOUNT_LOCKED', 'security', null, [], because, {
        details: { account },
      });
    },
  });
  const record = recordActs(audit);
  const turns = new Turns();
  const sealing = openSealing({ ...parts, record });
  const { seals } = sealing;
  const credentials = new CredentialBook(store, seals);
  const invitations = new Invitations({ store, credentials, seals, wallMs });
  const firstRun = new FirstRun({ accounts, credentials, tokens, invitations, record });
  const administratorRecovery = new AdministratorRecovery({
    accounts,
    invitations,
    lockouts,
    sessions: principals,
    record,
    turns,
    wallMs,
    onRecovered: (account, finding) => {
      second.forget(account);
      announcer.administratorRecovered(account, finding);
    },
  });
  const entryDesk = new EntryDesk({
    clock,
    wallMs,
    accounts,
    credentials,
    invitations,
    unsealable: () => (seals.currentId === null ? sealing.finding : null),
    passwords: new Passwords(),
    lockouts,
    sources,
    signIns,
    sessions: principals,
    record,
    onLocked: (account, finding) => announcer.accountLocked(account, finding),
  });
  // For every desk whose changes give rights.
  const second = new SecondAdministrator({
    clock,
    accounts,
    record,
    wallMs,
    // Failed sign-ins are a stranger's doing, and must not undo what a person proposed.
    locked: (account) => lockouts.lockOf(account)?.standing === true,
  });
  return {
    floor,
    accounts,
    tokens,
    certificates,
    lockouts,
    credentials,
    invitations,
    sealing,
    principals,
    record,
    turns,
    second,
    entryDesk,
    firstRun,
    administratorRecovery,
  };
}
