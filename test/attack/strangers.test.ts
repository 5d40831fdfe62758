// Named attacks by who has not signed in: every place taken by one address, foreign certificates, and bytes that are nothing.

import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AuditEntry } from '#model/audit-entry';
import { eventually } from '../e2e/support/scene.ts';
import { makeTestAuthority } from '../support/certificates.ts';
import { AttackScene } from './support/attack-scene.ts';
import { Conversation } from './support/conversation.ts';
import { GrpcCaller } from './support/grpc-caller.ts';

let scene: AttackScene;

beforeAll(async () => {
  scene = await AttackScene.open();
  expect(scene.undisturbed).toBe(true);
});
afterAll(() => scene?.close());

const NAME = 'urn:dsmil:principal:demo-operator';

const doors = [
  ['HTTPS', 'http/1.1', () => scene.agent.ready.http],
  ['gRPC', 'h2', () => scene.agent.ready.grpc],
] as const;

function placeOf(address: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(address.replace(/^[a-z]+:\/\/|^/, 'https://'));
  return { host: hostname, port: Number(port) };
}

/** What is on record of an address, the oldest first. */
async function entriesOf(address: string): Promise<readonly AuditEntry[]> {
  const entries: AuditEntry[] = [];
  for (;;) {
    const answer = await scene.first.call('GET', `audit?from=${entries.length + 1}&limit=1000`);
    const page = answer.json.entries as AuditEntry[];
    entries.push(...page);
    if (page.length < 1_000) break;
  }
  return entries.filter(({ origin }) => origin?.peer.startsWith(`${address}:`) === true);
}

function toldOf(address: string, text: string): Promise<AuditEntry> {
  return eventually(`an entry of ${address}: ${text}`, async () =>
    (await entriesOf(address)).find(({ result }) => result.includes(text)),
  );
}

function closed(socket: Socket): Promise<void> {
  socket.on('error', () => undefined);
  socket.resume();
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** The status of one gRPC call over a connection of this address with this certificate. */
function statusOver(from: string, pair: { readonly cert: string; readonly key: string }) {
  const place = placeOf(scene.agent.ready.grpc);
  return new Promise<number>((resolve) => {
    const socket = connectTls({
      ...{ ...place, ...pair, localAddress: from, servername: 'localhost' },
      ...{ ca: scene.authority, ALPNProtocols: ['h2'] },
    } as ConnectionOptions);
    socket.on('error', () => resolve(-1));
    const session = connectHttp2(`https://localhost:${place.port}`, {
      createConnection: () => socket,
    });
    session.on('error', () => resolve(-1));
    const stream = session.request({
      ':path': '/dsmil.appliance.v1.ApplianceService/GetStatus',
      ':method': 'POST',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    let status = -1;
    const note = (headers: Record<string, unknown>) => {
      if (headers['grpc-status'] !== undefined) status = Number(headers['grpc-status']);
    };
    stream.on('response', note);
    stream.on('trailers', note);
    stream.on('error', () => undefined);
    stream.on('data', () => undefined);
    stream.on('close', () => {
      session.destroy();
      resolve(status);
    });
    stream.end(Buffer.from([0, 0, 0, 0, 0]));
  });
}

describe('garbage bytes', () => {
  it.each(doors)(
    'at %s leave one entry with their count, and no word of theirs',
    async (name, _, at) => {
      const from = `127.0.2.${name.length}`;
      const secret = 'do-not-write-me-down';
      for (let turn = 0; turn < 40; turn++) {
        const socket = connect({ ...placeOf(at()), localAddress: from });
        const gone = closed(socket);
        socket.write(`${secret} ${'\u0007'.repeat(turn)}\r\n`);
        await gone;
      }
      const first = await toldOf(from, `${name}: sent bytes that are no TLS`);
      expect(first).toMatchObject({ event: 'OPERATION_REFUSED', actor: 'unknown' });
      // What came after the first one is told with its number when a window is over.
      const all = await eventually('all forty', async () => {
        const entries = await entriesOf(from);
        const seen = entries.reduce((sum, { result }) => {
          const [, times] = /\((\d+) times within \d+ s\)/.exec(result) ?? [];
          return sum + (times === undefined ? 1 : Number(times));
        }, 0);
        return seen === 40 ? entries : undefined;
      });
      expect(all.length).toBeLessThan(20);
      expect(JSON.stringify(all)).not.toContain(secret);
      expect(scene.undisturbed).toBe(true);
      expect((await scene.first.call('GET', 'system/status')).status).toBe(200);
    },
  );

  it('inside TLS leave their entry too', async () => {
    for (const [name, protocol, at] of doors) {
      const from = `127.0.3.${name.length}`;
      const socket = connectTls({
        ...{ ...placeOf(at()), localAddress: from, servername: 'localhost' },
        ...{ ca: scene.authority, ALPNProtocols: [protocol] },
      } as ConnectionOptions);
      const gone = closed(socket);
      socket.once('secureConnect', () => socket.write(Buffer.from('00ff17'.repeat(40), 'hex')));
      await gone;
      const broken = name === 'gRPC' ? 'broke the rules of HTTP/2' : 'sent bytes that are no HTTP';
      await toldOf(from, `${name}: ${broken}`);
    }
    expect(scene.undisturbed).toBe(true);
  });
});

describe('foreign certificate at gRPC', () => {
  it('opens nothing and leaves its entry, whatever name it bears', async () => {
    const from = '127.0.4.1';
    const stranger = await makeTestAuthority('DSMIL appliance authority');
    for (const uris of [[NAME], []]) {
      const { certificate: cert, key } = await stranger.client(...uris);
      expect(await statusOver(from, { cert, key })).toBe(16);
    }
    const told = await toldOf(
      from,
      'gRPC: showed a certificate that the authority of this appliance did not sign',
    );
    expect(told.details).toMatchObject({ code: 'CERTIFICATE_REFUSED' });
    expect(told.origin).toMatchObject({ transport: 'grpc' });
  });
});

describe('every place taken by one address', () => {
  it('is refused, while people at other addresses work, keep their panels and stop', async () => {
    const from = '127.0.0.2';
    const panel = await Conversation.with(scene, scene.token(0));
    const flood = new Flood(from, placeOf(scene.agent.ready.http), placeOf(scene.agent.ready.grpc));
    try {
      await eventually('refusals at the gate', async () => {
        const metrics = (await scene.first.call('GET', '/metrics')).text;
        const [, refused] =
          /^dsmil_interface_connections_refused\{reason="address"\} (\d+)$/m.exec(metrics) ?? [];
        return Number(refused) > 0 ? true : undefined;
      });
      const read = { operation: 'READ', device: '0x8000' };
      for (let turn = 0; turn < 3; turn++) {
        // On an open connection, and on new ones over both doors.
        expect((await scene.first.call('POST', 'operations', read)).status).toBe(200);
        const again = await scene.call('GET', 'auth/me', { headers: scene.bearer(0) });
        expect(again.status).toBe(200);
        const grpc = new GrpcCaller(scene, { token: scene.token(0) });
        expect(await grpc.status()).toBe('');
        grpc.close();
      }
      panel.send({ type: 'PING' });
      await panel.next('the pong', ({ type }) => type === 'PONG');
      const stop = await scene.call('POST', 'emergency-stop', {
        headers: scene.bearer(1),
        body: { reason: 'one address holds every place that it can' },
      });
      expect(stop.status, stop.text).toBe(200);
      expect(stop.json).toMatchObject({ success: true });
      await panel.next('the news of the stop', ({ type }) => type.includes('EMERGENCY'));
      expect(panel.isClosed).toBe(false);
    } finally {
      flood.end();
    }
    const told = await toldOf(from, 'holds as many connections as one address may');
    expect(told.details).toMatchObject({ code: 'RATE_LIMITED' });
    expect((await entriesOf(from)).length).toBeLessThan(40);
    const explained = await scene.first.call('GET', `threats/source/${from}`);
    const names = explained.json.report.indicators.map(({ name }: { name: string }) => name);
    expect(names).toContain('throttled');
    expect(scene.undisturbed).toBe(true);
    panel.end();
  });
});

/** Keeps as many bare connections open from one address as it gets, at both doors in turn. */
class Flood {
  readonly #open = new Set<Socket>();
  readonly #timer: NodeJS.Timeout;
  #count = 0;

  constructor(
    from: string,
    ...places: readonly { readonly host: string; readonly port: number }[]
  ) {
    this.#timer = setInterval(() => {
      for (let more = 0; more < 40 && this.#open.size < 300; more++) {
        const place = places[this.#count++ % places.length];
        const socket = connect({ host: '127.0.0.1', port: 0, ...place, localAddress: from });
        this.#open.add(socket);
        void closed(socket).then(() => this.#open.delete(socket));
      }
    }, 50);
  }

  end(): void {
    clearInterval(this.#timer);
    for (const socket of this.#open) socket.destroy();
  }
}
