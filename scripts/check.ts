// Everything that must hold before a change lands, in the order of the cheapest answer; CI runs exactly this.

import { spawnSync } from 'node:child_process';
import { ensurePackages } from './rig/packages.ts';

interface Stage {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
}

const STAGES: readonly Stage[] = [
  { name: 'lint', command: ['biome', 'ci', '.'] },
  { name: 'types', command: ['tsc', '-p', '.'] },
  { name: 'generated code', command: ['node', 'scripts/generate.ts', '--check'] },
  { name: 'tests', command: ['vitest', 'run'] },
];

process.stdout.write(`== Debian packages for the hardware tests: ${ensurePackages().sentence}\n`);
for (const { name, command } of STAGES) {
  process.stdout.write(`\n== ${name}: ${command.join(' ')}\n`);
  const startMs = performance.now();
  const [program, ...rest] = command;
  const { status } = spawnSync(program, rest, { stdio: 'inherit' });
  if (status !== 0) {
    process.stderr.write(`\n${name} failed\n`);
    process.exit(status ?? 1);
  }
  // The last stage ends with the test runner's own summary.
  if (command[0] !== 'vitest')
    process.stdout.write(`== ${name}: ${((performance.now() - startMs) / 1000).toFixed(1)} s\n`);
}
