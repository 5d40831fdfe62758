// One line for each npm script: the contributor's menu.

import { readFileSync } from 'node:fs';

const MENU: Readonly<Record<string, string>> = {
  start: 'bring up the agent on the simulated board (options after --, see npm start -- --help)',
  test: 'everything that CI runs; the same as check',
  check: 'lint, types, generated code, then all tests',
  lint: 'Biome: format and lint, nothing is changed',
  format: 'Biome: format, and fix what can be fixed safely',
  types: 'the TypeScript compiler, strict, nothing is written',
  generate: 'protobuf code and everything else that is generated and committed',
  'generate:check': 'fails when generating would change anything',
  'test:unit': 'pure parts and single rooms, and the house rules',
  'test:system': 'the three real processes and their real clients',
  'test:hil':
    'hardware and peers that nobody here wrote: a real kernel in QEMU, Modbus and gRPC peers',
  simulate:
    'seeded runs of the whole agent with faults, crashes and stops (-- --seed N --minutes M)',
  fuzz: 'damaged input through every door (-- --target NAME --seed N --minutes M, --list names them)',
  bench: 'measure, each beside its limit (-- --json FILE writes the rows)',
  dsmil: "the technician's command line (-- --help)",
  'build:native': 'compile the native add-on, and i2c-bus for the Node in use',
  postinstall: 'runs build:native by itself after npm ci',
  help: 'this list',
};

const { scripts } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as {
  readonly scripts: Readonly<Record<string, string>>;
};
for (const name of Object.keys(scripts)) {
  process.stdout.write(`  npm run ${name.padEnd(15)} ${MENU[name] ?? ''}\n`);
}
