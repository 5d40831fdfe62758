// Sessions: what a connection presents, whose it is now, and until when.
// Invariants: what is good opens a session, whatever else comes from its source; who somebody is and may is derived from the
// account book at every lookup; an ended or locked session never comes back; all of an account's sessions, and all sessions
// together, are bounded.
// A session is one connection's; those that show the token of one sign-in with a password share its handle and end with it.

import { randomBytes } from 'node:crypto';
import type { Cancel, Clock } from '#foundation/clock';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AccountRecord } from '#model/account';
import type { Session, SessionsEnded } from '#model/orchestrator-port';
import type { Credential, Origin, Principal } from '#model/principal';
import type { LiveSession, SessionControl } from '../ports.ts';
import { principalOf } from './account-book.ts';
import {
  credentialDigest,
  type Ground,
  type Grounded,
  Grounds,
  type GroundsParts,
  groundDigest,
  passwordDigest,
  unusableBecause,
} from './grounds.ts';
import { type Lockouts, lockedFault } from './lockouts.ts';
import { newHandle } from './secrets.ts';
import type { SignedIn } from './sign-ins.ts';
import type { Sources } from './sources.ts';

export interface PrincipalsParts extends GroundsParts {
  readonly clock: Clock;
  readonly lockouts: Lockouts;
  readonly sources: Sources;
  /** An account was locked until a person unlocks it. */
  readonly onLocked?: (account: string, because: string) => void;
}

export const SESSIONS_MAX = 1_024;
/** Connections of one account: a flock of panels has room, one account does not fill the table. */
export const SESSIONS_PER_ACCOUNT_MAX = 256;
/** A session unused for so long gives way to a new one; interface forgets idle connections sooner. */
const GIVES_WAY_AFTER_MS = 600_000;
const SWEEP_EVERY_MS = 30_000;

interface Live {
  readonly handle: string;
  readonly ground: Ground;
  readonly origin: Origin;
  readonly openedWallMs: number;
  readonly expiresAtMs: number;
  readonly credential: string;
  usedAtMs: number;
  lockedBecause: string | null;
  /** Why somebody took it from the person; null while nobody has. */
  takenBecause: string | null;
  /** As of `record`. */
  session: Session;
  record: AccountRecord;
}

export class Principals implements SessionControl {
  readonly #parts: PrincipalsParts;
  readonly #grounds: Grounds;
  readonly #sessions = new Map<string, Live>();
  readonly #listeners = new Set<(ended: SessionsEnded) => void>();
  /** Whose person signed out: nobody took these away. */
  readonly #left = new WeakSet<SignedIn>();
  #cancelSweep: Cancel | null = null;

  constructor(parts: PrincipalsParts) {
    this.#parts = parts;
    this.#grounds = new Grounds(parts);
  }

  async authenticate(credential: Credential, origin: Origin): Promise<Outcome<Session>> {
    const { sources, lockouts } = this.#parts;
    // Looked up first: whoever fails from the same address keeps nobody from a stop who shows what is good.
    const found = this.#grounds.find(credential);
    if (!found.ok) {
      const waits = sources.refusal(origin);
      if (waits !== null) return refuse(waits);
      sources.failed(origin, credentialDigest(credential));
      return found;
    }
    const { record, ground } = found.value;
    const lock = lockouts.lockOf(record.id);
    // Guessing over the network does not keep anybody out who stands before the machine; a threat does.
    if (lock !== null && (lock.standing || ground.way !== 'local'))
      return refuse(lockedFault(lock));
    if (ground.way === 'password' && ground.signIn.lockedBecause !== null)
      return refuse(sessionLocked(ground.signIn.lockedBecause));
    const room = this.#makeRoom(record.id);
    if (room !== null) return refuse(room);
    return succeed(this.#open(found.value, origin, credential));
  }

  session(id: string): Outcome<Session> {
    const live = this.#sessions.get(id);
    if (live === undefined) return refuse(sessionOver('the session is unknown or has ended'));
    const over = this.#refresh(live);
    if (over !== null) {
      this.#end([live], over);
      return refuse(sessionOver(over));
    }
    const locked = this.#lockOn(live);
    if (locked !== null) return refuse(locked);
    live.usedAtMs = this.#parts.clock.nowMs();
    if (live.ground.way === 'password') this.#parts.signIns.noteUse(live.ground.signIn);
    return succeed(live.session);
  }

  /** What the session was opened with, as a digest; empty for one that is not live. */
  credentialOf(sessionId: string): string {
    return this.#sessions.get(sessionId)?.credential ?? '';
  }

  /**
   * Who holds this session, at whatever time the answer is asked: also when its connection is over or the person has
   * signed out. Refused once account, credential or session was taken from the person, or is locked.
   */
  holder(sessionId: string): () => Outcome<Principal> {
    const live = this.#sessions.get(sessionId);
    if (live === undefined) return () => refuse(sessionOver('the session is unknown or has ended'));
    return () => this.#holding(live);
  }

  #holding(live: Live): Outcome<Principal> {
    const { accounts, wallMs } = this.#parts;
    const { ground } = live;
    const record = accounts.account(live.record.id);
    if (record === undefined) return refuse(sessionOver('the account is gone'));
    const left = ground.way === 'password' && this.#left.has(ground.signIn);
    const over = left
      ? unusableBecause(record, wallMs())
      : (live.takenBecause ?? this.#grounds.overBecause(record, ground));
    if (over !== null) return refuse(sessionOver(over));
    const locked = this.#lockOn(live);
    if (locked !== null) return refuse(locked);
    return succeed(record === live.record ? live.session.principal : principalOf(record));
  }

  handleOf(sessionId: string): string {
    return this.#sessions.get(sessionId)?.handle ?? '';
  }

  /** One for each handle: a sign-in is one, however many connections show its token. */
  liveSessions(): readonly LiveSession[] {
    const shown = new Map<string, LiveSession>();
    for (const signIn of this.#parts.signIns.all()) {
      const view = this.#viewOfSignIn(signIn);
      if (view !== null) shown.set(signIn.handle, view);
    }
    for (const live of this.#sessions.values()) {
      if (this.#refresh(live) !== null || shown.has(live.handle)) continue;
      shown.set(live.handle, viewOf(live));
    }
    return [...shown.values()];
  }

  lock(sessionId: string, reason: string): void {
    const live = this.#sessions.get(sessionId);
    if (live === undefined) return;
    live.lockedBecause = reason;
    if (live.ground.way === 'password') this.#parts.signIns.lock(live.ground.signIn, reason);
  }

  /** The connection is over; a sign-in with a password stays good for others. */
  end(sessionId: string): void {
    this.#sessions.delete(sessionId);
  }

  /** The person leaves: a sign-in with a password is over on every connection. */
  signOut(sessionId: string): void {
    const live = this.#sessions.get(sessionId);
    if (live === undefined) return;
    this.#sessions.delete(sessionId);
    if (live.ground.way !== 'password') return;
    this.#left.add(live.ground.signIn);
    const { handle } = live;
    this.endSessions((session) => session.handle === handle, 'the person signed out');
  }

  /**
   * Ends sessions now, on every transport. Called inside a transaction of the store, the rows of sign-ins go with it; a
   * session that was ended stays ended where that transaction fails.
   */
  endSessions(matches: (session: LiveSession) => boolean, reason: string): number {
    const handles = new Set<string>();
    const signIns = this.#parts.signIns.all().filter((signIn) => {
      const view = this.#viewOfSignIn(signIn);
      return view === null || matches(view);
    });
    for (const { handle } of signIns) handles.add(handle);
    const ended = [...this.#sessions.values()].filter(
      (live) => handles.has(live.handle) || matches(viewOf(live)),
    );
    // A connection that matches takes its whole sign-in along.
    for (const live of ended) {
      handles.add(live.handle);
      if (live.ground.way === 'password' && !signIns.includes(live.ground.signIn))
        signIns.push(live.ground.signIn);
    }
    this.#parts.signIns.end(signIns);
    this.#end(
      [...this.#sessions.values()].filter((live) => handles.has(live.handle)),
      reason,
    );
    return handles.size;
  }

  lockAccount(account: string, reason: string): void {
    const standing = this.#parts.lockouts.lockOf(account)?.standing === true;
    this.#parts.lockouts.lock(account, reason);
    if (!standing) this.#parts.onLocked?.(account, reason);
  }

  onEnded(listen: (ended: SessionsEnded) => void): () => void {
    this.#listeners.add(listen);
    return () => this.#listeners.delete(listen);
  }

  /** Nothing more happens by itself. */
  close(): void {
    this.#cancelSweep?.();
    this.#cancelSweep = null;
  }

  /** Ends what is over by now: nobody looks up the session of a panel that only listens. */
  sweep(): void {
    const { signIns } = this.#parts;
    signIns.end(signIns.all().filter((signIn) => signIns.overBecause(signIn) !== null));
    const over = new Map<string, Live[]>();
    for (const live of this.#sessions.values()) {
      const because = this.#refresh(live);
      if (because === null) continue;
      over.set(because, [...(over.get(because) ?? []), live]);
    }
    for (const [because, lives] of over) this.#end(lives, because);
  }

  // --- Opening -----------------------------------------------------------------------------------

  #open(grounded: Grounded, origin: Origin, credential: Credential): Session {
    const { record, ground } = grounded;
    const { clock, wallMs } = this.#parts;
    const nowMs = clock.nowMs();
    const session: Session = {
      id: randomBytes(24).toString('base64url'),
      principal: principalOf(record),
      administrator: record.administrator,
      way: ground.way,
      scope: this.#grounds.scopeOf(ground),
      expiresAtWallMs: this.#grounds.expiryOf(record, ground),
    };
    this.#sessions.set(session.id, {
      handle: ground.way === 'password' ? ground.signIn.handle : newHandle(),
      ground,
      origin,
      openedWallMs: ground.way === 'password' ? ground.signIn.openedWallMs : wallMs(),
      expiresAtMs:
        ground.way === 'password' ? ground.signIn.expiresAtMs : nowMs + this.#parts.signIns.lifeMs,
      credential: groundDigest(grounded, credential),
      usedAtMs: nowMs,
      lockedBecause: null,
      takenBecause: null,
      session,
      record,
    });
    if (ground.way === 'password') this.#parts.signIns.noteUse(ground.signIn);
    this.#sweepLater();
    return session;
  }

  #makeRoom(account: string): Fault | null {
    const all = [...this.#sessions.values()];
    const own = all.filter(({ record }) => record.id === account);
    if (own.length >= SESSIONS_PER_ACCOUNT_MAX) {
      const oldest = longestUnused(own);
      const because = `${SESSIONS_PER_ACCOUNT_MAX} newer connections of ${account} are open`;
      if (oldest !== undefined) this.#end([oldest], because);
      return null;
    }
    if (all.length < SESSIONS_MAX) return null;
    this.sweep();
    if (this.#sessions.size < SESSIONS_MAX) return null;
    const oldest = longestUnused([...this.#sessions.values()]);
    const { clock } = this.#parts;
    if (oldest === undefined || oldest.usedAtMs + GIVES_WAY_AFTER_MS > clock.nowMs()) {
      return fault('BUSY', { place: 'sign-in', finding: `${SESSIONS_MAX} sessions are open` });
    }
    this.#end([oldest], `${SESSIONS_MAX} newer sessions are open`);
    return null;
  }

  // --- What a session is worth now ---------------------------------------------------------------

  /** Brings the session up to date with the account; why it is over, or null. */
  #refresh(live: Live): string | null {
    const { clock, accounts } = this.#parts;
    if (live.expiresAtMs <= clock.nowMs())
      return `the session is ${this.#parts.signIns.lifeMs / 3_600_000} hours old`;
    const record = accounts.account(live.record.id);
    if (record === undefined) return 'the account is gone';
    const over = this.#grounds.overBecause(record, live.ground);
    if (over !== null || record === live.record) return over;
    live.record = record;
    live.session = {
      ...live.session,
      principal: principalOf(record),
      administrator: record.administrator,
      expiresAtWallMs: this.#grounds.expiryOf(record, live.ground, live.openedWallMs),
    };
    return null;
  }

  #lockOn(live: Live): Fault | null {
    // Failed sign-ins close the door, not what is open: a stranger who guesses must not end the work of the person.
    const lock = this.#parts.lockouts.lockOf(live.record.id);
    if (lock?.standing === true) return lockedFault(lock);
    const because =
      live.lockedBecause ??
      (live.ground.way === 'password' ? live.ground.signIn.lockedBecause : null);
    return because === null ? null : sessionLocked(because);
  }

  #viewOfSignIn(signIn: SignedIn): LiveSession | null {
    const { accounts, signIns } = this.#parts;
    const record = accounts.account(signIn.account);
    if (record === undefined || signIns.overBecause(signIn) !== null) return null;
    const { handle, origin, openedWallMs, expiresAtWallMs } = signIn;
    return {
      handle,
      session: {
        // No connection: it can be named and ended, not used.
        id: '',
        principal: principalOf(record),
        administrator: record.administrator,
        way: 'password',
        scope: null,
        expiresAtWallMs,
      },
      origin,
      openedWallMs,
      credential: passwordDigest(record.id),
      tokenId: '',
      fingerprint: '',
    };
  }

  // --- Ending ------------------------------------------------------------------------------------

  #end(lives: readonly Live[], reason: string): void {
    for (const live of lives) live.takenBecause ??= reason;
    const sessionIds = lives
      .map(({ session }) => session.id)
      .filter((id) => this.#sessions.delete(id));
    if (sessionIds.length === 0) return;
    for (const listen of [...this.#listeners]) listen({ sessionIds, reason });
  }

  #sweepLater(): void {
    if (this.#cancelSweep !== null) return;
    this.#cancelSweep = this.#parts.clock.after(SWEEP_EVERY_MS, () => {
      this.#cancelSweep = null;
      this.sweep();
      if (this.#sessions.size > 0) this.#sweepLater();
    });
  }
}

function viewOf(live: Live): LiveSession {
  const { handle, ground, session, origin, openedWallMs, credential } = live;
  return {
    handle,
    session,
    origin,
    openedWallMs,
    credential,
    tokenId: ground.way === 'token' ? ground.tokenId : '',
    fingerprint: ground.way === 'certificate' ? ground.fingerprint : '',
  };
}

function longestUnused(lives: readonly Live[]): Live | undefined {
  let oldest: Live | undefined;
  for (const live of lives)
    if (oldest === undefined || live.usedAtMs < oldest.usedAtMs) oldest = live;
  return oldest;
}

function sessionOver(finding: string): Fault {
  return fault('NOT_AUTHENTICATED', { place: 'session', finding });
}

function sessionLocked(finding: string): Fault {
  return fault('ACCOUNT_LOCKED', { place: 'session', finding });
}
