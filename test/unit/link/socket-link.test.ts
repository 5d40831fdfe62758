// Links over real unix sockets: the rules of every link, and what happens to a peer that keeps none.

import { lstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock, VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { MESSAGE_BYTES_MAX, MessageType, type PeerState } from '#link/link';
import { SocketLink } from '#link/socket-link';
import { connectToPath, listenOnPath, type PathServer } from '#link/unix-socket';

let directory: string;
let path: string;
const toClose: (() => void)[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'socket-link-'));
  path = join(directory, 'door.sock');
});
afterEach(async () => {
  for (const close of toClose.splice(0)) close();
  rmSync(directory, { recursive: true });
});

function must<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(`${outcome.fault.code}: ${outcome.fault.finding}`);
  return outcome.value;
}

function code(outcome: Outcome<unknown>): string {
  return outcome.ok ? 'ok' : outcome.fault.code;
}

const within = (ms: number) => Deadline.after(systemClock, ms);
const errors: unknown[] = [];
const base = { clock: systemClock, onError: (error: unknown) => errors.push(error) };

async function until(holds: () => boolean): Promise<void> {
  const limit = within(5_000);
  while (!holds()) {
    if (limit.expired()) throw new Error('waited 5 s');
    await systemClock.sleep(2);
  }
}

interface Served {
  readonly link: SocketLink;
  readonly endings: string[];
}

/** Security's end of the next connection. */
async function serveNext(
  changes: Partial<ConstructorParameters<typeof SocketLink>[0]> = {},
): Promise<{ readonly server: PathServer; readonly served: Promise<Served> }> {
  let found: (served: Served) => void = () => undefined;
  const served = new Promise<Served>((resolve) => {
    found = resolve;
  });
  const server = must(
    await listenOnPath(path, 0o600, (socket) => {
      const endings: string[] = [];
      const link = new SocketLink({
        ...base,
        stream: socket,
        self: 'security',
        peer: 'interface',
        onEnd: (finding) => endings.push(finding),
        ...changes,
      });
      toClose.push(() => link.close());
      found({ link, endings });
    }),
  );
  toClose.push(() => void server.close());
  return { server, served };
}

async function pair(
  changes: Partial<ConstructorParameters<typeof SocketLink>[0]> = {},
): Promise<{ readonly near: SocketLink; readonly far: Served }> {
  const { served } = await serveNext(changes);
  const stream = must(await connectToPath(path, 1_000));
  const near = new SocketLink({ ...base, stream, self: 'interface', peer: 'security' });
  toClose.push(() => near.close());
  return { near, far: await served };
}

/** A peer that writes bytes of its own making. */
async function rawPeer(
  changes: Partial<ConstructorParameters<typeof SocketLink>[0]> = {},
): Promise<{ readonly raw: Socket; readonly far: Served }> {
  const { served } = await serveNext(changes);
  const raw = must(await connectToPath(path, 1_000));
  raw.on('error', () => undefined);
  toClose.push(() => raw.destroy());
  return { raw, far: await served };
}

const ask = (link: SocketLink, method: string, body: unknown, ms = 5_000) =>
  link.request(MessageType.OPERATION_REQUEST, method, body, within(ms));

describe('a link over a unix socket', () => {
  it('carries bodies both ways as they are, words and all, up to the size of a message', async () => {
    const { near, far } = await pair();
    far.link.serve('echo', async (given) => succeed(given));
    near.serve('echo', async (given) => succeed(given));
    const body = {
      value: 0xffff_ffff_ffff_ffffn,
      list: [1, undefined, '#x'],
      text: 'Grüße \u0000',
    };
    expect(await ask(near, 'echo', body)).toStrictEqual(succeed(body));
    expect(await ask(far.link, 'echo', body)).toStrictEqual(succeed(body));
    const large = 'äb'.repeat(300_000);
    expect(await ask(near, 'echo', large)).toEqual(succeed(large));
    expect(code(await ask(near, 'echo', 'x'.repeat(MESSAGE_BYTES_MAX)))).toBe('REQUEST_TOO_LARGE');
  });

  it('keeps what is for the log of this machine from the peer', async () => {
    const { near, far } = await pair();
    const given = fault('INTERLOCK_OPEN', { place: 'door', finding: 'open', internal: '/secret' });
    far.link.serve('open', async () => refuse(given));
    const { internal: _internal, ...wanted } = given;
    expect(await ask(near, 'open', null)).toEqual({ ok: false, fault: wanted });
  });

  it('puts messages together however the stream is cut', async () => {
    const { served } = await serveNext();
    const recorded = await recordOf([1, 'two', { three: 3n }]);
    const raw = must(await connectToPath(path, 1_000));
    toClose.push(() => raw.destroy());
    const { link } = await served;
    const seen: unknown[] = [];
    link.onNotice('note', (body) => seen.push(body));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: recorded.length - 1 }), { maxLength: 12 }),
        async (cuts) => {
          seen.length = 0;
          const edges = [0, ...[...new Set(cuts)].sort((a, b) => a - b), recorded.length];
          for (let at = 1; at < edges.length; at++) {
            raw.write(recorded.subarray(edges[at - 1], edges[at]));
            await new Promise((turn) => setImmediate(turn));
          }
          await until(() => seen.length === 3);
          expect(seen).toEqual([1, 'two', { three: 3n }]);
        },
      ),
      { numRuns: 40 },
    );
    expect(link.peerState).toBe('up');
  });

  it('tells both ends when one closes, and fails what was open as unknown', async () => {
    const { near, far } = await pair();
    far.link.serve('never', () => new Promise(() => undefined));
    const states: PeerState[] = [];
    near.onPeer((state) => states.push(state));
    const open = ask(near, 'never', null);
    await until(() => far.link.counters().messagesReceived === 1);
    far.link.close();
    const outcome = await open;
    expect(outcome.ok ? null : outcome.fault).toMatchObject({
      code: 'TRACK_UNAVAILABLE',
      metal: 'unknown',
    });
    expect(states).toHaveLength(1);
    expect(near.notify(MessageType.EVENT, 'x', 1).ok).toBe(false);
    expect(far.endings).toEqual(['closed here']);
  });

  it('delivers what was sent before the close', async () => {
    const { near, far } = await pair();
    const seen: unknown[] = [];
    far.link.onNotice('note', (body) => seen.push(body));
    for (let index = 0; index < 50; index++) near.notify(MessageType.EVENT, 'note', index);
    near.close();
    await until(() => far.endings.length === 1);
    expect(seen).toHaveLength(50);
    expect(far.endings).toEqual(['the peer closed']);
  });
});

/** The bytes of what a link sends. */
async function recordOf(bodies: readonly unknown[]): Promise<Buffer> {
  return record((link) => {
    for (const body of bodies) link.notify(MessageType.EVENT, 'note', body);
  });
}

async function recordOfRequest(method: string): Promise<Buffer> {
  const endless = new Deadline(systemClock, Number.MAX_SAFE_INTEGER);
  return record((link) => void link.request(MessageType.RAW, method, null, endless));
}

async function record(send: (link: SocketLink) => void): Promise<Buffer> {
  const other = join(directory, 'record.sock');
  const parts: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on('data', (part) => parts.push(part));
    socket.on('end', () => socket.end());
  });
  await new Promise<void>((listening) => server.listen({ path: other }, listening));
  const stream = must(await connectToPath(other, 1_000));
  const link = new SocketLink({ ...base, stream, self: 'interface', peer: 'security' });
  send(link);
  link.close();
  await new Promise<void>((closed) => server.close(() => closed()));
  return Buffer.concat(parts);
}

describe('a peer that keeps no rules', () => {
  const prefix = (size: number, type = 3) => {
    const bytes = Buffer.alloc(5);
    bytes.writeUInt32LE(size, 0);
    bytes[4] = type;
    return bytes;
  };

  it.each([
    ['a frame of nothing', prefix(0), 'a frame of 0 bytes'],
    ['a frame of 4 GiB', prefix(0xffff_ffff), 'a frame of 4294967295 bytes'],
    ['text', Buffer.from('GET / HTTP/1.1\r\n\r\n'), /^a frame of \d+ bytes$/],
    ['a type nobody knows', Buffer.concat([prefix(33, 99), Buffer.alloc(32)]), /type is not known/],
    ['a header of zeros', Buffer.concat([prefix(33), Buffer.alloc(32)]), /header is malformed/],
  ])('is cut off for %s, and nothing of it is delivered', async (_what, bytes, finding) => {
    const { raw, far } = await rawPeer();
    raw.write(bytes);
    await until(() => raw.closed || raw.destroyed);
    expect(far.endings).toEqual([
      typeof finding === 'string' ? finding : expect.stringMatching(finding),
    ]);
    expect(far.link.peerState).toBe('lost');
    expect(far.link.counters()).toMatchObject({ corruptFrames: 1, messagesReceived: 0 });
  });

  it('is cut off when a frame that it began is not whole in time', async () => {
    const clock = new VirtualClock();
    const { raw, far } = await rawPeer({ clock });
    raw.write(prefix(100));
    await systemClock.sleep(30);
    await clock.advance(4_900);
    expect(far.endings).toEqual([]);
    await clock.advance(200);
    expect(far.endings).toEqual(['a frame was not whole after 5000 ms']);
  });

  it('is cut off for more frames in a second than it may send', async () => {
    const { near, far } = await pair({ framesPerSecondMax: 50, clock: new VirtualClock() });
    for (let index = 0; index < 50; index++) near.notify(MessageType.EVENT, 'note', index);
    await until(() => far.link.counters().messagesReceived === 50);
    expect(far.endings).toEqual([]);
    near.notify(MessageType.EVENT, 'note', 51);
    await until(() => far.endings.length === 1);
    expect(far.endings).toEqual(['more than 50 frames in a second']);
  });

  it('is heard no more while it does not read, and cut off when it never does', async () => {
    const clock = new VirtualClock();
    const { raw, far } = await rawPeer({ clock });
    let asked = 0;
    far.link.serve('large', async () => {
      asked += 1;
      return succeed('x'.repeat(400_000));
    });
    // A client that asks and never listens.
    raw.pause();
    const request = await recordOfRequest('large');
    for (let index = 0; index < 200; index++) {
      raw.write(request);
      await new Promise((turn) => setImmediate(turn));
    }
    let before = -1;
    while (before !== asked) {
      before = asked;
      await systemClock.sleep(50);
    }
    expect(asked).toBeGreaterThan(2);
    expect(asked).toBeLessThan(100);
    await clock.advance(5_100);
    expect(far.endings).toEqual(['did not read its answers for 5000 ms']);
  });
});

describe('the socket file of a door', () => {
  const nobody = () => undefined;

  it.each([0o600, 0o660])('has the mode %o from the start', async (mode) => {
    const server = must(await listenOnPath(path, mode, nobody));
    toClose.push(() => void server.close());
    expect(lstatSync(path).mode & 0o777).toBe(mode);
  });

  it('takes the place of a file that a dead process left behind, never of one that answers', async () => {
    const first = must(await listenOnPath(path, 0o600, (socket) => socket.destroy()));
    expect(code(await listenOnPath(path, 0o600, nobody))).toBe('CONFIG_INVALID');
    await first.close();
    const dead = createServer();
    await new Promise<void>((listening) => dead.listen({ path }, listening));
    // As after SIGKILL: the file stays, nobody listens.
    const { _handle } = dead as unknown as { readonly _handle: { close(): void } };
    _handle.close();
    const second = must(await listenOnPath(path, 0o600, nobody));
    await second.close();
  });

  it('is never made over another file, nor under a path that is not absolute', async () => {
    writeFileSync(path, 'a letter');
    expect(code(await listenOnPath(path, 0o600, nobody))).toBe('CONFIG_INVALID');
    expect(lstatSync(path).isFile()).toBe(true);
    for (const address of ['8443', 'localhost:8443', 'door.sock', '']) {
      expect(code(await listenOnPath(address, 0o600, nobody))).toBe('CONFIG_INVALID');
      expect(code(await connectToPath(address, 100))).toBe('TRACK_UNAVAILABLE');
    }
  });

  it('says why nobody can be reached', async () => {
    const found = await connectToPath(path, 1_000);
    expect(found.ok ? '' : found.fault.finding).toBe('does not exist (ENOENT)');
  });
});
