// Board files that are wrong keep the agent from starting; a state directory keeps audit and stop over a restart of all of it.

import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NODE, REPOSITORY } from '../support/agent.ts';
import { activateAgain, operateAtAnyRisk } from './support/rest-person.ts';
import { eventually, Scene } from './support/scene.ts';

const DEFAULT_BOARD = join(REPOSITORY, 'drivers/profiles/boards/default.yaml');
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-restart-'));
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(script: string, ...words: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      NODE,
      [join(REPOSITORY, script), ...words],
      { timeout: 100_000 },
      (error, stdout, stderr) =>
        resolve({
          code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1,
          stdout,
          stderr,
        }),
    );
  });
}

/** The default board with one text replaced, and the line and column where the replacement stands. */
function spoiled(name: string, from: string, to: string): { file: string; line: number } {
  const good = readFileSync(DEFAULT_BOARD, 'utf8');
  const at = good.indexOf(from);
  if (at < 0) throw new Error(`${from} is not in the default board`);
  const file = join(directory, `${name}.yaml`);
  writeFileSync(file, good.replace(from, to));
  return { file, line: good.slice(0, at).split('\n').length };
}

describe('a board file', () => {
  it('of the default board has no problems', async () => {
    const variable = ['--variable', 'SIMULATOR=/nowhere'];
    const { code, stderr } = await run(
      'src/bin/dsmil.ts',
      'board',
      'check',
      DEFAULT_BOARD,
      ...variable,
    );
    expect([code, stderr]).toEqual([0, `${DEFAULT_BOARD}: no problems\n`]);
  });

  it.each<[string, string, string, RegExp]>([
    ['a gap token', 'token: 0x8003', 'token: 0x800C', /0x800C is a gap token/],
    ['a duplicate id', 'token: 0x8001', 'token: 0x8000', /already the number of/],
    ['overlapping windows', 'window: 0x60001000', 'window: 0x60000800', /overlaps/],
    ['an unknown bus', 'bus: serial-1', 'bus: serial-9', /serial-9/],
    [
      'an unknown profile',
      'profile: led-controller',
      'profile: lead-controller',
      /lead-controller/,
    ],
    [
      'a lifted quarantine',
      'risk: QUARANTINED\n',
      'risk: QUARANTINED\n    quarantined: false\n',
      /quarantine/,
    ],
  ])(
    'with %s is refused by the check and by the start, by file, line and column',
    async (name, from, to, message) => {
      const { file, line } = spoiled(name.replaceAll(' ', '-'), from, to);
      const checked = await run(
        'src/bin/dsmil.ts',
        'board',
        'check',
        file,
        '--variable',
        'SIMULATOR=/nowhere',
      );
      expect(checked.code).toBe(1);
      expect(checked.stderr).toMatch(message);
      const [, place] = new RegExp(`^${file}:(\\d+):\\d+: `).exec(checked.stderr) ?? [];
      expect(Math.abs(Number(place) - line)).toBeLessThanOrEqual(8);
      const ready = join(directory, 'never.json');
      const state = join(directory, 'bad');
      const started = await run(
        'scripts/start.ts',
        ...['--board', file, '--state-dir', state, '--ready-file', ready],
        ...['--http', '127.0.0.1:0', '--grpc', '127.0.0.1:0'],
      );
      expect(started.code).toBe(1);
      expect(started.stderr).toContain(`${file}:${place}:`);
      expect(started.stderr).toMatch(message);
      expect(started.stderr).not.toMatch(/ {4}at /);
      expect(existsSync(ready)).toBe(false);
    },
  );

  it('that is not there or is no YAML is said so', async () => {
    const missing = join(directory, 'missing.yaml');
    const absent = await run('src/bin/dsmil.ts', 'board', 'check', missing);
    expect([absent.code, absent.stderr]).toEqual([1, expect.stringContaining(missing)]);
    const broken = join(directory, 'broken.yaml');
    writeFileSync(broken, 'format: 1\nname: [default\n');
    const { code, stderr } = await run('src/bin/dsmil.ts', 'board', 'check', broken);
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`^${broken}:\\d+:\\d+: `));
  });
});

/** Three starts of a whole agent, each of which may take as long as one test on a busy machine. */
const THREE_STARTS_MS = 360_000;

it('audit chain and emergency stop outlive the whole agent', {
  timeout: THREE_STARTS_MS,
}, async () => {
  const state = join(directory, 'kept');
  const first = await Scene.open(['--state-dir', state]);
  const write = {
    operation: 'WRITE',
    device: '0x8059',
    registers: [{ name: 'duty', value: 111 }],
  } as const;
  let written = 0;
  try {
    const done = await first.first.operate(write);
    expect(done.receipt?.effect).toBe('committed');
    const stopped = await first.first.call('POST', 'emergency-stop', {
      reason: 'kept over the restart',
    });
    expect(stopped.json.success).toBe(true);
    await eventually('the entry of the stop', async () =>
      (await first.auditSince(0)).find(({ event }) => event === 'EMERGENCY_STOP'),
    );
    written = await first.auditSequence();
  } finally {
    await first.close();
  }

  const second = await Scene.open(['--state-dir', state]);
  try {
    const status = await second.first.get('system/status');
    expect(status).toMatchObject({ state: 'EMERGENCY_STOPPED', stopEngaged: true });
    expect(status.stopCauses.map(({ reason }: { reason: string }) => reason)).toContain(
      'kept over the restart',
    );
    const refused = await second.first.operate(write);
    expect([refused.status, refused.code]).toEqual([503, 'EMERGENCY_STOPPED']);
    expect(await second.held('fan-controller', 'duty', 255n)).toBe(255n);
    const entries = await second.auditSince(0);
    expect(entries.length).toBeGreaterThan(written);
    expect(entries.map(({ sequence }) => sequence)).toEqual(entries.map((_, index) => index + 1));
    expect(new Set(entries.map(({ bootId }) => bootId)).size).toBe(2);
    const verified = await second.first.get('audit/verify');
    expect(verified).toMatchObject({ intact: true });
    expect(verified.entries).toBeGreaterThan(written);
    const reason = 'looked at after the restart';
    expect(
      (await second.first.call('POST', 'emergency-stop/reset', { reason })).json.released,
    ).toBe(false);
    expect(
      (await second.second.call('POST', 'emergency-stop/reset', { reason })).json.released,
    ).toBe(true);
    expect((await second.first.operate(write)).code).toBe('DEVICE_DEACTIVATED');
    await activateAgain(second.first, second.second, ['0x8059']);
    expect((await second.first.operate(write)).receipt?.effect).toBe('committed');
  } finally {
    await second.close();
  }

  const third = await Scene.open(['--state-dir', state]);
  try {
    const status = await third.first.get('system/status');
    expect(status).toMatchObject({ state: 'READY', stopEngaged: false });
    expect((await third.first.get('audit/verify')).intact).toBe(true);
  } finally {
    await third.close();
  }
});

describe('a stop of one device', () => {
  const STOPPED = '0x8003';
  let scene: Scene;

  beforeAll(async () => {
    scene = await Scene.open();
  });
  afterAll(() => scene?.close());

  const write = (device: string) =>
    operateAtAnyRisk(scene.first, scene.second, {
      operation: 'WRITE',
      device,
      registers: [{ name: 'DATA', value: 7 }],
    });
  const holds = async () => {
    const { json } = await scene.first.call('GET', 'system/status');
    return (json.holds ?? []) as readonly { readonly token: string; readonly kind: string }[];
  };

  /** Kills the process and waits until another one has taken its place and operations work again. */
  async function killed(name: 'kernel' | 'security'): Promise<void> {
    const { pids } = scene.agent.ready;
    process.kill(pids[name], 'SIGKILL');
    await eventually(`another ${name}`, () =>
      scene.agent.ready.pids[name] !== pids[name] ? true : undefined,
    );
    await eventually(
      'operations on another device',
      async () => ((await write('0x8004')).receipt?.effect === 'committed' ? true : undefined),
      60_000,
    );
  }

  it('stays one of that device when security and kernel are killed, with who has seen it', async () => {
    const stopped = await scene.first.call('POST', 'emergency-stop', {
      reason: 'only this one unit',
      devices: [STOPPED],
    });
    expect([stopped.status, stopped.json.success]).toEqual([200, true]);
    expect(stopped.json.scope).toBe('device audit-log-controller (0x8003)');
    const seen = await scene.second.call('POST', 'emergency-stop/acknowledge', {});
    expect(seen.status).toBe(200);
    for (const name of ['security', 'kernel', 'security'] as const) {
      await killed(name);
      expect((await write(STOPPED)).code).toBe('EMERGENCY_STOPPED');
      const status = await scene.first.get('system/status');
      expect(status.stopEngaged).toBe(false);
      expect(status.stopCauses).toMatchObject([{ reason: 'only this one unit' }]);
      expect(status.stopAcknowledgments).toMatchObject([{ by: 'demo-supervisor' }]);
      expect(await holds()).toContainEqual(
        expect.objectContaining({ token: STOPPED, kind: 'stopped' }),
      );
    }
  });

  it('is let go by two people and then waits for its activation, over another kill of kernel', async () => {
    const reason = 'the one unit was looked at';
    const reset = (who: 'first' | 'second') =>
      scene[who].call('POST', 'emergency-stop/reset', { reason });
    expect((await reset('first')).json.released).toBe(false);
    expect((await reset('second')).json.released).toBe(true);
    const status = await scene.first.get('system/status');
    expect([status.stopCauses, status.stopAcknowledgments]).toEqual([[], []]);
    await killed('kernel');
    expect((await write(STOPPED)).code).toBe('DEVICE_DEACTIVATED');
    await activateAgain(scene.first, scene.second, [STOPPED]);
    expect((await write(STOPPED)).receipt?.effect).toBe('committed');
    expect(await holds()).toEqual([]);
  });
});
