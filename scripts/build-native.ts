// Builds the native add-on, the safe drive, and i2c-bus when npm built it for another Node; run by `npm ci`.
// Options: --force builds even when nothing changed, --strict turns compiler warnings into errors (CI).
// Invariants: the finished add-on is moved into place in one step, so a running process keeps its own copy;
//   it is never unloaded, because its signal handler may be the process's own.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const source = join(root, 'drivers/native');
const output = join(source, 'build', `dsmil-${process.arch}.node`);
const nodeHome = join(root, 'node_modules', `node-linux-${process.arch}`);

/** The headers of the Node that runs the agent; those of the running Node where no package carries one. */
function headerDirectory(): string {
  const candidates = [nodeHome, join(dirname(process.execPath), '..')].map((home) =>
    join(home, 'include/node'),
  );
  return (
    candidates.find((directory) => existsSync(join(directory, 'node_api.h'))) ??
    join(root, 'node_modules/node-api-headers/include')
  );
}

function newest(paths: readonly string[]): number {
  return Math.max(...paths.map((path) => statSync(path).mtimeMs));
}

function buildAddon(): void {
  const inputs = readdirSync(source).filter((name) => /\.[ch]$/.test(name));
  const sources = inputs.filter((name) => name.endsWith('.c')).sort();
  const inputPaths = [...inputs.map((name) => join(source, name)), fileURLToPath(import.meta.url)];
  const current = existsSync(output) && statSync(output).mtimeMs > newest(inputPaths);
  if (current && !process.argv.includes('--force')) return;
  mkdirSync(dirname(output), { recursive: true });
  const unfinished = `${output}.${process.pid}`;
  const warnings = process.argv.includes('--strict') ? ['-Werror'] : [];
  const compiler = process.env.CC ?? 'cc';
  try {
    execFileSync(
      compiler,
      [
        ...['-std=gnu11', '-O2', '-g', '-fPIC', '-shared', '-pthread'],
        ...['-Wall', '-Wextra', ...warnings],
        ...['-fvisibility=hidden', '-D_FORTIFY_SOURCE=2', '-fstack-protector-strong'],
        ...['-Wl,-z,relro,-z,now,-z,nodelete', `-I${headerDirectory()}`],
        ...sources.map((name) => join(source, name)),
        ...['-o', unfinished],
      ],
      { stdio: 'inherit' },
    );
    renameSync(unfinished, output);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const finding = missing ? `no C compiler ${compiler}; install gcc or set CC` : String(error);
    process.stderr.write(`drivers/native: the add-on was not built: ${finding}\n`);
    process.exitCode = 1;
  } finally {
    rmSync(unfinished, { force: true });
  }
}

/** A program of its own, without any library where the C library can be linked in. */
function buildSafeDrive(): void {
  const folder = join(source, 'safe-drive');
  const program = join(dirname(output), 'dsmil-safe-drive');
  const inputs = readdirSync(folder).map((name) => join(folder, name));
  const newestInput = newest([...inputs, fileURLToPath(import.meta.url)]);
  const current = existsSync(program) && statSync(program).mtimeMs > newestInput;
  if (current && !process.argv.includes('--force')) return;
  mkdirSync(dirname(program), { recursive: true });
  const unfinished = `${program}.${process.pid}`;
  const warnings = process.argv.includes('--strict') ? ['-Werror'] : [];
  const compile = (linking: readonly string[], stdio: 'inherit' | 'ignore') =>
    spawnSync(
      process.env.CC ?? 'cc',
      [
        ...['-std=c11', '-O2', '-g', '-Wall', '-Wextra', ...warnings],
        ...['-D_FORTIFY_SOURCE=2', '-fstack-protector-strong', '-Wl,-z,relro,-z,now', ...linking],
        ...inputs.filter((path) => path.endsWith('.c')).sort(),
        ...['-o', unfinished],
      ],
      { stdio },
    ).status === 0;
  try {
    // Not every machine has a static C library.
    if (compile(['-static'], 'ignore') || compile(['-fPIE', '-pie'], 'inherit')) {
      renameSync(unfinished, program);
    } else {
      process.stderr.write('drivers/native/safe-drive: the program was not built\n');
      process.exitCode = 1;
    }
  } finally {
    rmSync(unfinished, { force: true });
  }
}

/** i2c-bus binds to V8 directly, so it has to be built with the headers of the Node that runs it. */
function buildI2cBus(): void {
  const require = createRequire(import.meta.url);
  try {
    require('i2c-bus');
    return;
  } catch {
    const result = spawnSync('npm', ['rebuild', 'i2c-bus'], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, npm_config_nodedir: nodeHome, npm_config_ignore_scripts: 'false' },
    });
    if (result.status !== 0) {
      process.stderr.write(
        `${result.stdout}${result.stderr}\ni2c-bus: not built; I2C buses stay absent\n`,
      );
    }
  }
}

buildAddon();
buildSafeDrive();
buildI2cBus();
