// Open sessions through the whole security track: who sees which, and how one ends.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeOf, must } from '../../../../support/kernel-bench.ts';
import { DeskBench } from './desk-bench.ts';

let bench: DeskBench;
let alice: string;
let erin: string;

beforeEach(async () => {
  bench = await DeskBench.open();
  alice = await bench.local('alice');
  erin = await bench.local('erin');
});
afterEach(() => bench.close());

const list = async (session: string) => must(await bench.ask(session, 'sessions', {})).sessions;
const end = (session: string, handle: string) => bench.ask(session, 'revokeSession', { handle });

async function handleOf(session: string): Promise<string> {
  const own = (await list(session)).find((view) => view.own);
  return own?.handle ?? '';
}

describe('the list of sessions', () => {
  it('shows the own ones, and which of them asks', async () => {
    const token = await bench.byToken('erin');
    const views = await list(token);
    expect(views.map(({ account, way, own }) => [account, way, own]).sort()).toEqual([
      ['erin', 'local', false],
      ['erin', 'token', true],
    ]);
    expect(views[0]).toMatchObject({
      transport: 'grpc',
      peer: '127.0.0.1:4000',
      openedWallMs: expect.any(Number),
      expiresAtWallMs: expect.any(Number),
    });
    // What opens a session names none.
    expect(JSON.stringify(views)).not.toContain(token);
  });

  it('shows all to an administrator', async () => {
    expect((await list(alice)).map(({ account }) => account).sort()).toEqual(['alice', 'erin']);
  });

  it('shows a sign-in with a password as one, however many connections show its token', async () => {
    const { token } = await bench.enrolled('erin');
    await bench.signIn({ kind: 'token', token });
    const second = await bench.signIn({ kind: 'token', token });
    const views = (await list(second)).filter(({ way }) => way === 'password');
    expect(views).toMatchObject([{ own: true }]);
  });
});

describe('ending a session', () => {
  it('of the own ones is done at once, and on record', async () => {
    const token = await bench.byToken('erin');
    const handle = await handleOf(token);
    expect(must(await end(erin, handle))).toEqual({ sessionsEnded: 1 });
    expect([bench.stateOf(token), bench.stateOf(erin)]).toEqual(['NOT_AUTHENTICATED', 'live']);
    expect(bench.ended).toEqual([{ sessionIds: [token], reason: 'its holder ended it' }]);
    expect(bench.entries('SESSION_ENDED').at(-1)).toMatchObject({
      actor: 'erin',
      operation: 'revokeSession',
      details: { account: 'erin', handle, way: 'token' },
    });
  });

  it('that asks itself is done too', async () => {
    expect(must(await end(erin, await handleOf(erin)))).toEqual({ sessionsEnded: 1 });
    expect(bench.stateOf(erin)).toBe('NOT_AUTHENTICATED');
  });

  it('ends every connection that showed the token of one sign-in, and the token', async () => {
    const { token } = await bench.enrolled('erin');
    const both = [
      await bench.signIn({ kind: 'token', token }),
      await bench.signIn({ kind: 'token', token }),
    ];
    must(await end(alice, await handleOf(both[0] ?? '')));
    expect(both.map((id) => bench.stateOf(id))).toEqual(['NOT_AUTHENTICATED', 'NOT_AUTHENTICATED']);
    await expect(bench.signIn({ kind: 'token', token })).rejects.toThrow();
    expect(bench.ended.at(-1)?.reason).toBe('an administrator ended it');
  });

  it("of another's is for administrators; who is none learns not even that it is there", async () => {
    const handle = await handleOf(alice);
    const [refused, unknown] = [await end(erin, handle), await end(erin, 'ffff')];
    expect(codeOf(refused)).toBe('SESSION_UNKNOWN');
    expect(refused).toEqual(unknown);
    expect(codeOf(await end(erin, ''))).toBe('SESSION_UNKNOWN');
    expect(bench.stateOf(alice)).toBe('live');
    must(await end(alice, await handleOf(erin)));
    expect(bench.stateOf(erin)).toBe('NOT_AUTHENTICATED');
  });
});
