// The people of a demonstration: in security's own store before it starts, with new tokens each time.

import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { layoutOf } from '#config/layout';
import { systemClock } from '#foundation/clock';
import { DurableStore } from '#foundation/durable-store';
import type { Credential, Origin } from '#model/principal';
import { AccountBook } from '#tracks/security/identity/account-book';
import { Lockouts } from '#tracks/security/identity/lockouts';
import { Principals } from '#tracks/security/identity/principals';
import { SignIns } from '#tracks/security/identity/sign-ins';
import { Sources } from '#tracks/security/identity/sources';
import { TokenBook } from '#tracks/security/identity/token-book';
import { makeStorePrivate } from '../../../src/bin/private-store.ts';
import { provisionDemo } from '../../../src/bin/provision.ts';
import { codeOf, must } from '../../support/kernel-bench.ts';

const ORIGIN: Origin = { transport: 'rest', peer: '127.0.0.1:4000' };
const UID = 4711;
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-provision-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const layout = () => layoutOf(directory, join(directory, 'run'));

/** What security would answer, started on what is there. */
async function asSecurity<T>(ask: (principals: Principals, accounts: AccountBook) => Promise<T>) {
  const store = new DurableStore(layout().database);
  const wallMs = () => systemClock.wallMs();
  const accounts = new AccountBook(store);
  const principals = new Principals({
    clock: systemClock,
    wallMs,
    accounts,
    tokens: new TokenBook(store, wallMs),
    lockouts: new Lockouts({ store, wallMs, isAccount: () => true }),
    sources: new Sources(systemClock),
    signIns: new SignIns({ store, clock: systemClock, wallMs }),
  });
  try {
    return await ask(principals, accounts);
  } finally {
    principals.close();
    store.close();
  }
}

it('are two administrators with tokens and certificates, and a technician who is the local user', async () => {
  const people = await provisionDemo(layout(), UID);
  expect(people.map(({ id }) => id)).toEqual(['demo-operator', 'demo-supervisor']);
  await asSecurity(async (principals) => {
    for (const { id, token } of people) {
      const session = must(await principals.authenticate({ kind: 'token', token }, ORIGIN));
      expect(session).toMatchObject({ principal: { id }, administrator: true, scope: null });
    }
    const local: Credential = { kind: 'local', uid: UID, gid: UID, pid: 1 };
    const technician = must(await principals.authenticate(local, ORIGIN));
    expect(technician).toMatchObject({ principal: { id: 'technician' }, administrator: false });
    expect(codeOf(await principals.authenticate({ ...local, uid: UID + 1 }, ORIGIN))).toBe(
      'NOT_AUTHENTICATED',
    );
  });
  for (const { certificate, key } of people) {
    expect(readFileSync(certificate, 'utf8')).toContain('BEGIN CERTIFICATE');
    expect(statSync(key).mode & 0o777).toBe(0o600);
  }
});

it('have other tokens at each start, and what administrators made of their accounts stays', async () => {
  const [before] = await provisionDemo(layout(), UID);
  await asSecurity(async (_, accounts) => {
    const record = accounts.account('demo-supervisor');
    if (record === undefined) throw new Error('no account');
    await accounts.save({ ...record, enabled: false });
  });
  const [after, disabled] = await provisionDemo(layout(), UID);
  await asSecurity(async (principals) => {
    const show = (token = '') => principals.authenticate({ kind: 'token', token }, ORIGIN);
    expect(codeOf(await show(before?.token))).toBe('NOT_AUTHENTICATED');
    expect((await show(after?.token)).ok).toBe(true);
    expect(codeOf(await show(disabled?.token))).toBe('NOT_AUTHENTICATED');
  });
});

it('lie in a file that its owner alone can read, and no token is in it', async () => {
  const people = await provisionDemo(layout(), UID);
  const { database } = layout();
  expect(statSync(database).mode & 0o777).toBe(0o600);
  const bytes = readFileSync(database, 'latin1');
  for (const { token } of people) expect(bytes).not.toContain(token);
});

it('lie in such a file also where an earlier one was open to others', async () => {
  const { database } = layout();
  makeStorePrivate(database);
  const store = new DurableStore(database);
  await store.transact((db) => db.exec('CREATE TABLE one (id INTEGER)'));
  const modes = ['', '-wal', '-shm'].map((end) => statSync(database + end).mode & 0o777);
  store.close();
  expect(modes).toEqual([0o600, 0o600, 0o600]);
});
