// Named attacks with what once opened a session: replays after the end, guesses by turns, scopes that are to be left.

import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AttackScene, bearer, refusalOf } from './support/attack-scene.ts';
import { Conversation } from './support/conversation.ts';
import { GrpcCaller } from './support/grpc-caller.ts';

let scene: AttackScene;

beforeAll(async () => {
  scene = await AttackScene.open();
  expect(scene.undisturbed).toBe(true);
});
afterAll(() => scene?.close());
beforeEach(() => scene.settleMetal());
afterEach(async () => {
  await scene.untouched();
  expect(scene.undisturbed).toBe(true);
});

const READ = { operation: 'READ', device: '0x8000' } as const;
/** On a harmless device, of a worker who may. */
const WRITE = {
  operation: 'WRITE',
  device: '0x8000',
  registers: [{ name: 'CONFIG', value: 1 }],
} as const;
const GRPC_WRITE = {
  deviceId: 0,
  operationType: 2,
  registers: [{ name: 'CONFIG', value: 1n }],
} as const;

/** Every door at once, opened by one token and kept open. */
class Doors {
  readonly #token: string;
  readonly #connections = scene.connections();
  readonly grpc: GrpcCaller;
  readonly channel: ReturnType<GrpcCaller['channel']>;
  readonly talk: Conversation;

  private constructor(token: string, talk: Conversation) {
    this.#token = token;
    this.talk = talk;
    this.grpc = new GrpcCaller(scene, { token });
    this.channel = this.grpc.channel();
  }

  static async open(token: string): Promise<Doors> {
    const doors = new Doors(token, await Conversation.with(scene, token));
    const read = await doors.channel.ask({ deviceId: 0, operationType: 1 });
    expect(read.operation?.faultCode).toBe('');
    expect([await doors.me(), await doors.grpc.status()]).toEqual([200, '']);
    return doors;
  }

  /** On the REST connection that stays open. */
  async me(): Promise<number> {
    const options = { headers: bearer(this.#token), connections: this.#connections };
    return (await scene.call('GET', 'auth/me', options)).status;
  }

  /** What was open is over, and opens nothing again: on no transport, old connection or new. */
  async areShut(closeText: string): Promise<void> {
    expect(await this.talk.closed()).toEqual({ code: 1008, reason: closeText });
    expect((await this.channel.ended()).code).toBe(16);
    expect(await this.me()).toBe(401);
    expect(await this.grpc.status()).toBe('NOT_AUTHENTICATED');
    expect(await this.grpc.operate(GRPC_WRITE)).toBe('NOT_AUTHENTICATED');
    await opensNothing(this.#token);
    this.close();
  }

  close(): void {
    this.talk.end();
    this.grpc.close();
    this.#connections.destroy();
  }
}

/** On new connections of every transport. */
async function opensNothing(token: string): Promise<void> {
  for (const local of [false, true]) {
    const options = { headers: bearer(token), body: WRITE, local };
    const answer = await scene.call('POST', 'operations', options);
    expect([local, ...refusalOf(answer)]).toEqual([local, 401, 'NOT_AUTHENTICATED']);
    const login = await scene.call('POST', 'auth/login', { body: { token }, local });
    expect([local, ...refusalOf(login)]).toEqual([local, 401, 'NOT_AUTHENTICATED']);
  }
  const talk = new Conversation(scene, { headers: bearer(token) });
  expect((await talk.closed()).code).toBe(1008);
  expect(talk.messages).toMatchObject([{ type: 'ERROR', error: { code: 'NOT_AUTHENTICATED' } }]);
  const grpc = new GrpcCaller(scene, { token });
  expect(await grpc.operate(GRPC_WRITE)).toBe('NOT_AUTHENTICATED');
  expect((await grpc.channel().ended()).code).toBe(16);
  grpc.close();
}

async function cookieFor(body: object): Promise<string> {
  const answer = await scene.call('POST', 'auth/login', { body });
  expect(answer.status, answer.text).toBe(200);
  const [setCookie = ''] = (answer.headers['set-cookie'] ?? []) as string[];
  return setCookie.split(';', 1)[0] ?? '';
}

describe('API token scope escape', () => {
  it('a token for looking at devices operates nothing, on any transport or by any other row', async () => {
    await scene.invited('viewer', { kind: 'machine', clearance: 'SECRET' });
    const token = await scene.machineToken('viewer', ['devices', 'events', 'me']);
    const rest = await scene.call('POST', 'operations', { body: WRITE, headers: bearer(token) });
    expect(refusalOf(rest)).toEqual([403, 'SCOPE_EXCEEDED']);
    const talk = await Conversation.with(scene, token);
    talk.send({ type: 'OPERATION', id: 'w', request: WRITE });
    talk.send({ type: 'SYNCHRONIZE', id: 's' });
    talk.send({ type: 'REQUEST_STATUS' });
    for (const place of ['operate', 'synchronize', 'status']) {
      const { error } = await talk.next(`the refusal of ${place}`, (message) =>
        String(message.error?.place).startsWith(place),
      );
      expect([place, error.code]).toEqual([place, 'SCOPE_EXCEEDED']);
    }
    expect(talk.messages.filter(({ type }) => type !== 'ERROR')).toHaveLength(1);
    talk.end();
    const grpc = new GrpcCaller(scene, { token });
    expect(await grpc.operate(GRPC_WRITE)).toBe('SCOPE_EXCEEDED');
    expect(await grpc.status()).toBe('SCOPE_EXCEEDED');
    expect(await grpc.approve('ab'.repeat(32))).toBe('SCOPE_EXCEEDED');
    const ended = await grpc.channel().ended();
    expect(ended.metadata.get('dsmil-fault-code')).toEqual(['SCOPE_EXCEEDED']);
    grpc.close();
    // Nor does a sign-in with it, for the cookie's session is as narrow as the token.
    const cookie = await cookieFor({ token });
    const byCookie = await scene.call('POST', 'operations', { body: WRITE, headers: { cookie } });
    expect(refusalOf(byCookie)).toEqual([403, 'SCOPE_EXCEEDED']);
    const wider = { account: 'viewer', name: 'wider', scope: null, lifetimeDays: 1 };
    const made = await scene.call('POST', 'tokens', { body: wider, headers: bearer(token) });
    expect(made.status).toBe(403);
  });

  it('a token for operating opens the channel and leads from there to nothing else', async () => {
    await scene.invited('driver', { kind: 'machine', clearance: 'RESTRICTED' });
    const token = await scene.machineToken('driver', ['operate']);
    const grpc = new GrpcCaller(scene, { token });
    const channel = grpc.channel();
    // Reading is another row, and a scope never widens what the account may.
    for (const [operation, code] of [
      [{ deviceId: 0, operationType: 1 }, 'SCOPE_EXCEEDED'],
      [GRPC_WRITE, 'CLEARANCE_TOO_LOW'],
    ] as const) {
      const answer = await channel.ask(operation);
      expect(answer.operation?.faultCode ?? answer.fault?.code).toBe(code);
    }
    expect(await grpc.status()).toBe('SCOPE_EXCEEDED');
    grpc.close();
    // A WebSocket is open to everybody who is signed in, for the stop; nothing else comes through it.
    const talk = await Conversation.with(scene, token);
    talk.send({ type: 'SUBSCRIBE', subscription: { id: 'all' } });
    const { error } = await talk.next('the refusal', ({ type }) => type === 'ERROR');
    expect([error.code, error.place]).toEqual(['SCOPE_EXCEEDED', 'events']);
    expect((await scene.first.call('POST', 'operations', READ)).status).toBe(200);
    expect(talk.messages.map(({ type }) => type)).toEqual(['CONNECTION_ESTABLISHED', 'ERROR']);
    talk.end();
  });

  it('a scope wider than its account is not made', async () => {
    const body = { account: 'driver', name: 'wide', scope: ['accounts'], lifetimeDays: 1 };
    const made = await scene.first.call('POST', 'tokens', body);
    expect(made.json.code).toBe('SCOPE_EXCEEDED');
  });
});

describe('token replay after logout', () => {
  it('opens nothing on any transport, and shuts every connection that it had opened', async () => {
    const leaver = await scene.enrolled('leaver');
    const token = await scene.signedIn(leaver);
    const doors = await Doors.open(token);
    const left = await scene.call('POST', 'auth/logout', { headers: bearer(token) });
    expect(left.status).toBe(200);
    await doors.areShut('Signed out');
  });

  it('a cookie of a session that was left opens nothing, nor does one that an administrator ended', async () => {
    const walker = await scene.enrolled('walker');
    const { id: account, password, codes } = walker;
    const left = await cookieFor({ account, password, code: await codes.next() });
    const me = (cookie: string) => scene.call('GET', 'auth/me', { headers: { cookie } });
    expect((await me(left)).status).toBe(200);
    const out = await scene.call('POST', 'auth/logout', { headers: { cookie: left } });
    expect(out.status).toBe(200);
    expect((await me(left)).status).toBe(401);

    const ended = await cookieFor({ account, password, code: await codes.next() });
    const { sessions } = await scene.first.get('auth/sessions');
    const own = (sessions as readonly { account: string; handle: string }[]).find(
      (session) => session.account === account,
    );
    const end = await scene.first.call('POST', `auth/sessions/${own?.handle}/end`);
    expect(end.json).toMatchObject({ sessionsEnded: 1 });
    expect((await me(ended)).status).toBe(401);
    // The handle that names a session to people opens none.
    expect((await me(`__Host-dsmil_session=${own?.handle}`)).status).toBe(401);
    await opensNothing(String(own?.handle));
  });
});

describe('lockout evasion by switching transport', () => {
  it('three guesses by turns on REST, the local socket and from other addresses lock the name everywhere', async () => {
    const target = await scene.enrolled('target');
    const token = await scene.ownToken('target', await scene.signedIn(target));
    const good = { account: target.id, password: target.password };
    const wrong = { account: target.id, password: 'target likes short walks', code: '123456' };
    const guesses = [
      await scene.call('POST', 'auth/login', { body: wrong, from: '127.0.0.11' }),
      await scene.call('POST', 'auth/login', { body: wrong, local: true }),
      await scene.call('POST', 'auth/login', { body: wrong, from: '127.0.0.12' }),
    ];
    expect(guesses.map(refusalOf)).toEqual(Array(3).fill([401, 'NOT_AUTHENTICATED']));
    // Now with the right password and code, from where nobody failed, on each way in.
    const right = { ...good, code: await target.codes.next() };
    for (const where of [{ from: '127.0.0.13' }, { local: true }]) {
      const answer = await scene.call('POST', 'auth/login', { body: right, ...where });
      expect([where, refusalOf(answer)[1]]).toEqual([where, 'ACCOUNT_LOCKED']);
    }
    // And with a good token of the person, which no guess has to do with: the person is locked, not the password.
    const rest = await scene.call('POST', 'operations', { body: WRITE, headers: bearer(token) });
    expect(rest.json.code).toBe('ACCOUNT_LOCKED');
    const local = { body: WRITE, headers: bearer(token), local: true };
    expect((await scene.call('POST', 'operations', local)).json.code).toBe('ACCOUNT_LOCKED');
    const grpc = new GrpcCaller(scene, { token });
    expect(await grpc.operate(GRPC_WRITE)).toBe('ACCOUNT_LOCKED');
    expect((await grpc.channel().ended()).metadata.get('dsmil-fault-code')).toEqual([
      'ACCOUNT_LOCKED',
    ]);
    grpc.close();
    const talk = new Conversation(scene, { headers: bearer(token) });
    await talk.closed();
    expect(talk.messages).toMatchObject([{ error: { code: 'ACCOUNT_LOCKED' } }]);
    // One administrator lifts it, and what was right is right again.
    await scene.first.call('POST', 'accounts/target/unlock', { reason: 'it was a test' });
    const me = await scene.call('GET', 'auth/me', { headers: bearer(token) });
    expect(me.json).toMatchObject({ id: 'target', way: 'token' });
  });

  it('guesses that are sent all at once are still no more than three', async () => {
    const racer = await scene.enrolled('racer');
    const guesses = await Promise.all(
      Array.from({ length: 12 }, (_, turn) => {
        const body = { account: racer.id, password: `guess ${turn}, and no more`, code: '123456' };
        return turn % 4 === 3
          ? scene.call('POST', 'auth/login', { body, local: true })
          : scene.call('POST', 'auth/login', { body, from: `127.0.1.${turn + 1}` });
      }),
    );
    const counted = guesses.filter(({ json }) => json.code === 'NOT_AUTHENTICATED');
    expect(counted.length).toBeLessThanOrEqual(3);
    const { accounts } = await scene.first.get('accounts');
    const seen = (accounts as readonly { id: string; lockedUntil: string | null }[]).find(
      ({ id }) => id === racer.id,
    );
    // Those that were let in were wrong, and the third of them locked the name; else the next one does.
    for (let turn = counted.length; turn < 3; turn++) {
      const body = { account: racer.id, password: 'one more guess of mine', code: '123456' };
      await scene.call('POST', 'auth/login', { body, from: '127.0.1.99' });
    }
    const body = { account: racer.id, password: racer.password, code: await racer.codes.next() };
    const answer = await scene.call('POST', 'auth/login', { body, from: '127.0.1.100' });
    expect(answer.json.code).toBe('ACCOUNT_LOCKED');
    expect(seen?.id).toBe('racer');
  });

  it('a source that guesses by turns on REST, WebSocket and gRPC is counted once for all of them', async () => {
    const from = '127.0.0.77';
    const codes: string[] = [];
    for (let turn = 0; turn < 24; turn++) {
      const token = `guessed-${turn}-${'x'.repeat(32)}`;
      if (turn % 3 === 0)
        codes.push(
          (await scene.call('GET', 'auth/me', { headers: bearer(token), from })).json.code,
        );
      else if (turn % 3 === 1) {
        const talk = new Conversation(scene, { headers: bearer(token), localAddress: from });
        await talk.closed();
        codes.push(talk.messages[0]?.error.code);
      } else codes.push(await grpcStatusFrom(from, token));
    }
    expect(codes[0]).toBe('NOT_AUTHENTICATED');
    expect(codes.slice(-3)).toEqual(Array(3).fill('RATE_LIMITED'));
    // A password is not even looked at from there; from elsewhere, and with what is good, everybody is served.
    const login = { account: 'demo-operator', password: 'whatever it may be', code: '123456' };
    const guess = await scene.call('POST', 'auth/login', { body: login, from });
    expect(guess.json.code).toBe('RATE_LIMITED');
    const other = await scene.call('GET', 'auth/me', {
      headers: scene.bearer(0),
      from: '127.0.0.78',
    });
    expect(other.status).toBe(200);
    expect((await scene.call('GET', 'auth/me', { headers: scene.bearer(0), from })).status).toBe(
      200,
    );
  });
});

describe('invitation replay', () => {
  it('one that was used sets no second password, and one that was replaced sets none', async () => {
    const guest = await scene.enrolled('guest');
    const password = 'what the thief would like it to be';
    const replay = { invitation: guest.invitation, password };
    for (const local of [false, true]) {
      const again = await scene.call('POST', 'auth/enrol', { body: replay, local });
      expect(again.json.code).toBe('INVITATION_INVALID');
      const confirm = { invitation: guest.invitation, code: await guest.codes.next() };
      const confirmed = await scene.call('POST', 'auth/enrol/confirm', { body: confirm, local });
      expect(confirmed.json.code).toBe('INVITATION_INVALID');
    }
    const invite = { reason: 'the telephone was lost' };
    const older = String((await scene.both('accounts/guest/invite', invite)).invitation);
    const newer = String((await scene.both('accounts/guest/invite', invite)).invitation);
    const body = { invitation: older, password };
    expect((await scene.call('POST', 'auth/enrol', { body })).json.code).toBe('INVITATION_INVALID');
    // Nor do the password and the codes of before.
    const old = { account: 'guest', password: guest.password, code: await guest.codes.next() };
    expect((await scene.call('POST', 'auth/login', { body: old })).status).toBe(401);
    const honest = { invitation: newer, password: 'guest walks by the lake today' };
    expect((await scene.call('POST', 'auth/enrol', { body: honest })).status).toBe(200);
  });

  it('one half of an invitation, or the same half twice, enrols nobody', async () => {
    const { halves } = await scene.both('accounts/guest/invite', { reason: 'lost it again' });
    const [one, other] = halves as readonly [string, string];
    const password = 'what one administrator would like it to be';
    for (const invitation of [one, other, `${one}-${one}`, `${other}-${other}`]) {
      const answer = await scene.call('POST', 'auth/enrol', { body: { invitation, password } });
      expect(refusalOf(answer)).toEqual([403, 'INVITATION_INVALID']);
    }
  });

  it('one person who asks twice, with token and certificate, gets none', async () => {
    const reason = 'one person who plays two';
    const first = await scene.first.call('POST', 'accounts/technician/invite', { reason });
    expect(first.json).toMatchObject({ done: false });
    const headers = scene.bearer(0);
    const again = await scene.call('POST', 'accounts/technician/invite', {
      body: { reason },
      headers,
    });
    expect(again.json.invitation ?? '').toBe('');
    expect(refusalOf(again)[1]).toBe('SECOND_ADMINISTRATOR_NEEDED');
  });
});

describe('one-time code replay', () => {
  it('a code that was used opens nothing a second time, on no transport, nor the code of the enrolment', async () => {
    const reader = await scene.enrolled('reader');
    const code = await reader.codes.next();
    const body = { account: reader.id, password: reader.password, code };
    const first = await scene.call('POST', 'auth/login', { body: { ...body, bearer: true } });
    expect(first.status).toBe(200);
    for (const local of [false, true]) {
      const again = await scene.call('POST', 'auth/login', { body, local });
      expect(refusalOf(again)).toEqual([401, 'NOT_AUTHENTICATED']);
    }
    // Nor does it change the password of the session it opened.
    const change = { password: reader.password, code, next: 'reader swims in the cold lake' };
    const headers = bearer(String(first.json.token));
    const changed = await scene.call('POST', 'auth/password', { body: change, headers });
    expect(changed.status).not.toBe(200);
  });
});

describe('recovery of a session after its account was disabled', () => {
  it('every door shuts at once, and none opens again when the account does', async () => {
    const mover = await scene.enrolled('mover');
    const token = await scene.signedIn(mover);
    const api = await scene.ownToken('mover', token);
    const body = { account: mover.id, password: mover.password, code: await mover.codes.next() };
    const cookie = await cookieFor(body);
    const doors = await Doors.open(token);
    const reason = 'left the company';
    const disabled = await scene.first.call('POST', 'accounts/mover', {
      change: { enabled: false },
      reason,
    });
    expect(disabled.json).toMatchObject({ done: true });
    await doors.areShut('Account disabled');
    await opensNothing(api);
    const me = () => scene.call('GET', 'auth/me', { headers: { cookie } });
    expect((await me()).status).toBe(401);
    await scene.both('accounts/mover', { change: { enabled: true }, reason: 'came back' });
    // The account is good again; the sessions of before are not.
    await opensNothing(token);
    expect((await me()).status).toBe(401);
  });
});

/** The fault code of a unary call whose connection comes from this loopback address. */
function grpcStatusFrom(localAddress: string, token: string): Promise<string> {
  const { hostname, port } = new URL(
    `https://${scene.agent.ready.grpc.replace(/^[a-z]+:\/\//, '')}`,
  );
  const over = {
    ...{ host: hostname, port: Number(port), servername: 'localhost', ca: scene.authority },
    ...{ localAddress, ALPNProtocols: ['h2'] },
  };
  return new Promise((resolve, reject) => {
    const session = connectHttp2(`https://localhost:${port}`, {
      createConnection: () => connectTls(over),
    });
    session.on('error', reject);
    const stream = session.request({
      ':path': '/dsmil.appliance.v1.ApplianceService/GetStatus',
      ':method': 'POST',
      'content-type': 'application/grpc',
      te: 'trailers',
      ...bearer(token),
    });
    let code = '';
    const note = (headers: Record<string, unknown>) => {
      code = String(headers['dsmil-fault-code'] ?? code);
    };
    stream.on('response', note);
    stream.on('trailers', note);
    stream.on('data', () => undefined);
    stream.on('close', () => {
      session.close();
      resolve(code);
    });
    stream.end(Buffer.alloc(5));
  });
}
