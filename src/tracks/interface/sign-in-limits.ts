// How often and how many at once may prove who they are: one store of failures for every transport.
// Invariants: what was worth something is never charged nor braked; a verified certificate and a local peer are no
// guesses; a stop is still asked about when its address has used up its attempts; passwords are checked few at a time.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse } from '#foundation/outcome';
import { type Connection, credentialKey } from './connection.ts';
import { type RateLimit, RateLimiter } from './rate-limiter.ts';

/** A stop is let through where anything else would be braked. */
export type Urgency = 'stop' | 'ordinary';

/** Passwords being checked at once; each costs security a good part of a second of one processor. */
const CHECKED_AT_ONCE = 2;
const WAITING_MAX = 16;
/** Of one address, those being checked included. */
const PER_ADDRESS_MAX = 4;
/** Unknown tokens that ask for a stop from an address without attempts. */
const STOP_ATTEMPTS: RateLimit = { perSecond: 20, burst: 40 };
const GOOD_MAX = 2_048;

interface Waiting {
  readonly start: () => void;
}

export class SignInLimits {
  readonly #clock: Clock;
  readonly #failures: RateLimiter;
  readonly #stops: RateLimiter;
  /** Tokens that were worth something when security was last asked, by their hash; the oldest first. */
  readonly #good = new Set<string>();
  readonly #addresses = new Map<string, number>();
  readonly #waiting: Waiting[] = [];
  #checking = 0;

  constructor(clock: Clock, failures: RateLimit) {
    this.#clock = clock;
    this.#failures = new RateLimiter(clock, failures);
    this.#stops = new RateLimiter(clock, STOP_ATTEMPTS);
  }

  /** Attempts refused here. */
  refused = 0;

  /** Null when this credential may be shown to security now. */
  refusal(connection: Connection, urgency: Urgency): Fault | null {
    const { credential, address } = connection;
    if (credential === null || credential.kind !== 'token') return null;
    if (!this.#failures.exhausted(address)) return null;
    if (this.#good.has(credentialKey(credential))) return null;
    if (urgency === 'stop' && this.#stops.take(address).admitted) return null;
    return this.#tooManyFailures(address);
  }

  noteGood({ credential }: Connection): void {
    if (credential?.kind !== 'token') return;
    const key = credentialKey(credential);
    this.#good.delete(key);
    this.#good.add(key);
    const [oldest] = this.#good;
    if (this.#good.size > GOOD_MAX && oldest !== undefined) this.#good.delete(oldest);
  }

  forgetGood({ credential }: Connection): void {
    if (credential !== null) this.#good.delete(credentialKey(credential));
  }

  /** A credential that is worth nothing; only what can be guessed is charged. */
  noteFailure({ credential, address }: Connection): void {
    if (credential === null || credential.kind === 'token') this.#failures.take(address);
  }

  /**
   * Has security check a password, invitation or code: few at once, in turn, and none from an address that has
   * failed too often. `failed` says which refusals are a guess that was wrong.
   */
  async prove<T>(
    connection: Connection,
    deadline: Deadline,
    check: () => Promise<Outcome<T>>,
    failed: (found: Fault) => boolean,
  ): Promise<Outcome<T>> {
    const { address } = connection;
    if (this.#failures.exhausted(address)) return refuse(this.#tooManyFailures(address));
    const open = this.#addresses.get(address) ?? 0;
    if (open >= PER_ADDRESS_MAX || this.#waiting.length >= WAITING_MAX) return refuse(this.#busy());
    this.#addresses.set(address, open + 1);
    try {
      if (!(await this.#turn(deadline))) return refuse(this.#busy());
      try {
        // Others from the same address may have failed while this one waited.
        if (this.#failures.exhausted(address)) return refuse(this.#tooManyFailures(address));
        const answer = await check();
        if (!answer.ok && failed(answer.fault)) this.#failures.take(address);
        return answer;
      } finally {
        this.#checking -= 1;
        this.#waiting.shift()?.start();
      }
    } finally {
      const left = (this.#addresses.get(address) ?? 1) - 1;
      if (left > 0) this.#addresses.set(address, left);
      else this.#addresses.delete(address);
    }
  }

  /** True when it is this one's turn, false when its deadline came first. */
  #turn(deadline: Deadline): Promise<boolean> {
    if (this.#checking < CHECKED_AT_ONCE) {
      this.#checking += 1;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const waiting: Waiting = {
        start: () => {
          cancel();
          this.#checking += 1;
          resolve(true);
        },
      };
      const cancel = this.#clock.after(deadline.remainingMs(), () => {
        const place = this.#waiting.indexOf(waiting);
        if (place >= 0) this.#waiting.splice(place, 1);
        resolve(false);
      });
      this.#waiting.push(waiting);
    });
  }

  #tooManyFailures(address: string): Fault {
    this.refused += 1;
    const finding = 'too many failed attempts to sign in from this address';
    const retryAfterMs = this.#failures.waitMs(address);
    return fault('RATE_LIMITED', { place: 'sign-in', finding, retryAfterMs });
  }

  #busy(): Fault {
    this.refused += 1;
    const finding = 'others are being checked, and only a few can be at once';
    return fault('RATE_LIMITED', { place: 'sign-in', finding });
  }
}
