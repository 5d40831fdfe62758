// Builds the desks of administration: accounts, tokens, sessions, and the question what one may do.

import type { DeviceDescriptor, LinearId } from '#model/device';
import type { RiskAssessment } from '#model/risk';
import type { SafetyPolicy } from '#model/safety-policy';
import { aggregateRisk } from '#orchestrator/risk-aggregate';
import type { CertificateBook } from '#tracks/security/certificates/certificate-book';
import type { AccountBook } from '#tracks/security/identity/account-book';
import { AccountDesk } from '#tracks/security/identity/account-desk';
import type { CredentialBook } from '#tracks/security/identity/credential-book';
import type { Invitations } from '#tracks/security/identity/invitations';
import type { Lockouts } from '#tracks/security/identity/lockouts';
import type { SecondAdministrator } from '#tracks/security/identity/second-administrator';
import { SessionDesk } from '#tracks/security/identity/session-desk';
import type { TokenBook } from '#tracks/security/identity/token-book';
import { TokenDesk } from '#tracks/security/identity/token-desk';
import type { Turns } from '#tracks/security/identity/turns';
import { hasWayIn } from '#tracks/security/identity/ways-in';
import type { RecordAct, SessionControl } from '#tracks/security/ports';
import { RightsDesk, type RightsParts } from '#tracks/security/rights';

export interface DeskParts
  extends Pick<RightsParts, 'isQuarantined' | 'incidentOn' | 'underReview' | 'dualRequired'> {
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly policy: SafetyPolicy;
  readonly accounts: AccountBook;
  readonly tokens: TokenBook;
  readonly certificates: Pick<CertificateBook, 'all' | 'refusal'>;
  readonly lockouts: Lockouts;
  readonly credentials: CredentialBook;
  readonly invitations: Invitations;
  readonly sessions: SessionControl;
  readonly record: RecordAct;
  readonly second: SecondAdministrator;
  /** One for all: a change is judged by accounts, tokens and certificates alike. */
  readonly turns: Turns;
  /** Of the wall floor. */
  readonly wallMs: () => number;
}

export function composeDesks(parts: DeskParts) {
  const { accounts, tokens, lockouts, sessions, record, second, turns, wallMs, policy } = parts;
  const { devices, certificates } = parts;
  const shared = { record, second, turns, sessions, wallMs };
  return {
    ...new AccountDesk({
      ...shared,
      book: accounts,
      tokensOf: (account) => tokens.goodOf(account).length,
      lockouts,
      enrolled: (account) => parts.credentials.enrolled(account),
      hasWayIn: (record) =>
        hasWayIn(record, {
          enrolled: (account) => parts.credentials.usable(account),
          goodTokens: (account) => tokens.goodOf(account).length,
          certified: (uri) =>
            certificates
              .all()
              .some(({ fingerprint }) => certificates.refusal(uri, fingerprint) === null),
          lockStands: (account) => lockouts.lockOf(account)?.standing === true,
        }),
      invite: (account, firstHalf) => parts.invitations.make(account, firstHalf),
      onBoard: (device) => devices.has(device),
    }).handlers(),
    ...new TokenDesk({ ...shared, accounts, book: tokens }).handlers(),
    ...second.handlers(),
    ...new SessionDesk({ sessions, record }).handlers(),
    ...new RightsDesk({
      accounts,
      devices,
      isQuarantined: parts.isQuarantined,
      incidentOn: parts.incidentOn,
      underReview: parts.underReview,
      ...(parts.dualRequired === undefined ? {} : { dualRequired: parts.dualRequired }),
      locked: (account) => lockouts.lockOf(account) !== null,
      wallMs,
      combine: (assessments: readonly RiskAssessment[]) =>
        aggregateRisk(assessments, policy.risk).level,
    }).handlers(),
  };
}
