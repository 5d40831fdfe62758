// API tokens, as their holders and administrators see, make and revoke them.
// Invariants: a token's text is shown once, to who completes the asking, and kept as a hash only; its scope never holds more
// than its account may, its life never goes beyond the account's; a token makes no tokens; a person's are made by that person
// alone, for whoever else was shown one could be two people.
// Faults: ACCOUNT_UNKNOWN, ACCOUNT_INVALID, SCOPE_EXCEEDED, TOKEN_UNKNOWN (also for another's), and those of `SecondAdministrator`.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AccountRecord, TokenView } from '#model/account';
import type { AdministrationAnswer, AdministrationRequest } from '#model/administration';
import { callRefusal, isOperationKey } from '#model/call-rule';
import type { Session } from '#model/orchestrator-port';
import type {
  AccountPort,
  AdministrationCaller,
  AdministrationHandlers,
  RecordAct,
  SessionControl,
} from '../ports.ts';
import { principalOf } from './account-book.ts';
import { accountBasis, type Proposed, type SecondAdministrator } from './second-administrator.ts';
import { hashToken } from './secrets.ts';
import type { ApiToken, TokenBook } from './token-book.ts';
import type { Turns } from './turns.ts';

export const LIFETIME_DAYS_MAX = 365;
export const TOKENS_OF_ACCOUNT_MAX = 16;
/** Tells people and secret scanners what it is. */
const TOKEN_PREFIX = 'dsmil_';
const DAY_MS = 86_400_000;
const NAME_LENGTH_MAX = 128;
/** Revoked and expired ones that a list still shows. */
const PAST_SHOWN_MAX = 64;

export interface TokenDeskParts {
  readonly accounts: AccountPort;
  readonly book: Pick<
    TokenBook,
    'token' | 'all' | 'goodOf' | 'make' | 'revoked' | 'write' | 'noteSaved'
  >;
  readonly record: RecordAct;
  readonly second: SecondAdministrator;
  readonly turns: Turns;
  readonly sessions: Pick<SessionControl, 'endSessions'>;
  /** Time that validity is judged by. */
  readonly wallMs: () => number;
}

type Request = AdministrationRequest<'createToken'>;
type Answer = AdministrationAnswer<'createToken'>;

export class TokenDesk {
  readonly #parts: TokenDeskParts;

  constructor(parts: TokenDeskParts) {
    this.#parts = parts;
  }

  handlers(): Pick<AdministrationHandlers, 'tokens' | 'createToken' | 'revokeToken'> {
    const { turns } = this.#parts;
    return {
      tokens: async ({ session }) =>
        succeed({ tokens: session === null ? [] : this.#views(session) }),
      createToken: (caller, request) =>
        turns.take('createToken', caller.deadline, () => this.#create(caller, request)),
      revokeToken: (caller, request) =>
        turns.take('revokeToken', caller.deadline, () => this.#revoke(caller, request)),
    };
  }

  #views(session: Session): readonly TokenView[] {
    const { book, wallMs } = this.#parts;
    const nowMs = wallMs();
    const seen = book
      .all()
      .filter((token) => mayManage(session, token.account))
      .sort((one, other) => other.createdWallMs - one.createdWallMs);
    const good = ({ revokedWallMs, expiresAtWallMs }: ApiToken) =>
      revokedWallMs === 0 && expiresAtWallMs > nowMs;
    const past = seen.filter((token) => !good(token)).slice(0, PAST_SHOWN_MAX);
    return [...seen.filter(good), ...past].map((token) => ({
      id: token.id,
      account: token.account,
      name: token.name,
      scope: token.scope,
      createdWallMs: token.createdWallMs,
      expiresAtWallMs: token.expiresAtWallMs,
      revoked: token.revokedWallMs !== 0,
    }));
  }

  async #create(caller: AdministrationCaller, request: Request): Promise<Outcome<Answer>> {
    const { session } = caller;
    if (session === null || session.way === 'token') {
      return no('createToken', 'a token makes no tokens: sign in with a password or a certificate');
    }
    const { account } = request;
    if (!mayManage(session, account)) {
      return no(`account ${account}`, 'only an administrator makes tokens for another account');
    }
    const holder = this.#parts.accounts.account(account);
    if (holder === undefined) {
      return refuse(
        fault('ACCOUNT_UNKNOWN', { place: `account ${account}`, finding: 'is not there' }),
      );
    }
    if (session.principal.id !== account && holder.kind === 'person') {
      return no(`account ${account}`, 'is a person, who makes the own tokens: nobody else does');
    }
    const asked = { ...request, scope: request.scope === null ? null : [...request.scope].sort() };
    const lifetimeMs = this.#lifetimeMs(holder, asked);
    if (!lifetimeMs.ok) return lifetimeMs;
    const make = (proposed?: Proposed) => this.#make(caller, asked, lifetimeMs.value, proposed);
    if (session.principal.id === account) return make();
    const good =
      asked.scope === null ? 'all that the account may' : asked.scope.join(', ') || 'a stop alone';
    const proposal = await this.#parts.second.ask(
      caller,
      'createToken',
      {
        request: asked,
        basis: accountBasis(holder),
        what: `to make a token "${asked.name}" for ${account}, good for ${good}`,
        details: detailsOf(asked),
      },
      make,
    );
    if (!proposal.ok) return proposal;
    const { value } = proposal;
    return succeed(value.done ? value.value : { ...value, token: '', id: '' });
  }

  /** How long the token would be good, when nothing is wrong with what was asked for. */
  #lifetimeMs(holder: AccountRecord, { name, scope, lifetimeDays }: Request): Outcome<number> {
    const { book, wallMs } = this.#parts;
    const nowMs = wallMs();
    if (name.trim() === '' || name.length > NAME_LENGTH_MAX || /\p{C}/u.test(name)) {
      return invalid('name', `is not 1 to ${NAME_LENGTH_MAX} characters that can be seen`);
    }
    if (!Number.isInteger(lifetimeDays) || lifetimeDays < 1 || lifetimeDays > LIFETIME_DAYS_MAX) {
      return invalid('lifetimeDays', `${lifetimeDays} is not 1 to ${LIFETIME_DAYS_MAX}`);
    }
    if (!holder.enabled) return invalid('account', `${holder.id} is disabled`);
    const endMs = Math.min(nowMs + lifetimeDays * DAY_MS, holder.validUntilWallMs ?? Infinity);
    if (endMs <= nowMs) return invalid('account', `${holder.id} is not valid any more`);
    const beyond = scopeRefusal(scope, holder);
    if (beyond !== null) return beyond;
    const { length } = book.goodOf(holder.id);
    if (length >= TOKENS_OF_ACCOUNT_MAX) {
      return invalid(
        'account',
        `${holder.id} has ${length} live tokens, which is as many as one may have: revoke one`,
      );
    }
    return succeed(endMs - nowMs);
  }

  async #make(
    caller: AdministrationCaller,
    asked: Request,
    lifetimeMs: number,
    proposed?: Proposed,
  ): Promise<Outcome<Answer>> {
    const { book, record } = this.#parts;
    const { account, name, scope } = asked;
    const made = book.make({ account, name, scope, lifetimeMs });
    const text = made.text.startsWith(TOKEN_PREFIX) ? made.text : `${TOKEN_PREFIX}${made.text}`;
    const token = { ...made.token, hash: hashToken(text) };
    const until = new Date(token.expiresAtWallMs).toISOString();
    const message = `token ${token.id} of ${account} is good until ${until}`;
    const proposal =
      proposed === undefined
        ? { details: { ...detailsOf(asked), tokenId: token.id } }
        : {
            planDigest: proposed.digest,
            details: { ...detailsOf(asked), tokenId: token.id, proposedBy: proposed.by },
          };
    const saved = await record(
      'TOKEN_CREATED',
      caller,
      message,
      { operation: 'createToken', ...proposal },
      () => book.write(token),
    );
    if (!saved.ok) return saved;
    book.noteSaved(token);
    return succeed({ done: true, message, token: text, id: token.id });
  }

  async #revoke(
    caller: AdministrationCaller,
    { id, reason }: AdministrationRequest<'revokeToken'>,
  ): Promise<Outcome<AdministrationAnswer<'revokeToken'>>> {
    const { book, record, sessions } = this.#parts;
    const found = book.token(id);
    // Who may not manage it learns nothing of it, not even that it is there.
    if (
      found === undefined ||
      caller.session === null ||
      !mayManage(caller.session, found.account)
    ) {
      const finding = 'is none that the caller may revoke';
      return refuse(fault('TOKEN_UNKNOWN', { place: 'token', finding }));
    }
    const token = found.revokedWallMs === 0 ? book.revoked(found) : found;
    const result =
      token === found
        ? `token ${id} of ${found.account} was revoked before`
        : `token ${id} of ${found.account} was revoked`;
    const details = { account: found.account, tokenId: id, name: found.name };
    const entry = { operation: 'revokeToken', reason, details };
    const saved = await record('TOKEN_REVOKED', caller, result, entry, () => book.write(token));
    if (!saved.ok) return saved;
    book.noteSaved(token);
    const sessionsEnded = sessions.endSessions(
      ({ tokenId }) => tokenId === id,
      'the token it was opened with was revoked',
    );
    return succeed({ sessionsEnded });
  }
}

function mayManage(session: Session, account: string): boolean {
  return session.administrator || session.principal.id === account;
}

/** Rows that are none, and rows that the account may not call: a scope narrows, it never widens. */
function scopeRefusal(scope: readonly string[] | null, holder: AccountRecord) {
  const seen = new Set<string>();
  for (const name of scope ?? []) {
    if (!isOperationKey(name)) {
      const finding = `${JSON.stringify(name)} is no row of the operation table`;
      return refuse(fault('REQUEST_MALFORMED', { place: 'scope', finding }));
    }
    if (seen.has(name)) return invalid('scope', `${name} is listed twice`);
    seen.add(name);
    const { administrator } = holder;
    const refused = callRefusal(name, {
      principal: principalOf(holder),
      administrator,
      scope: null,
    });
    if (refused === null) continue;
    const finding = `is more than ${holder.id} may: ${refused.place} ${refused.finding}`;
    const consequence = 'no token was made';
    return refuse(fault('SCOPE_EXCEEDED', { place: `scope ${name}`, finding, consequence }));
  }
  return null;
}

function detailsOf({ account, name, scope, lifetimeDays }: Request) {
  return { account, name, scope, lifetimeDays };
}

function invalid(member: string, finding: string) {
  const consequence = 'no token was made';
  return refuse(fault('ACCOUNT_INVALID', { place: member, finding, consequence }));
}

function no(place: string, finding: string) {
  return refuse(fault('NOT_PERMITTED', { place, finding }));
}
