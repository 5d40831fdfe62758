// Named attacks with the date of the machine: what has expired stays dead when the clock is set back a day, or to 1970.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AuditEntry } from '#model/audit-entry';
import type { HttpAnswer } from '../support/http-client.ts';
import { AttackScene, bearer, LOOKING_ON, refusalOf } from './support/attack-scene.ts';
import { Conversation } from './support/conversation.ts';
import { WallClock } from './support/wall-clock.ts';

const DAY_S = 86_400;
const TO_1970_S = -Math.floor(Date.now() / 1_000) + 60;

let clock: WallClock;
let scene: AttackScene;
/** Of one person whose sign-in lasts twelve hours, of a machine's token of one day, and of an account with an end. */
let session = '';
let cookie = '';
let machine = '';
let guest = '';

const meWith = async (headers: Record<string, string>): Promise<number> =>
  (await scene.call('GET', 'auth/me', { headers })).status;
const ask = (path: string): Promise<HttpAnswer> =>
  scene.call('GET', path, { headers: scene.bearer(0) });

beforeAll(async () => {
  clock = new WallClock();
  const environment = { ...clock.environment, DSMIL_FAILPOINTS: 'on' };
  scene = await AttackScene.open(LOOKING_ON, { environment });
  const person = await scene.enrolled('sleeper');
  session = await scene.signedIn(person);
  const body = { account: 'sleeper', password: person.password, code: await person.codes.next() };
  const answer = await scene.call('POST', 'auth/login', { body });
  cookie = String(answer.headers['set-cookie']).split(';', 1)[0] ?? '';
  await scene.invited('daily', { kind: 'machine' });
  machine = await scene.machineToken('daily', null);
  const validUntil = new Date(Date.now() + 2 * 3_600_000).toISOString();
  await scene.invited('visitor', { kind: 'machine', validUntil });
  guest = await scene.machineToken('visitor', null);
  expect(await all()).toEqual([200, 200, 200, 200]);
  await scene.settleMetal();
});
afterAll(async () => {
  await scene?.close();
  clock?.remove();
});

/** What each of them opens now. */
const all = async (): Promise<readonly number[]> => [
  await meWith(bearer(session)),
  await meWith({ cookie }),
  await meWith(bearer(machine)),
  await meWith(bearer(guest)),
];

async function killSecurity(): Promise<void> {
  const { security } = scene.agent.ready.pids;
  process.kill(security, 'SIGKILL');
  await scene.agent.waitUntil(
    'security',
    async () =>
      scene.agent.ready.pids.security !== security &&
      (await ask('audit?limit=1').catch(() => null))?.status === 200,
    60_000,
  );
}

async function entries(): Promise<readonly AuditEntry[]> {
  const { entries: page } = (await ask('audit?from=1&limit=1000')).json;
  return page as readonly AuditEntry[];
}

describe('clock set back', () => {
  it('what ran out while time passed is over, and something is on record of that time', async () => {
    clock.shift(2 * DAY_S);
    expect((await all()).slice(2)).toEqual([401, 401]);
    // An entry with the new date.
    expect((await ask('audit/verify')).json).toMatchObject({ intact: true });
    const [newest] = (await entries()).slice(-1);
    expect(newest?.wallMs).toBeGreaterThan(Date.now() + DAY_S * 1_000);
    // A sign-in lasts twelve hours of time that passed, whatever the date says: it was opened a minute ago.
    expect(await meWith(bearer(session))).toBe(200);
  });

  const dates = [
    ['a day back', DAY_S],
    ['to the day before it was made', -DAY_S],
    ['to 1970', TO_1970_S],
  ] as const;

  it.each(dates)(
    '%s: expired tokens and accounts stay dead, before and after a restart',
    async (_when, seconds) => {
      clock.shift(seconds);
      expect((await all()).slice(2)).toEqual([401, 401]);
      const write = {
        operation: 'WRITE',
        device: '0x8000',
        registers: [{ name: 'CONFIG', value: 1 }],
      };
      for (const token of [machine, guest]) {
        const answer = await scene.call('POST', 'operations', {
          body: write,
          headers: bearer(token),
        });
        expect(refusalOf(answer)).toEqual([401, 'NOT_AUTHENTICATED']);
        const talk = new Conversation(scene, { headers: bearer(token) });
        expect((await talk.closed()).code).toBe(1008);
      }
      await scene.untouched();
      await killSecurity();
      // By the time on record the sign-in is two days old now, and no restart makes it younger.
      expect(await all()).toEqual([401, 401, 401, 401]);
      // Nothing new is good for longer because the date is early.
      const { sessions } = (await ask('auth/sessions')).json;
      expect(sessions.length).toBeGreaterThan(0);
      for (const { expiresAt } of sessions as readonly { expiresAt: string }[])
        expect(Date.parse(expiresAt)).toBeGreaterThan(Date.now() + DAY_S * 1_000);
      expect((await scene.metal.canaries()).touched).toEqual([]);
      await scene.settleMetal();
    },
  );

  it('entries keep their order and their chain, and say the date that the machine had', async () => {
    const list = await entries();
    expect(list.map(({ sequence }) => sequence)).toEqual(list.map((_entry, index) => index + 1));
    const dates = list.map(({ wallMs }) => wallMs);
    expect(Math.min(...dates)).toBeLessThan(Date.UTC(1971, 0, 1));
    // Within one life of the process the other clock never goes back.
    for (const [index, entry] of list.entries()) {
      const before = list[index - 1];
      if (before?.bootId !== entry.bootId) continue;
      expect(entry.monotonicMs).toBeGreaterThanOrEqual(before.monotonicMs);
    }
    expect((await ask('audit/verify')).json).toMatchObject({ intact: true });
  });

  it('operations and the stop work in 1970, and the stop is on record', async () => {
    const answer = await scene.call('POST', 'emergency-stop', {
      body: { reason: 'the date is wrong' },
      headers: scene.bearer(0),
    });
    expect(answer.status, answer.text).toBe(200);
    expect(answer.json.tracks.map(({ ok }: { ok: boolean }) => ok)).toEqual([true, true, true]);
    const stop = (await entries()).find(
      ({ event, reason }) => event === 'EMERGENCY_STOP' && reason === 'the date is wrong',
    );
    expect(stop?.actor).toBe('demo-operator');
  });
});
