// The durable record of API tokens: whose each is, what it is good for, until when.
// Invariants: a token is kept as SHA-256 only; revoked ones stay on record; what is in memory is what is on disk.

import type { DurableStore } from '#foundation/durable-store';
import type { TokenPort } from '../ports.ts';
import { hashToken, newHandle, newToken } from './secrets.ts';

export interface ApiToken {
  readonly id: string;
  readonly account: string;
  /** Hexadecimal SHA-256 of the token. */
  readonly hash: string;
  readonly name: string;
  /** Rows of the operation table it is good for; null for all that its account may. */
  readonly scope: readonly string[] | null;
  readonly createdWallMs: number;
  readonly expiresAtWallMs: number;
  /** 0 while it is good. */
  readonly revokedWallMs: number;
}

export class TokenBook implements TokenPort {
  readonly #store: DurableStore;
  readonly #wallMs: () => number;
  readonly #byHash = new Map<string, ApiToken>();
  readonly #byId = new Map<string, ApiToken>();

  /** `wallMs`: of the wall floor. */
  constructor(store: DurableStore, wallMs: () => number) {
    this.#store = store;
    this.#wallMs = wallMs;
    store.database.exec(`
      CREATE TABLE IF NOT EXISTS api_token (
        id TEXT PRIMARY KEY, account TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, scope TEXT,
        created_wall_ms INTEGER NOT NULL, expires_wall_ms INTEGER NOT NULL, revoked_wall_ms INTEGER NOT NULL
      ) STRICT;
    `);
    for (const row of store.database.prepare('SELECT * FROM api_token ORDER BY id').all()) {
      this.noteSaved({
        id: String(row.id),
        account: String(row.account),
        hash: String(row.hash),
        name: String(row.name),
        scope: row.scope === null ? null : (JSON.parse(String(row.scope)) as string[]),
        createdWallMs: Number(row.created_wall_ms),
        expiresAtWallMs: Number(row.expires_wall_ms),
        revokedWallMs: Number(row.revoked_wall_ms),
      });
    }
  }

  find(hash: string): ApiToken | undefined {
    const token = this.#byHash.get(hash);
    return token !== undefined && this.#good(token) ? token : undefined;
  }

  token(id: string): ApiToken | undefined {
    return this.#byId.get(id);
  }

  /** Revoked and expired ones too. */
  all(): readonly ApiToken[] {
    return [...this.#byId.values()];
  }

  /** Those of the account that still open something. */
  goodOf(account: string): readonly ApiToken[] {
    return this.all().filter((token) => token.account === account && this.#good(token));
  }

  /** A new token: the text for its holder, and the record, which counts once it is written and noted. */
  make(choice: Pick<ApiToken, 'account' | 'name' | 'scope'> & { readonly lifetimeMs: number }): {
    readonly text: string;
    readonly token: ApiToken;
  } {
    const { lifetimeMs, ...named } = choice;
    const text = newToken();
    const createdWallMs = this.#wallMs();
    const times = { createdWallMs, expiresAtWallMs: createdWallMs + lifetimeMs, revokedWallMs: 0 };
    return { text, token: { id: newHandle(), hash: hashToken(text), ...named, ...times } };
  }

  /** The token as it is once it is revoked; to be written and noted like a new one. */
  revoked(token: ApiToken): ApiToken {
    return { ...token, revokedWallMs: Math.max(1, this.#wallMs()) };
  }

  /** Writes the record; to be called inside a transaction of the store, then `noteSaved` once it is on disk. */
  write(token: ApiToken): void {
    const { id, account, hash, name, scope } = token;
    this.#store.database
      .prepare('INSERT OR REPLACE INTO api_token VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
      .run(
        id,
        account,
        hash,
        name,
        scope === null ? null : JSON.stringify(scope),
        token.createdWallMs,
        token.expiresAtWallMs,
        token.revokedWallMs,
      );
  }

  /** The record is on disk: it counts from now on. */
  noteSaved(token: ApiToken): void {
    this.#byHash.set(token.hash, token);
    this.#byId.set(token.id, token);
  }

  /** Both at once, in a transaction of its own. */
  async save(token: ApiToken): Promise<void> {
    await this.#store.transact(() => this.write(token));
    this.noteSaved(token);
  }

  #good(token: ApiToken): boolean {
    return token.revokedWallMs === 0 && token.expiresAtWallMs > this.#wallMs();
  }
}
