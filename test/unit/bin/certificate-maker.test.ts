// The thread that makes certificates: it answers and is gone, and whatever it does is an outcome and no surprise.

import { createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Authority } from '#tracks/security/certificates/authority';
import { readCertificateRequest } from '#tracks/security/certificates/certificate-request';
import { CertificateThreads, type WorkerLimits } from '../../../src/bin/certificate-maker.ts';
import { makeRequest, newKey } from '../../support/certificate-requests.ts';
import { must } from '../../support/kernel-bench.ts';

const ASKED = { requestPem: '' };
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-thread-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** With a thread that does this instead of its work. */
function running(program: string, limits: Partial<WorkerLimits> = {}): CertificateThreads {
  const file = join(directory, 'thread.mjs');
  writeFileSync(
    file,
    `import { parentPort, workerData } from 'node:worker_threads';\n${program}\nawait 0;`,
  );
  return new CertificateThreads({ file, limits });
}

const answering = (expression: string) =>
  `parentPort.postMessage({ ok: true, value: ${expression} });`;

describe('certificates from the real thread', () => {
  it('are as good as any: authority, client, list, and a request read and refused', async () => {
    const maker = new CertificateThreads();
    const { pem, key } = await makeRequest();
    const wallMs = Date.now();
    const authority = must(await Authority.begin(newKey(), 'threads', wallMs, maker));
    const publicKey = must(await authority.readRequest(pem));
    expect(publicKey.equals(createPublicKey(key))).toBe(true);
    const { certificatePem } = must(await authority.issueClient('alice', publicKey, wallMs, null));
    const shown = new X509Certificate(certificatePem);
    expect(shown.verify(new X509Certificate(authority.certificatePem).publicKey)).toBe(true);
    const list = { number: 1, thisUpdateWallMs: wallMs, nextUpdateWallMs: wallMs + 60_000 };
    const revoked = [{ serial: shown.serialNumber, revokedWallMs: wallMs }];
    expect(must(await authority.revocationList({ ...list, revoked }))).toContain('BEGIN X509 CRL');
    const garbage =
      '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n';
    expect(await readCertificateRequest(garbage, maker)).toMatchObject({
      fault: { code: 'CERTIFICATE_REFUSED', finding: expect.stringMatching(/RFC 2986/) },
    });
  });
});

describe('a thread', () => {
  it('gets the key as a handle and neither environment nor parameters', async () => {
    const program = answering(
      "[workerData.asked.key.constructor.name, Object.keys(process.env).length, process.argv.length].join(' ')",
    );
    const maker = running(program);
    const asked = {
      key: newKey(),
      commonName: 'x',
      serial: '41',
      notBeforeWallMs: 0,
      notAfterWallMs: 1,
    };
    expect(await maker.make('signAuthority', asked)).toEqual({
      ok: true,
      value: 'PrivateKeyObject 0 2',
    });
  });

  it.each([
    ['throws', "throw new Error('broken');", {}, 'INTERNAL', /failed in its thread/],
    ['rejects later', "Promise.reject(new Error('late'));", {}, 'INTERNAL', /failed in its thread/],
    ['ends without a word', 'process.exit(3);', {}, 'INTERNAL', /without an answer/],
    ['never ends', 'for (;;);', { timeMs: 3_000 }, 'DEADLINE_EXCEEDED', /more than 3000 ms/],
    [
      'fills its heap',
      'const all = []; for (;;) all.push({ at: all.length, more: [all.length] });',
      { heapMb: 8, timeMs: 20_000 },
      'INTERNAL',
      /failed in its thread/,
    ],
  ])('that %s is a fault, and the next one works', async (_, program, limits, code, finding) => {
    const flag = `workerData.asked.requestPem === 'good'`;
    const maker = running(
      `if (${flag}) { ${answering("'fine'")} } else { ${program} }`,
      limits as Partial<WorkerLimits>,
    );
    const failed = await maker.make('readRequest', ASKED);
    expect(failed).toMatchObject({ ok: false, fault: { code } });
    expect(!failed.ok && failed.fault.finding).toMatch(finding);
    expect(must(await maker.make('readRequest', { requestPem: 'good' }))).toBe('fine');
  });

  it('that cannot be loaded is a fault', async () => {
    const maker = new CertificateThreads({ file: join(directory, 'nowhere.mjs') });
    expect(await maker.make('readRequest', ASKED)).toMatchObject({ fault: { code: 'INTERNAL' } });
  });

  it('is alone: jobs run one after another, and beyond the bound they are refused at once', async () => {
    const started = 'performance.timeOrigin + performance.now()';
    const program = `const began = ${started};
      await new Promise((resolve) => setTimeout(resolve, 50));
      parentPort.postMessage({ ok: true, value: { began, ended: ${started} } });`;
    const maker = running(program, { jobs: 3 });
    const asked = Array.from({ length: 5 }, () => maker.make('readRequest', ASKED));
    const answers = await Promise.all(asked);
    expect(answers.map((answer) => (answer.ok ? 'ok' : answer.fault.code))).toEqual([
      'ok',
      'ok',
      'ok',
      'BUSY',
      'BUSY',
    ]);
    const times = answers.flatMap((answer) =>
      answer.ok ? [answer.value as unknown as { began: number; ended: number }] : [],
    );
    for (const [index, { began }] of times.entries()) {
      expect(began).toBeGreaterThan(times[index - 1]?.ended ?? 0);
    }
    // There is room again.
    expect((await maker.make('readRequest', ASKED)).ok).toBe(true);
  });
});
