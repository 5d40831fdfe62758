// No secret value survives redaction, wherever in a request it stands, and everything else stays.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { OPERATION_TABLE, type OperationKey, operationRow } from '#model/operation-table';
import { REDACTED, redact, redactText } from '#model/redaction';

const keys = Object.keys(OPERATION_TABLE) as OperationKey[];
const withSecrets = keys.filter((key) => (operationRow(key).secrets ?? []).length > 0);
/** Cannot come out of the other arbitraries: they have no capital letters. */
const sentinel = fc.stringMatching(/^QZ[0-9A-F]{6,20}$/);
const ordinaryName = fc
  .stringMatching(/^[a-z]{1,6}$/)
  .filter((name) => !['code', 'next', 'token', 'secret', 'cookie', 'uri'].includes(name));
const ordinary = fc.oneof(fc.integer(), fc.boolean(), fc.constant(null), ordinaryName);

const spelled = (name: string) =>
  fc.constantFrom(name, name.toUpperCase(), `${name.slice(0, 1)}_${name.slice(1)}`);

it('leaves no secret of any row in the body, at any depth and in any spelling', () => {
  const cases = fc.constantFrom(...withSecrets).chain((key) => {
    const names = operationRow(key).secrets ?? [];
    const secretMember = fc
      .constantFrom(...names)
      .chain((name) => fc.tuple(spelled(name), fc.oneof(sentinel, fc.array(sentinel))));
    const tree = fc.letrec<{ node: unknown }>((tie) => ({
      node: fc.oneof(
        { depthSize: 'small' },
        ordinary,
        fc.array(tie('node'), { maxLength: 3 }),
        fc
          .tuple(
            fc.array(fc.tuple(ordinaryName, tie('node')), { maxLength: 3 }),
            fc.array(secretMember, { maxLength: 2 }),
          )
          .map(([members, secrets]) => Object.fromEntries([...members, ...secrets])),
      ),
    })).node;
    return fc.tuple(fc.constant(key), tree, secretMember);
  });
  fc.assert(
    fc.property(cases, ([key, tree, [name, value]]) => {
      const shown = JSON.stringify(redact(key, { tree, [name]: value }));
      expect(shown).not.toMatch(/QZ/);
      expect(shown).toContain(REDACTED);
    }),
  );
});

it('keeps what is no secret exactly as it is', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...keys),
      fc.array(fc.tuple(ordinaryName, fc.array(ordinary))),
      (key, members) => {
        const body = Object.fromEntries(members);
        expect(redact(key, body)).toEqual(body);
      },
    ),
  );
});

it('blots the secrets of a body out of a text about it, also where one contains another', () => {
  fc.assert(
    fc.property(sentinel, sentinel, (password, code) => {
      const body = { account: 'alice', password, code: `${password}${code}` };
      const text = `scrypt failed on ${password}${code} and on "${password}" for alice`;
      const shown = redactText('login', body, text);
      expect(shown).not.toMatch(/QZ/);
      expect(shown).toContain('for alice');
    }),
  );
});

it('bounds what a hostile body can make of it', () => {
  let deep: unknown = { password: 'QZ-deep-password' };
  for (let level = 0; level < 10_000; level++) deep = [deep];
  expect(JSON.stringify(redact('login', deep))).not.toContain('QZ');
  const proto = JSON.parse('{"__proto__":{"password":"QZ-in-proto"},"list":[{"token":["QZ-1"]}]}');
  expect(JSON.stringify(redact('login', proto))).not.toContain('QZ');
  expect(({} as { password?: string }).password).toBeUndefined();
  expect(redact('login', { raw: Buffer.from('QZ-bytes') })).toEqual({ raw: '[no plain data]' });
});
