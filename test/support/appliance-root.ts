// A directory that looks like the appliance's root to systemd's own tools: our units, users and run directory in it.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TrackName } from '#model/track-name';
import { REPOSITORY } from './agent.ts';

export const SYSTEMD = join(REPOSITORY, 'systemd');
export const UNITS = readdirSync(SYSTEMD).filter((name) => /\.(service|target)$/.test(name));
/** What our units refer to beside each other. */
const SYSTEM_UNITS = '/usr/lib/systemd/system';

export interface ApplianceUser {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups, by id. */
  readonly groups: readonly number[];
}

export interface Ran {
  readonly status: number | null;
  readonly output: string;
}

export function run(program: string, args: readonly string[]): Ran {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  return { status, output: `${stdout ?? ''}${stderr ?? ''}`.trim() };
}

/** Why systemd's tools cannot be used here, or null. */
export const NO_SYSTEMD = existsSync('/usr/bin/systemd-analyze')
  ? null
  : 'systemd-analyze is not installed (package systemd of scripts/rig/packages.txt)';
export const NOT_ROOT = process.getuid?.() === 0 ? null : 'only root may become other users';

export class ApplianceRoot {
  readonly directory: string;

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), 'dr-'));
    // Other users have to pass through it.
    chmodSync(this.directory, 0o755);
    for (const path of ['etc/systemd/system', 'usr/lib/systemd/system', 'usr/lib/dsmil'])
      mkdirSync(join(this.directory, path), { recursive: true });
  }

  path(...parts: string[]): string {
    return join(this.directory, ...parts);
  }

  installUnits(): void {
    for (const name of readdirSync(SYSTEM_UNITS)) {
      if (!/\.target$|^systemd-tmpfiles-setup\.service$/.test(name)) continue;
      copyFileSync(join(SYSTEM_UNITS, name), this.path('usr/lib/systemd/system', name));
    }
    for (const name of UNITS)
      copyFileSync(join(SYSTEMD, name), this.path('etc/systemd/system', name));
  }

  installPrograms(): void {
    for (const name of ['node', 'dsmil-safe-drive']) {
      writeFileSync(this.path('usr/lib/dsmil', name), '#!/bin/sh\n');
      chmodSync(this.path('usr/lib/dsmil', name), 0o755);
    }
  }

  makeUsers(): Ran {
    return run('systemd-sysusers', [
      `--root=${this.directory}`,
      join(SYSTEMD, 'sysusers.d-dsmil.conf'),
    ]);
  }

  /** Only root may give files away. */
  makeDirectories(): Ran {
    return run('systemd-tmpfiles', [
      `--root=${this.directory}`,
      '--create',
      join(SYSTEMD, 'tmpfiles.d-dsmil.conf'),
    ]);
  }

  userOf(track: TrackName): ApplianceUser {
    const user = this.#rows('passwd').find(([name]) => name === `dsmil-${track}`);
    const groups = this.#rows('group')
      .filter(([, , , members = '']) => members.split(',').includes(`dsmil-${track}`))
      .map(([, , gid]) => Number(gid));
    return { uid: Number(user?.[2]), gid: Number(user?.[3]), groups };
  }

  groupOf(name: string): number {
    return Number(this.#rows('group').find(([group]) => group === name)?.[2]);
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #rows(file: 'passwd' | 'group'): readonly string[][] {
    return readFileSync(this.path('etc', file), 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split(':'));
  }
}
