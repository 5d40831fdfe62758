// Generates src/contract/generated from proto/; with --check only says whether that would change anything.
// Faults: exits 1 when lint fails, when generating fails, or, with --check, when the committed code differs.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Every definition as a FileDescriptorSet, for server reflection. */
const DESCRIPTORS = 'descriptors.binpb';
const generated = join('src', 'contract', 'generated');

function buf(...args: readonly string[]): void {
  const bin = join(root, 'node_modules', '.bin');
  const result = spawnSync(join(bin, 'buf'), args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${bin}:${process.env.PATH ?? ''}` },
  });
  if (result.status !== 0) {
    console.error(`generate: buf ${args[0]} failed; ${generated} was not checked`);
    process.exit(1);
  }
}

function filesBelow(folder: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(relative(folder, path), readFileSync(path, 'latin1'));
  }
  return files;
}

function differences(): readonly string[] {
  const folder = mkdtempSync(join(tmpdir(), 'dsmil-generate-'));
  try {
    buf('generate', '--output', folder);
    buf('build', '--output', join(folder, generated, DESCRIPTORS));
    const fresh = filesBelow(join(folder, generated));
    const committed = filesBelow(join(root, generated));
    const names = new Set([...fresh.keys(), ...committed.keys()]);
    return [...names].sort().filter((name) => fresh.get(name) !== committed.get(name));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const [option] = process.argv.slice(2);
buf('lint');
if (option === '--check') {
  const different = differences();
  for (const name of different) {
    console.error(
      `${join(generated, name)}: differs from what proto/ gives; run: node scripts/generate.ts`,
    );
  }
  process.exit(different.length === 0 ? 0 : 1);
}
if (option !== undefined) {
  console.error(`generate: unknown option ${option}; use --check or nothing`);
  process.exit(2);
}
buf('generate');
buf('build', '--output', join(generated, DESCRIPTORS));
