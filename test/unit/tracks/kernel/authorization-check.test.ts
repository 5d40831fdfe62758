// Kernel executes only what security signed: this plan, this operation, in time, once.

import { generateKeyPairSync, sign } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { refuse } from '#foundation/outcome';
import {
  AUTHORIZATION_KEYS_MAX,
  AUTHORIZATION_LIFETIME_MS,
  type Authorization,
  type AuthorizationKeys,
  authorizationBytes,
  keyIdOf,
} from '#model/authorization';
import { AuthorizationCheck } from '#tracks/kernel/authorization-check';
import { ADOPTION_LIMIT_MS, AuthorizationSigner } from '#tracks/security/authorization';

const STRANGE_KEY = 'it is signed with a key that is not one of security now';
const ACT = { operationId: 'operation-1', planDigest: 'd1' };
let clock: VirtualClock;
let signer: AuthorizationSigner;
let check: AuthorizationCheck;
let granted: Authorization;

beforeEach(() => {
  clock = new VirtualClock();
  signer = new AuthorizationSigner(clock);
  check = new AuthorizationCheck(clock);
  check.trust(signer.keys());
  granted = signer.grant(ACT.operationId, ACT.planDigest, ['alice', 'bob'], 'basis-1');
});

function finding(authorization: Authorization, act = ACT): string {
  const outcome = check.redeem(authorization, act);
  if (outcome.ok) return 'redeemed';
  expect(outcome.fault.code).toBe('AUTHORIZATION_INVALID');
  expect(outcome.fault.metal).toBe('untouched');
  return outcome.fault.finding;
}

describe('an authorization', () => {
  it('opens exactly one commit, however often it is checked before', () => {
    expect(check.check(granted, ACT).ok).toBe(true);
    expect(check.check(granted, ACT).ok).toBe(true);
    expect(finding(granted)).toBe('redeemed');
    expect(finding(granted)).toBe('the authorization was used before');
    expect(check.check(granted, ACT).ok).toBe(false);
  });

  it('cannot be used again under another spelling of its signature', () => {
    expect(finding(granted)).toBe('redeemed');
    const { signature } = granted;
    const spellings = [
      `${signature}\n`,
      signature.replace(/=+$/, ''),
      signature.replaceAll('+', '-').replaceAll('/', '_'),
      `${signature}====`,
    ];
    for (const spelling of spellings) {
      expect(finding({ ...granted, signature: spelling })).toBe(
        'the authorization was used before',
      );
    }
  });

  it('is worth nothing for another operation or another plan', () => {
    const other = { ...ACT, operationId: 'operation-2' };
    expect(finding(granted, other)).toBe('the authorization is for another operation');
    expect(finding(granted, { ...ACT, planDigest: 'd2' })).toBe(
      'the authorization is for another plan',
    );
    expect(finding({ ...granted, operationId: 'operation-2' }, other)).toBe(
      'the signature is not by security',
    );
  });

  it('is worth nothing once it has expired', async () => {
    await clock.advance(AUTHORIZATION_LIFETIME_MS - 1);
    expect(check.check(granted, ACT).ok).toBe(true);
    await clock.advance(1);
    expect(finding(granted)).toBe('the authorization has expired');
  });

  it.each([
    ['people', { grantedTo: ['mallory'] }],
    ['the state of the devices', { basis: 'basis-2' }],
    ['no state of the devices', { basis: '' }],
    ['a dropped approver', { grantedTo: ['alice'] }],
    ['a later expiry', { expiresAtMs: 90_000 }],
    ['a signature of nothing', { signature: '' }],
    ['a signature of zeros', { signature: Buffer.alloc(64).toString('base64') }],
    ['a signature that is no base64', { signature: '!!!!' }],
  ])('is refused with %s changed', (_, change) => {
    expect(finding({ ...granted, ...change })).toBe('the signature is not by security');
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('is refused when it expires at %d', (at) => {
    expect(finding({ ...granted, expiresAtMs: at })).toBe('the authorization has expired');
  });

  it('is refused when somebody else signed it', () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    const forged = sign(null, authorizationBytes(granted), privateKey).toString('base64');
    expect(finding({ ...granted, signature: forged })).toBe('the signature is not by security');
  });
});

describe('the key that kernel trusts', () => {
  it('is none before security has shown one', () => {
    check = new AuthorizationCheck(clock);
    expect(finding(granted)).toBe('kernel holds no public key of security yet');
  });

  it('voids everything signed before security started again', () => {
    const restarted = new AuthorizationSigner(clock);
    check.trust(restarted.keys());
    expect(finding(granted)).toBe(STRANGE_KEY);
    expect(finding(restarted.grant(ACT.operationId, ACT.planDigest, ['alice']))).toBe('redeemed');
  });

  it('does not make used authorizations new when only the link came back', () => {
    expect(finding(granted)).toBe('redeemed');
    check.trust(signer.keys());
    expect(finding(granted)).toBe('the authorization was used before');
  });
});

describe('when security changes its key', () => {
  const trusting = async (keys: AuthorizationKeys) => {
    const trusted = check.trust(keys);
    return trusted.ok ? { ok: true as const, value: undefined } : trusted;
  };
  const recorded = async () => ({ ok: true as const, value: undefined });
  const again = (id: string) => signer.grant(id, ACT.planDigest, ['alice']);
  const actOf = (operationId: string) => ({ ...ACT, operationId });

  it('both keys count, the old one until its last authorization has expired', async () => {
    const before = again('before');
    expect((await signer.rotate(trusting, recorded)).ok).toBe(true);
    const after = again('after');
    expect(after.keyId).not.toBe(before.keyId);
    expect(finding(before, actOf('before'))).toBe('redeemed');
    expect(finding(after, actOf('after'))).toBe('redeemed');
    expect(signer.keys().keys.map(({ keyId }) => keyId)).toEqual([after.keyId, before.keyId]);
    await clock.advance(AUTHORIZATION_LIFETIME_MS);
    expect(signer.keys().keys.map(({ keyId }) => keyId)).toEqual([after.keyId]);
    expect(finding(again('later'), actOf('later'))).toBe('redeemed');
  });

  it('whoever took the old key with him can sign nothing new with it after that', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const stolen = { keyId: keyIdOf(publicKey), publicKeyPem, untilMs: 500 };
    check.trust({ life: 'life', keys: [stolen] });
    const forge = () => {
      const unsigned = { ...granted, keyId: stolen.keyId, expiresAtMs: clock.nowMs() + 1_000 };
      const signature = sign(null, authorizationBytes(unsigned), privateKey).toString('base64');
      return { ...unsigned, signature };
    };
    expect(check.check(forge(), ACT).ok).toBe(true);
    await clock.advance(500);
    expect(finding(forge())).toBe(STRANGE_KEY);
  });

  it('what was used stays used', async () => {
    expect(finding(granted)).toBe('redeemed');
    await signer.rotate(trusting, recorded);
    expect(finding(granted)).toBe('the authorization was used before');
  });

  it.each(['kernel', 'the record'])('the old key stays in use when %s refuses', async (who) => {
    const no = refuse(fault('TRACK_UNAVAILABLE', { place: who, finding: 'is away' }));
    const before = granted.keyId;
    const offers: AuthorizationKeys[] = [];
    const offer = async (keys: AuthorizationKeys) => {
      offers.push(keys);
      return who === 'kernel' && offers.length === 1 ? no : trusting(keys);
    };
    expect(await signer.rotate(offer, who === 'kernel' ? recorded : async () => no)).toEqual(no);
    expect(offers.map(({ keys }) => keys.length)).toEqual([2, 1]);
    expect(offers[1]?.keys[0]).toMatchObject({ keyId: before, untilMs: null });
    expect(finding(again('next'), actOf('next'))).toBe('redeemed');
  });

  it('a key that takes too long to be known is not used', async () => {
    const slow = async (keys: AuthorizationKeys) => {
      await clock.advance(ADOPTION_LIMIT_MS);
      return trusting(keys);
    };
    expect(await signer.rotate(slow, recorded)).toMatchObject({
      fault: { code: 'DEADLINE_EXCEEDED' },
    });
    expect(again('next').keyId).toBe(granted.keyId);
    expect(finding(again('next'), actOf('next'))).toBe('redeemed');
  });

  it('only so many keys count at once', async () => {
    const codes: string[] = [];
    for (let turn = 0; turn < 5; turn++) {
      const rotated = await signer.rotate(trusting, recorded);
      codes.push(rotated.ok ? 'ok' : rotated.fault.code);
    }
    expect(codes).toEqual(['ok', 'ok', 'ok', 'BUSY', 'BUSY']);
    expect(signer.keys().keys).toHaveLength(AUTHORIZATION_KEYS_MAX);
  });

  it.each([
    ['of another kind', 'prime256v1'],
    ['under a false name', 'ed25519'],
    ['that is no key', 'none'],
  ])('a key %s is refused and what was trusted stays so', (_, kind) => {
    const { publicKey } =
      kind === 'prime256v1'
        ? generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
        : generateKeyPairSync('ed25519');
    const publicKeyPem =
      kind === 'none' ? 'PEM' : publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const keyId = kind === 'prime256v1' ? keyIdOf(publicKey) : '0123456789abcdef';
    const trusted = check.trust({
      life: 'another',
      keys: [{ keyId, publicKeyPem, untilMs: null }],
    });
    expect(trusted).toMatchObject({ fault: { code: 'AUTHORIZATION_INVALID' } });
    expect(finding(granted)).toBe('redeemed');
  });
});
