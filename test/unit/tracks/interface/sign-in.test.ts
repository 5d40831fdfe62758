// Signing in: one store of failures for every transport, few passwords at once, and cookies that cannot be fixed or found.

import type { ServiceError } from '@grpc/grpc-js';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EmergencyStopRequest } from '#contract/communication';
import { systemClock } from '#foundation/clock';
import { ClearanceLevel } from '#model/principal';
import { DEFAULT_LIMITS } from '#tracks/interface/service';
import { SignInLimits } from '#tracks/interface/sign-in-limits';
import { makeTestAuthority, type TestAuthority } from '../../../support/certificates.ts';
import type { HttpAnswer } from '../../../support/http-client.ts';
import { InterfaceBench } from '../../../support/interface-bench.ts';
import { person } from '../../../support/scripted-orchestrator.ts';

let authority: TestAuthority;
let bench: InterfaceBench;

/** Attempts do not come back during a test. */
const limits = { ...DEFAULT_LIMITS, signInFailures: { perSecond: 0.001, burst: 4 } };

beforeAll(async () => {
  authority = await makeTestAuthority();
});
beforeEach(async () => {
  bench = await InterfaceBench.start(authority, { limits });
  bench.orchestrator.passwords.set('carol', 'pass phrase 123456');
  bench.orchestrator.accounts.set('password carol', person('carol', ClearanceLevel.SECRET));
});
afterEach(() => bench.close());

const password = (word: string, more: object = {}) => ({
  account: 'carol',
  password: word,
  code: '123456',
  ...more,
});
const login = (body: object, headers: Record<string, string> = {}): Promise<HttpAnswer> =>
  bench.call('POST', '/api/v1/auth/login', { headers, body });
const asked = () => bench.orchestrator.administered.filter(({ key }) => key === 'login').length;
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

async function useUpAttempts(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) {
    const guess = await bench.call('GET', '/api/v1/auth/me', { headers: bearer(`guess-${turn}`) });
    expect(guess.status).toBe(401);
  }
}

/** The code with which gRPC refuses this token. */
function grpcCode(token: string, call: 'listDevices' | 'emergencyStop'): Promise<unknown> {
  return new Promise((resolve) => {
    const answered = (error: ServiceError | null) =>
      resolve(error === null ? 'ok' : (error.metadata.get('dsmil-fault-code')[0] ?? error.details));
    const metadata = bench.metadata(token);
    if (call === 'listDevices') bench.appliance().listDevices({}, metadata, answered);
    else {
      const request = EmergencyStopRequest.fromPartial({ reason: 'smoke' });
      bench.communication().emergencyStop(request, metadata, answered);
    }
  });
}

describe('failed attempts', () => {
  it('count together whatever transport they come by, so switching evades no lockout', async () => {
    expect((await login(password('wrong'))).status).toBe(401);
    expect(await grpcCode('guess-1', 'listDevices')).toBe('NOT_AUTHENTICATED');
    const socket = await bench.socket({}).opened();
    socket.send({ type: 'AUTHENTICATE', token: 'guess-2' });
    await expect.poll(() => socket.closed?.code).toBe(1008);
    expect(
      (await bench.call('GET', '/api/v1/devices', { headers: bearer('guess-3') })).status,
    ).toBe(401);
    const before = asked();
    // The right password, and guesses on every transport: nobody is asked any more.
    const authenticated = bench.orchestrator.authentications.length;
    expect((await login(password('pass phrase'))).json.code).toBe('RATE_LIMITED');
    expect(await grpcCode('guess-4', 'listDevices')).toBe('RATE_LIMITED');
    const late = await bench.socket(bearer('guess-5')).opened();
    expect((await late.take('ERROR')).error.code).toBe('RATE_LIMITED');
    expect(asked()).toBe(before);
    expect(bench.orchestrator.authentications).toHaveLength(authenticated);
  });

  it('are not charged to tokens and certificates that are good, however often they come', async () => {
    const pair = await authority.client('urn:dsmil:person:alice');
    const unknown = await authority.client('urn:dsmil:person:nobody-here');
    const me = (one: typeof pair) =>
      bench.call('GET', '/api/v1/auth/me', { headers: {}, cert: one.certificate, key: one.key });
    for (let turn = 0; turn < 8; turn++) {
      expect((await bench.call('GET', '/api/v1/auth/me')).status).toBe(200);
      expect((await me(pair)).status).toBe(200);
      expect((await me(unknown)).status).toBe(401);
    }
    expect((await login(password('pass phrase'))).status).toBe(200);
  });

  it('do not brake a good certificate, nor a token that was good before', async () => {
    expect((await bench.call('GET', '/api/v1/auth/me')).status).toBe(200);
    await useUpAttempts();
    const pair = await authority.client('urn:dsmil:person:alice');
    const byCertificate = await bench.call('GET', '/api/v1/auth/me', {
      headers: {},
      cert: pair.certificate,
      key: pair.key,
    });
    expect(byCertificate.status).toBe(200);
    expect((await bench.call('GET', '/api/v1/auth/me')).status).toBe(200);
    const fresh = await bench.call('GET', '/api/v1/auth/me', { headers: bearer('token-bob') });
    expect(fresh.json.code).toBe('RATE_LIMITED');
  });

  it('keep nobody out of the stop: not a session, not a good token never seen before', async () => {
    const { cookie } = await bench.signIn(password('pass phrase'));
    await useUpAttempts();
    const stop = (headers: Record<string, string>) =>
      bench.call('POST', '/api/v1/emergency-stop', { headers, body: {} });
    expect((await stop({ cookie })).status).toBe(200);
    expect((await stop(bearer('token-bob'))).status).toBe(200);
    expect(await grpcCode('token-alice', 'emergencyStop')).toBe('ok');
    expect((await stop(bearer('guess-9'))).json.code).toBe('NOT_AUTHENTICATED');
    expect(bench.orchestrator.stops).toHaveLength(3);
  });

  it('in a stop are asked about at a bounded rate, so that they are no way to flood security', async () => {
    await useUpAttempts();
    const attempts = Array.from({ length: 120 }, (_, turn) =>
      bench.call('POST', '/api/v1/emergency-stop', { headers: bearer(`late-${turn}`), body: {} }),
    );
    const statuses = (await Promise.all(attempts)).map(({ status }) => status);
    expect(statuses).toContain(401);
    expect(statuses).toContain(429);
  });
});

describe('passwords', () => {
  it('reach security two at a time, the others of a few wait their turn, and more are turned away', async () => {
    let open = (): void => undefined;
    bench.orchestrator.administrationGate = new Promise((resolve) => {
      open = resolve;
    });
    const early: string[] = [];
    const all = Array.from({ length: 6 }, async () => {
      const answer = await login(password('pass phrase'));
      early.push(answer.json.code ?? 'ok');
      return answer;
    });
    await expect.poll(() => early).toEqual(['RATE_LIMITED', 'RATE_LIMITED']);
    await expect.poll(asked).toBe(2);
    open();
    const statuses = (await Promise.all(all)).map(({ status }) => status).sort();
    expect(statuses).toEqual([200, 200, 200, 200, 429, 429]);
    expect(asked()).toBe(4);
  });

  it('that wait for their turn longer than they may are told so, and take no place', async () => {
    const gate = new SignInLimits(systemClock, { perSecond: 1, burst: 100 });
    const deadline = bench.service.deadline();
    const connection = (address: string) =>
      ({
        origin: { transport: 'rest', peer: address },
        address,
        id: address,
        credential: null,
      }) as const;
    let open = (): void => undefined;
    const gateOpen = new Promise<void>((resolve) => {
      open = resolve;
    });
    const check = async () => {
      await gateOpen;
      return { ok: true, value: 1 } as const;
    };
    const never = () => false;
    const first = ['a', 'b'].map((name) => gate.prove(connection(name), deadline, check, never));
    const late = await gate.prove(connection('c'), deadline.within(20), check, never);
    expect(late).toMatchObject({ ok: false, fault: { code: 'RATE_LIMITED' } });
    open();
    await Promise.all(first);
    expect(await gate.prove(connection('c'), deadline, check, never)).toEqual({
      ok: true,
      value: 1,
    });
  });

  it('and codes are in no log and no answer, not even when security fails over them', async () => {
    bench.orchestrator.administer = async () => {
      throw new Error('scrypt of "pass phrase" with code 123456 failed');
    };
    const answer = await login(password('pass phrase'));
    expect([answer.status, answer.json.code]).toEqual([500, 'INTERNAL']);
    expect(bench.logged.join()).toContain('[redacted]');
    expect(`${answer.text}${bench.logged.join()}`).not.toMatch(/pass phrase|123456/);
  });
});

describe('the cookie', () => {
  it('is bound to this host over TLS, unreadable for scripts, and for this site alone', async () => {
    const answer = await login(password('pass phrase'));
    const [text] = answer.headers['set-cookie'] as string[];
    expect(text).toMatch(
      /^__Host-dsmil_session=[\w-]{43}; Path=\/; HttpOnly; Secure; SameSite=Strict; Max-Age=\d+$/,
    );
    expect(answer.json).toMatchObject({ id: 'carol', way: 'password', administrator: false });
    expect(answer.text).not.toContain('signed-in-');
    const plain = (text ?? '').split(';', 1)[0]?.replace('__Host-', '') ?? '';
    const me = await bench.call('GET', '/api/v1/auth/me', { headers: { cookie: plain } });
    expect(me.status).toBe(401);
  });

  it('is a new one at each sign-in, and the one that came with it opens nothing any more', async () => {
    const first = await bench.signIn({ token: 'token-bob' });
    const second = await bench.signIn(password('pass phrase'), first);
    expect(second.cookie).not.toBe(first.cookie);
    const me = (headers: Record<string, string>) =>
      bench.call('GET', '/api/v1/auth/me', { headers });
    expect((await me(first)).status).toBe(401);
    expect((await me(second)).json.id).toBe('carol');
    // A value that somebody planted is never taken over.
    const planted = { cookie: `__Host-dsmil_session=${'A'.repeat(43)}` };
    const third = await bench.signIn(password('pass phrase'), planted);
    expect(third.cookie).not.toBe(planted.cookie);
    expect((await me(planted)).status).toBe(401);
  });

  it('counts for nothing when it is sent twice', async () => {
    const { cookie } = await bench.signIn({ token: 'token-bob' });
    const twice = await bench.call('GET', '/api/v1/auth/me', {
      headers: { cookie: `${cookie}; ${cookie}` },
    });
    expect(twice.status).toBe(401);
  });
});

it('gives the token of a session only to a caller that asks for it, and then no cookie', async () => {
  const answer = await login(password('pass phrase', { bearer: true }));
  expect(answer.headers['set-cookie']).toBeUndefined();
  expect(answer.json.token).toMatch(/^signed-in-/);
  const me = await bench.call('GET', '/api/v1/auth/me', { headers: bearer(answer.json.token) });
  expect(me.json).toMatchObject({ id: 'carol', way: 'password' });
});
