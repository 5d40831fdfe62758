// Signing keys of the site: made here, encrypted with the machine's own key, and never in the state directory.

import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { publicKeyText } from '#model/audit-checkpoint';
import { check } from '../report.ts';
import { must, run } from './service.ts';

const STORE = '/etc/credstore.encrypted';
const STATE = '/var/lib/dsmil/security';

export interface SiteKeys {
  readonly authority: KeyObject;
  readonly checkpoint: KeyObject;
}

export function makeSiteKeys(): SiteKeys {
  const authority = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const checkpoint = generateKeyPairSync('ed25519');
  for (const [name, { privateKey }] of [
    ['dsmil.authority-key', authority],
    ['dsmil.checkpoint-key', checkpoint],
  ] as const) {
    const plain = `/run/${name}`;
    writeFileSync(plain, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    must(
      'systemd-creds',
      'encrypt',
      '--with-key=host',
      `--name=${name}`,
      plain,
      `${STORE}/${name}`,
    );
    rmSync(plain);
  }
  return { authority: authority.publicKey, checkpoint: checkpoint.publicKey };
}

export async function checkCredentials(keys: SiteKeys): Promise<void> {
  await check('both signing keys come as encrypted credentials, and none lies on disk', () => {
    assert.match(readFileSync(`${STORE}/dsmil.authority-key`, 'latin1'), /^[A-Za-z0-9+/=\s]+$/);
    const authority = new X509Certificate(readFileSync('/var/lib/dsmil/pki/ca.pem'));
    assert.ok(authority.publicKey.equals(keys.authority), 'the authority has another key');
    const database = new DatabaseSync(`${STATE}/agent.db`, { readOnly: true });
    const row = database.prepare('SELECT public_key FROM audit_key').get();
    database.close();
    assert.equal(row?.public_key, publicKeyText(keys.checkpoint), 'another key signs checkpoints');
    for (const name of ['checkpoint-key.pem', 'ca-key.pem'])
      assert.equal(existsSync(`${STATE}/${name}`), false, `${name} lies in the state directory`);
    const found = run(
      'grep',
      '-rlE',
      'PRIVATE KEY',
      '/var/lib/dsmil/security',
      '/var/lib/dsmil/pki',
    );
    assert.equal(found.text, '');
    return 'authority and checkpoint';
  });
}
