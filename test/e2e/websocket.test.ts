// The WebSocket: operations and events over it, and everything malformed that a client or a foreign page may send.

import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { Prober } from './support/prober.ts';
import { eventually, Scene } from './support/scene.ts';

// biome-ignore lint/suspicious/noExplicitAny: tests look into whatever the server says
type Message = any;

interface Conversation {
  readonly socket: WebSocket;
  readonly messages: Message[];
  /** Code of the close frame, once there is one. */
  closed(): number | undefined;
  send(message: unknown): void;
  next(what: string, fits: (message: Message) => boolean): Promise<Message>;
}

let scene: Scene;
const open: WebSocket[] = [];

beforeAll(async () => {
  scene = await Scene.open();
});

afterAll(async () => {
  await scene?.close();
});

afterEach(async () => {
  for (const socket of open.splice(0)) socket.terminate();
  expect((await scene.first.read('0x8000')).status).toBe(200);
  expect(scene.undisturbed).toBe(true);
});

function dial(options: WebSocket.ClientOptions = {}, protocols: readonly string[] = []): WebSocket {
  const { websocket, ca } = scene.agent.ready;
  const socket = new WebSocket(websocket, [...protocols], {
    ca: readFileSync(ca),
    ...options,
  });
  open.push(socket);
  return socket;
}

function converse(socket: WebSocket): Conversation {
  const messages: Message[] = [];
  let code: number | undefined;
  socket.on('message', (data) => messages.push(JSON.parse(String(data))));
  socket.on('close', (given) => {
    code = given;
  });
  socket.on('error', () => undefined);
  return {
    socket,
    messages,
    closed: () => code,
    send: (message) => socket.send(JSON.stringify(message)),
    next: (what, fits) => eventually(what, () => messages.find(fits)),
  };
}

/** Signed in with a token in the header: that of one of the demonstration people, or another. */
async function signedIn(who: 0 | 1 | string): Promise<Conversation> {
  const token = typeof who === 'string' ? who : scene.agent.ready.people[who]?.token;
  const authorization = `Bearer ${token}`;
  const talk = converse(dial({ headers: { authorization } }));
  await talk.next('the welcome', ({ type }) => type === 'CONNECTION_ESTABLISHED');
  return talk;
}

async function refusedUpgrade(socket: WebSocket): Promise<number> {
  return new Promise((resolve, reject) => {
    socket.once('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0));
    socket.once('open', () => reject(new Error('the upgrade was accepted')));
    socket.once('error', reject);
  });
}

describe('a signed-in client', () => {
  it('is welcomed by name after a token in the header, as first message, as subprotocol, or with a certificate', async () => {
    const [person] = scene.agent.ready.people;
    const byHeader = await signedIn(0);
    const byMessage = converse(dial());
    await eventually('the connection', () =>
      byMessage.socket.readyState === 1 ? true : undefined,
    );
    byMessage.send({ type: 'AUTHENTICATE', token: person?.token });
    const byProtocol = converse(dial({}, ['dsmil.v1', `dsmil.token.${person?.token}`]));
    const byCertificate = converse(
      dial({ cert: readFileSync(person?.certificate ?? ''), key: readFileSync(person?.key ?? '') }),
    );
    for (const talk of [byHeader, byMessage, byProtocol, byCertificate]) {
      const { data } = await talk.next(
        'the welcome',
        ({ type }) => type === 'CONNECTION_ESTABLISHED',
      );
      expect(data.userContext.userId).toBe('demo-operator');
    }
    expect(byProtocol.socket.protocol).toBe('dsmil.v1');
  });

  it('writes a register, and the metal holds the value', async () => {
    const talk = await signedIn(1);
    talk.send({
      type: 'OPERATION',
      id: 'w1',
      request: { operation: 'WRITE', device: '0x8059', registers: [{ name: 'duty', value: 199 }] },
    });
    const { receipt } = await talk.next('the result', ({ id }) => id === 'w1');
    expect(receipt).toMatchObject({ result: 'SUCCESS', effect: 'committed' });
    expect(receipt.readings).toMatchObject([{ register: 'duty', value: '0xC7' }]);
    expect(await scene.held('fan-controller', 'duty', 199n)).toBe(199n);
    const [entry] = await scene.auditSince(receipt.auditSequence - 1);
    expect(entry).toMatchObject({
      operationId: receipt.operationId,
      origin: { transport: 'websocket' },
    });
  });

  it('hears of operations and audit entries that it has subscribed to', async () => {
    const talk = await signedIn(0);
    talk.send({
      type: 'SUBSCRIBE',
      subscription: { id: 's1', types: ['DEVICE_UPDATE', 'AUDIT_EVENT'] },
    });
    await talk.next('the confirmation', ({ type }) => type === 'SUBSCRIBED');
    const done = await scene.first.operate({
      operation: 'WRITE',
      device: '0x8059',
      registers: [{ name: 'duty', value: 201 }],
    });
    const id = done.receipt?.operationId;
    const update = await talk.next('the update', ({ data }) => data?.operation_id === id);
    expect(update).toMatchObject({ type: 'DEVICE_UPDATE', source_track: 'ORCHESTRATOR' });
    await talk.next(
      'the audit entry',
      ({ data }) => data?.audit_sequence === String(done.receipt?.auditSequence),
    );
  });

  it('is refused a quarantined device, and its person is locked', async () => {
    const prober = await Prober.open(scene.agent.ready);
    const talk = await signedIn(prober.token);
    const other = await signedIn(prober.token);
    const request = { operation: 'READ', device: '0x8009' };
    talk.send({ type: 'OPERATION', id: 'q1', request });
    const denied = await talk.next('the refusal', ({ id }) => id === 'q1');
    expect(denied.receipt ?? denied).toMatchObject({ fault: { code: 'DEVICE_QUARANTINED' } });
    talk.send({ type: 'OPERATION', id: 'q2', request: { operation: 'READ', device: '0x8000' } });
    const locked = await talk.next('the lock', ({ id }) => id === 'q2');
    expect(locked.error.code).toBe('ACCOUNT_LOCKED');
    await prober.locked();
    prober.close();
    other.send({ type: 'OPERATION', id: 'q3', request: { operation: 'READ', device: '0x8000' } });
    const elsewhere = await other.next('the lock of the other', ({ id }) => id === 'q3');
    expect(elsewhere.error.code).toBe('ACCOUNT_LOCKED');
    expect((await scene.metal.canaries()).touched).toEqual([]);
  });

  it('is told of a stop without having subscribed, and acknowledges it', async () => {
    const talk = await signedIn(1);
    talk.send({ type: 'EMERGENCY_STOP', id: 'e1', request: { reason: 'from a panel' } });
    const { report } = await talk.next('the report', ({ id }) => id === 'e1');
    expect(report.tracks.map(({ track, ok }: Message) => [track, ok])).toEqual([
      ['kernel', true],
      ['security', true],
      ['interface', true],
    ]);
    const told = await talk.next('the stop', ({ type }) => type === 'EMERGENCY_STOP');
    expect(told).toMatchObject({ priority: 'EMERGENCY', data: { requires_acknowledgment: true } });
    talk.send({ type: 'ACKNOWLEDGE', id: told.data.acknowledge });
    await talk.next('the acknowledgment', ({ type }) => type === 'ACKNOWLEDGED');
    const reason = 'the panel was wrong about it';
    await scene.first.call('POST', 'emergency-stop/reset', { reason });
    const released = await scene.second.call('POST', 'emergency-stop/reset', { reason });
    expect(released.json.released).toBe(true);
  });
});

describe('what is not a message', () => {
  it.each<[string, (talk: Conversation) => void]>([
    ['invalid JSON', ({ socket }) => socket.send('{"type":')],
    ['an unknown type', (talk) => talk.send({ type: 'FORMAT_DISK' })],
    ['a type that is an object member', (talk) => talk.send({ type: 'constructor' })],
    ['a list', (talk) => talk.send([1, 2, 3])],
    [
      'a binary message',
      ({ socket }) => socket.send(Buffer.from('{"type":"PING"}'), { binary: true }),
    ],
    ['a message with an unknown member', (talk) => talk.send({ type: 'PING', extra: 1 })],
    ['an operation without a request', (talk) => talk.send({ type: 'OPERATION', id: 'x' })],
    ['a second sign-in', (talk) => talk.send({ type: 'AUTHENTICATE', token: 'a' })],
  ])(
    '%s is answered with a catalogued error, and the conversation goes on',
    async (_what, mistake) => {
      const talk = await signedIn(0);
      mistake(talk);
      const { error } = await talk.next('the error', ({ type }) => type === 'ERROR');
      expect([error.code, error.status]).toEqual(['REQUEST_MALFORMED', 400]);
      talk.send({ type: 'PING' });
      await talk.next('the pong', ({ type }) => type === 'PONG');
    },
  );

  it('a gap token and an unknown register get the same codes as elsewhere', async () => {
    const talk = await signedIn(0);
    const ask = async (id: string, request: unknown): Promise<string> => {
      talk.send({ type: 'OPERATION', id, request });
      const answer = await talk.next(`the answer to ${id}`, (message) => message.id === id);
      return answer.error?.code ?? answer.receipt.fault.code;
    };
    expect(await ask('1', { operation: 'READ', device: 0x800c })).toBe('DEVICE_ID_INVALID');
    const unknown = { operation: 'READ', device: 0, registers: [{ name: 'NOWHERE' }] };
    expect(await ask('2', unknown)).toBe('REGISTER_UNKNOWN');
    const wide = {
      operation: 'WRITE',
      device: '0x8059',
      registers: [{ name: 'duty', value: 256 }],
    };
    expect(await ask('3', wide)).toBe('VALUE_TOO_WIDE');
  });

  it('a message above 64 KiB closes the connection with 1009', async () => {
    const talk = await signedIn(0);
    talk.socket.send(JSON.stringify({ type: 'PING', padding: 'x'.repeat(70_000) }));
    expect(await eventually('the close', () => talk.closed())).toBe(1009);
  });

  it('a message in more than sixteen fragments closes the connection', async () => {
    const talk = await signedIn(0);
    for (let part = 0; part < 40; part++) talk.socket.send('x', { fin: false });
    expect([1002, 1008, 1009]).toContain(await eventually('the close', () => talk.closed()));
  });

  it('a client that goes on making mistakes is cut off', async () => {
    const talk = await signedIn(0);
    for (let mistake = 0; mistake < 40; mistake++) talk.socket.send('nonsense');
    expect(await eventually('the close', () => talk.closed())).toBe(1008);
  });

  it('bytes below the protocol close the connection', async () => {
    const talk = await signedIn(0);
    const below = (talk.socket as unknown as { readonly _socket: { write(bytes: Buffer): void } })
      ._socket;
    below.write(Buffer.from('ffffffffffffffffffff', 'hex'));
    expect([1002, 1006]).toContain(await eventually('the close', () => talk.closed()));
  });
});

describe('who may connect', () => {
  it('a page of another origin is refused before the upgrade', async () => {
    expect(await refusedUpgrade(dial({ origin: 'https://elsewhere.example' }))).toBe(403);
  });

  it('a token in the URL is refused before the upgrade', async () => {
    const { websocket, ca, people } = scene.agent.ready;
    const url = `${websocket}?token=${people[0]?.token}`;
    const socket = new WebSocket(url, { ca: readFileSync(ca) });
    open.push(socket);
    expect(await refusedUpgrade(socket)).toBe(400);
  });

  it('a wrong token is told so and cut off', async () => {
    const talk = converse(dial({ headers: { authorization: `Bearer ${'d'.repeat(32)}` } }));
    const { error } = await talk.next('the refusal', ({ type }) => type === 'ERROR');
    expect(error.code).toBe('NOT_AUTHENTICATED');
    expect(await eventually('the close', () => talk.closed())).toBe(1008);
  });

  it('nothing but the sign-in is taken before the sign-in', async () => {
    const talk = converse(dial());
    await eventually('the connection', () => (talk.socket.readyState === 1 ? true : undefined));
    talk.send({ type: 'REQUEST_STATUS' });
    const { error } = await talk.next('the refusal', ({ type }) => type === 'ERROR');
    expect(error.code).toBe('REQUEST_MALFORMED');
    expect(talk.messages).toHaveLength(1);
  });
});
