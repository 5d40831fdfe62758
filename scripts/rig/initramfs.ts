// The guest's initial file system: a static busybox, the modules that 9p needs, and init.sh.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { ModuleTree } from './modules.ts';

export const INIT_SCRIPT = fileURLToPath(new URL('./init.sh', import.meta.url));
const BUSYBOX = '/bin/busybox';
const ARCHIVE_MAX_BYTES = 64 * 1024 * 1024;

/** Lays the tree out under `directory` and writes the compressed archive to `archive`. */
export function buildInitramfs(
  directory: string,
  archive: string,
  tree: ModuleTree,
  modules: readonly string[],
): void {
  for (const name of ['bin', 'modules']) mkdirSync(join(directory, name), { recursive: true });
  copyFileSync(BUSYBOX, join(directory, 'bin/busybox'));
  chmodSync(join(directory, 'bin/busybox'), 0o755);
  symlinkSync('busybox', join(directory, 'bin/sh'));
  copyFileSync(INIT_SCRIPT, join(directory, 'init'));
  chmodSync(join(directory, 'init'), 0o755);

  const order = [...new Set(modules.flatMap((name) => tree.order(name)))];
  tree.writeAll(order, join(directory, 'modules'));
  writeFileSync(join(directory, 'modules/order'), `${order.join('\n')}\n`);

  const names = ['bin', 'bin/busybox', 'bin/sh', 'init', 'modules', 'modules/order'].concat(
    order.map((name) => `modules/${name}.ko`),
  );
  for (const name of names) if (name !== 'bin/sh') utimesSync(join(directory, name), 0, 0);
  const run = spawnSync('cpio', ['--create', '--format=newc', '--quiet', '--owner=0:0'], {
    cwd: directory,
    input: `${names.join('\n')}\n`,
    maxBuffer: ARCHIVE_MAX_BYTES,
  });
  if (run.status !== 0)
    throw new Error(`cpio ended with ${run.status ?? run.error}: ${run.stderr}`);
  writeFileSync(archive, gzipSync(run.stdout, { level: 1 }));
}
