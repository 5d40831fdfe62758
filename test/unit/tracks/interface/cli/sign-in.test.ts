// Setting up, enrolling, signing in and out on the command line: secrets come from standard input, the sign-in is kept privately.

import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fault } from '#foundation/fault';
import { refuse, succeed } from '#foundation/outcome';
import type { AdministrationRequest } from '#model/administration';
import { ClearanceLevel } from '#model/principal';
import type { FirstPerson } from '#tracks/interface/cli/cli-parts';
import { person } from '../../../../support/scripted-orchestrator.ts';
import { CliBench } from './cli-bench.ts';

let bench: CliBench;

beforeEach(async () => {
  bench = new CliBench();
  await bench.open();
});

afterEach(() => bench.close());

const carol = person('carol', ClearanceLevel.SECRET);

/** Security takes carol's password and code, and knows the token it gives. */
function carolCanSignIn(): void {
  const { orchestrator } = bench;
  orchestrator.accounts.set('carols-token', carol);
  orchestrator.answers.set('login', {
    token: 'carols-token',
    principal: carol,
    administrator: false,
    way: 'password',
    expiresAtWallMs: Date.now() + 3_600_000,
  });
}

const signIn = () => bench.run(['login', 'carol'], { input: 'a long password\n123 456\n' });
const keptFiles = () => readdirSync(join(bench.directory, 'dsmil'));
const keptPath = () => join(bench.directory, 'dsmil', keptFiles()[0] ?? 'nothing');

it('acts as whoever signed in, until logout', async () => {
  carolCanSignIn();
  expect((await bench.run(['whoami'])).stdout).toMatch(/^account +technician$/m);
  const ran = await signIn();
  expect(ran).toMatchObject({ code: 0, stderr: '' });
  expect(ran.stdout).toMatch(/^signed in +until\ncarol +\d{4}-\d\d-\d\d /);
  expect(bench.asked('login')).toEqual([
    { account: 'carol', password: 'a long password', code: '123456' },
  ]);
  expect((await bench.run(['whoami'])).stdout).toMatch(/^account +carol$/m);
  expect(await bench.run(['logout'])).toMatchObject({ code: 0, stderr: 'signed out\n' });
  expect(keptFiles()).toEqual([]);
  expect((await bench.run(['whoami'])).stdout).toMatch(/^account +technician$/m);
  expect((await bench.run(['logout'])).stderr).toBe('nobody is signed in here\n');
});

it('keeps the sign-in where its user alone can read it, and shows no secret', async () => {
  carolCanSignIn();
  const ran = await signIn();
  expect(statSync(keptPath()).mode & 0o777).toBe(0o600);
  expect(statSync(join(bench.directory, 'dsmil')).mode & 0o777).toBe(0o700);
  expect(`${ran.stdout}${ran.stderr}`).not.toMatch(/carols-token|password|123/);
  expect(readFileSync(keptPath(), 'utf8')).not.toContain('a long password');
});

it('is good for the agent it was made at, not for another', async () => {
  carolCanSignIn();
  await signIn();
  const other = await bench.run(['--socket', join(bench.directory, './agent.sock'), 'whoami']);
  expect(other.stdout).toMatch(/^account +carol$/m);
  const elsewhere = await bench.run(['--socket', '/nowhere/agent.sock', 'whoami']);
  expect(elsewhere).toMatchObject({ code: 7 });
  expect(elsewhere.stderr).not.toContain('dsmil logout');
});

it('does not become the local user by itself when the sign-in is over', async () => {
  carolCanSignIn();
  await signIn();
  bench.orchestrator.accounts.delete('carols-token');
  const ended = await bench.run(['status']);
  expect(ended).toMatchObject({ code: 3, stdout: '' });
  expect(ended.stderr).toContain('the sign-in of carol is over: sign in with `dsmil login`');
  writeFileSync(
    keptPath(),
    JSON.stringify({ token: 'x', account: 'carol', expiresAt: '2020-01-01T00:00:00Z' }),
  );
  const expired = await bench.run(['status']);
  expect(expired).toMatchObject({ code: 3, stdout: '' });
  expect(expired.stderr).toContain('sign-in of carol: ended at 2020-01-01');
  expect((await bench.run(['logout'])).code).toBe(0);
  expect((await bench.run(['status'])).code).toBe(0);
});

it.each([
  ['its mode', () => chmodSync(keptPath(), 0o644)],
  ['what is written in it', () => writeFileSync(keptPath(), '{"token":"a b"}')],
])('does not use a sign-in that somebody has changed: %s', async (_what, change) => {
  carolCanSignIn();
  await signIn();
  change();
  const ran = await bench.run(['whoami']);
  expect(ran.stdout).toBe('');
  expect(ran.code).not.toBe(0);
  expect(ran.stderr).toContain('dsmil logout');
  expect((await bench.run(['logout'])).code).toBe(0);
  expect(existsSync(keptPath())).toBe(false);
});

it('stops with a sign-in that is over, as the user of this machine', async () => {
  carolCanSignIn();
  await signIn();
  bench.orchestrator.accounts.delete('carols-token');
  const ran = await bench.run(['stop', '--reason', 'smoke']);
  expect(ran.code).toBe(0);
  expect(ran.stderr).toContain('stopping as the user of this machine');
  expect(bench.orchestrator.stops.map(({ reason }) => reason)).toEqual(['smoke']);
});

it('asks for no password where the sign-in could not be kept', async () => {
  carolCanSignIn();
  const none = await bench.run(['login', 'carol'], { environment: { XDG_RUNTIME_DIR: '' } });
  expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining('XDG_RUNTIME_DIR') });
  mkdirSync(join(bench.directory, 'dsmil'), { mode: 0o755 });
  const open = await signIn();
  expect(open.stderr).toContain('open to other users');
  rmSync(join(bench.directory, 'dsmil'), { recursive: true });
  expect(bench.asked('login')).toEqual([]);
});

it('says what to do when interface is away and the sign-in is worth nothing to security', async () => {
  carolCanSignIn();
  await signIn();
  await bench.closeSocket();
  const ran = await bench.run(['status']);
  expect(ran.code).toBe(7);
  expect(ran.stderr).toContain('sign out first with `dsmil logout`');
});

it('enrols from lines of standard input and shows the secret once', async () => {
  const { answers } = bench.orchestrator;
  const uri = 'otpauth://totp/dsmil:carol?secret=ABCDEFGH2345ABCD&issuer=dsmil';
  answers.set('enrol', { account: 'carol', secret: 'ABCDEFGH2345ABCD', uri });
  answers.set('confirmEnrolment', { account: 'carol' });
  const input = 'inv-itation\r\na long password\r\na long password\r\n123456';
  const ran = await bench.run(['enrol'], { input });
  expect(ran.code).toBe(0);
  expect(ran.stdout).toBe(
    [
      'for your  authenticator',
      'account   carol',
      'secret    ABCD EFGH 2345 ABCD',
      `address   ${uri}`,
      '',
    ].join('\n'),
  );
  expect(ran.stderr).toBe('carol is enrolled; sign in with: dsmil login carol\n');
  expect(bench.asked('enrol')).toEqual([
    { invitation: 'inv-itation', password: 'a long password' },
  ]);
  expect(bench.asked('confirmEnrolment')).toEqual([{ invitation: 'inv-itation', code: '123456' }]);
});

type Enrol = AdministrationRequest<'enrol'>;

it('asks for the other half where one half of an invitation was given', async () => {
  const { answers } = bench.orchestrator;
  answers.set('enrol', { account: 'carol', secret: 'ABCD', uri: 'otpauth://totp/x' });
  answers.set('confirmEnrolment', { account: 'carol' });
  const halves = ['aaaa-bbbb-cccc-dddd', 'EEEE FFFF GGGG HHHH'] as const;
  const rest = 'a long password\na long password\n123456';
  expect((await bench.run(['enrol'], { input: `${halves.join('\n')}\n${rest}` })).code).toBe(0);
  expect((await bench.run(['enrol'], { input: `${halves.join('-')}\n${rest}` })).code).toBe(0);
  const sent = bench
    .asked('enrol')
    .map((request) => (request as Enrol).invitation.replace(/[\s-]/g, ''));
  expect(sent).toEqual(['aaaabbbbccccddddEEEEFFFFGGGGHHHH', 'aaaabbbbccccddddEEEEFFFFGGGGHHHH']);
  const alone = await bench.run(['enrol'], { input: `${halves[0]}\n\n` });
  expect(alone).toMatchObject({ code: 2 });
  expect(alone.stderr).toContain('its other half: is empty');
});

it('draws the secret for a camera on a terminal with room for it', async () => {
  const { answers } = bench.orchestrator;
  const uri = 'otpauth://totp/dsmil:carol?secret=ABCDEFGH2345ABCD&issuer=dsmil';
  answers.set('enrol', { account: 'carol', secret: 'ABCDEFGH2345ABCD', uri });
  answers.set('confirmEnrolment', { account: 'carol' });
  const input = 'i\nsame as this\nsame as this\n1\n';
  const wide = await bench.run(['enrol'], { input, columns: 80 });
  const { encode } = await import('uqr');
  const modules = encode(uri, { ecc: 'L', border: 2 }).data;
  const drawn = wide.stdout
    .split('\u001b[30;107m')
    .slice(1)
    .map((line) => [...(line.split('\u001b[0m')[0] ?? '')]);
  const upper = drawn.map((line) => line.map((block) => '█▀'.includes(block)));
  const lower = drawn.map((line) => line.map((block) => '█▄'.includes(block)));
  const again = upper.flatMap((row, at) => [row, lower[at] ?? []]);
  expect(again.slice(0, modules.length)).toEqual(modules);
  const narrow = await bench.run(['enrol'], { input, columns: 30 });
  expect(narrow.stdout).not.toContain('█');
});

it('sends no password that was typed in two ways, and says what is left of an enrolment', async () => {
  const unequal = await bench.run(['enrol'], { input: 'i\none password\nanother password\n' });
  expect(unequal).toMatchObject({ code: 2 });
  expect(unequal.stderr).toContain('the two are not the same');
  expect((await bench.run(['enrol'], { input: 'i\n' })).stderr).toContain('input has ended');
  expect((await bench.run(['enrol'], { input: '\n' })).stderr).toContain('invitation: is empty');
  expect(bench.orchestrator.administered).toEqual([]);
  const { answers } = bench.orchestrator;
  answers.set('enrol', { account: 'carol', secret: 'AB', uri: 'otpauth://x' });
  const unproved = await bench.run(['enrol'], { input: 'i\npp pp pp\npp pp pp\n1\n' });
  expect(unproved.code).not.toBe(0);
  expect(unproved.stderr).toContain('not enrolled yet');
});

it('changes a password with the one before and a code', async () => {
  bench.orchestrator.answers.set('changePassword', { sessionsEnded: 2 });
  const ran = await bench.run(['password'], { input: 'old one\n654321\nnew one!\nnew one!\n' });
  expect(ran.stdout).toBe('password  other sessions ended\nchanged   2\n');
  expect(bench.asked('changePassword')).toEqual([
    { password: 'old one', code: '654321', next: 'new one!' },
  ]);
});

it('sets up two people, prints their invitations and what each has to do', async () => {
  const people: FirstPerson[] = [];
  const parts = {
    setUp: async (_directory: string, first: FirstPerson, second: FirstPerson) => {
      people.push(first, second);
      const expiresAtWallMs = Date.UTC(2029, 0, 1);
      return succeed(
        [first, second].map(({ id }) => ({
          account: id,
          invitation: `for-${id}`,
          expiresAtWallMs,
        })),
      );
    },
  };
  const ran = await bench.run(['setup', 'alice=Alice Example', 'bob'], { parts });
  expect(ran.code).toBe(0);
  expect(people).toEqual([
    { id: 'alice', name: 'Alice Example' },
    { id: 'bob', name: 'bob' },
  ]);
  expect(ran.stdout).toBe(
    'administrator  invitation  good until\n' +
      'alice          for-alice   2029-01-01 00:00:00Z\n' +
      'bob            for-bob     2029-01-01 00:00:00Z\n',
  );
  expect(ran.stderr).toContain('dsmil enrol');
});

it('says why a setup is refused', async () => {
  const finding = 'has been done: alice administers this appliance';
  const parts = {
    setUp: async () => refuse(fault('NOT_PERMITTED', { place: 'first setup', finding })),
  };
  const ran = await bench.run(['setup', 'carol', 'dave'], { parts });
  expect(ran).toMatchObject({ code: 3, stdout: '' });
  expect(ran.stderr).toContain('alice administers this appliance');
  const alone = await bench.run(['setup', 'carol', 'carol'], { parts });
  expect(alone).toMatchObject({ code: 2, stderr: expect.stringContaining('one person') });
});

it('lets an administrator in again, and says what that was not good for', async () => {
  const recovered: string[] = [];
  const parts = {
    recover: async (_directory: string, account: string) => {
      recovered.push(account);
      return succeed({ account, invitation: 'AAAA-BBBB', expiresAtWallMs: Date.UTC(2029, 0, 1) });
    },
  };
  const ran = await bench.run(['setup', '--recover', 'alice'], { parts });
  expect(ran).toMatchObject({ code: 0 });
  expect(ran.stdout).toBe(
    'administrator  invitation  good until\nalice          AAAA-BBBB   2029-01-01 00:00:00Z\n',
  );
  expect(ran.stderr).toContain('tokens and certificates of alice are as good as before');
  for (const wrong of [[], ['alice'], ['alice', 'bob', '--recover', 'alice'], ['--recover', 'A/']])
    expect(await bench.run(['setup', ...wrong], { parts })).toMatchObject({ code: 2, stdout: '' });
  expect(recovered).toEqual(['alice']);
  const refused = await bench.run(['setup', '--recover', 'alice']);
  expect(refused).toMatchObject({ code: 7, stdout: '' });
});
