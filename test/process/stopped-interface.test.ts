// Interface stopped or killed: kernel and security go on, and the local console works through security.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent } from '../support/agent.ts';
import { dsmil } from './console.ts';
import { alive, entryAfter, heldBy, lastSequence, logLines, worksAgain } from './watch.ts';

const REASON = ['--reason', 'a test of whole processes'];
const DIRECTLY = 'interface does not answer; speaking to security directly\n';

let agent: Agent;

beforeAll(async () => {
  agent = await Agent.start();
  await worksAgain(agent);
});
afterAll(() => agent?.stop());

describe('with interface stopped', () => {
  it('operates devices through security, with the same commands and the same record', async () => {
    const before = agent.ready.pids;
    const sequence = await lastSequence(agent);
    const kernelLines = logLines(agent, 'kernel').length;
    process.kill(before.interface, 'SIGSTOP');
    try {
      const written = await dsmil(agent, ['device', 'write', '0x8003', 'DATA=0x1234', ...REASON]);
      expect([written.code, written.stderr]).toEqual([0, expect.stringContaining(DIRECTLY)]);
      expect(written.stdout).toMatch(/^0x8003 +DATA +0x1234 +0x77$/m);
      expect(await heldBy(agent, '0x8003', 'DATA')).toBe('0x00001234');

      const read = await dsmil(agent, [
        '-o',
        'json',
        'device',
        'read',
        'audit-log-controller',
        'DATA',
      ]);
      expect(JSON.parse(read.stdout)).toMatchObject({ readings: [{ value: '0x1234' }] });
      expect(read.stdout).not.toContain('unsupervised');

      const status = await dsmil(agent, ['status']);
      expect(status.stdout).toMatch(/^state +DEGRADED$/m);
      expect(status.stdout).toMatch(/^interface +DOWN, is silent$/m);
      expect(status.stdout).toMatch(/^emergency stop +released$/m);
      const listed = await dsmil(agent, ['-o', 'json', 'device', 'list']);
      const { devices, stale } = JSON.parse(listed.stdout) as {
        readonly devices: readonly { readonly status: string }[];
        readonly stale: boolean;
      };
      expect([devices.length, stale]).toEqual([84, false]);
      expect(devices.filter(({ status: seen }) => seen === 'UNKNOWN')).toEqual([]);
    } finally {
      process.kill(before.interface, 'SIGCONT');
    }
    await worksAgain(agent);
    expect(agent.ready.pids).toEqual(before);
    const entry = await entryAfter(agent, sequence, ({ event }) => event === 'OPERATION_COMPLETED');
    expect(entry).toMatchObject({
      actor: 'technician',
      origin: { transport: 'local', peer: `uid ${process.getuid?.() ?? 0}` },
    });
    const tripped = logLines(agent, 'kernel')
      .slice(kernelLines)
      .filter(({ msg }) => msg === 'stopping by itself' || msg === 'writes are on hold');
    expect(tripped).toEqual([]);
  });

  it('refuses by the same rules, and takes nobody for somebody else', async () => {
    process.kill(agent.ready.pids.interface, 'SIGSTOP');
    try {
      const denied = await dsmil(agent, ['audit', 'list']);
      expect([denied.code, denied.stderr]).toEqual([
        3,
        expect.stringContaining('CLEARANCE_TOO_LOW'),
      ]);
      const quarantined = await dsmil(agent, ['device', 'read', '0x8009']);
      expect(quarantined.code).toBe(3);
      const { token } = agent.ready.people[0] ?? { token: '' };
      const other = await dsmil(agent, ['--token', token, 'audit', 'list']);
      expect([other.code, other.stderr]).toEqual([
        7,
        expect.stringContaining('knows you by your user alone'),
      ]);
    } finally {
      process.kill(agent.ready.pids.interface, 'SIGCONT');
    }
    await worksAgain(agent);
  });
});

it('works in the moment after interface was killed, and leaves the others as they were', async () => {
  const before = agent.ready.pids;
  process.kill(before.interface, 'SIGKILL');
  const written = await dsmil(agent, ['device', 'write', '0x8003', 'DATA=0x4321', ...REASON]);
  expect(written.code).toBe(0);
  expect(await heldBy(agent, '0x8003', 'DATA')).toBe('0x00004321');
  await agent.waitUntil(
    'interface to come back',
    () => agent.ready.pids.interface !== before.interface,
  );
  expect({ ...agent.ready.pids, interface: 0 }).toEqual({ ...before, interface: 0 });
  for (const pid of Object.values(agent.ready.pids)) expect(alive(pid)).toBe(true);
});

it('stops the whole system with receipts of kernel and security', async () => {
  const { pids } = agent.ready;
  process.kill(pids.interface, 'SIGSTOP');
  try {
    const stopped = await dsmil(agent, ['-o', 'json', 'stop', '--reason', 'a test']);
    const report = JSON.parse(stopped.stdout) as {
      readonly tracks: readonly { readonly track: string; readonly ok: boolean }[];
    };
    const [kernel, security, panels] = report.tracks;
    expect([kernel?.ok, security?.ok, panels?.ok]).toEqual([true, true, false]);
    expect(stopped.code).toBe(0);
    expect((await dsmil(agent, ['status'])).stdout).toMatch(/^emergency stop +ENGAGED$/m);
    const refused = await dsmil(agent, ['device', 'write', '0x8003', 'DATA=1', ...REASON]);
    expect([refused.code, refused.stderr]).toEqual([
      4,
      expect.stringContaining('EMERGENCY_STOPPED'),
    ]);
  } finally {
    process.kill(pids.interface, 'SIGCONT');
  }
});
