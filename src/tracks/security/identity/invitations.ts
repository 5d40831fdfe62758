// One-time invitations: with one, and only with one, a person sets a password and gets the secret of the one-time codes.
// Invariants: two halves of 80 random bits, kept as one SHA-256 over both, so that one half alone is worth nothing; good for 24
// hours by the wall floor and for one account; a new one replaces the one before, and password and codes of before are worth
// nothing from then on; used up by the first proved code.
// Each of two administrators hands over one half, so that neither of them can enrol as the person.

import { randomBytes } from 'node:crypto';
import type { DurableStore } from '#foundation/durable-store';
import type { CredentialBook } from './credential-book.ts';
import { base32 } from './one-time-codes.ts';
import { hashToken } from './secrets.ts';

export const INVITATION_MS = 86_400_000;
const HALF_BYTES = 10;
/** In base32, without the dashes. */
const HALF_LENGTH = 16;
const GROUP_LENGTH = 4;

/** What was chosen with the invitation and waits for the first code. */
export interface PendingSecrets {
  readonly password: string;
  readonly codeSecret: string;
}

export interface Invitation {
  readonly hash: string;
  readonly account: string;
  readonly expiresAtWallMs: number;
  /** Null until the password was set. */
  readonly pending: PendingSecrets | null;
}

/** An invitation that is about to be given. */
export interface InvitationMade {
  /** Both halves, shown once: `ABCD-EFGH-...`. */
  readonly text: string;
  /** The half that was made with it; the other one was given before, or is part of `text` alone. */
  readonly secondHalf: string;
  readonly expiresAtWallMs: number;
  /** To be called inside a transaction of the store, then `noteSaved` once that is on disk. */
  write(): void;
  noteSaved(): void;
}

export interface InvitationParts {
  readonly store: DurableStore;
  readonly credentials: CredentialBook;
  /** Of the wall floor. */
  readonly wallMs: () => number;
}

export class Invitations {
  readonly #parts: InvitationParts;
  /** By account: each has one at most. */
  readonly #invitations = new Map<string, Invitation>();

  constructor(parts: InvitationParts) {
    this.#parts = parts;
    const { database } = parts.store;
    database.exec(`
      CREATE TABLE IF NOT EXISTS invitation (
        account TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, expires_wall_ms INTEGER NOT NULL,
        password TEXT, code_secret TEXT
      ) STRICT;
    `);
    for (const row of database.prepare('SELECT * FROM invitation').all()) {
      this.noteSaved({
        hash: String(row.hash),
        account: String(row.account),
        expiresAtWallMs: Number(row.expires_wall_ms),
        pending:
          row.password === null || row.code_secret === null
            ? null
            : { password: String(row.password), codeSecret: String(row.code_secret) },
      });
    }
  }

  /** A new one for the account; takes password, codes and the invitation of before with it. */
  make(account: string, firstHalf = newInvitationHalf()): InvitationMade {
    const { credentials, wallMs } = this.#parts;
    const secondHalf = newInvitationHalf();
    const text = `${firstHalf}-${secondHalf}`;
    const expiresAtWallMs = wallMs() + INVITATION_MS;
    const invitation: Invitation = {
      hash: invitationHash(text),
      account,
      expiresAtWallMs,
      pending: null,
    };
    return {
      text,
      secondHalf,
      expiresAtWallMs,
      write: () => {
        this.write(invitation);
        credentials.writeForgotten(account);
      },
      noteSaved: () => {
        this.noteSaved(invitation);
        credentials.noteForgotten(account);
      },
    };
  }

  /** The invitation of this text, while it is good. */
  find(text: string): Invitation | undefined {
    const hash = invitationHash(text);
    for (const invitation of this.#invitations.values()) {
      if (invitation.hash !== hash) continue;
      return invitation.expiresAtWallMs > this.#parts.wallMs() ? invitation : undefined;
    }
    return undefined;
  }

  /** Still the one that the account was last given. */
  stands(invitation: Invitation): boolean {
    const kept = this.#invitations.get(invitation.account);
    return kept?.hash === invitation.hash && kept.expiresAtWallMs > this.#parts.wallMs();
  }

  of(account: string): Invitation | undefined {
    return this.#invitations.get(account);
  }

  /** To be called inside a transaction of the store, then `noteSaved` once it is on disk. */
  write({ account, hash, expiresAtWallMs, pending }: Invitation): void {
    this.#parts.store.database
      .prepare('INSERT OR REPLACE INTO invitation VALUES (?, ?, ?, ?, ?)')
      .run(account, hash, expiresAtWallMs, pending?.password ?? null, pending?.codeSecret ?? null);
  }

  noteSaved(invitation: Invitation): void {
    this.#invitations.set(invitation.account, invitation);
  }

  /** It is used up; to be called inside a transaction of the store, then `noteUsed` once it is on disk. */
  writeUsed({ account, hash }: Invitation): void {
    this.#parts.store.database
      .prepare('DELETE FROM invitation WHERE account = ? AND hash = ?')
      .run(account, hash);
  }

  noteUsed({ account, hash }: Invitation): void {
    if (this.#invitations.get(account)?.hash === hash) this.#invitations.delete(account);
  }
}

/** `ABCD-EFGH-IJKL-MNOP`: 80 random bits. */
export function newInvitationHalf(): string {
  return grouped(base32(randomBytes(HALF_BYTES)));
}

/**
 * However it was typed: capitals, spaces and dashes do not matter, nor 0 and 1, which base32 has not, nor which half comes
 * first.
 */
function invitationHash(text: string): string {
  const plain = text.toUpperCase().replace(/[\s-]/g, '').replaceAll('0', 'O').replaceAll('1', 'I');
  const halves = [plain.slice(0, HALF_LENGTH), plain.slice(HALF_LENGTH)].sort();
  return hashToken(`invitation ${halves.join(' ')}`);
}

function grouped(text: string): string {
  const groups: string[] = [];
  for (let at = 0; at < text.length; at += GROUP_LENGTH)
    groups.push(text.slice(at, at + GROUP_LENGTH));
  return groups.join('-');
}
