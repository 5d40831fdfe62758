// Requests for certificates: only a public key whose owner signed for it gets through, whatever else they wish for.

import { execFileSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readCertificateRequest } from '#tracks/security/certificates/certificate-request';
import { certificateLibrary } from '../../../../../src/bin/certificate-library.ts';
import { makeRequest, newKey, privateKeyPem } from '../../../../support/certificate-requests.ts';

const LABEL = 'CERTIFICATE REQUEST';

const reading = (pem: string) => readCertificateRequest(pem, certificateLibrary);

async function findingOf(pem: string): Promise<string> {
  const read = await reading(pem);
  if (read.ok) return 'taken';
  expect(read.fault.code).toBe('CERTIFICATE_REFUSED');
  return read.fault.finding;
}

function bytesOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----/g, ''), 'base64');
}

function pemOf(bytes: Uint8Array, label = LABEL): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

describe('a request is taken', () => {
  it.each(['P-256', 'P-384', 'P-521', 'Ed25519'] as const)('for a key on %s', async (kind) => {
    const { pem, key } = await makeRequest({ kind });
    const read = await reading(pem);
    expect(read.ok && read.value.equals(createPublicKey(key))).toBe(true);
  });

  it.runIf(existsSync('/usr/bin/openssl'))(
    'as openssl makes it, in both of its labels',
    async () => {
      const directory = mkdtempSync(join(tmpdir(), 'dsmil-csr-'));
      try {
        const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
        for (const label of [[], ['-newhdr']]) {
          const files = ['-keyout', join(directory, 'k'), '-out', join(directory, 'r')];
          const names = [
            '-subj',
            '/CN=x',
            '-addext',
            'subjectAltName=URI:urn:dsmil:principal:root',
          ];
          const more = [...curve, ...files, ...names, ...label];
          execFileSync('openssl', ['req', '-new', '-nodes', ...more], { stdio: 'pipe' });
          expect(await findingOf(readFileSync(join(directory, 'r'), 'utf8'))).toBe('taken');
        }
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  );
});

describe('a request is refused', () => {
  it('for a key on RSA, and says what is issued', async () => {
    const { pem } = await makeRequest({ kind: 'RSA' });
    expect(await findingOf(pem)).toMatch(/of the kind rsa; certificates are issued for P-256/);
  });

  it('when signed with SHA-1', async () => {
    const { pem } = await makeRequest({ digest: 'SHA-1' });
    expect(await findingOf(pem)).toMatch(/no algorithm that fits its key/);
  });

  it('when the key in it was exchanged for another one', async () => {
    const mine = await makeRequest();
    const theirs = createPublicKey(newKey());
    const spki = (key: typeof theirs) => key.export({ type: 'spki', format: 'der' });
    const bytes = bytesOf(mine.pem);
    const at = bytes.indexOf(spki(createPublicKey(mine.key)));
    expect(at).toBeGreaterThan(0);
    spki(theirs).copy(bytes, at);
    expect(await findingOf(pemOf(bytes))).toMatch(/not signed with the private key/);
  });

  it('with its private key in the same text, without repeating it', async () => {
    const { pem, key } = await makeRequest();
    const read = await reading(`${privateKeyPem(key)}${pem}`);
    expect(JSON.stringify(read)).toMatch(/private key, which must never leave its device/);
    expect(JSON.stringify(read)).not.toContain(privateKeyPem(key).slice(40, 80));
  });

  it.each([
    ['nothing', ''],
    ['two at once', 'TWICE'],
    ['a certificate', 'LABEL'],
    ['text that is no DER', pemOf(Buffer.from('hello'))],
    ['an indefinite length', pemOf(Buffer.from([0x30, 0x80, 0, 0]))],
    ['a length beyond its end', pemOf(Buffer.from([0x30, 0x83, 0xff, 0xff, 0xff]))],
  ])('that is %s', async (_, given) => {
    const { pem } = await makeRequest();
    const text =
      given === 'TWICE'
        ? pem + pem
        : given === 'LABEL'
          ? pem.replaceAll(LABEL, 'CERTIFICATE')
          : given;
    expect(await findingOf(text)).toMatch(/^is not/);
  });

  it('followed by anything, which another reader might take for more', async () => {
    const { pem } = await makeRequest();
    const extended = pemOf(Buffer.concat([bytesOf(pem), Buffer.from([0x05, 0x00])]));
    expect(await findingOf(extended)).toMatch(/RFC 2986/);
  });

  it('with any bit changed', async () => {
    const { pem } = await makeRequest();
    const bytes = bytesOf(pem);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect([bit, await findingOf(pemOf(changed))]).not.toEqual([bit, 'taken']);
    }
  });

  it('with any bytes at all, without throwing', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 400 }),
        async (bytes) => (await findingOf(pemOf(bytes))) !== 'taken',
      ),
      { numRuns: 300 },
    );
  });
});
