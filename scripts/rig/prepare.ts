// Makes the real-kernel rig in a cache outside the repository: Debian's kernel, its modules and an initramfs.
// Invariants: keyed by kernel release and by the hash of the rig's own files; a complete rig is never rebuilt.
// Run by hand: `node scripts/rig/prepare.ts [--refresh]`; --refresh asks the mirror for a newer kernel.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AptSource } from './apt-source.ts';
import { buildInitramfs } from './initramfs.ts';
import { ModuleTree } from './modules.ts';
import { ensurePackages } from './packages.ts';

const SUITE = 'trixie';
const UNUSED_AFTER_MS = 14 * 24 * 3_600_000;
const KERNEL_PACKAGE = 'linux-image-amd64';
/** Loaded by init.sh before the host's root can be mounted. */
const BOOT_MODULES = ['9pnet_virtio', '9p', 'overlay'];
/** Decompressed for the guest's scripts to load when they want the part. */
const GUEST_MODULES = [
  'i2c-i801',
  'i2c-dev',
  'i2c-stub',
  'lm75',
  'jc42',
  'sbs-battery',
  'i6300esb',
  'uio_cif',
  'uio_pci_generic',
];

export interface Rig {
  readonly directory: string;
  readonly kernelRelease: string;
  readonly kernel: string;
  readonly initramfs: string;
  /** Holds `<name>.ko` and `<name>.order`, one module a line in loading order. */
  readonly modules: string;
}

export type RigPreparation =
  | { readonly ready: true; readonly rig: Rig; readonly sentence: string }
  /** `mayBeSkipped` only when this user cannot install what is missing. */
  | { readonly ready: false; readonly mayBeSkipped: boolean; readonly sentence: string };

export type Freshness = 'cached' | 'refresh';

export function cacheDirectory(): string {
  const chosen = process.env.DSMIL_CACHE;
  if (chosen !== undefined && chosen !== '') return join(chosen, 'rig');
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'dsmil', 'rig');
}

/** Gives a rig ready to boot; the first time it fetches about 110 MB, later it only looks. */
export function prepareRig(freshness: Freshness = 'cached'): RigPreparation {
  if (process.arch !== 'x64') {
    return skip(
      `this machine is ${process.arch}; the guest runs its node binary, so x64 is needed`,
    );
  }
  const packages = ensurePackages();
  if (!packages.complete) {
    const mayBeSkipped = process.getuid?.() !== 0;
    return { ready: false, mayBeSkipped, sentence: packages.sentence };
  }
  const cache = cacheDirectory();
  const key = scriptKey();
  const pointer = join(cache, `current-${key}.json`);
  if (freshness === 'cached' && existsSync(pointer)) {
    const rig = JSON.parse(readFileSync(pointer, 'utf8')) as Rig;
    if (existsSync(join(rig.directory, 'complete'))) {
      return { ready: true, rig, sentence: `rig with kernel ${rig.kernelRelease} is in the cache` };
    }
  }
  const startedMs = Date.now();
  try {
    mkdirSync(cache, { recursive: true });
    const rig = build(cache, key);
    writeFileSync(`${pointer}.${process.pid}`, JSON.stringify(rig));
    renameSync(`${pointer}.${process.pid}`, pointer);
    const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
    return {
      ready: true,
      rig,
      sentence: `made rig with kernel ${rig.kernelRelease} in ${seconds} s`,
    };
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return {
      ready: false,
      mayBeSkipped: false,
      sentence: `the rig could not be made in ${cache}: ${words}`,
    };
  }
}

function skip(sentence: string): RigPreparation {
  return { ready: false, mayBeSkipped: true, sentence };
}

function scriptKey(): string {
  const directory = fileURLToPath(new URL('.', import.meta.url));
  const hash = createHash('sha256');
  for (const file of ['prepare.ts', 'modules.ts', 'initramfs.ts', 'init.sh']) {
    hash.update(readFileSync(join(directory, file)));
  }
  return hash.digest('hex').slice(0, 12);
}

function build(cache: string, key: string): Rig {
  const source = new AptSource(join(cache, 'apt'), SUITE);
  source.update();
  const imagePackage = source.field(KERNEL_PACKAGE, 'Depends').split(/[ ,]/)[0] ?? '';
  const kernelRelease = imagePackage.replace(/^linux-image-/, '');
  const directory = join(cache, `${kernelRelease}-${key}`);
  const rig: Rig = {
    directory,
    kernelRelease,
    kernel: join(directory, 'vmlinuz'),
    initramfs: join(directory, 'initramfs.cpio.gz'),
    modules: join(directory, 'modules'),
  };
  if (existsSync(join(directory, 'complete'))) return rig;

  const work = join(cache, `work-${process.pid}`);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(work, 'rig/modules'), { recursive: true });
  try {
    const archive = source.download(imagePackage);
    const unpack = spawnSync('dpkg-deb', ['--extract', archive, join(work, 'package')], {
      encoding: 'utf8',
    });
    if (unpack.status !== 0) throw new Error(`dpkg-deb of ${imagePackage}: ${unpack.stderr}`);
    const root = join(work, 'package');
    copyFileSync(join(root, `boot/vmlinuz-${kernelRelease}`), join(work, 'rig/vmlinuz'));
    const base = existsSync(join(root, 'usr/lib/modules')) ? 'usr/lib/modules' : 'lib/modules';
    const tree = new ModuleTree(join(root, base, kernelRelease));
    buildInitramfs(
      join(work, 'initramfs'),
      join(work, 'rig/initramfs.cpio.gz'),
      tree,
      BOOT_MODULES,
    );
    writeGuestModules(tree, join(work, 'rig/modules'));
    writeFileSync(join(work, 'rig/complete'), `${kernelRelease}\n`);
    rmSync(directory, { recursive: true, force: true });
    renameSync(join(work, 'rig'), directory);
    return rig;
  } finally {
    rmSync(work, { recursive: true, force: true });
    removeOlderArchives(join(cache, 'apt/download'), imagePackage);
    removeUnusedRigs(cache, directory);
  }
}

function writeGuestModules(tree: ModuleTree, directory: string): void {
  for (const name of GUEST_MODULES) {
    const order = tree.order(name);
    tree.writeAll(order, directory);
    writeFileSync(join(directory, `${name}.order`), order.map((item) => `${item}\n`).join(''));
  }
}

function removeOlderArchives(directory: string, kept: string): void {
  if (!existsSync(directory)) return;
  for (const file of readdirSync(directory)) {
    if (!file.startsWith(`${kept}_`)) rmSync(join(directory, file));
  }
}

/** Rigs of earlier kernels and scripts, once nobody can be using them any more. */
function removeUnusedRigs(cache: string, kept: string): void {
  for (const name of readdirSync(cache)) {
    const path = join(cache, name);
    const isRig = existsSync(join(path, 'complete')) || /^current-[0-9a-f]{12}\.json$/.test(name);
    if (!isRig || path === kept) continue;
    if (Date.now() - statSync(path).mtimeMs > UNUSED_AFTER_MS) rmSync(path, { recursive: true });
  }
}

if (import.meta.main) {
  const startedMs = Date.now();
  const result = prepareRig(process.argv.includes('--refresh') ? 'refresh' : 'cached');
  console.log(`${result.sentence} (${Date.now() - startedMs} ms)`);
  if (result.ready) console.log(result.rig.directory);
  process.exitCode = result.ready ? 0 : 1;
}
