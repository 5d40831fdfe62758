// What security signs: every member counts, and no two permissions have the same bytes.

import { expect, it } from 'vitest';
import { authorizationBytes } from '#model/authorization';

const GRANT = {
  operationId: 'operation-1',
  planDigest: 'abc',
  basis: 'def',
  grantedTo: ['alice', 'bob'],
  expiresAtMs: 30_000,
  keyId: '0123456789abcdef',
};

it('gives other bytes for every other permission', () => {
  const variants = [
    GRANT,
    { ...GRANT, operationId: 'operation-2' },
    { ...GRANT, planDigest: 'abd' },
    { ...GRANT, basis: 'deg' },
    { ...GRANT, basis: '' },
    { ...GRANT, grantedTo: ['bob', 'alice'] },
    { ...GRANT, grantedTo: ['alice'] },
    { ...GRANT, grantedTo: ['alice,bob'] },
    { ...GRANT, grantedTo: ['alice","bob'] },
    { ...GRANT, expiresAtMs: 30_001 },
    { ...GRANT, keyId: '0123456789abcdee' },
    { ...GRANT, operationId: 'operation-1","planDigest":"abc' },
  ];
  const texts = variants.map((variant) => authorizationBytes(variant).toString());
  expect(new Set(texts).size).toBe(variants.length);
});

it('does not depend on the order of members, nor on the signature beside them', () => {
  const signed = { signature: 'x', expiresAtMs: 30_000, grantedTo: ['alice', 'bob'] };
  const { keyId } = GRANT;
  const named = { keyId, basis: 'def', planDigest: 'abc', operationId: 'operation-1' };
  const same = authorizationBytes({ ...signed, ...named });
  expect(same.equals(authorizationBytes(GRANT))).toBe(true);
});
