// The newest revocation list of the authority, kept so that it need not be signed at every start (RFC 5280 section 5).
// Invariants: a revocation never waits for its list, because the book refuses the certificate from then on; a list that
// misses one is due at once, also after a restart; its number never goes back; it is renewed long before it runs out,
// because TLS servers take no client at all under a list that has.

import type { DurableStore } from '#foundation/durable-store';
import { type Outcome, succeed } from '#foundation/outcome';
import type { Authority } from './authority.ts';
import type { CertificateBook } from './certificate-book.ts';

const DAY_MS = 86_400_000;
const LIFE_MS = 60 * DAY_MS;
/** Interface may be without security for as long as this and still know a list that holds. */
const RENEW_BEFORE_MS = 30 * DAY_MS;
/** A clock that was set back by a day must not make the list one of the future. */
const SLACK_MS = 2 * DAY_MS;

interface Kept {
  readonly number: number;
  readonly authority: string;
  readonly nextUpdateWallMs: number;
  /** Certificates revoked when it was signed. */
  readonly revoked: number;
  readonly pem: string;
}

export class RevocationList {
  readonly #store: DurableStore;
  readonly #authority: Authority;
  readonly #book: CertificateBook;
  readonly #wallMs: () => number;
  #kept: Kept | null = null;
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    store: DurableStore,
    authority: Authority,
    book: CertificateBook,
    wallMs: () => number,
  ) {
    this.#store = store;
    this.#authority = authority;
    this.#book = book;
    this.#wallMs = wallMs;
    store.database.exec(`
      CREATE TABLE IF NOT EXISTS certificate_revocation_list (
        number INTEGER PRIMARY KEY, body TEXT NOT NULL
      ) STRICT;
    `);
    const row = store.database
      .prepare('SELECT body FROM certificate_revocation_list ORDER BY number DESC LIMIT 1')
      .get();
    if (row !== undefined) this.#kept = JSON.parse(String(row.body)) as Kept;
  }

  /** Empty before the first `renew`. */
  get pem(): string {
    return this.#kept?.pem ?? '';
  }

  /** There is none, or another authority signed it, or it misses a revocation, or it runs out soon. */
  get due(): boolean {
    const kept = this.#kept;
    if (kept === null || kept.authority !== this.#authority.fingerprint) return true;
    const revoked = this.#book.all().filter(({ revokedWallMs }) => revokedWallMs !== 0).length;
    return revoked !== kept.revoked || kept.nextUpdateWallMs - this.#wallMs() < RENEW_BEFORE_MS;
  }

  /** Signs and keeps a new list if one is due, one after another; true when there is a new one. Rejects when the disk fails. */
  renewDue(): Promise<Outcome<boolean>> {
    const turn = this.#last.then(() => (this.due ? this.#renew() : succeed(false)));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #renew(): Promise<Outcome<boolean>> {
    const wallMs = this.#wallMs();
    const revoked = this.#book.all().filter(({ revokedWallMs }) => revokedWallMs !== 0);
    const { database } = this.#store;
    const last = database.prepare('SELECT max(number) AS number FROM certificate_revocation_list');
    const number = Number(last.get()?.number ?? 0) + 1;
    const nextUpdateWallMs = wallMs + LIFE_MS;
    const pem = await this.#authority.revocationList({
      number,
      thisUpdateWallMs: wallMs - SLACK_MS,
      nextUpdateWallMs,
      // A certificate that has run out is refused for that (RFC 5280 section 5 lets it go after one more list).
      revoked: revoked
        .filter(({ notAfterWallMs }) => notAfterWallMs + LIFE_MS > wallMs)
        .map(({ serial, revokedWallMs }) => ({ serial, revokedWallMs })),
    });
    if (!pem.ok) return pem;
    const { fingerprint: authority } = this.#authority;
    const count = revoked.length;
    const made = { number, authority, nextUpdateWallMs, revoked: count, pem: pem.value };
    await this.#store.transact(() => {
      database
        .prepare('INSERT INTO certificate_revocation_list (number, body) VALUES (?, ?)')
        .run(number, JSON.stringify(made));
      database.prepare('DELETE FROM certificate_revocation_list WHERE number < ?').run(number);
    });
    this.#kept = made;
    return succeed(true);
  }
}
