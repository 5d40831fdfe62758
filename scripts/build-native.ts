// Builds the native add-on, and i2c-bus when npm built it for another Node; run by `npm ci`.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const source = join(root, 'drivers/native');
const output = join(source, 'build', `dsmil-${process.arch}.node`);
const nodeHome = join(root, 'node_modules', `node-linux-${process.arch}`);

function newest(paths: readonly string[]): number {
  return Math.max(...paths.map((path) => statSync(path).mtimeMs));
}

function buildAddon(): void {
  const sources = readdirSync(source).filter((name) => name.endsWith('.c'));
  const inputs = readdirSync(source).filter((name) => /\.[ch]$/.test(name));
  const inputPaths = inputs.map((name) => join(source, name));
  if (existsSync(output) && statSync(output).mtimeMs > newest(inputPaths)) return;
  mkdirSync(dirname(output), { recursive: true });
  const compiler = process.env.CC ?? 'cc';
  execFileSync(
    compiler,
    [
      ...['-std=gnu11', '-O2', '-g', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared', '-pthread'],
      ...['-fvisibility=hidden', `-I${join(nodeHome, 'include/node')}`],
      ...sources.map((name) => join(source, name)),
      ...['-o', output],
    ],
    { stdio: 'inherit' },
  );
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
      process.stderr.write(`${result.stdout}${result.stderr}\ni2c-bus: not built; I2C buses stay absent\n`);
    }
  }
}

buildAddon();
buildI2cBus();
