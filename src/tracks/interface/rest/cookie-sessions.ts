// Browser sessions: a random cookie stands for the token that was shown once at sign-in.
// Invariants: the cookie itself is kept only as a hash; at most 256 sessions; nothing outlives the process; over TLS only
// the name that no other host and no plain connection can set is read (RFC 6265bis section 4.1.3.2).

import { createHash, randomBytes } from 'node:crypto';
import type { Clock } from '#foundation/clock';
import type { Credential } from '#model/principal';

/** Where a request came in: over TLS, or over the local socket, which has no TLS. */
export type Place = 'network' | 'local';

export const SESSION_COOKIE = '__Host-dsmil_session';
const LOCAL_COOKIE = 'dsmil_session';
const SESSIONS_MAX = 256;

interface CookieSession {
  readonly credential: Credential;
  readonly expiresAtWallMs: number;
}

export interface FoundCookie {
  readonly credential: Credential;
  /** Stands for the cookie where it must be named. */
  readonly id: string;
}

export class CookieSessions {
  readonly #clock: Clock;
  readonly #sessions = new Map<string, CookieSession>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A new cookie value; the oldest session gives way when there are too many. */
  create(): { readonly cookie: string; readonly id: string } {
    const cookie = randomBytes(32).toString('base64url');
    return { cookie, id: idOf(cookie) };
  }

  keep(id: string, credential: Credential, expiresAtWallMs: number): void {
    const oldest = this.#sessions.keys().next();
    if (this.#sessions.size >= SESSIONS_MAX && oldest.done !== true) {
      this.#sessions.delete(oldest.value);
    }
    this.#sessions.set(id, { credential, expiresAtWallMs });
  }

  /** The session of a `Cookie` header; several cookies of our name count as none. */
  find(header: string | undefined, place: Place): FoundCookie | null {
    const name = nameAt(place);
    const values = (header ?? '')
      .split(';')
      .map((part) => part.trim())
      .filter((part) => part.startsWith(`${name}=`));
    const [value] = values;
    if (values.length !== 1 || value === undefined) return null;
    const id = idOf(value.slice(name.length + 1));
    const session = this.#sessions.get(id);
    if (session === undefined) return null;
    if (session.expiresAtWallMs <= this.#clock.wallMs()) {
      this.#sessions.delete(id);
      return null;
    }
    return { credential: session.credential, id };
  }

  has(id: string): boolean {
    return this.#sessions.has(id);
  }

  end(id: string): void {
    this.#sessions.delete(id);
  }
}

/** A `Set-Cookie` value; an empty `cookie` with no time takes the cookie away. */
export function cookieText(cookie: string, maxAgeS: number, place: Place): string {
  const secure = place === 'network' ? '; Secure' : '';
  return `${nameAt(place)}=${cookie}; Path=/; HttpOnly${secure}; SameSite=Strict; Max-Age=${maxAgeS}`;
}

function nameAt(place: Place): string {
  return place === 'network' ? SESSION_COOKIE : LOCAL_COOKIE;
}

function idOf(cookie: string): string {
  return `cookie ${createHash('sha256').update(cookie).digest('base64url')}`;
}
