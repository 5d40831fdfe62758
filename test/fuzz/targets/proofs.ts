// What is signed, damaged: audit exports through the offline verifier, and certificate requests. Damage is never taken for
// intact, and no key comes out of a request but the one that signed it.

import { createPrivateKey, createPublicKey } from 'node:crypto';
import { VirtualClock } from '#foundation/clock';
import { verifyExport } from '#model/audit-export';
import { readCertificateRequest } from '#tracks/security/certificates/certificate-request';
import { certificateLibrary } from '../../../src/bin/certificate-library.ts';
import { makeRequest } from '../../support/certificate-requests.ts';
import { bytesOf, ChainBench } from '../../unit/tracks/security/audit/chains.ts';
import { damageBytes } from '../byte-mutators.ts';
import type { FuzzBench, FuzzTarget } from '../fuzz.ts';
import type { FuzzRandom } from '../random.ts';
import { damageLines, damageTree } from '../tree-mutators.ts';
import { type Complaint, judgeOutcome } from '../verdict.ts';

/** Ed25519 signs the same bytes the same way each time, so that the corpus is the same in every life. */
const KEY = createPrivateKey({
  key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 7)]),
  format: 'der',
  type: 'pkcs8',
});
const PUBLIC_KEY = createPublicKey(KEY);

const AUDIT_WORDS = [
  '{"end":',
  '{"entry":',
  '{"checkpoint":',
  '\n',
  '"sequence":',
  '\ufeff',
  '\u0000',
];

async function exported(): Promise<Buffer> {
  const bench = new ChainBench({ checkpointKey: KEY, clock: new VirtualClock() });
  try {
    await bench.append(30);
    return bytesOf(await bench.export(1, 10));
  } finally {
    bench.close();
  }
}

function damageExport(input: Buffer, random: FuzzRandom, corpus: readonly Buffer[]): Buffer {
  const text = input.toString('utf8');
  switch (random.below(3)) {
    case 0:
      return damageBytes(input, { random, corpus, dictionary: AUDIT_WORDS });
    case 1:
      return Buffer.from(damageLines(text, random.pick(corpus).toString('utf8'), random));
    default: {
      const lines = text.split('\n');
      const at = random.below(lines.length - 1);
      const line = JSON.parse(lines[at] || '{}') as unknown;
      lines[at] = damageTree(line, random, () => JSON.parse(random.pick(lines) || '{}'));
      return Buffer.from(lines.join('\n'));
    }
  }
}

/** An export may be cut off after any block and is still a whole one, of less; only a kept checkpoint tells. */
function isHonest(original: Buffer, input: Buffer): boolean {
  const start = original.subarray(0, input.length);
  const lastLine = input.subarray(input.lastIndexOf('\n', input.length - 2) + 1);
  return start.equals(input) && lastLine.subarray(0, 7).equals(Buffer.from('{"end":'));
}

export const auditExport: FuzzTarget = {
  name: 'audit-export',
  runs: 400,
  open: async (): Promise<FuzzBench> => {
    const original = await exported();
    const corpus = [original];
    return {
      corpus,
      mutate: (input, random) => damageExport(input, random, corpus),
      check: async (input): Promise<Complaint> => {
        // As it comes from a network, in pieces that end anywhere.
        const half = input.length >> 1;
        const chunks = [input.subarray(0, half), input.subarray(half)];
        const verdict = await verifyExport(chunks, { publicKeys: [PUBLIC_KEY] });
        if (verdict.finding.trim() === '') return 'a verdict without words';
        if (verdict.intact !== (verdict.damage === null)) return 'neither intact nor damaged';
        if (verdict.intact && !isHonest(original, input))
          return 'a changed export is called intact';
        if (!verdict.intact && input.equals(original)) return `refused: ${verdict.finding}`;
        return null;
      },
      close: () => Promise.resolve(),
    };
  },
};

function pemOf(der: Buffer): Buffer {
  const lines = der.toString('base64').replace(/.{64}/g, '$&\n');
  return Buffer.from(
    `-----BEGIN CERTIFICATE REQUEST-----\n${lines}\n-----END CERTIFICATE REQUEST-----\n`,
  );
}

function derOf(pem: Buffer): Buffer {
  return Buffer.from(pem.toString('latin1').replace(/-----[^-]*-----/g, ''), 'base64');
}

const DER_WORDS = [
  Buffer.from([0x30, 0x80]),
  Buffer.from([0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
  Buffer.from([0x30, 0x83, 0x00, 0x00, 0x05]),
  Buffer.from([0x1f, 0x81, 0x00]),
  Buffer.from([0x00, 0x00]),
  Buffer.from([0x06, 0x03, 0x2b, 0x65, 0x70]),
  Buffer.from([0x03, 0x01, 0x07]),
];

export const certificateRequest: FuzzTarget = {
  name: 'certificate-request',
  runs: 500,
  open: async (): Promise<FuzzBench> => {
    const { pem } = await makeRequest({ kind: 'Ed25519', key: KEY, subject: 'CN=eve' });
    const plain = await makeRequest({ kind: 'Ed25519', key: KEY, subject: 'CN=mallory,O=other' });
    const corpus = [Buffer.from(pem), Buffer.from(plain.pem)];
    const own = PUBLIC_KEY.export({ type: 'spki', format: 'der' });
    return {
      corpus,
      mutate: (input, random) => {
        const texts = ['-----BEGIN ', '=', '\r', 'PRIVATE KEY', '\u0000'];
        if (random.once(6)) return damageBytes(input, { random, corpus, dictionary: texts });
        const ders = corpus.map(derOf);
        return pemOf(damageBytes(derOf(input), { random, corpus: ders, dictionary: DER_WORDS }));
      },
      check: async (input) => {
        const outcome = await readCertificateRequest(input.toString('utf8'), certificateLibrary);
        if (!outcome.ok) return judgeOutcome(outcome);
        const key = outcome.value.export({ type: 'spki', format: 'der' });
        return key.equals(own) ? null : 'a key came out that never signed anything';
      },
      close: () => Promise.resolve(),
    };
  },
};
