// One-time invitations: with one, and only with one, a person sets a password and gets the secret of the one-time codes.
// Invariants: two halves of 80 random bits, kept as one SHA-256 over both, so that one half alone is worth nothing; good for 24
// hours by the wall floor and for one account; a new one replaces the one before, and password and codes of before are worth
// nothing from then on, in the store as in memory, whatever was under way; used up by the first proved code. What was chosen
// with it lies sealed in the store; where that cannot be opened it is chosen anew.
// Each of two administrators hands over one half, so that neither of them can enrol as the person.

import { randomBytes } from 'node:crypto';
import type { DurableStore } from '#foundation/durable-store';
import { type CredentialBook, codesOf, type PersonalSecrets } from './credential-book.ts';
import { base32, stepOf } from './one-time-codes.ts';
import type { SealSubject, Seals } from './seals.ts';
import { hashToken } from './secrets.ts';

export const INVITATION_MS = 86_400_000;
const HALF_BYTES = 10;
/** In base32, without the dashes. */
const HALF_LENGTH = 16;
const GROUP_LENGTH = 4;

/** What was chosen with the invitation and waits for the first code. */
export interface PendingSecrets {
  /** In the PHC string format. */
  readonly password: string;
  /** Sealed for the account and the purpose `pending-code-secret`. */
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
  readonly seals: Seals;
  /** Of the wall floor. */
  readonly wallMs: () => number;
}

export class Invitations {
  readonly #parts: InvitationParts;
  /** By account: each has one at most. */
  readonly #invitations = new Map<string, Invitation>();

  /** After `openSealedTables`. */
  constructor(parts: InvitationParts) {
    this.#parts = parts;
    const { seals, store } = parts;
    for (const row of store.database.prepare('SELECT * FROM sealed_invitation').all()) {
      const account = String(row.account);
      const codeSecret = String(row.code_secret ?? '');
      const password = seals.openText(passwordOf(account), String(row.password ?? ''));
      const opened = seals.open(pendingCodesOf(account), codeSecret);
      this.noteSaved({
        hash: String(row.hash),
        account,
        expiresAtWallMs: Number(row.expires_wall_ms),
        pending: password === null || opened === null ? null : { password, codeSecret },
      });
      opened?.fill(0);
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
        // What was chosen with the one before goes with it.
        credentials.writeForgotten(account);
        this.#parts.store.database
          .prepare('INSERT OR REPLACE INTO sealed_invitation VALUES (?, ?, ?, NULL, NULL)')
          .run(account, invitation.hash, expiresAtWallMs);
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

  /** With what was chosen; counts once it is written and noted. Wipes nothing: `codeSecret` is still to be shown. */
  chosen(invitation: Invitation, password: string, codeSecret: Uint8Array): Invitation {
    const sealed = this.#parts.seals.seal(pendingCodesOf(invitation.account), codeSecret);
    return { ...invitation, pending: { password, codeSecret: sealed } };
  }

  /** What was chosen, as it counts once this first code is proved; null where the code is none of that secret. */
  proved({ account, pending }: Invitation, code: string, wallMs: number): PersonalSecrets | null {
    const { seals } = this.#parts;
    const opened =
      pending === null ? null : seals.open(pendingCodesOf(account), pending.codeSecret);
    if (pending === null || opened === null) return null;
    const lastStep = stepOf(opened, code, wallMs, 0);
    opened.fill(0);
    if (lastStep === null) return null;
    const codeSecret = seals.moved(pendingCodesOf(account), codesOf(account), pending.codeSecret);
    return { account, password: pending.password, codeSecret, lastStep };
  }

  /**
   * What was chosen; false, with nothing written, where the account was given another invitation meanwhile. To be called
   * inside a transaction of the store, then `noteSaved` once it is on disk.
   */
  writeChosen({ account, hash, pending }: Invitation): boolean {
    const { seals, store } = this.#parts;
    if (pending === null) return false;
    const { changes } = store.database
      .prepare(
        'UPDATE sealed_invitation SET password = ?, code_secret = ? WHERE account = ? AND hash = ?',
      )
      .run(
        seals.sealText(passwordOf(account), pending.password),
        seals.renewed(pendingCodesOf(account), pending.codeSecret),
        account,
        hash,
      );
    return Number(changes) === 1;
  }

  noteSaved(invitation: Invitation): void {
    this.#invitations.set(invitation.account, invitation);
  }

  /** It is used up; false where it was replaced meanwhile. To be called inside a transaction of the store. */
  writeUsed({ account, hash }: Invitation): boolean {
    const { changes } = this.#parts.store.database
      .prepare('DELETE FROM sealed_invitation WHERE account = ? AND hash = ?')
      .run(account, hash);
    return Number(changes) === 1;
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

function passwordOf(account: string): SealSubject {
  return { account, purpose: 'pending-password' };
}

function pendingCodesOf(account: string): SealSubject {
  return { account, purpose: 'pending-code-secret' };
}

function grouped(text: string): string {
  const groups: string[] = [];
  for (let at = 0; at < text.length; at += GROUP_LENGTH)
    groups.push(text.slice(at, at + GROUP_LENGTH));
  return groups.join('-');
}
