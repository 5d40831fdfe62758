// The way back in for an administrator who lost password or telephone, or is locked, while no two others can help.
// Invariants: at the machine itself alone, by root or security's own user, never over the network; for administrators alone,
// for root needs no door to everybody else's name; what was secret or open before is worth nothing after it; all of it is on
// record, and told at once to whoever watches.
// Faults: ACCOUNT_UNKNOWN, NOT_PERMITTED for who is no administrator or out of use, AUDIT_UNAVAILABLE.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AccountPort, AdministrationCaller, RecordAct, SessionControl } from '../ports.ts';
import { administratorRefusal } from './account-rules.ts';
import type { FirstInvitation } from './first-run.ts';
import type { Invitations } from './invitations.ts';
import type { Lockouts } from './lockouts.ts';
import type { Turns } from './turns.ts';

const PLACE = 'recovery';

export interface AdministratorRecoveryParts {
  readonly accounts: AccountPort;
  readonly invitations: Pick<Invitations, 'make'>;
  readonly lockouts: Pick<Lockouts, 'lockOf' | 'writeUnlocked' | 'noteUnlocked'>;
  readonly sessions: Pick<SessionControl, 'endSessions'>;
  readonly record: RecordAct;
  readonly turns: Turns;
  /** Time that validity is judged by. */
  readonly wallMs: () => number;
  /** For everybody who watches the agent. */
  readonly onRecovered: (account: string, finding: string) => void;
}

export class AdministratorRecovery {
  readonly #parts: AdministratorRecoveryParts;

  constructor(parts: AdministratorRecoveryParts) {
    this.#parts = parts;
  }

  /** A whole invitation, shown once, and no lock any more. `actor`: the local user, as the operating system says. */
  perform(
    account: string,
    caller: AdministrationCaller,
    actor: string,
  ): Promise<Outcome<FirstInvitation>> {
    const { turns } = this.#parts;
    return turns.take(PLACE, caller.deadline, () => this.#perform(account, caller, actor));
  }

  async #perform(
    account: string,
    caller: AdministrationCaller,
    actor: string,
  ): Promise<Outcome<FirstInvitation>> {
    const { accounts, invitations, sessions, record, wallMs, onRecovered } = this.#parts;
    const found = accounts.account(account);
    if (found === undefined) {
      const finding = 'is not there';
      return refuse(fault('ACCOUNT_UNKNOWN', { place: `account ${account}`, finding }));
    }
    const unfit = administratorRefusal(found, wallMs());
    if (unfit !== null) {
      const finding = `${unfit}: this is for administrators alone, and administrators help everybody else`;
      return refuse(fault('NOT_PERMITTED', { place: `account ${account}`, finding }));
    }
    const made = invitations.make(account);
    const finding = `${account} was recovered at the console by ${actor}: password, one-time codes and sessions of before are worth nothing`;
    const entry = await record(
      'ACCOUNT_INVITED',
      caller,
      finding,
      { actor, operation: 'setup', details: { account, recovered: true } },
      () => {
        made.write();
        // Whoever was locked may not be alone with what is open.
        sessions.endSessions(
          ({ session }) => session.principal.id === account,
          'the account was recovered at the console',
        );
      },
    );
    if (!entry.ok) return entry;
    made.noteSaved();
    onRecovered(account, finding);
    const unlocked = await this.#unlock(account, caller, actor);
    if (!unlocked.ok) return unlocked;
    const { text: invitation, expiresAtWallMs } = made;
    return succeed({ account, invitation, expiresAtWallMs });
  }

  /** After the password of before is worth nothing: what is unlocked is then closed to whoever knew it. */
  async #unlock(
    account: string,
    caller: AdministrationCaller,
    actor: string,
  ): Promise<Outcome<void>> {
    const { lockouts, record } = this.#parts;
    const lock = lockouts.lockOf(account);
    if (lock === null) return succeed(undefined);
    const details = { account, lockedBecause: lock.because };
    const entry = await record(
      'ACCOUNT_UNLOCKED',
      caller,
      `${account} was unlocked at the console by ${actor}`,
      { actor, operation: 'setup', details },
      () => lockouts.writeUnlocked(account),
    );
    if (!entry.ok) return entry;
    lockouts.noteUnlocked(account);
    return succeed(undefined);
  }
}
