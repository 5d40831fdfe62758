// Certificates as people ask for them, through the orchestrator's port: given by two, renewed by their owner, taken by one.

import { createPublicKey, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { certificateClient } from '#link/certificates';
import type { AdministrationAnswer } from '#model/administration';
import { serverProofBytes } from '#model/server-certificate';
import { Authority } from '#tracks/security/certificates/authority';
import { CertificateBook } from '#tracks/security/certificates/certificate-book';
import type {
  CertificateJob,
  CertificateMaker,
} from '#tracks/security/certificates/certificate-maker';
import { certificateLibrary } from '../../../../../src/bin/certificate-library.ts';
import { makeRequest, newKey } from '../../../../support/certificate-requests.ts';
import { must } from '../../../../support/kernel-bench.ts';
import { DeskBench } from '../identity/desk-bench.ts';

const DAY_MS = 86_400_000;
const REASON = 'panel in the pump hall';
const URI = 'urn:dsmil:principal:erin';
const authorityKey = newKey();
let bench: DeskBench;
let authority: Authority;
const settled: string[] = [];
/** What the maker of certificates does before it answers. */
let beforeMaking: (job: CertificateJob) => Promise<Outcome<void>>;

const maker: CertificateMaker = {
  make: async (job, asked) => {
    const ready = await beforeMaking(job);
    return ready.ok ? certificateLibrary.make(job, asked) : ready;
  },
};

beforeEach(async () => {
  beforeMaking = async () => succeed(undefined);
  // The bench begins at this wall time.
  const beganMs = Date.UTC(2026, 0, 1);
  authority = must(await Authority.begin(authorityKey, 'desk', beganMs, maker));
  settled.length = 0;
  bench = await DeskBench.open({
    material: {
      authority,
      names: ['appliance.example', 'localhost', '127.0.0.1'],
      newCheckpointKey: () => succeed(generateKeyPairSync('ed25519').privateKey),
      settleCheckpointKey: (keyId) => settled.push(keyId),
    },
  });
});
afterEach(() => bench.close());

type Issued = AdministrationAnswer<'issueCertificate'>;

async function issue(account = 'erin', pem?: string): Promise<Issued> {
  const request = { account, requestPem: pem ?? (await makeRequest()).pem, reason: REASON };
  const first = must(await bench.ask(await bench.local('alice'), 'issueCertificate', request));
  expect(first).toMatchObject({ done: false, certificatePem: '' });
  return must(await bench.ask(await bench.local('bob'), 'issueCertificate', request));
}

/** The disk takes no entry of the audit chain. */
function refuseEntries(state: 'on' | 'off'): void {
  bench.agent.store.database.exec(
    state === 'on'
      ? "CREATE TEMP TRIGGER no_room BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END"
      : 'DROP TRIGGER no_room',
  );
}

function shown(certificatePem: string) {
  const { fingerprint256: fingerprint, serialNumber: serial } = new X509Certificate(certificatePem);
  return { serial, fingerprint };
}

function signIn(certificatePem: string, uri = URI): Promise<string> {
  return bench.signIn({ kind: 'certificate', uri, fingerprint: shown(certificatePem).fingerprint });
}

const codeOf = (outcome: { ok: true } | { ok: false; fault: { code: string } }) =>
  outcome.ok ? 'ok' : outcome.fault.code;
const findingOf = (outcome: { ok: true } | { ok: false; fault: { finding: string } }) =>
  outcome.ok ? 'ok' : outcome.fault.finding;

describe('a client certificate', () => {
  it('is given by two administrators, with what the server decides and nothing the request wishes', async () => {
    const { pem, key } = await makeRequest({
      subject: 'CN=root,O=wheel',
      uris: ['urn:dsmil:principal:alice', 'https://evil.example'],
    });
    const issued = await issue('erin', pem);
    const certificate = new X509Certificate(issued.certificatePem);
    expect(certificate.subject).toBe('CN=erin');
    expect(certificate.subjectAltName).toBe(`URI:${URI}`);
    expect(certificate.ca).toBe(false);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(certificate.checkPrivateKey(key)).toBe(true);
    expect(certificate.validToDate.getTime() - bench.clock.wallMs()).toBeLessThanOrEqual(
      365 * DAY_MS,
    );
    expect(bench.record('erin').certificateUris).toEqual([URI]);
    expect(bench.stateOf(await signIn(issued.certificatePem))).toBe('live');
    const { serial, fingerprint } = shown(issued.certificatePem);
    expect(bench.entries('CERTIFICATE_ISSUED')).toMatchObject([
      {
        actor: 'bob',
        reason: REASON,
        details: { serial, fingerprint, account: 'erin', proposedBy: 'alice' },
      },
    ]);
    const listed = must(await bench.ask(await bench.local('alice'), 'certificates', {}));
    expect(listed.certificates).toMatchObject([{ serial, fingerprint, subject: 'erin' }]);
  });

  it('lasts no longer than its account', async () => {
    const untilMs = bench.clock.wallMs() + 10 * DAY_MS;
    await bench.change('erin', { validUntilWallMs: untilMs });
    const { certificatePem } = await issue();
    expect(new X509Certificate(certificatePem).validToDate.getTime()).toBeLessThanOrEqual(untilMs);
  });

  it('is not given by one administrator twice, nor for two different requests', async () => {
    const alice = await bench.local('alice');
    const first = { account: 'erin', requestPem: (await makeRequest()).pem, reason: REASON };
    const second = { ...first, requestPem: (await makeRequest()).pem };
    await bench.ask(alice, 'issueCertificate', first);
    expect(must(await bench.ask(alice, 'issueCertificate', first)).done).toBe(false);
    expect(must(await bench.ask(await bench.local('bob'), 'issueCertificate', second)).done).toBe(
      false,
    );
    expect(codeOf(await bench.ask(await bench.local('erin'), 'issueCertificate', first))).toBe(
      'NOT_PERMITTED',
    );
    expect(bench.agent.security.certificates.all()).toEqual([]);
    expect(bench.record('erin').certificateUris).toEqual([]);
  });

  it.each([
    ['nobody', 'ACCOUNT_UNKNOWN', async () => undefined],
    ['erin', 'CERTIFICATE_REFUSED', () => bench.change('erin', { enabled: false })],
    ['erin', 'CERTIFICATE_REFUSED', () => bench.change('erin', { validUntilWallMs: 1 })],
    ['erin', 'CERTIFICATE_REFUSED', () => bench.change('dora', { certificateUris: [URI] })],
  ])(
    'is not given to %s where the account stands against it (%s)',
    async (account, code, prepare) => {
      await prepare();
      const request = { account, requestPem: (await makeRequest()).pem, reason: REASON };
      expect(codeOf(await bench.ask(await bench.local('alice'), 'issueCertificate', request))).toBe(
        code,
      );
    },
  );

  it('is not given where the request is no good, and no proposal waits for it', async () => {
    const request = { account: 'erin', requestPem: 'no request', reason: REASON };
    const asked = await bench.ask(await bench.local('alice'), 'issueCertificate', request);
    expect(codeOf(asked)).toBe('CERTIFICATE_REFUSED');
    expect(bench.entries('CHANGE_PROPOSED')).toEqual([]);
  });

  it('is not given when its entry cannot be made durable: no certificate, no name, no row', async () => {
    const request = { account: 'erin', requestPem: (await makeRequest()).pem, reason: REASON };
    await bench.ask(await bench.local('alice'), 'issueCertificate', request);
    const bob = await bench.local('bob');
    refuseEntries('on');
    expect(codeOf(await bench.ask(bob, 'issueCertificate', request))).toBe('AUDIT_UNAVAILABLE');
    refuseEntries('off');
    expect(bench.agent.security.certificates.all()).toEqual([]);
    expect(bench.record('erin').certificateUris).toEqual([]);
    const again = new CertificateBook(bench.agent.store, () => bench.clock.wallMs());
    expect(again.all()).toEqual([]);
  });
});

describe('a successor of a certificate', () => {
  it('is given to its owner for a new key, and the old one stays good', async () => {
    const { certificatePem } = await issue();
    const session = await signIn(certificatePem);
    const { serial } = shown(certificatePem);
    const request = { serial: serial.toLowerCase(), requestPem: (await makeRequest()).pem };
    const renewed = must(await bench.ask(session, 'renewCertificate', request));
    expect(shown(renewed.certificatePem).serial).not.toBe(serial);
    expect(bench.stateOf(await signIn(renewed.certificatePem))).toBe('live');
    expect(bench.stateOf(await signIn(certificatePem))).toBe('live');
    expect(bench.entries('CERTIFICATE_ISSUED').at(-1)).toMatchObject({
      actor: 'erin',
      details: { renews: serial, account: 'erin' },
    });
  });

  it('is given to an administrator only for the key that the owner has already', async () => {
    const own = await makeRequest();
    const { serial } = shown((await issue('erin', own.pem)).certificatePem);
    const alice = await bench.local('alice');
    const strange = { serial, requestPem: (await makeRequest()).pem };
    const refused = await bench.ask(alice, 'renewCertificate', strange);
    expect(codeOf(refused)).toBe('CERTIFICATE_REFUSED');
    expect(findingOf(refused)).toMatch(/changed by erin alone/);
    const same = { serial, requestPem: (await makeRequest({ key: own.key })).pem };
    expect(codeOf(await bench.ask(alice, 'renewCertificate', same))).toBe('ok');
  });

  it('is given to a token of the owner only for the same key', async () => {
    const own = await makeRequest();
    const { serial } = shown((await issue('erin', own.pem)).certificatePem);
    for (const session of [await bench.byToken('erin'), await bench.local('erin')]) {
      const strange = { serial, requestPem: (await makeRequest()).pem };
      expect(findingOf(await bench.ask(session, 'renewCertificate', strange))).toMatch(
        /a new key needs/,
      );
      const same = { serial, requestPem: own.pem };
      expect(codeOf(await bench.ask(session, 'renewCertificate', same))).toBe('ok');
    }
  });

  it('is not given to anybody else, who does not learn whether there is one', async () => {
    const { serial } = shown((await issue('alice')).certificatePem);
    const erin = await bench.local('erin');
    for (const asked of [serial, 'ABCD']) {
      const request = { serial: asked, requestPem: (await makeRequest()).pem };
      const refused = await bench.ask(erin, 'renewCertificate', request);
      expect(codeOf(refused)).toBe('CERTIFICATE_UNKNOWN');
      expect(findingOf(refused)).toBe('is no client certificate of this account');
    }
  });

  it.each([
    ['was revoked', /was revoked/, 'revoke'],
    ['has run out', /ran out/, 'expire'],
    ['belongs to a disabled account', /is disabled/, 'disable'],
    ['lost its name', /name was taken/, 'strip'],
  ])('is not given for one that %s', async (_, finding, how) => {
    const own = await makeRequest();
    const { serial } = shown((await issue('erin', own.pem)).certificatePem);
    const alice = await bench.local('alice');
    if (how === 'revoke') await bench.ask(alice, 'revokeCertificate', { serial, reason: 'lost' });
    if (how === 'expire') bench.clock.jumpWall(400 * DAY_MS);
    if (how === 'disable') await bench.change('erin', { enabled: false });
    if (how === 'strip') await bench.change('erin', { certificateUris: [] });
    const refused = await bench.ask(await bench.local('alice'), 'renewCertificate', {
      serial,
      requestPem: own.pem,
    });
    expect(codeOf(refused)).toBe('CERTIFICATE_REFUSED');
    expect(findingOf(refused)).toMatch(finding);
  });
});

describe('a revocation', () => {
  it('by one administrator ends the sessions opened with the certificate at once, and no others', async () => {
    const { certificatePem } = await issue();
    const { serial } = shown(certificatePem);
    const other = (await issue()).certificatePem;
    const [mine, mineToo, theirs] = [
      await signIn(certificatePem),
      await signIn(certificatePem),
      await signIn(other),
    ];
    const revoked = await bench.ask(await bench.local('alice'), 'revokeCertificate', {
      serial,
      reason: 'laptop lost',
    });
    expect(must(revoked).sessionsEnded).toBe(2);
    expect([mine, mineToo, theirs].map((id) => bench.stateOf(id))).toEqual([
      'NOT_AUTHENTICATED',
      'NOT_AUTHENTICATED',
      'live',
    ]);
    expect(bench.ended.flatMap(({ sessionIds }) => sessionIds).sort()).toEqual(
      [mine, mineToo].sort(),
    );
    expect(bench.ended[0]?.reason).toMatch(/certificate it was opened with was revoked/);
    await expect(signIn(certificatePem)).rejects.toThrow();
    expect(bench.entries('CERTIFICATE_REVOKED')).toMatchObject([
      { actor: 'alice', reason: 'laptop lost', details: { serial, account: 'erin' } },
    ]);
    // The same again is no second entry.
    const again = { serial, reason: 'twice' };
    expect(
      must(await bench.ask(await bench.local('bob'), 'revokeCertificate', again)).sessionsEnded,
    ).toBe(0);
    expect(bench.entries('CERTIFICATE_REVOKED')).toHaveLength(1);
  });

  it('of two in the same moment puts both on the list', async () => {
    const serials = [
      shown((await issue()).certificatePem).serial,
      shown((await issue()).certificatePem).serial,
    ];
    const alice = await bench.local('alice');
    const both = serials.map((serial) =>
      bench.start(alice, 'revokeCertificate', { serial, reason: 'both' }),
    );
    await bench.agent.settle(Promise.all(both));
    const { revocationListPem } = must(await bench.ask(alice, 'authority', {}));
    const bytes = Buffer.from(revocationListPem.replace(/-----[^-]+-----/g, ''), 'base64').toString(
      'hex',
    );
    for (const serial of serials) expect(bytes).toContain(serial.toLowerCase());
  });

  it('counts at once though no list can be signed, and the list follows when one can', async () => {
    const { certificatePem } = await issue();
    const { serial } = shown(certificatePem);
    const session = await signIn(certificatePem);
    const alice = await bench.local('alice');
    const listed = async () => {
      const { revocationListPem } = must(await bench.ask(alice, 'authority', {}));
      const bytes = Buffer.from(revocationListPem.replace(/-----[^-]+-----/g, ''), 'base64');
      return bytes.toString('hex').includes(serial.toLowerCase());
    };
    const tolerated: unknown[] = [];
    bench.agent.tolerated = tolerated;
    beforeMaking = async (job) =>
      refuse(fault('INTERNAL', { place: job, finding: 'failed in its thread' }));
    const request = { serial, reason: 'laptop lost' };
    expect(must(await bench.ask(alice, 'revokeCertificate', request)).sessionsEnded).toBe(1);
    expect(bench.stateOf(session)).toBe('NOT_AUTHENTICATED');
    await expect(signIn(certificatePem)).rejects.toThrow();
    expect(await listed()).toBe(false);
    expect(String(tolerated[0])).toMatch(/signRevocationList: failed in its thread/);
    beforeMaking = async () => succeed(undefined);
    await bench.clock.advance(10_000);
    // Signing takes real time.
    for (let turn = 0; turn < 500 && !(await listed()); turn++) await bench.clock.advance(1);
    expect(await listed()).toBe(true);
  });

  it('of a certificate while its successor is signed leaves no successor', async () => {
    const own = await makeRequest();
    const { serial } = shown((await issue('erin', own.pem)).certificatePem);
    const erin = await bench.local('erin');
    const alice = await bench.local('alice');
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    beforeMaking = async (job) => {
      if (job === 'signLeaf') await held;
      return succeed(undefined);
    };
    const renewing = bench.start(erin, 'renewCertificate', { serial, requestPem: own.pem });
    await bench.clock.advance(5);
    must(await bench.ask(alice, 'revokeCertificate', { serial, reason: 'stolen' }));
    release();
    expect(findingOf(await bench.agent.settle(renewing))).toMatch(/was revoked/);
    expect(bench.agent.security.certificates.all()).toHaveLength(1);
  });

  it('that cannot be put on record does not count, and says so', async () => {
    const { certificatePem } = await issue();
    const session = await signIn(certificatePem);
    const alice = await bench.local('alice');
    refuseEntries('on');
    const request = { serial: shown(certificatePem).serial, reason: 'no room' };
    expect(codeOf(await bench.ask(alice, 'revokeCertificate', request))).toBe('AUDIT_UNAVAILABLE');
    refuseEntries('off');
    expect(bench.stateOf(session)).toBe('live');
    expect(must(await bench.ask(alice, 'revokeCertificate', request)).sessionsEnded).toBe(1);
  });

  it('of what is not there is refused', async () => {
    const request = { serial: 'ABCD', reason: 'unknown' };
    expect(codeOf(await bench.ask(await bench.local('alice'), 'revokeCertificate', request))).toBe(
      'CERTIFICATE_UNKNOWN',
    );
  });
});

describe('the server certificate', () => {
  const soon = () => Deadline.after(bench.clock, 5_000);
  const client = () => certificateClient(bench.agent.interfaceLink);
  const proven = (signer = newKey()) => {
    const own = signer;
    const publicKeyPem = createPublicKey(own).export({ type: 'spki', format: 'pem' }).toString();
    const proof = sign('sha256', serverProofBytes(publicKeyPem), own).toString('base64');
    return { key: own, request: { publicKeyPem, proof } };
  };

  it('carries the names of security, for a key that interface has', async () => {
    const { key, request } = proven();
    const given = must(await bench.agent.settle(client().certify(request, soon())));
    const certificate = new X509Certificate(given.certificatePem);
    expect(certificate.checkPrivateKey(key)).toBe(true);
    expect(certificate.subjectAltName).toBe(
      'DNS:appliance.example, DNS:localhost, IP Address:127.0.0.1',
    );
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(given.authorityPem).toBe(authority.certificatePem);
    expect(given.revocationListPem).toContain('X509 CRL');
    expect(bench.entries('CERTIFICATE_ISSUED')).toMatchObject([
      {
        actor: 'interface',
        details: { serial: certificate.serialNumber, server: 'appliance.example' },
      },
    ]);
  });

  it('is not given for a key that somebody else has, nor for one of another kind', async () => {
    const mine = proven();
    const theirs = proven();
    const asked = [
      { ...mine.request, proof: theirs.request.proof },
      { ...mine.request, publicKeyPem: theirs.request.publicKeyPem },
      { ...mine.request, proof: 'x' },
      { ...mine.request, publicKeyPem: 'no key' },
      proven(newKey('P-384')).request,
    ];
    for (const request of asked) {
      const refused = await bench.agent.settle(client().certify(request, soon()));
      expect(codeOf(refused)).toBe('CERTIFICATE_REFUSED');
    }
    expect(bench.agent.security.certificates.all()).toEqual([]);
  });

  it('is given so often a day and no oftener', async () => {
    const codes: string[] = [];
    for (let turn = 0; turn < 34; turn++) {
      codes.push(codeOf(await bench.agent.settle(client().certify(proven().request, soon()))));
    }
    expect(codes.filter((code) => code === 'ok')).toHaveLength(32);
    expect(codes.at(-1)).toBe('RATE_LIMITED');
  });

  it('can be revoked, of which interface hears with the new list', async () => {
    const given = must(await bench.agent.settle(client().certify(proven().request, soon())));
    const { serial, fingerprint } = shown(given.certificatePem);
    let heard = 0;
    client().onTrustChanged(() => {
      heard += 1;
    });
    await bench.ask(await bench.local('alice'), 'revokeCertificate', { serial, reason: 'leaked' });
    expect(heard).toBe(1);
    const trust = must(await bench.agent.settle(client().trust(soon())));
    expect(trust.revokedServers).toEqual([fingerprint]);
    expect(trust.revocationListPem).not.toBe(given.revocationListPem);
  });
});

describe('a key that is replaced', () => {
  const rotate = async (key: 'authorization' | 'checkpoint') => {
    const request = { key, reason: 'yearly change' };
    const first = must(await bench.ask(await bench.local('alice'), 'rotateKey', request));
    expect(first).toMatchObject({ done: false, publicKeyPem: '' });
    return must(await bench.ask(await bench.local('bob'), 'rotateKey', request));
  };

  it('is another one after two administrators asked, on record, and shown by its public half', async () => {
    const before = bench.agent.kernelBench.signer.publicKeyPem;
    const answer = await rotate('authorization');
    expect(answer.publicKeyPem).toBe(bench.agent.kernelBench.signer.publicKeyPem);
    expect(answer.publicKeyPem).not.toBe(before);
    expect(bench.entries('KEY_ROTATED')).toMatchObject([
      { actor: 'bob', details: { key: 'authorization', proposedBy: 'alice' } },
    ]);
  });

  it('of the checkpoints goes through the chain, which stays whole', async () => {
    const before = bench.agent.audit.book.keyId;
    const answer = await rotate('checkpoint');
    const after = bench.agent.audit.book.keyId;
    expect(after).not.toBe(before);
    expect(settled).toEqual([after]);
    expect(answer.message).toContain(after);
    expect(answer.publicKeyPem).toContain('BEGIN PUBLIC KEY');
    const verdict = await bench.agent.settle(bench.agent.audit.verify());
    expect(verdict.intact).toBe(true);
  });

  it('that secrets are sealed with is changed by two as well, and not where it is not kept on disk', async () => {
    const request = { key: 'sealing', reason: 'yearly change' } as const;
    const first = must(await bench.ask(await bench.local('alice'), 'rotateKey', request));
    expect(first).toMatchObject({ done: false, publicKeyPem: '' });
    const second = await bench.ask(await bench.local('bob'), 'rotateKey', request);
    expect(codeOf(second)).toBe('OPERATION_UNSUPPORTED');
    expect(bench.entries('KEY_ROTATED')).toEqual([]);
  });

  it('stays where the change cannot be put on record, and work goes on', async () => {
    const request = { key: 'authorization', reason: 'no room' } as const;
    await bench.ask(await bench.local('alice'), 'rotateKey', request);
    const bob = await bench.local('bob');
    const before = bench.agent.kernelBench.signer.publicKeyPem;
    refuseEntries('on');
    expect(codeOf(await bench.ask(bob, 'rotateKey', request))).toBe('AUDIT_UNAVAILABLE');
    refuseEntries('off');
    expect(bench.agent.kernelBench.signer.publicKeyPem).toBe(before);
  });

  it('never shows its private half in an answer, an event or the chain', async () => {
    const answers = [await issue(), await rotate('authorization'), await rotate('checkpoint')];
    const told = JSON.stringify([answers, bench.agent.entries(), bench.agent.events]);
    expect(told).not.toMatch(/PRIVATE/);
    const { d } = authorityKey.export({ format: 'jwk' });
    expect(told).not.toContain(String(d));
  });
});
