// Sealed texts: what opens them, what does not, and what they give away.

import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  keyIdOfSealed,
  SEALING_KEY_BYTES,
  type SealSubject,
  Seals,
  sealingKeyOf,
} from '#tracks/security/identity/seals';

const newKey = () => sealingKeyOf(randomBytes(SEALING_KEY_BYTES));
const ALICE: SealSubject = { account: 'alice', purpose: 'code-secret' };
const subjects = fc.record({
  account: fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,62}$/),
  purpose: fc.constantFrom(
    'password' as const,
    'code-secret' as const,
    'pending-password' as const,
    'pending-code-secret' as const,
  ),
});
const secrets = fc.uint8Array({ maxLength: 200 });

describe('a sealed text', () => {
  const seals = new Seals(newKey());

  it('opens for its subject, as what it was', () => {
    fc.assert(
      fc.property(subjects, secrets, (subject, secret) => {
        const opened = seals.open(subject, seals.seal(subject, secret));
        expect(opened === null ? null : [...opened]).toEqual([...secret]);
      }),
    );
  });

  it('opens for no other account and no other purpose', () => {
    fc.assert(
      fc.property(subjects, subjects, secrets, (one, other, secret) => {
        fc.pre(one.account !== other.account || one.purpose !== other.purpose);
        expect(seals.open(other, seals.seal(one, secret))).toBeNull();
      }),
    );
  });

  it('opens no more once any letter of it is another', () => {
    const sealed = seals.sealText(ALICE, 'a secret of some length');
    fc.assert(
      fc.property(
        fc.nat(sealed.length - 1),
        fc.constantFrom(...'abcXYZ019:-_= \0'),
        (at, letter) => {
          fc.pre(sealed[at] !== letter);
          const changed = `${sealed.slice(0, at)}${letter}${sealed.slice(at + 1)}`;
          // The last letter of base64url may hold bits that stand for nothing.
          const same = Buffer.from(changed.split(':')[2] ?? '', 'base64url').equals(
            Buffer.from(sealed.split(':')[2] ?? '', 'base64url'),
          );
          fc.pre(!(at === sealed.length - 1 && same));
          expect(seals.open(ALICE, changed)).toBeNull();
        },
      ),
    );
    for (const cut of [0, 1, 20, 30, sealed.length - 1])
      expect(seals.open(ALICE, sealed.slice(0, cut))).toBeNull();
  });

  it('is another each time, and shows neither the secret nor the key', () => {
    const bytes = randomBytes(SEALING_KEY_BYTES);
    const own = new Seals(sealingKeyOf(bytes));
    const secret = randomBytes(20);
    const all = Array.from({ length: 50 }, () => own.seal(ALICE, secret));
    expect(new Set(all).size).toBe(50);
    // No two with the same nonce: with one, AES-GCM would be open.
    expect(new Set(all.map((one) => one.split(':')[2]?.slice(0, 16))).size).toBe(50);
    for (const one of all) {
      const raw = Buffer.from(one.split(':')[2] ?? '', 'base64url');
      expect(raw.includes(secret)).toBe(false);
      expect(one).not.toContain(bytes.toString('hex').slice(0, 16));
    }
    expect(keyIdOfSealed(all[0] ?? '')).toBe(own.currentId);
  });

  it.each([
    '',
    'JBSWY3DPEHPK3PXP',
    '$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA',
    'sealed1::',
    'null',
  ])('is not %j: what was never sealed opens nothing', (text) => {
    expect(keyIdOfSealed(text)).toBeNull();
    expect(seals.open(ALICE, text)).toBeNull();
  });
});

describe('another key', () => {
  it('opens nothing of the first, also where it takes its name', () => {
    const [mine, theirs] = [newKey(), newKey()];
    const sealed = new Seals(mine).sealText(ALICE, 'mine');
    expect(new Seals(theirs).open(ALICE, sealed)).toBeNull();
    expect(new Seals({ id: mine.id, key: theirs.key }).open(ALICE, sealed)).toBeNull();
  });

  it('opens what the one before sealed while that is known, and seals it anew', () => {
    const [before, after] = [newKey(), newKey()];
    const old = new Seals(before).sealText(ALICE, 'kept');
    const seals = new Seals(after, [before]);
    const renewed = seals.renewed(ALICE, old);
    expect(keyIdOfSealed(renewed)).toBe(after.id);
    expect(new Seals(after).openText(ALICE, renewed)).toBe('kept');
    expect(seals.renewed(ALICE, renewed)).toBe(renewed);
    // What cannot be opened stays as it is.
    expect(new Seals(after).renewed(ALICE, old)).toBe(old);
  });

  it('can be taken back, and what it sealed meanwhile opens all the same', () => {
    const [before, after] = [newKey(), newKey()];
    const seals = new Seals(before);
    const takeBack = seals.use(after);
    const sealed = seals.sealText(ALICE, 'meanwhile');
    takeBack();
    expect(seals.currentId).toBe(before.id);
    expect(seals.openText(ALICE, sealed)).toBe('meanwhile');
  });

  it('is none that is shorter, and without one nothing is sealed', () => {
    expect(() => sealingKeyOf(randomBytes(16))).toThrow(/32 bytes/);
    expect(() => new Seals(null).sealText(ALICE, 'x')).toThrow(/no key/);
    const known = newKey();
    const sealed = new Seals(known).sealText(ALICE, 'read alone');
    expect(new Seals(null, [known]).openText(ALICE, sealed)).toBe('read alone');
    expect(new Seals(null, [known]).renewed(ALICE, sealed)).toBe(sealed);
  });

  it('is never shown by what holds it', () => {
    const key = newKey();
    expect(JSON.stringify([key, new Seals(key)])).not.toContain(
      key.key.export().toString('base64').slice(0, 20),
    );
  });
});
