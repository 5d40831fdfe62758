// The keys of security at its start: made on an empty directory, kept ever after, and never exchanged unseen.

import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Layout, layoutOf } from '#config/layout';
import { systemClock } from '#foundation/clock';
import { DurableStore } from '#foundation/durable-store';
import { blankRecord } from '#model/audit-entry';
import { AuditChain } from '#tracks/security/audit/audit-chain';
import { openKeys, serverNames } from '../../../src/bin/key-material.ts';
import { CREDENTIALS } from '../../../src/bin/key-store.ts';
import { newKey, privateKeyPem } from '../../support/certificate-requests.ts';
import { must } from '../../support/kernel-bench.ts';

let directory: string;
let credentials: string;
let layout: Layout;
let store: DurableStore;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-material-'));
  credentials = join(directory, 'credentials');
  layout = layoutOf(join(directory, 'state'), join(directory, 'run'));
  for (const path of [credentials, dirname(layout.database)]) mkdirSync(path, { recursive: true });
  store = new DurableStore(layout.database);
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true });
});

function open(names: readonly string[] = []) {
  const wallMs = () => Date.now();
  return openKeys({ layout, store, credentials, names, wallMs, onNote: () => undefined });
}

/** As security starts: keys, chain, both brought together. */
async function start() {
  const keys = must(await open());
  const audit = new AuditChain({
    store,
    clock: systemClock,
    bootId: 'boot',
    clockQuality: () => 'synchronized',
    checkpointKey: keys.checkpointKey,
    otherCheckpointKeys: keys.otherCheckpointKeys,
    onAppended: () => undefined,
  });
  must(await keys.settle(audit));
  return { keys, audit };
}

function give(name: string, key = newKey()): void {
  writeFileSync(join(credentials, name), privateKeyPem(key), { mode: 0o400 });
}

describe('on an empty state directory', () => {
  it('authority and keys are made, private ones for their owner alone, the certificate for everybody', async () => {
    const mask = process.umask(0o077);
    const opened = await open(['appliance.example']);
    process.umask(mask);
    const { material } = must(opened);
    const published = layout.pki.authority;
    expect(statSync(published).mode & 0o777).toBe(0o644);
    for (const path of [layout.pki.authorityKey, layout.checkpointKey]) {
      expect(statSync(path).mode & 0o777).toBe(0o600);
    }
    expect(new X509Certificate(material.authority.certificatePem).ca).toBe(true);
    expect(material.names[0]).toBe('appliance.example');
    expect(material.names).toEqual(expect.arrayContaining(['localhost', '127.0.0.1', '::1']));
  });

  it('a key given as a credential is used and not copied', async () => {
    give(CREDENTIALS.authority);
    give(CREDENTIALS.checkpoint, newKey('Ed25519'));
    must(await open());
    expect(existsSync(layout.pki.authorityKey)).toBe(false);
    expect(existsSync(layout.checkpointKey)).toBe(false);
  });
});

describe('at a later start', () => {
  it('everything is what it was', async () => {
    const first = await start();
    const again = await start();
    expect(again.keys.material.authority.fingerprint).toBe(
      first.keys.material.authority.fingerprint,
    );
    expect(again.audit.book.keyId).toBe(first.audit.book.keyId);
  });

  it.each([
    ['the checkpoint key', () => layout.checkpointKey, /checkpoint-key.pem/],
    ["the authority's key", () => layout.pki.authorityKey, /ca-key.pem/],
  ])('%s that is gone is not made again unseen', async (_, path, place) => {
    const { audit } = await start();
    must(await audit.append(blankRecord('AGENT_STARTED', 'security')));
    rmSync(path());
    const refused = await open();
    expect(refused).toMatchObject({ ok: false, fault: { code: 'CONFIG_INVALID' } });
    expect(!refused.ok && refused.fault.place).toMatch(place);
    expect(existsSync(path())).toBe(false);
  });

  it('another key for the authority than its certificate has is refused', async () => {
    await start();
    give(CREDENTIALS.authority);
    expect(await open()).toMatchObject({
      fault: { finding: expect.stringMatching(/for another key than the one given/) },
    });
  });

  it('a checkpoint key given as a credential takes over from the one in the state directory, on record', async () => {
    const first = await start();
    must(await first.audit.append(blankRecord('AGENT_STARTED', 'security')));
    give(CREDENTIALS.checkpoint, newKey('Ed25519'));
    const { audit } = await start();
    expect(audit.book.keyId).not.toBe(first.audit.book.keyId);
    expect(audit.read(1, 10).map(({ event }) => event)).toEqual(['AGENT_STARTED', 'KEY_ROTATED']);
    expect((await audit.verify()).intact).toBe(true);
    // Once is enough.
    const last = (await start()).audit;
    expect(last.read(1, 10).filter(({ event }) => event === 'KEY_ROTATED')).toHaveLength(1);
  });

  it.each(['before', 'after'])(
    'a change of the checkpoint key that was cut short %s its entry leaves a whole chain',
    async (when) => {
      const { keys, audit } = await start();
      must(await audit.append(blankRecord('AGENT_STARTED', 'security')));
      const before = audit.book.keyId;
      const fresh = must(keys.material.newCheckpointKey());
      if (when === 'after') must(await audit.rotate(fresh));
      const again = await start();
      expect(again.audit.book.keyId === before).toBe(when === 'before');
      must(await again.audit.append(blankRecord('AGENT_STARTED', 'security')));
      expect((await again.audit.verify()).intact).toBe(true);
      expect(existsSync(`${layout.checkpointKey}.previous`)).toBe(false);
    },
  );
});

describe('names of the server', () => {
  it.each(['Appliance', '-x', 'a..b', '300.1.1.1', 'a b', '*.example', 'x'.repeat(64), ''])(
    '%j is none',
    (name) => expect(serverNames([name])).toMatchObject({ fault: { code: 'CONFIG_INVALID' } }),
  );

  it('are each there once, those that were asked for first', () => {
    const names = must(serverNames(['panel.example', '10.0.0.7', 'localhost', 'panel.example']));
    expect(names.slice(0, 3)).toEqual(['panel.example', '10.0.0.7', 'localhost']);
    expect(new Set(names).size).toBe(names.length);
    const many = Array.from({ length: 40 }, (_, index) => `n${index}.example`);
    expect(serverNames(many)).toMatchObject({ fault: { place: '--name' } });
  });
});

it('a key of another kind is refused before anything is made', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
  give(CREDENTIALS.authority, privateKey);
  expect(await open()).toMatchObject({ fault: { finding: expect.stringMatching(/secp256k1/) } });
  expect(existsSync(layout.pki.authority)).toBe(false);
});
