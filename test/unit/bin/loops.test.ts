// Which loops a watchdog hears of: a queue with a stuck bus, a store that ends its groups, a server behind a local socket.

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { DurableStore } from '#foundation/durable-store';
import type { Cell, RegisterBus } from '#model/bus';
import { BusQueue, Priority } from '#tracks/kernel/bus-queue';
import {
  OVERDUE_MAX,
  StopTestWatch,
  watchLinkTurns,
  watchQueues,
  watchStore,
} from '../../../src/bin/loops.ts';
import { askOwnSocket } from '../../../src/bin/self-request.ts';
import { Watchdog } from '../../../src/bin/watchdog.ts';
import { RegisterPeer } from '../../support/register-peer.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'loops-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const ACCESS_MS = 100;
const CELL: Cell = {
  device: 1,
  place: 'pump.run',
  widthBits: 16,
  location: { kind: 'modbus', unit: 1, table: 'holding', address: 1 },
};

function watched(clock: VirtualClock) {
  const told: string[] = [];
  const watchdog = new Watchdog({
    clock,
    log: { error: () => undefined, info: () => undefined },
    environment: { NOTIFY_SOCKET: '/nowhere', WATCHDOG_USEC: '4000000' },
    notify: (text) => told.push(text) > 0,
  });
  return { watchdog, kicks: () => told.filter((text) => text === 'WATCHDOG=1').length, told };
}

async function pass(clock: VirtualClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 250) {
    await clock.advance(250);
    await new Promise((done) => setImmediate(done));
  }
}

/** A bus whose accesses end when a test says so. */
function stuckBus(clock: VirtualClock, release: Promise<void>): RegisterBus {
  const peer = new RegisterPeer('serial-0', clock);
  return Object.assign(Object.create(peer) as RegisterBus, {
    read: async () => {
      await release;
      return { ok: true, value: 0n } as const;
    },
  });
}

describe('a bus queue', () => {
  it('is alive while its access is within its time several times over, then stuck, and alive again', async () => {
    const clock = new VirtualClock();
    let release: () => void = () => undefined;
    const released = new Promise<void>((done) => {
      release = done;
    });
    const queue = new BusQueue({
      bus: stuckBus(clock, released),
      clock,
      limits: { waitingMax: 4, failuresMax: 3, coolDownMs: 100, accessTimeoutMs: ACCESS_MS },
      isQuarantined: () => false,
      isStopped: () => false,
    });
    const { watchdog, kicks, told } = watched(clock);
    watchQueues(watchdog, new Map([['serial-0', queue]]));
    watchdog.start();
    await pass(clock, 4_000);
    expect(kicks()).toBeGreaterThanOrEqual(3);
    const reading = queue.read(CELL, Deadline.after(clock, 60_000), Priority.OPERATION);
    expect(queue.overdue).toBe(0);
    await clock.advance(2 * ACCESS_MS);
    expect(queue.overdue).toBeCloseTo(2);
    await pass(clock, OVERDUE_MAX * ACCESS_MS + 4_000);
    const before = kicks();
    await pass(clock, 8_000);
    expect(kicks()).toBe(before);
    expect(told.at(-1)).toContain('bus serial-0 has not come round');
    release();
    await reading;
    expect(queue.overdue).toBe(0);
    await pass(clock, 4_000);
    expect(kicks()).toBeGreaterThan(before);
  });
});

describe('a link', () => {
  it('is alive from the first look on, and stuck once its heartbeat stands still', async () => {
    const clock = new VirtualClock();
    const link: { peer: 'security'; turns: number } = { peer: 'security', turns: 0 };
    const { watchdog, kicks } = watched(clock);
    watchLinkTurns(watchdog, link);
    watchdog.start();
    for (let look = 1; look <= 4; look++) {
      link.turns += 1;
      await pass(clock, 1_000);
      expect(kicks()).toBe(look);
    }
    await pass(clock, 2_000);
    const before = kicks();
    await pass(clock, 8_000);
    expect(kicks()).toBe(before);
  });
});

describe('the store', () => {
  it('comes round for as long as its groups come to their end', async () => {
    const clock = new VirtualClock();
    const store = new DurableStore(join(directory, 'store.db'));
    const { watchdog, kicks } = watched(clock);
    watchStore(watchdog, store);
    watchdog.start();
    await pass(clock, 4_000);
    expect(kicks()).toBeGreaterThanOrEqual(3);
    store.close();
    await pass(clock, 2_000);
    const before = kicks();
    await pass(clock, 8_000);
    expect(kicks()).toBe(before);
  });
});

describe('the own local socket', () => {
  const asked = (path: string, limitMs: number) =>
    new Promise<string>((resolve) => {
      askOwnSocket(path, limitMs, () => resolve('answered'));
      setTimeout(() => resolve('silent'), limitMs + 300);
    });

  it('counts an answer, whatever it says', async () => {
    const path = join(directory, 'agent.sock');
    const server = createServer((_request, response) => response.writeHead(503).end('{}'));
    await new Promise<void>((done) => server.listen(path, done));
    expect(await asked(path, 2_000)).toBe('answered');
    await new Promise((done) => server.close(done));
  });

  it('counts a connection that was closed, because the server took it', async () => {
    const path = join(directory, 'agent.sock');
    const server = createServer();
    server.on('connection', (socket) => socket.destroy());
    await new Promise<void>((done) => server.listen(path, done));
    expect(await asked(path, 2_000)).toBe('answered');
    await new Promise((done) => server.close(done));
  });

  it('counts neither silence nor a socket that is not there', async () => {
    const path = join(directory, 'agent.sock');
    const server = createServer(() => undefined);
    await new Promise<void>((done) => server.listen(path, done));
    expect(await asked(path, 100)).toBe('silent');
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
    expect(await asked(join(directory, 'nowhere.sock'), 100)).toBe('silent');
  });
});

describe('tests of the stop', () => {
  it('are possible from when both sides are up and no stop stands', async () => {
    const clock = new VirtualClock();
    let up = false;
    let engaged = true;
    const watch = new StopTestWatch(clock, { engaged: () => engaged }, () => up);
    const sinceMs = () => watch.state(null, 1_000).possibleSinceMs;
    expect(sinceMs()).toBe(null);
    up = true;
    expect(sinceMs()).toBe(null);
    await clock.advance(500);
    engaged = false;
    expect(sinceMs()).toBe(500);
    await clock.advance(500);
    expect(sinceMs()).toBe(500);
    engaged = true;
    expect(sinceMs()).toBe(null);
    engaged = false;
    expect(sinceMs()).toBe(1_000);
  });
});
