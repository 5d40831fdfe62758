// The way in with a password: signing in, enrolling with an invitation, changing the password.
// Invariants: every failure counts, for the name and for its source; who fails is never told what was wrong, and an account that
// nobody has costs the same work; a code is used once; nothing counts before it is on record. No secret leaves this room but in
// the first answer that gives it away.
// Faults: NOT_AUTHENTICATED, ACCOUNT_LOCKED, RATE_LIMITED, BUSY, INVITATION_INVALID, PASSWORD_UNSUITABLE, NOT_PERMITTED;
// AUDIT_UNAVAILABLE where the disk takes no entry: then nobody signs in with a password.

import { createHmac, randomBytes } from 'node:crypto';
import type { Clock } from '#foundation/clock';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AccountRecord } from '#model/account';
import type { AdministrationAnswer, AdministrationRequest } from '#model/administration';
import type {
  AccountPort,
  AdministrationCaller,
  AdministrationHandlers,
  RecordAct,
  SessionControl,
} from '../ports.ts';
import { principalOf } from './account-book.ts';
import { type CredentialBook, NobodysCodes, type PersonalSecrets } from './credential-book.ts';
import { unusableBecause } from './grounds.ts';
import type { Invitation, Invitations } from './invitations.ts';
import type { Attempt, Lockouts } from './lockouts.ts';
import { base32, codeUri, newCodeSecret } from './one-time-codes.ts';
import { passwordFinding } from './password-rules.ts';
import type { Passwords } from './passwords.ts';
import { hashToken, newHandle } from './secrets.ts';
import type { SignIns } from './sign-ins.ts';
import type { Sources } from './sources.ts';

export interface EntryDeskParts {
  readonly clock: Clock;
  /** Of the wall floor. */
  readonly wallMs: () => number;
  readonly accounts: AccountPort;
  readonly credentials: CredentialBook;
  readonly invitations: Invitations;
  /** Why nothing new can be sealed; null where it can. */
  readonly unsealable: () => string | null;
  readonly passwords: Passwords;
  readonly lockouts: Lockouts;
  readonly sources: Sources;
  readonly signIns: SignIns;
  readonly sessions: SessionControl;
  readonly record: RecordAct;
  /** A name was locked after failed sign-ins; `account` is empty where nobody has that name. */
  readonly onLocked: (account: string, finding: string) => void;
}

type EntryHandlers = Pick<
  AdministrationHandlers,
  'login' | 'enrol' | 'confirmEnrolment' | 'changePassword'
>;

/** What was checked with password and code, and the attempt that is still open. */
interface Proved {
  readonly attempt: Attempt;
  readonly record: AccountRecord;
  readonly secrets: PersonalSecrets;
  readonly outdated: boolean;
}

const WRONG = 'name, password or one-time code is wrong, or the code was used already';
/** Where secrets cannot be opened. */
const REMEDY =
  'nothing was done; certificates, tokens and the local console go on: bring the sealing key back, or have root run `dsmil setup --recover NAME` for an administrator, who invites the others anew';

export class EntryDesk {
  readonly #parts: EntryDeskParts;
  /** Names that nobody has may be passwords in the wrong field: what is on record tells them apart, and no more. */
  readonly #nameKey = randomBytes(32);
  /** For the work that is done for nothing. */
  readonly #nobody = new NobodysCodes();

  constructor(parts: EntryDeskParts) {
    this.#parts = parts;
  }

  handlers(): EntryHandlers {
    return {
      login: (caller, request) => this.#login(caller, request),
      enrol: (caller, request) => this.#enrol(caller, request),
      confirmEnrolment: (caller, request) => this.#confirm(caller, request),
      changePassword: (caller, request) => this.#changePassword(caller, request),
    };
  }

  // --- Signing in --------------------------------------------------------------------------------

  async #login(
    caller: AdministrationCaller,
    { account, password, code }: AdministrationRequest<'login'>,
  ): Promise<Outcome<AdministrationAnswer<'login'>>> {
    const proved = await this.#prove(caller, 'login', account, password, code);
    if (!proved.ok) return proved;
    const { attempt, record, secrets, outdated } = proved.value;
    const { signIns, sessions, credentials, passwords } = this.#parts;
    const { id } = record;
    // A hash that cannot be renewed now is renewed next time.
    const renewed = outdated ? await passwords.hash(password).catch(() => null) : null;
    const better = renewed?.ok === true ? renewed.value : null;
    const opening = signIns.open(id, caller.origin);
    const cleared = attempt.succeeded();
    let stands = true;
    const entry = await this.#parts.record(
      'SIGNED_IN',
      caller,
      'signed in with password and one-time code',
      { actor: id, operation: 'login', details: { account: id, handle: opening.handle } },
      () => {
        stands = credentials.stands(id, secrets.password);
        // Nothing of this counts then, this entry either.
        if (!stands) throw new Error('the password was replaced in the same moment');
        opening.write();
        cleared.write();
        if (better !== null) credentials.writePassword(id, secrets.password, better);
        credentials.writeStep(id);
      },
    );
    if (!stands) {
      await this.#failed(caller, 'login', id, 'the password was replaced meanwhile');
      return refuse(this.#wrong());
    }
    if (!entry.ok) {
      opening.abandon();
      return entry;
    }
    if (better !== null) credentials.notePassword(id, secrets.password, better);
    const opened = opening.noteOpened();
    // What ended this person's sign-ins while the entry was written ended this one too.
    if (opened === null) return refuse(this.#wrong());
    const over = new Set(opened.map(({ handle }) => handle));
    if (over.size > 0)
      sessions.endSessions(({ handle }) => over.has(handle), 'newer sign-ins took its place');
    return succeed({
      token: opening.token,
      principal: principalOf(record),
      administrator: record.administrator,
      way: 'password',
      expiresAtWallMs: opening.expiresAtWallMs,
    });
  }

  /** Password and code of this name, and a name and a source that are not locked; every failure is counted and on record. */
  async #prove(
    caller: AdministrationCaller,
    operation: 'login' | 'changePassword',
    name: string,
    password: string,
    code: string,
  ): Promise<Outcome<Proved>> {
    const { sources, lockouts, accounts, credentials, passwords, clock } = this.#parts;
    // Before the hash, which costs: a password has few bits, and from here too many were guessed.
    const waits = sources.refusal(caller.origin);
    if (waits !== null) return refuse(waits);
    const begun = lockouts.begin(name);
    if (!begun.ok) {
      if (begun.fault.code === 'ACCOUNT_LOCKED')
        await this.#failed(caller, operation, name, 'the name is locked');
      return begun;
    }
    const attempt = begun.value;
    const before = this.#usable(accounts.account(name));
    const kept = before === undefined ? undefined : credentials.of(name);
    const verdict = await passwords
      .verify(password, kept?.password ?? null)
      .catch((error: unknown) => {
        attempt.abandoned();
        throw error;
      });
    if (!verdict.ok) {
      attempt.abandoned();
      return verdict;
    }
    // Whatever changed while the hash was worked out counts: a lock, another password, an account that was disabled.
    const lock = lockouts.lockOf(name);
    const record = this.#usable(accounts.account(name));
    const secrets = credentials.of(name);
    const same = secrets !== undefined && secrets.password === kept?.password;
    const right = verdict.value.right && record !== undefined && same && lock === null;
    const wallMs = clock.wallMs();
    const proved = right
      ? credentials.useCode(name, code, wallMs)
      : this.#nobody.useCode(code, wallMs);
    if (right && proved) {
      const current = credentials.of(name) ?? secrets;
      const { outdated } = verdict.value;
      return succeed({ attempt, record, secrets: current, outdated });
    }
    const { locked, write } = attempt.failed();
    const because = credentials.shut.get(name);
    const finding =
      because === undefined
        ? 'wrong name, password or code'
        : `password and code cannot be checked: ${because}`;
    await this.#failed(caller, operation, name, finding, write);
    if (locked) await this.#lockedNow(caller, name);
    return refuse(this.#wrong());
  }

  /** An account whose person may sign in now. */
  #usable(record: AccountRecord | undefined): AccountRecord | undefined {
    if (record === undefined) return undefined;
    return unusableBecause(record, this.#parts.wallMs()) === null ? record : undefined;
  }

  // --- Enrolment ---------------------------------------------------------------------------------

  async #enrol(
    caller: AdministrationCaller,
    { invitation: text, password }: AdministrationRequest<'enrol'>,
  ): Promise<Outcome<AdministrationAnswer<'enrol'>>> {
    const { invitations, passwords, record } = this.#parts;
    const found = await this.#invitation(caller, 'enrol', text);
    if (!found.ok) return found;
    const { account } = found.value;
    const unsuitable = passwordFinding(password, account);
    if (unsuitable !== null) return refuse(unsuitableFault(unsuitable));
    const unsealable = this.#parts.unsealable();
    if (unsealable !== null) {
      const consequence = 'no password was set: put the key right and start the agent again';
      const finding = `secrets cannot be sealed: ${unsealable}`;
      return refuse(fault('CONFIG_INVALID', { place: 'enrolment', finding, consequence }));
    }
    const hash = await passwords.hash(password);
    if (!hash.ok) return hash;
    if (!invitations.stands(found.value)) return refuse(invitationFault());
    const codeSecret = newCodeSecret();
    const secret = base32(codeSecret);
    const pending = invitations.chosen(found.value, hash.value, codeSecret);
    codeSecret.fill(0);
    let stands = true;
    const entry = await record(
      'PASSWORD_CHANGED',
      caller,
      'set with an invitation; it counts once the first one-time code is proved',
      { actor: account, operation: 'enrol', details: { account } },
      () => {
        stands = invitations.writeChosen(pending);
        if (!stands) throw new Error('the invitation was replaced in the same moment');
      },
    );
    if (!stands) return refuse(invitationFault());
    if (!entry.ok) return entry;
    // Replaced or used up while the entry was written: what was chosen now is worth nothing.
    if (!invitations.stands(found.value)) return refuse(invitationFault());
    invitations.noteSaved(pending);
    return succeed({ account, secret, uri: codeUri(account, secret) });
  }

  async #confirm(
    caller: AdministrationCaller,
    { invitation: text, code }: AdministrationRequest<'confirmEnrolment'>,
  ): Promise<Outcome<AdministrationAnswer<'confirmEnrolment'>>> {
    const { invitations, credentials, clock, record } = this.#parts;
    const found = await this.#invitation(caller, 'confirmEnrolment', text);
    if (!found.ok) return found;
    const { account, pending } = found.value;
    if (pending === null) {
      return refuse(invitationFault('no password was set with it yet'));
    }
    const secrets = invitations.proved(found.value, code, clock.wallMs());
    if (secrets === null) {
      const waits = this.#parts.sources.refusal(caller.origin);
      if (waits !== null) return refuse(waits);
      await this.#failed(caller, 'confirmEnrolment', account, 'wrong first code');
      const finding = 'the one-time code is wrong; compare the clock of the device that shows it';
      return refuse(fault('NOT_AUTHENTICATED', { place: 'one-time code', finding }));
    }
    // Taken now, so that a second confirmation of the same invitation finds none.
    if (!invitations.stands(found.value)) return refuse(invitationFault());
    invitations.noteUsed(found.value);
    let stands = true;
    const entry = await record(
      'ACCOUNT_ENROLLED',
      caller,
      `${account} has a password and one-time codes`,
      { actor: account, operation: 'confirmEnrolment', details: { account } },
      () => {
        stands = invitations.writeUsed(found.value);
        // An invitation given meanwhile has the last word, in the store as here.
        if (!stands) throw new Error('the invitation was replaced in the same moment');
        credentials.write(secrets);
      },
    );
    if (!stands) return refuse(invitationFault());
    if (!entry.ok) {
      if (invitations.of(account) === undefined) invitations.noteSaved(found.value);
      return entry;
    }
    if (invitations.of(account) === undefined) credentials.noteSaved(secrets);
    return succeed({ account });
  }

  async #invitation(
    caller: AdministrationCaller,
    operation: 'enrol' | 'confirmEnrolment',
    text: string,
  ): Promise<Outcome<Invitation>> {
    const { sources, invitations, accounts } = this.#parts;
    // It has too many bits to be guessed, so that a good one is good from anywhere.
    const invitation = invitations.find(text);
    if (invitation !== undefined && accounts.account(invitation.account)?.enabled === true)
      return succeed(invitation);
    const waits = sources.refusal(caller.origin);
    if (waits !== null) return refuse(waits);
    await this.#failed(caller, operation, null, 'unknown, used or expired invitation');
    return refuse(invitationFault());
  }

  // --- The own password --------------------------------------------------------------------------

  async #changePassword(
    caller: AdministrationCaller,
    { password, code, next }: AdministrationRequest<'changePassword'>,
  ): Promise<Outcome<AdministrationAnswer<'changePassword'>>> {
    const { credentials, passwords, sessions, record } = this.#parts;
    const { session } = caller;
    const account = session?.principal.id ?? '';
    if (session === null || !credentials.enrolled(account)) {
      const finding = 'has no password; an administrator gives invitations';
      return refuse(fault('NOT_PERMITTED', { place: `account ${account}`, finding }));
    }
    const unsuitable =
      passwordFinding(next, account) ?? (next === password ? 'is the one of before' : null);
    if (unsuitable !== null) return refuse(unsuitableFault(unsuitable));
    const proved = await this.#prove(caller, 'changePassword', account, password, code);
    if (!proved.ok) return this.#sessionStays(proved);
    const { attempt, secrets } = proved.value;
    const hash = await passwords.hash(next).catch((error: unknown) => {
      attempt.abandoned();
      throw error;
    });
    // Another password or an invitation that came meanwhile has the last word.
    if (!hash.ok || credentials.of(account)?.password !== secrets.password) {
      attempt.abandoned();
      return hash.ok ? this.#sessionStays(refuse(this.#wrong())) : hash;
    }
    const cleared = attempt.succeeded();
    const own = sessions.handleOf(session.id);
    let sessionsEnded = 0;
    let stands = true;
    const entry = await record(
      'PASSWORD_CHANGED',
      caller,
      'changed by the person; every other session ended',
      { operation: 'changePassword', details: { account } },
      () => {
        stands = credentials.stands(account, secrets.password);
        if (!stands) throw new Error('the password was replaced in the same moment');
        credentials.writePassword(account, secrets.password, hash.value);
        credentials.writeStep(account);
        cleared.write();
        // With the rows of the others: no restart brings them back. They stay ended where the entry fails.
        sessionsEnded = sessions.endSessions(
          ({ handle, session: other }) => other.principal.id === account && handle !== own,
          'the password was changed',
        );
      },
    );
    if (!stands) return this.#sessionStays(refuse(this.#wrong()));
    if (!entry.ok) return entry;
    credentials.notePassword(account, secrets.password, hash.value);
    return succeed({ sessionsEnded });
  }

  // --- What failed -------------------------------------------------------------------------------

  /** `name` as it was given, null where none was. */
  async #failed(
    caller: AdministrationCaller,
    operation: string,
    name: string | null,
    finding: string,
    beside?: () => void,
  ): Promise<void> {
    const { sources, accounts, record } = this.#parts;
    // Each guess at a password is another one, also where the same is tried again.
    const sourceWaits = sources.failed(caller.origin, newHandle());
    const known = name !== null && accounts.account(name) !== undefined;
    const account = known ? name : '';
    const tried = name === null || known ? account : `unknown name ${this.#digestOf(name)}`;
    await record(
      'AUTHENTICATION_FAILED',
      caller,
      finding,
      { operation, decision: 'refused', details: { account, tried, way: 'password', sourceWaits } },
      beside,
    );
  }

  async #lockedNow(caller: AdministrationCaller, name: string): Promise<void> {
    const { accounts, lockouts, record, onLocked } = this.#parts;
    const known = accounts.account(name) !== undefined;
    const account = known ? name : '';
    const lock = lockouts.lockOf(name);
    const finding = `locked for sign-ins: ${lock?.because ?? 'failed sign-ins'}`;
    const tried = known ? name : `unknown name ${this.#digestOf(name)}`;
    const details = { account, tried, untilWallMs: lock?.untilWallMs ?? 0 };
    await record('ACCOUNT_LOCKED', caller, finding, { actor: 'security', details });
    onLocked(account, finding);
  }

  /**
   * The same for everybody who is refused, while there are secrets that cannot be opened too: whose they are is on record and
   * in the log, and not for strangers.
   */
  #wrong(): Fault {
    const finding = `${WRONG}${this.#orShut()}`;
    const found = { place: 'sign-in', finding };
    const { shut } = this.#parts.credentials;
    return fault('NOT_AUTHENTICATED', shut.size === 0 ? found : { ...found, consequence: REMEDY });
  }

  #orShut(): string {
    const reasons = [...new Set(this.#parts.credentials.shut.values())];
    if (reasons.length === 0) return '';
    return `, or the secrets of the account cannot be opened, because ${reasons.join(', or ')}`;
  }

  /** The session that asks is as good as before, and nobody should take it for ended. */
  #sessionStays<T>(outcome: Outcome<T>): Outcome<never> {
    if (outcome.ok) throw new Error('only a refusal is passed on');
    const { code } = outcome.fault;
    if (code !== 'NOT_AUTHENTICATED' && code !== 'ACCOUNT_LOCKED') return outcome;
    const finding =
      code === 'ACCOUNT_LOCKED'
        ? 'cannot be changed while sign-ins of the account are locked'
        : `the present one or the one-time code is wrong, or the code was used already${this.#orShut()}`;
    return refuse(fault('NOT_PERMITTED', { place: 'password', finding }));
  }

  #digestOf(name: string): string {
    return createHmac('sha256', this.#nameKey).update(hashToken(name)).digest('hex').slice(0, 8);
  }
}

function invitationFault(
  finding = 'is unknown, used, replaced, expired or only one of its two halves',
): Fault {
  return fault('INVITATION_INVALID', { place: 'invitation', finding });
}

function unsuitableFault(finding: string): Fault {
  return fault('PASSWORD_UNSUITABLE', { place: 'password', finding });
}
