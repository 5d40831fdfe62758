// The default board served whole by the real process, and the end of that process.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ControlClient } from '#drivers/bus/simulated/control-client';
import { PERMANENT_QUARANTINE } from '#model/device';
import { type RunningSimulator, startSimulator, until, writeBoard } from './fixture.ts';

const DEFAULT_BOARD = 'drivers/profiles/boards/default.yaml';
let running: RunningSimulator | undefined;

afterEach(async () => {
  await running?.stop();
  running = undefined;
});

describe('the simulator process', () => {
  it('serves all 84 devices of the default board', async () => {
    running = await startSimulator(DEFAULT_BOARD);
    const { control, directory } = running;
    expect((await control.ping()).devices).toBe(84);
    expect(readdirSync(directory).sort()).toEqual([
      'control.sock',
      'i2c.sock',
      'memory',
      'serial-0',
      'serial-1',
      'sys',
    ]);
    for (const device of (await control.ask({ do: 'devices' })).devices) {
      if (!device.quarantined) expect((await control.get(device.device, 'STATUS')).value).toBe('3');
    }
    const { quarantined, touched } = await control.canaries();
    expect(quarantined).toHaveLength(PERMANENT_QUARANTINE.size);
    expect(touched).toEqual([]);
    expect(running.errors()).toBe('');
  });

  it('removes everything it made when it is told to end', async () => {
    running = await startSimulator();
    const { child, directory } = running;
    const ended = once(child, 'exit');
    child.kill('SIGINT');
    expect((await ended)[0]).toBe(0);
    expect(existsSync(directory)).toBe(false);
  });

  it('takes a directory over that a killed simulator has left', async () => {
    running = await startSimulator();
    const { child, directory, board } = running;
    const killed = once(child, 'exit');
    child.kill('SIGKILL');
    await killed;
    expect(existsSync(join(directory, 'memory'))).toBe(true);
    const again = await startSimulatorIn(directory, board.file);
    const control = await ControlClient.connect(join(directory, 'control.sock'));
    expect((await control.get('first-block', 'STATUS')).value).toBe('3');
    control.close();
    await again.stop();
  });

  it('refuses a second simulator in the same directory and leaves the first alone', async () => {
    running = await startSimulator();
    const { board, control, directory } = running;
    const second = run(['--board', board.file, '--directory', directory]);
    expect(second.status).toBe(1);
    expect(second.stderr).toContain('another simulator serves this directory');
    expect((await control.ping()).devices).toBe(9);
  });

  it('refuses a board whose buses lie outside its directory', () => {
    const scratch = mkdtempSync(join(tmpdir(), 'dsmil-outside-'));
    const board = writeBoard(scratch);
    const real = join(scratch, 'real.yaml');
    const victim = join(scratch, 'victim');
    writeFileSync(victim, 'precious');
    const text = readFileSync(board, 'utf8');
    const refused = (name: string, to: string): string => {
      writeFileSync(real, text.replace(`\${SIMULATOR}/${name}`, to));
      const result = run(['--board', real, '--directory', join(scratch, 'hardware')]);
      expect(result.status).toBe(1);
      return result.stderr;
    };
    expect(refused('memory', victim)).toContain('bus memory-0: its path is outside');
    expect(refused('sys', join(scratch, 'hardware', '..', 'victim'))).toContain(
      'bus sysfs-0: its path is outside',
    );
    expect(refused('i2c.sock', '/dev/null')).toContain('bus i2c-0: its path is outside');
    expect(readFileSync(victim, 'utf8')).toBe('precious');
    rmSync(scratch, { recursive: true, force: true });
  });

  it('says how it is used when it is called wrongly', () => {
    for (const args of [
      [],
      ['--board', 'x'],
      ['--board', 'x', '--directory', 'y', '--seed', '-1'],
    ]) {
      const result = run(args);
      expect(result.status).toBe(2);
      expect(result.stderr).toContain('usage: simulator');
    }
    const missing = run(['--board', '/nowhere/board.yaml', '--directory', '/tmp/never-made']);
    expect(missing.status).toBe(1);
    expect(missing.stderr).toContain('board.yaml');
    expect(existsSync('/tmp/never-made')).toBe(false);
  });
});

function run(args: readonly string[]): { status: number | null; stderr: string } {
  const { status, stderr } = spawnSync(process.execPath, ['src/bin/simulator.ts', ...args], {
    encoding: 'utf8',
    timeout: 15_000,
  });
  return { status, stderr };
}

async function startSimulatorIn(
  directory: string,
  board: string,
): Promise<{ stop(): Promise<void> }> {
  const ready = `${directory}.ready`;
  const args = ['--board', board, '--directory', directory, '--ready-file', ready];
  const child = spawn(process.execPath, ['src/bin/simulator.ts', ...args], { stdio: 'ignore' });
  await until(() => existsSync(ready) || child.exitCode !== null, 'the second start');
  return {
    stop: async () => {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}
