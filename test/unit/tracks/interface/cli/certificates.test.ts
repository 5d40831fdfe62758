// Certificates and keys on the command line: the private key is made here, stays here, and nothing is written over.

import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readCertificateRequest } from '#tracks/security/certificates/certificate-request';
import { certificateLibrary } from '../../../../../src/bin/certificate-library.ts';
import { CliBench } from './cli-bench.ts';

let bench: CliBench;

beforeEach(async () => {
  bench = new CliBench();
  await bench.open();
});

afterEach(() => bench.close());

const REASON = ['--reason', 'a new panel'];
const PEM = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
const at = (...parts: string[]) => join(bench.directory, ...parts);
const issue = (...more: string[]) => bench.run(['pki', 'issue', 'panel-1', ...more, ...REASON]);

it('makes key and request, keeps the key private, and names the request for the second administrator', async () => {
  const waits = { done: false, message: 'one more', certificatePem: '' };
  bench.orchestrator.answers.set('issueCertificate', waits);
  const ran = await issue('--out', at('out'));
  expect(ran.code).toBe(5);
  expect(readdirSync(at('out')).sort()).toEqual(['panel-1.csr', 'panel-1.key']);
  expect(statSync(at('out', 'panel-1.key')).mode & 0o777).toBe(0o600);
  const requestPem = readFileSync(at('out', 'panel-1.csr'), 'utf8');
  expect(bench.asked('issueCertificate')).toEqual([
    { account: 'panel-1', requestPem, reason: 'a new panel' },
  ]);
  const request = await readCertificateRequest(requestPem, certificateLibrary);
  const ours = createPublicKey(createPrivateKey(readFileSync(at('out', 'panel-1.key'))));
  expect(request.ok && request.value.equals(ours)).toBe(true);
  const second = `dsmil pki issue panel-1 --request ${at('out', 'panel-1.csr')} --out ${at('out')} --reason 'a new panel'`;
  expect(ran.stderr).toContain(second);

  bench.orchestrator.answers.set('issueCertificate', {
    done: true,
    message: '',
    certificatePem: PEM,
  });
  const done = await issue('--request', at('out', 'panel-1.csr'), '--out', at('out'));
  expect(done).toMatchObject({ code: 0, stdout: PEM });
  expect(readFileSync(at('out', 'panel-1.crt'), 'utf8')).toBe(PEM);
  const [first, again] = bench.asked('issueCertificate');
  expect(again).toEqual(first);
});

it('writes over no key that is there, and sends nothing then', async () => {
  bench.orchestrator.answers.set('issueCertificate', {
    done: true,
    message: '',
    certificatePem: PEM,
  });
  expect((await issue('--out', at('out'))).code).toBe(0);
  const key = readFileSync(at('out', 'panel-1.key'), 'utf8');
  const again = await issue('--out', at('out'));
  expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining('is there already') });
  expect(readFileSync(at('out', 'panel-1.key'), 'utf8')).toBe(key);
  expect(bench.asked('issueCertificate')).toHaveLength(1);
});

it('never sends a private key that was named as the request', async () => {
  writeFileSync(at('key.pem'), '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n');
  const ran = await issue('--request', at('key.pem'));
  expect(ran).toMatchObject({ code: 2, stderr: expect.stringContaining('holds a private key') });
  expect((await issue()).stderr).toContain('--out');
  expect((await issue('--request', at('none'))).stderr).toContain('ENOENT');
  expect(bench.orchestrator.administered).toEqual([]);
});

it('renews, revokes and lists by serial', async () => {
  const { answers } = bench.orchestrator;
  answers.set('renewCertificate', { certificatePem: PEM });
  const renewed = await bench.run(['pki', 'renew', 'AB:cd', '--out', at('new')]);
  expect(renewed).toMatchObject({ code: 0, stdout: PEM });
  expect(readdirSync(at('new')).sort()).toEqual([
    'after-abcd.crt',
    'after-abcd.csr',
    'after-abcd.key',
  ]);
  expect(bench.asked('renewCertificate')).toEqual([expect.objectContaining({ serial: 'ABcd' })]);
  answers.set('revokeCertificate', { sessionsEnded: 3 });
  const revoked = await bench.run(['pki', 'revoke', 'abcd', ...REASON]);
  expect(revoked.stdout).toBe('sessions ended\n3\n');
  const good = {
    serial: 'abcd',
    purpose: 'client',
    subject: 'panel-1',
    fingerprint: 'AA:BB',
    notBeforeWallMs: Date.UTC(2029, 0, 1),
    notAfterWallMs: Date.UTC(2031, 0, 1),
    revokedWallMs: 0,
    revokedBecause: '',
  };
  const bad = { ...good, revokedWallMs: Date.UTC(2029, 5, 1), revokedBecause: 'lost' };
  answers.set('certificates', { certificates: [good, bad] });
  const listed = (await bench.run(['pki', 'list'])).stdout.split('\n');
  expect(listed[1]).toBe('abcd    client  panel-1  2029-01-01 00:00:00Z  2031-01-01 00:00:00Z');
  expect(listed[2]).toContain('REVOKED 2029-06-01 00:00:00Z: lost');
});

it('prints the authority with its revocation list, and the public key that a rotation gives', async () => {
  const { answers } = bench.orchestrator;
  const list = PEM.replaceAll('CERTIFICATE', 'X509 CRL');
  answers.set('authority', { certificatePem: PEM, revocationListPem: list });
  expect((await bench.run(['pki', 'authority'])).stdout).toBe(`${PEM}${list}`);
  const key = PEM.replaceAll('CERTIFICATE', 'PUBLIC KEY');
  answers.set('rotateKey', { done: true, message: 'rotated', publicKeyPem: key });
  const rotated = await bench.run(['keys', 'rotate', 'checkpoint', ...REASON]);
  expect(rotated).toMatchObject({ code: 0, stdout: key, stderr: 'rotated\n' });
  answers.set('rotateKey', { done: false, message: 'one more', publicKeyPem: '' });
  const waits = await bench.run(['keys', 'rotate', 'authorization', ...REASON]);
  expect(waits.code).toBe(5);
  expect(waits.stderr).toContain("dsmil keys rotate authorization --reason 'a new panel'");
  expect((await bench.run(['keys', 'rotate', 'other', ...REASON])).code).toBe(2);
});
