// Accounts, as administrators see and change them.
// Invariants: a change and its audit entry are one transaction, and count in memory once that is on disk; what gives rights
// takes two administrators, what only takes them ends the sessions that it concerns at once; changes are made one by one. Each
// of the two is given one half of an invitation, for a whole one would make one administrator two people.
// Faults: ACCOUNT_UNKNOWN, ACCOUNT_INVALID with member and finding, NOT_PERMITTED for the own account, and those of
// `SecondAdministrator` and `Turns`; AUDIT_UNAVAILABLE when the disk took neither entry nor change.

import type { Canonical } from '#foundation/canonical';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AccountRecord, AccountView } from '#model/account';
import type {
  AdministrationAnswer,
  AdministrationKey,
  AdministrationRequest,
  ChangeProgress,
} from '#model/administration';
import type { AuditRecord } from '#model/audit-entry';
import type { LinearId } from '#model/device';
import type {
  AdministrationCaller,
  AdministrationHandlers,
  LiveSession,
  RecordAct,
  SessionControl,
} from '../ports.ts';
import type { AccountBook } from './account-book.ts';
import {
  changedMembers,
  changedRecord,
  compareRights,
  membersOf,
  orderedRecord,
  ownAccountRefusal,
  recordRefusal,
} from './account-rules.ts';
import { type InvitationMade, newInvitationHalf } from './invitations.ts';
import type { Lock, Lockouts } from './lockouts.ts';
import {
  accountBasis,
  type Proposed,
  type SecondAdministrator,
  type TwoAsked,
} from './second-administrator.ts';
import type { Turns } from './turns.ts';

export interface AccountDeskParts {
  readonly book: Pick<AccountBook, 'account' | 'all' | 'write' | 'noteSaved'>;
  readonly record: RecordAct;
  readonly second: SecondAdministrator;
  readonly turns: Turns;
  readonly sessions: Pick<SessionControl, 'endSessions' | 'liveSessions'>;
  readonly tokensOf: (account: string) => number;
  readonly lockouts: Pick<Lockouts, 'lockOf' | 'writeUnlocked' | 'noteUnlocked'>;
  readonly enrolled: (account: string) => boolean;
  /** Whether the person of this record could sign in now by any way. */
  readonly hasWayIn: (record: AccountRecord) => boolean;
  /** Takes password, codes and the invitation of before with it. */
  readonly invite: (account: string, firstHalf: string | undefined) => InvitationMade;
  readonly onBoard: (device: LinearId) => boolean;
  /** Time that validity is judged by. */
  readonly wallMs: () => number;
}

type Answered<K extends AdministrationKey> = Promise<Outcome<AdministrationAnswer<K>>>;

/** Phrases that a sentence lists before it says how many more there are. */
const PHRASES_MAX = 6;

export class AccountDesk {
  readonly #parts: AccountDeskParts;

  constructor(parts: AccountDeskParts) {
    this.#parts = parts;
  }

  handlers(): Pick<
    AdministrationHandlers,
    'accounts' | 'createAccount' | 'changeAccount' | 'inviteAccount' | 'unlockAccount'
  > {
    const { turns } = this.#parts;
    return {
      accounts: async () => succeed({ accounts: this.#views() }),
      createAccount: (caller, request) =>
        turns.take('createAccount', caller.deadline, () => this.#create(caller, request)),
      changeAccount: (caller, request) =>
        turns.take('changeAccount', caller.deadline, () => this.#change(caller, request)),
      inviteAccount: (caller, request) =>
        turns.take('inviteAccount', caller.deadline, () => this.#invite(caller, request)),
      unlockAccount: (caller, request) =>
        turns.take('unlockAccount', caller.deadline, () => this.#unlock(caller, request)),
    };
  }

  #views(): readonly AccountView[] {
    const { book, sessions, lockouts, enrolled, tokensOf } = this.#parts;
    const live = sessions.liveSessions();
    return book.all().map((record) => {
      const lock = lockouts.lockOf(record.id);
      return {
        ...record,
        enrolled: enrolled(record.id),
        lockedUntilWallMs: lock?.untilWallMs ?? 0,
        lockedBecause: lock?.because ?? '',
        sessions: live.filter(({ session }) => session.principal.id === record.id).length,
        tokens: tokensOf(record.id),
      };
    });
  }

  async #create(
    caller: AdministrationCaller,
    request: AdministrationRequest<'createAccount'>,
  ): Answered<'createAccount'> {
    const { book, record, second, invite } = this.#parts;
    const { reason } = request;
    const account = orderedRecord(request.account);
    const wrong = recordRefusal(account, undefined, this.#context(reason));
    if (wrong !== null) return refuse(wrong);
    const details = { account: account as unknown as Canonical };
    const what = `to make the ${account.kind} ${account.id} an account${account.administrator ? ' of an administrator' : ''} with the clearance ${account.clearance}`;
    const person = account.kind === 'person';
    const subject = {
      request: { account, reason },
      basis: '',
      what,
      details,
      ...(person ? { share: newInvitationHalf } : {}),
    };
    const asked = await second.ask(caller, 'createAccount', subject, async (proposed) => {
      const invitation = person ? invite(account.id, proposed.share) : null;
      const saved = await record(
        'ACCOUNT_CREATED',
        caller,
        `account ${account.id} created`,
        entryOf('createAccount', reason, details, proposed),
        () => {
          book.write(account);
          invitation?.write();
        },
      );
      if (!saved.ok) return saved;
      book.noteSaved(account);
      invitation?.noteSaved();
      return succeed({ by: proposed.by, half: invitation?.secondHalf ?? '' });
    });
    return asked.ok ? succeed(invitedBy(asked.value, account.id, 'created')) : asked;
  }

  async #change(
    caller: AdministrationCaller,
    { id, change, reason }: AdministrationRequest<'changeAccount'>,
  ): Answered<'changeAccount'> {
    const before = this.#find(id);
    if (!before.ok) return before;
    const after = changedRecord(before.value, change);
    const members = changedMembers(before.value, after);
    const { gives, takes } = compareRights(before.value, after);
    if (gives.length + takes.length > 0) {
      const own = ownAccountRefusal(nameOf(caller), id, 'changes the rights of the own account');
      if (own !== null) return refuse(own);
    }
    const wrong = recordRefusal(after, before.value, this.#context(reason));
    if (wrong !== null) return refuse(wrong);
    const details = {
      account: id,
      before: membersOf(before.value, members) as Canonical,
      after: membersOf(after, members) as Canonical,
    };
    const save = (proposed?: Proposed) =>
      this.#save(caller, before.value, after, entryOf('changeAccount', reason, details, proposed));
    if (gives.length === 0) return save();
    const also = takes.length === 0 ? '' : `, and to take ${listed(takes)}`;
    const asked = await this.#parts.second.ask(
      caller,
      'changeAccount',
      {
        // The change as it comes out, so that another way of writing it is the same.
        request: { id, change: membersOf(after, members), reason },
        basis: accountBasis(before.value),
        what: `to give ${id} ${listed(gives)}${also}`,
        details,
      },
      save,
    );
    if (!asked.ok) return asked;
    return succeed(asked.value.done ? asked.value.value : asked.value);
  }

  async #save(
    caller: AdministrationCaller,
    before: AccountRecord,
    after: AccountRecord,
    entry: Partial<AuditRecord>,
  ): Promise<Outcome<ChangeProgress>> {
    const { book, record } = this.#parts;
    const { gives, takes } = compareRights(before, after);
    const result = sentenceOf(after.id, gives, takes, changedMembers(before, after));
    let ended = 0;
    const saved = await record('ACCOUNT_CHANGED', caller, result, entry, () => {
      book.write(after);
      // In the same transaction, so that no sign-in outlives a crash.
      ended = this.#endConcerned(before, after);
    });
    if (!saved.ok) return saved;
    book.noteSaved(after);
    const told = ended === 0 ? '' : `; ${ended} session${ended === 1 ? '' : 's'} ended`;
    return succeed({ done: true, message: `${result}${told}` });
  }

  /** Sessions of an account that is out of use, or that were opened with what proves it no more. */
  #endConcerned(before: AccountRecord, after: AccountRecord): number {
    const { sessions, wallMs } = this.#parts;
    const nowMs = wallMs();
    const inWindow =
      (after.validFromWallMs ?? nowMs) <= nowMs && nowMs < (after.validUntilWallMs ?? Infinity);
    const own = ({ session }: LiveSession) => session.principal.id === after.id;
    if (!after.enabled) return sessions.endSessions(own, 'the account was disabled');
    if (!inWindow) return sessions.endSessions(own, 'the account is outside its time of validity');
    const lost = <T>(all: readonly T[], left: readonly T[]) =>
      all.some((item) => !left.includes(item));
    const ways = [
      ...(lost(before.certificateUris, after.certificateUris) ? ['certificate'] : []),
      ...(lost(before.localUids, after.localUids) ? ['local'] : []),
    ];
    if (ways.length === 0) return 0;
    const matches = (live: LiveSession) => own(live) && ways.includes(live.session.way);
    return sessions.endSessions(
      matches,
      'what it was opened with no longer stands for the account',
    );
  }

  async #invite(
    caller: AdministrationCaller,
    { id, reason }: AdministrationRequest<'inviteAccount'>,
  ): Answered<'inviteAccount'> {
    const { record, second, invite, sessions, enrolled } = this.#parts;
    const found = this.#find(id);
    if (!found.ok) return found;
    if (found.value.kind !== 'person') {
      return invalid('kind', `${id} is a machine: it has no password, but certificates and tokens`);
    }
    if (!found.value.enabled)
      return invalid('enabled', `${id} is disabled: enable the account first`);
    const subject = {
      request: { id, reason },
      // A password set meanwhile is a change too: the invitation would throw it away.
      basis: `${accountBasis(found.value)} ${enrolled(id)}`,
      what: `to have ${id} set a new password and new one-time codes`,
      details: { account: id },
      share: newInvitationHalf,
    };
    const asked = await second.ask(caller, 'inviteAccount', subject, async (proposed) => {
      const made = invite(id, proposed.share);
      const saved = await record(
        'ACCOUNT_INVITED',
        caller,
        `${id} was invited; password and one-time codes of before are worth nothing`,
        entryOf('inviteAccount', reason, { account: id }, proposed),
        () => {
          made.write();
          sessions.endSessions(
            ({ session }) => session.principal.id === id && session.way === 'password',
            'the password is worth nothing any more: a new invitation was given',
          );
        },
      );
      if (!saved.ok) return saved;
      made.noteSaved();
      return succeed({ by: proposed.by, half: made.secondHalf });
    });
    return asked.ok ? succeed(invitedBy(asked.value, id, 'invited')) : asked;
  }

  async #unlock(
    caller: AdministrationCaller,
    { id, reason }: AdministrationRequest<'unlockAccount'>,
  ): Answered<'unlockAccount'> {
    const { record, second, lockouts } = this.#parts;
    const found = this.#find(id);
    if (!found.ok) return found;
    const own = ownAccountRefusal(nameOf(caller), id, 'unlocks the own account');
    if (own !== null) return refuse(own);
    const lock = lockouts.lockOf(id);
    const details = { account: id, lockedBecause: lock?.because ?? '' };
    const unlock = async (proposed?: Proposed): Promise<Outcome<ChangeProgress>> => {
      const message = lock === null ? `${id} is not locked` : `${id} was unlocked`;
      const entry = entryOf('unlockAccount', reason, details, proposed);
      // A lock that came after this was asked for is another one, and stands.
      let lifted = false;
      const saved = await record('ACCOUNT_UNLOCKED', caller, message, entry, () => {
        lifted = sameLock(lock, lockouts.lockOf(id));
        if (lifted) lockouts.writeUnlocked(id);
      });
      if (!saved.ok) return saved;
      if (!lifted)
        return succeed({ done: false, message: `${message}, and locked anew meanwhile` });
      lockouts.noteUnlocked(id);
      return succeed({ done: true, message });
    };
    if (lock?.standing !== true) return unlock();
    const subject = {
      request: { id, reason },
      basis: `${accountBasis(found.value)} ${lock.because}`,
      what: `to unlock ${id}, who was locked by threat detection: ${lock.because}`,
      details,
    };
    const asked = await second.ask(caller, 'unlockAccount', subject, unlock);
    if (!asked.ok) return asked;
    return succeed(asked.value.done ? asked.value.value : asked.value);
  }

  #find(id: string): Outcome<AccountRecord> {
    const record = this.#parts.book.account(id);
    if (record !== undefined) return succeed(record);
    return refuse(fault('ACCOUNT_UNKNOWN', { place: `account ${id}`, finding: 'is not there' }));
  }

  #context(reason: string) {
    const { book, onBoard, hasWayIn, wallMs } = this.#parts;
    return { accounts: book.all(), onBoard, hasWayIn, wallMs: wallMs(), reason };
  }
}

function invalid(member: string, finding: string) {
  return refuse(fault('ACCOUNT_INVALID', { place: member, finding }));
}

/** What each of the two hears: that one's half of the invitation, and whose the other one is. */
function invitedBy(
  asked: TwoAsked<{ readonly by: string; readonly half: string }>,
  id: string,
  done: 'created' | 'invited',
): AdministrationAnswer<'inviteAccount'> {
  if (!asked.done) {
    const { message, share = '' } = asked;
    const handed = `${message}; hand this half of the invitation to ${id} and nobody else: the second administrator gets the other half, and either alone is worth nothing`;
    return { done: false, message: share === '' ? message : handed, invitation: share };
  }
  const { by, half } = asked.value;
  const message = done === 'created' ? `account ${id} created` : `${id} was invited`;
  const handed = `${message}; hand this half of the invitation to ${id} and nobody else: it goes with the half that ${by} was given`;
  return { done: true, message: half === '' ? message : handed, invitation: half };
}

function nameOf({ session }: AdministrationCaller): string {
  return session?.principal.id ?? '';
}

function sameLock(one: Lock | null, other: Lock | null): boolean {
  return one?.standing === other?.standing && one?.untilWallMs === other?.untilWallMs;
}

/** The members of an entry that every act here has. */
function entryOf(
  operation: AdministrationKey,
  reason: string,
  details: AuditRecord['details'],
  proposed: Proposed | undefined,
): Partial<AuditRecord> {
  if (proposed === undefined) return { operation, reason, details };
  const { by, digest } = proposed;
  return { operation, reason, planDigest: digest, details: { ...details, proposedBy: by } };
}

function sentenceOf(
  id: string,
  gives: readonly string[],
  takes: readonly string[],
  members: readonly string[],
): string {
  if (gives.length + takes.length > 0) {
    const got = gives.length === 0 ? [] : [`${id} got ${listed(gives)}`];
    const lost = takes.length === 0 ? [] : [`${id} lost ${listed(takes)}`];
    return [...got, ...lost].join('; ');
  }
  return members.length === 0 ? `${id} is so already` : `${id}: changed ${members.join(', ')}`;
}

function listed(phrases: readonly string[]): string {
  const more = phrases.length - PHRASES_MAX;
  const shown = phrases.slice(0, PHRASES_MAX).join(', ');
  return more > 0 ? `${shown} and ${more} more` : shown;
}
