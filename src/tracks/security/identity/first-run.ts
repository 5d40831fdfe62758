// The first two administrators of an appliance: made once, at the machine itself, with an invitation for each.
// Invariants: there is no default password and no way here from the network; it works only while nobody can administer. Two, for
// what gives rights takes two. They may manage accounts and look at devices; any clearance they give one another, on record.
// Invitations that ran out before they were used are given anew to the same two, as long as neither can sign in.
// Faults: NOT_PERMITTED once somebody can administer, ACCOUNT_INVALID, AUDIT_UNAVAILABLE.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AccountRecord } from '#model/account';
import type { AdministrationCaller, RecordAct } from '../ports.ts';
import type { AccountBook } from './account-book.ts';
import { namesRefusal } from './account-rules.ts';
import type { CredentialBook } from './credential-book.ts';
import type { Invitations } from './invitations.ts';
import type { TokenBook } from './token-book.ts';

export interface FirstAdministrator {
  /** `^[a-z0-9][a-z0-9-]{0,62}$`. */
  readonly id: string;
  readonly name: string;
}

export interface FirstRunRequest {
  readonly first: FirstAdministrator;
  readonly second: FirstAdministrator;
}

export interface FirstInvitation {
  readonly account: string;
  /** Shown once. */
  readonly invitation: string;
  readonly expiresAtWallMs: number;
}

export interface FirstRunAnswer {
  readonly invitations: readonly FirstInvitation[];
}

export interface FirstRunParts {
  readonly accounts: AccountBook;
  readonly credentials: CredentialBook;
  readonly tokens: TokenBook;
  readonly invitations: Invitations;
  readonly record: RecordAct;
}

const PLACE = 'first setup';

export class FirstRun {
  readonly #parts: FirstRunParts;
  #underWay = false;

  constructor(parts: FirstRunParts) {
    this.#parts = parts;
  }

  /** Whether two administrators are still to be made. */
  get needed(): boolean {
    return this.#administrators().every((record) => !this.#canSignIn(record));
  }

  /** `actor`: the local user, as the operating system says. */
  async perform(
    request: FirstRunRequest,
    caller: AdministrationCaller,
    actor: string,
  ): Promise<Outcome<FirstRunAnswer>> {
    if (this.#underWay) {
      return refuse(fault('BUSY', { place: PLACE, finding: 'is under way at another console' }));
    }
    this.#underWay = true;
    try {
      return await this.#perform(request, caller, actor);
    } finally {
      this.#underWay = false;
    }
  }

  async #perform(
    { first, second }: FirstRunRequest,
    caller: AdministrationCaller,
    actor: string,
  ): Promise<Outcome<FirstRunAnswer>> {
    const { accounts, invitations, record } = this.#parts;
    const wrong = wrongPeople(first, second) ?? this.#taken([first.id, second.id]);
    if (wrong !== null) return wrong;
    const made = [first, second].map((person) => ({
      record: accounts.account(person.id) ?? administrator(person),
      invitation: invitations.make(person.id),
    }));
    const ids = made.map(({ record: { id } }) => id);
    const entry = await record(
      'ACCOUNT_CREATED',
      caller,
      `first setup: ${ids.join(' and ')} are administrators, each with an invitation`,
      { actor, operation: 'setup', details: { accounts: ids } },
      () => {
        for (const { record: one, invitation } of made) {
          accounts.write(one);
          invitation.write();
        }
      },
    );
    if (!entry.ok) return entry;
    for (const { record: one, invitation } of made) {
      accounts.noteSaved(one);
      invitation.noteSaved();
    }
    return succeed({
      invitations: made.map(({ record: { id }, invitation }) => ({
        account: id,
        invitation: invitation.text,
        expiresAtWallMs: invitation.expiresAtWallMs,
      })),
    });
  }

  /** Why these two cannot be made: somebody administers already, or a name is another account's. */
  #taken(ids: readonly string[]) {
    const { accounts } = this.#parts;
    const administrators = this.#administrators();
    const able = administrators.find((record) => this.#canSignIn(record));
    if (able !== undefined) {
      const finding = `has been done: ${able.id} administers this appliance`;
      return refuse(fault('NOT_PERMITTED', { place: PLACE, finding }));
    }
    const other = administrators.find(({ id }) => !ids.includes(id));
    if (other !== undefined) {
      const names = administrators.map(({ id }) => id).join(' and ');
      const finding = `was begun for ${names}: new invitations go to the same people`;
      return refuse(fault('NOT_PERMITTED', { place: PLACE, finding }));
    }
    const taken = ids.find((id) => accounts.account(id)?.administrator === false);
    if (taken === undefined) return null;
    return invalid(`account ${taken}`, 'is there already and is no administrator');
  }

  #administrators(): readonly AccountRecord[] {
    return this.#parts.accounts.all().filter(({ administrator: is }) => is);
  }

  /** Any way in counts, also one that is closed for now: taking an appliance over is no way round a lock. */
  #canSignIn({ id, certificateUris, localUids }: AccountRecord): boolean {
    const { credentials, tokens } = this.#parts;
    return (
      credentials.enrolled(id) ||
      certificateUris.length > 0 ||
      localUids.length > 0 ||
      tokens.all().some(({ account }) => account === id)
    );
  }
}

function administrator({ id, name }: FirstAdministrator): AccountRecord {
  return {
    id,
    name,
    kind: 'person',
    clearance: 'RESTRICTED',
    compartments: [],
    devices: null,
    administrator: true,
    enabled: true,
    underReview: false,
    validFromWallMs: null,
    validUntilWallMs: null,
    certificateUris: [],
    localUids: [],
  };
}

function wrongPeople(first: FirstAdministrator, second: FirstAdministrator) {
  for (const person of [first, second]) {
    const refused = namesRefusal(person);
    if (refused !== null) return refuse(refused);
  }
  return first.id === second.id
    ? invalid('second', 'is the first once more: two people are needed')
    : null;
}

function invalid(place: string, finding: string) {
  return refuse(fault('ACCOUNT_INVALID', { place, finding }));
}
