// Builds the desks of administration: accounts, tokens, sessions, and the question what one may do.

import type { DeviceDescriptor, LinearId } from '#model/device';
import type { RiskAssessment } from '#model/risk';
import type { SafetyPolicy } from '#model/safety-policy';
import { aggregateRisk } from '#orchestrator/risk-aggregate';
import type { AccountBook } from '#tracks/security/identity/account-book';
import type { Lockouts } from '#tracks/security/identity/lockouts';
import type { SecondAdministrator } from '#tracks/security/identity/second-administrator';
import { SessionDesk } from '#tracks/security/identity/session-desk';
import type { TokenBook } from '#tracks/security/identity/token-book';
import { TokenDesk } from '#tracks/security/identity/token-desk';
import { Turns } from '#tracks/security/identity/turns';
import type { RecordAct, SessionControl } from '#tracks/security/ports';
import { RightsDesk, type RightsParts } from '#tracks/security/rights';

export interface DeskParts
  extends Pick<RightsParts, 'isQuarantined' | 'incidentOn' | 'underReview'> {
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly policy: SafetyPolicy;
  readonly accounts: AccountBook;
  readonly tokens: TokenBook;
  readonly lockouts: Lockouts;
  readonly sessions: SessionControl;
  readonly record: RecordAct;
  readonly second: SecondAdministrator;
  /** Of the wall floor. */
  readonly wallMs: () => number;
}

export function composeDesks(parts: DeskParts) {
  const { accounts, tokens, lockouts, sessions, record, second, wallMs, policy } = parts;
  // One for all: a change is judged by accounts and tokens alike.
  const turns = new Turns();
  const shared = { record, second, turns, sessions, wallMs };
  return {
    ...new TokenDesk({ ...shared, accounts, book: tokens }).handlers(),
    ...new SessionDesk({ sessions, record }).handlers(),
    ...new RightsDesk({
      accounts,
      devices: parts.devices,
      isQuarantined: parts.isQuarantined,
      incidentOn: parts.incidentOn,
      underReview: parts.underReview,
      locked: (account) => lockouts.lockOf(account) !== null,
      wallMs,
      combine: (assessments: readonly RiskAssessment[]) =>
        aggregateRisk(assessments, policy.risk).level,
    }).handlers(),
  };
}
