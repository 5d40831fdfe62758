// The sealing key changed while the agent runs: everything is sealed anew or nothing is, wherever it is cut off.

import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { DurableStore } from '#foundation/durable-store';
import { recordActs } from '#tracks/security/administration';
import { AuditChain } from '#tracks/security/audit/audit-chain';
import { CredentialBook } from '#tracks/security/identity/credential-book';
import { codeAt, newCodeSecret, STEP_MS } from '#tracks/security/identity/one-time-codes';
import { keysNamed } from '#tracks/security/identity/sealed-tables';
import { openSealing } from '../../../../src/bin/compose/sealing.ts';
import { SealingKeyStore } from '../../../../src/bin/sealing-key-store.ts';
import { codeOf, must } from '../../../support/kernel-bench.ts';

const CHECKPOINT_KEY = generateKeyPairSync('ed25519').privateKey;
const SECRET = newCodeSecret();

let directory: string;
let store: DurableStore;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-resealing-'));
  store = new DurableStore(join(directory, 'agent.db'));
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true });
});

const keyFile = () => join(directory, 'sealing-key');

/** One life of security, as far as secrets go. */
function start() {
  const clock = new VirtualClock();
  const audit = new AuditChain({
    store,
    clock,
    bootId: 'boot',
    clockQuality: () => 'synchronized',
    checkpointKey: CHECKPOINT_KEY,
    onAppended: () => undefined,
  });
  const keys = new SealingKeyStore({
    credentials: undefined,
    sealingKey: keyFile(),
    onNote: () => undefined,
  });
  const record = recordActs(audit);
  const sealing = openSealing({ store, sealing: keys, record, onNote: () => undefined });
  const credentials = new CredentialBook(store, sealing.seals);
  const deadline = Deadline.after(clock, 10_000);
  const caller = {
    session: null,
    credential: '',
    origin: { transport: 'local', peer: 'uid 0' },
    deadline,
  } as const;
  const rotate = () =>
    sealing.rotate(caller, { reason: 'yearly change', details: { key: 'sealing' } });
  return { audit, keys, sealing, credentials, rotate };
}

async function enrol({ sealing, credentials }: ReturnType<typeof start>): Promise<void> {
  const account = 'alice';
  const codeSecret = sealing.seals.seal({ account, purpose: 'code-secret' }, SECRET);
  const secrets = { account, password: 'a hash', codeSecret, lastStep: 0 };
  await store.transact(() => credentials.write(secrets));
  credentials.noteSaved(secrets);
}

function restart() {
  store.close();
  store = new DurableStore(join(directory, 'agent.db'));
  return start();
}

const works = ({ credentials }: ReturnType<typeof start>, step: number) =>
  credentials.useCode('alice', codeAt(SECRET, step), step * STEP_MS);

/** The disk takes no entry while this stands. */
function refuseEntries(): void {
  store.database.exec(
    "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END",
  );
}

describe('the sealing key', () => {
  it('is another one for every row after a change, which is on record, and the one before is gone', async () => {
    const first = start();
    await enrol(first);
    const before = first.sealing.seals.currentId ?? '';
    const { keyId, publicKeyPem } = must(await first.rotate());
    expect(keyId).not.toBe(before);
    expect(publicKeyPem).toBe('');
    expect([...keysNamed(store.database)]).toEqual([keyId]);
    expect(existsSync(`${keyFile()}.previous`)).toBe(false);
    expect(works(first, 10)).toBe(true);
    const entries = first.audit.read(1, 10);
    expect(entries).toMatchObject([
      { event: 'KEY_ROTATED', reason: 'yearly change', details: { key: 'sealing', keyId } },
    ]);
    expect(JSON.stringify(entries)).not.toContain(readFileSync(keyFile(), 'utf8').trim());
    const later = restart();
    expect(later.sealing.seals.currentId).toBe(keyId);
    expect(works(later, 20)).toBe(true);
    expect((await later.audit.verify()).intact).toBe(true);
  });

  it('stays where the change cannot be put on record', async () => {
    const first = start();
    await enrol(first);
    const before = first.sealing.seals.currentId;
    refuseEntries();
    expect(codeOf(await first.rotate())).toBe('AUDIT_UNAVAILABLE');
    expect(first.sealing.seals.currentId).toBe(before);
    expect(works(first, 10)).toBe(true);
    store.database.exec('DROP TRIGGER refuse');
    const later = restart();
    expect(later.sealing.seals.currentId).toBe(before);
    expect(works(later, 20)).toBe(true);
    must(await later.rotate());
  });

  it('opens everything after an end just before the rows were sealed anew', async () => {
    const first = start();
    await enrol(first);
    const { id } = must(first.keys.newKey());
    const later = restart();
    expect(works(later, 10)).toBe(true);
    expect(later.sealing.seals.currentId).toBe(id);
    expect(existsSync(`${keyFile()}.previous`)).toBe(false);
  });

  it('is changed once where two ask at once', async () => {
    const first = start();
    await enrol(first);
    const answers = await Promise.all([first.rotate(), first.rotate()]);
    expect(answers.map(codeOf)).toEqual(['no fault', 'BUSY']);
    expect(works(restart(), 10)).toBe(true);
  });
});
