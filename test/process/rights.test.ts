// What each process has in its hands, as the operating system sees it: sockets, open files and mapped files.

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent } from '../support/agent.ts';
import { listeners, mappedFiles, openFiles, worksAgain } from './watch.ts';

let agent: Agent;

beforeAll(async () => {
  agent = await Agent.start();
  await worksAgain(agent);
});
afterAll(() => agent?.stop());

function inHands(name: 'kernel' | 'security' | 'interface'): readonly string[] {
  const pid = agent.ready.pids[name];
  return [...openFiles(pid), ...mappedFiles(pid)];
}

function isDevice(path: string): boolean {
  const simulator = agent.ready.simulator?.directory ?? 'none';
  return (
    path.startsWith(`${simulator}/`) || /^\/dev\/(mem|uio|i2c|tty|pts|gpio)|^\/sys\//.test(path)
  );
}

function isSecret(path: string): boolean {
  const { stateDirectory } = agent.ready;
  return path.startsWith(join(stateDirectory, 'security/')) || path.endsWith('-key.pem');
}

describe('the interface process', () => {
  it('waits for the network as nobody else does, and each process for its own console', () => {
    const { pids, socket, runDirectory } = agent.ready;
    const waiting = listeners(pids.interface);
    expect(waiting.filter((one) => one.startsWith('tcp'))).toHaveLength(2);
    expect(waiting.filter((one) => one.startsWith('unix'))).toEqual([`unix ${socket}`]);
    expect(listeners(pids.kernel)).toEqual([`unix ${join(runDirectory, 'kernel/kernel.sock')}`]);
    expect(listeners(pids.security)).toEqual([
      `unix ${join(runDirectory, 'security/security.sock')}`,
    ]);
  });

  it('holds no device, no key and no database', () => {
    expect(inHands('interface').filter((path) => isDevice(path) || isSecret(path))).toEqual([]);
  });
});

describe('the kernel process', () => {
  it('holds devices, and no state, key or other socket file', () => {
    const files = inHands('kernel');
    expect(files.filter(isDevice)).not.toEqual([]);
    expect(files.filter(isSecret)).toEqual([]);
    expect(files.filter((path) => path.endsWith('.db') || path.endsWith('-wal'))).toEqual([]);
  });

  it('shares memory with security alone', () => {
    const shared = inHands('kernel').filter((path) => path.endsWith('.link'));
    expect([...new Set(shared)]).toEqual([
      join(agent.ready.runDirectory, 'links/kernel-security/kernel-security.link'),
    ]);
  });
});

describe('the security process', () => {
  it('holds the database and no device', () => {
    const files = inHands('security');
    expect(files.filter((path) => path.endsWith('agent.db'))).not.toEqual([]);
    expect(files.filter(isDevice)).toEqual([]);
  });
});
