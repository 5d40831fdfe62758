// What security signs: every member is bound, for thirty seconds, under a key of this start.

import { createPublicKey, verify } from 'node:crypto';
import { expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import {
  AUTHORIZATION_LIFETIME_MS,
  type Authorization,
  authorizationBytes,
} from '#model/authorization';
import { AuthorizationSigner } from '#tracks/security/authorization';

const clock = new VirtualClock();
const signer = new AuthorizationSigner(clock);

function genuine(authorization: Authorization, by = signer): boolean {
  const key = createPublicKey(by.publicKeyPem);
  const signature = Buffer.from(authorization.signature, 'base64');
  return verify(null, authorizationBytes(authorization), key, signature);
}

it('an authorization names operation, plan, people and the state of the devices, and lasts 30 s', async () => {
  await clock.advance(1_234);
  const granted = signer.grant('operation-1', 'digest-1', ['alice', 'bob'], 'basis-1');
  expect(granted).toMatchObject({
    operationId: 'operation-1',
    planDigest: 'digest-1',
    basis: 'basis-1',
    grantedTo: ['alice', 'bob'],
    expiresAtMs: 1_234 + AUTHORIZATION_LIFETIME_MS,
  });
  expect(AUTHORIZATION_LIFETIME_MS).toBe(30_000);
  expect(signer.keys().keys).toMatchObject([{ keyId: granted.keyId, untilMs: null }]);
  expect(genuine(granted)).toBe(true);
});

it('one for any state of the devices says so by an empty basis', () => {
  const granted = signer.grant('operation-1', 'digest-1', ['alice']);
  expect(granted.basis).toBe('');
  expect(genuine(granted)).toBe(true);
});

it('no member can be changed without breaking the signature', () => {
  const granted = signer.grant('operation-1', 'digest-1', ['alice', 'bob'], 'basis-1');
  const changes: readonly Partial<Authorization>[] = [
    { operationId: 'operation-2' },
    { planDigest: 'digest-2' },
    { basis: 'basis-2' },
    { basis: '' },
    { grantedTo: ['alice'] },
    { grantedTo: ['bob', 'alice'] },
    { expiresAtMs: granted.expiresAtMs + 1 },
  ];
  for (const change of changes)
    expect([change, genuine({ ...granted, ...change })]).toEqual([change, false]);
});

it('a restart makes a new key, under which nothing signed before is worth anything', () => {
  const granted = signer.grant('operation-1', 'digest-1', ['alice']);
  expect(genuine(granted, new AuthorizationSigner(clock))).toBe(false);
});
