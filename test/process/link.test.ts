// Links between real processes: round trips, death, restart, a stopped peer, a start in a race, the stop from a child.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import { MessageType, type PeerState } from '#link/link';
import { SharedLink } from '#link/shared-link';
import { SharedStopLatch } from '#link/stop-latch';

const program = join(dirname(fileURLToPath(import.meta.url)), 'link-peer.ts');

let directory: string;
let children: ChildProcess[];
let links: SharedLink[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'link-process-'));
  children = [];
  links = [];
});

afterEach(async () => {
  for (const link of links) link.close();
  await Promise.all(children.map(end));
  rmSync(directory, { recursive: true });
});

function start(...rest: string[]): ChildProcess {
  const child = spawn(process.execPath, [program, directory, ...rest], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  children.push(child);
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

function open(silentAfterMs = 300): SharedLink {
  const onError = (error: unknown) => {
    throw error;
  };
  const link = new SharedLink({
    directory,
    self: 'kernel',
    peer: 'security',
    clock: systemClock,
    onError,
    silentAfterMs,
  });
  links.push(link);
  return link;
}

/** Resolves with the time of the notice, milliseconds. */
function reach(link: SharedLink, wanted: PeerState): Promise<number> {
  if (link.peerState === wanted) return Promise.resolve(performance.now());
  return new Promise((resolve) => {
    const stop = link.onPeer((state) => {
      if (state !== wanted) return;
      stop();
      resolve(performance.now());
    });
  });
}

function ask(
  link: SharedLink,
  method: string,
  body: unknown,
  ms = 5_000,
): Promise<Outcome<unknown>> {
  return link.request(MessageType.OPERATION_REQUEST, method, body, Deadline.after(systemClock, ms));
}

describe('a link between two processes', () => {
  it('comes up whichever side starts first, and carries requests, faults, 300 KB and notices', async () => {
    const link = open();
    expect(link.peerState).toBe('absent');
    start('security', 'kernel');
    await reach(link, 'up');
    for (let round = 0; round < 200; round++) {
      expect(await ask(link, 'echo', { round, word: 1n << 63n })).toEqual({
        ok: true,
        value: { round, word: 1n << 63n },
      });
    }
    const large = 'x'.repeat(300_000);
    expect(await ask(link, 'echo', large)).toEqual({ ok: true, value: large });
    const refused = await ask(link, 'refuse', null);
    expect(refused.ok ? null : refused.fault).toMatchObject({
      code: 'INTERLOCK_OPEN',
      place: 'door',
    });
    const pong = new Promise((resolve) => link.onNotice('pong', resolve));
    link.notify(MessageType.EVENT, 'ping', 42n);
    expect(await pong).toBe(42n);
    expect(link.counters()).toMatchObject({
      corruptFrames: 0,
      overruns: 0,
      staleFrames: 0,
      protocolErrors: 0,
    });
  });

  it('tells the death of the peer within 100 ms and what was open', async () => {
    const link = open();
    let bestMs = Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < 3; attempt++) {
      const child = start('security', 'kernel');
      await reach(link, 'up');
      const open = ask(link, 'never', null, 10_000);
      await ask(link, 'echo', null);
      const lost = reach(link, 'lost');
      const killedAt = performance.now();
      child.kill('SIGKILL');
      bestMs = Math.min(bestMs, (await lost) - killedAt);
      const outcome = await open;
      expect(outcome.ok ? null : outcome.fault).toMatchObject({
        code: 'TRACK_UNAVAILABLE',
        finding: 'died while never was open',
        metal: 'unknown',
      });
      const refused = await ask(link, 'echo', null);
      expect(refused.ok ? null : refused.fault.code).toBe('TRACK_UNAVAILABLE');
    }
    expect(bestMs).toBeLessThan(100);
    expect(link.counters().peerLosses).toBe(3);
  });

  it('attaches again to a restarted peer and never delivers what the old one had not read', async () => {
    const link = open();
    const first = start('security', 'kernel');
    await reach(link, 'up');
    first.kill('SIGSTOP');
    const seen: unknown[] = [];
    link.onNotice('pong', (body) => seen.push(body));
    link.notify(MessageType.EVENT, 'ping', 'old');
    await end(first);
    await reach(link, 'lost');
    start('security', 'kernel');
    await reach(link, 'up');
    link.notify(MessageType.EVENT, 'ping', 'new');
    expect(await ask(link, 'echo', 1)).toEqual({ ok: true, value: 1 });
    expect(seen).toEqual(['new']);
  });

  it('calls a stopped peer silent and a continued one up', async () => {
    const link = open(200);
    const child = start('security', 'kernel');
    await reach(link, 'up');
    child.kill('SIGSTOP');
    await reach(link, 'silent');
    const refused = await ask(link, 'echo', null);
    expect(refused.ok ? null : refused.fault).toMatchObject({
      code: 'TRACK_UNAVAILABLE',
      finding: 'echo was not sent: it is silent',
    });
    child.kill('SIGCONT');
    await reach(link, 'up');
    expect(await ask(link, 'echo', 1)).toEqual({ ok: true, value: 1 });
  });

  it('agrees on one file when both sides start at once, and leaves no other behind', async () => {
    for (let round = 0; round < 3; round++) {
      rmSync(directory, { recursive: true });
      directory = mkdtempSync(join(tmpdir(), 'link-process-'));
      const left = start('kernel', 'security');
      const right = start('security', 'kernel');
      const seenFrom = (self: 'kernel' | 'security') =>
        readdirSync(directory).includes(`kernel-security.${self}.bell`);
      while (!(seenFrom('kernel') && seenFrom('security'))) await systemClock.sleep(10);
      await systemClock.sleep(100);
      await end(left);
      const link = open();
      await reach(link, 'up');
      expect(await ask(link, 'echo', round)).toEqual({ ok: true, value: round });
      expect(readdirSync(directory).sort()).toEqual([
        'kernel-security.kernel.bell',
        'kernel-security.link',
        'kernel-security.security.bell',
      ]);
      link.close();
      await end(right);
    }
  });

  it('refuses a second process on a side that is held', async () => {
    const link = open();
    start('security', 'kernel');
    await reach(link, 'up');
    const second = spawn(process.execPath, [program, directory, 'security', 'kernel'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    children.push(second);
    let text = '';
    second.stderr?.on('data', (chunk) => {
      text += String(chunk);
    });
    const status = await new Promise((resolve) => second.once('close', resolve));
    expect(status).not.toBe(0);
    expect(text).toContain('EAGAIN');
    expect(await ask(link, 'echo', 1)).toEqual({ ok: true, value: 1 });
  });

  it('lets the process end once it is closed', async () => {
    const link = open();
    const child = start('security', 'kernel');
    await reach(link, 'up');
    const ended = new Promise((resolve) => child.once('exit', resolve));
    link.notify(MessageType.EVENT, 'exit', null);
    expect(await ended).toBe(0);
    expect(link.peerState).toBe('absent');
  });
});

describe('the stop latch between processes', () => {
  it('wakes kernel when a child engages', async () => {
    const latch = new SharedStopLatch({ directory, self: 'kernel' });
    try {
      latch.release();
      const called = new Promise<void>((resolve) => latch.onEngaged(resolve));
      expect(latch.engaged()).toBe(false);
      start('interface', 'kernel', 'engage');
      await called;
      expect(latch.engaged()).toBe(true);
      expect(latch.latch()).toBe(true);
    } finally {
      latch.close();
    }
  });
});
