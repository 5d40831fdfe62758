// Generates everything that is generated and committed; with --check only says what generating would change.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateFaultPage } from './generate-fault-page.ts';
import { generateDeclarations, generateValidators } from './generate-validators.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const FILES: Readonly<Record<string, () => string>> = {
  'src/config/generated/validators.js': generateValidators,
  'src/config/generated/validators.d.ts': generateDeclarations,
  'docs/faults.md': generateFaultPage,
};

const options = process.argv.slice(2);
const check = options.includes('--check');
if (options.some((option) => option !== '--check')) {
  process.stderr.write('generate: the only option is --check\n');
  process.exit(2);
}

let different = false;
for (const [path, generate] of Object.entries(FILES)) {
  const text = generate();
  const target = join(root, path);
  if (check) {
    if (read(target) === text) continue;
    process.stderr.write(`${path}: differs from what would be generated; run: npm run generate\n`);
    different = true;
  } else {
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
  }
}
const protobuf = spawnSync(
  process.execPath,
  [join(root, 'scripts/generate-protobuf.ts'), ...options],
  { stdio: 'inherit' },
);
process.exit(different ? 1 : (protobuf.status ?? 1));

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
