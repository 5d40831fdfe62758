// Kernel executes only what security signed: this plan, this operation, in time, once.

import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import {
  AUTHORIZATION_LIFETIME_MS,
  type Authorization,
  authorizationBytes,
} from '#model/authorization';
import { AuthorizationCheck } from '#tracks/kernel/authorization-check';
import { AuthorizationSigner } from '#tracks/security/authorization';

const ACT = { operationId: 'operation-1', planDigest: 'd1' };
let clock: VirtualClock;
let signer: AuthorizationSigner;
let check: AuthorizationCheck;
let granted: Authorization;

beforeEach(() => {
  clock = new VirtualClock();
  signer = new AuthorizationSigner(clock);
  check = new AuthorizationCheck(clock);
  check.trust(createPublicKey(signer.publicKeyPem));
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
    check.trust(createPublicKey(restarted.publicKeyPem));
    expect(finding(granted)).toBe('the signature is not by security');
    expect(finding(restarted.grant(ACT.operationId, ACT.planDigest, ['alice']))).toBe('redeemed');
  });

  it('does not make used authorizations new when only the link came back', () => {
    expect(finding(granted)).toBe('redeemed');
    check.trust(createPublicKey(signer.publicKeyPem));
    expect(finding(granted)).toBe('the authorization was used before');
  });
});
