// Kernel modules for the guest: found in an unpacked kernel package, decompressed once, ordered by dependency.
// Faults: a module that the kernel neither has built in nor ships is named in the error.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const DECOMPRESS_MAX_BYTES = 64 * 1024 * 1024;

/** Dependencies as the module's own .modinfo section states them (`depends=9pnet,netfs`). */
export function dependenciesOf(image: Buffer): readonly string[] {
  const marker = Buffer.from('\0depends=');
  const at = image.indexOf(marker);
  if (at < 0) return [];
  const start = at + marker.length;
  const text = image.toString('latin1', start, image.indexOf(0, start));
  return text === '' ? [] : text.split(',').map(canonicalName);
}

/** Module names use `_` and `-` interchangeably (modprobe(8)). */
export function canonicalName(name: string): string {
  return name.replaceAll('-', '_');
}

export class ModuleTree {
  readonly #files: ReadonlyMap<string, string>;
  readonly #builtIn: ReadonlySet<string>;
  readonly #images = new Map<string, Buffer>();

  /** @param directory `lib/modules/<release>` of an unpacked kernel package. */
  constructor(directory: string) {
    const files = readdirSync(directory, { recursive: true, encoding: 'utf8' });
    const modules = files.filter((file) => /\.ko(\.xz)?$/.test(file));
    this.#files = new Map(modules.map((file) => [moduleName(file), join(directory, file)]));
    const builtIn = readFileSync(join(directory, 'modules.builtin'), 'utf8');
    this.#builtIn = new Set(builtIn.split('\n').filter(Boolean).map(moduleName));
  }

  /** The module and all it depends on in loading order; empty when it is built in. */
  order(name: string): readonly string[] {
    const ordered: string[] = [];
    this.#add(canonicalName(name), ordered);
    return ordered;
  }

  /** Writes each module once as `<name>.ko`. */
  writeAll(names: Iterable<string>, directory: string): void {
    for (const name of names) writeFileSync(join(directory, `${name}.ko`), this.#image(name));
  }

  #add(name: string, ordered: string[]): void {
    if (this.#builtIn.has(name) || ordered.includes(name)) return;
    for (const dependency of dependenciesOf(this.#image(name))) this.#add(dependency, ordered);
    ordered.push(name);
  }

  #image(name: string): Buffer {
    const known = this.#images.get(name);
    if (known !== undefined) return known;
    const file = this.#files.get(name);
    if (file === undefined) throw new Error(`kernel module ${name}: not in this kernel package`);
    const image = file.endsWith('.xz') ? decompress(file) : readFileSync(file);
    this.#images.set(name, image);
    return image;
  }
}

function moduleName(path: string): string {
  return canonicalName(basename(path).replace(/\.ko(\.xz)?$/, ''));
}

function decompress(file: string): Buffer {
  const run = spawnSync('xz', ['--decompress', '--stdout', file], {
    maxBuffer: DECOMPRESS_MAX_BYTES,
  });
  if (run.status !== 0) throw new Error(`xz of ${file} ended with ${run.status ?? run.error}`);
  return run.stdout;
}
