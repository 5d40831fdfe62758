// The import rules: who may know whom. A failure names the line and says what to do instead.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const ALIASES: Readonly<Record<string, string>> = {
  '#foundation/': 'src/foundation/',
  '#model/': 'src/model/',
  '#orchestrator/': 'src/orchestrator/',
  '#tracks/': 'src/tracks/',
  '#link/': 'src/link/',
  '#contract/': 'src/contract/',
  '#config/': 'src/config/',
  '#drivers/': 'drivers/',
};

/** A room may import itself and the rooms named here. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'src/foundation': [],
  'src/model': ['src/foundation'],
  'src/orchestrator': ['src/model', 'src/foundation'],
  'src/tracks/kernel': ['src/model', 'src/foundation'],
  'src/tracks/security': ['src/model', 'src/foundation'],
  'src/tracks/interface': ['src/model', 'src/foundation', 'src/contract'],
  'src/link': ['src/model', 'src/foundation', 'drivers/native'],
  'src/contract': ['src/model', 'src/foundation'],
  'src/config': ['src/model', 'src/foundation'],
  'drivers/native': ['src/model', 'src/foundation'],
  'drivers/bus': ['src/model', 'src/foundation', 'drivers/native'],
  'drivers/device': ['src/model', 'src/foundation'],
  'drivers/index.ts': ['src/model', 'src/foundation', 'drivers/bus', 'drivers/device'],
};

/** Packages beyond Node's own that a process may reach from its composition root, whatever the path. */
const PACKAGES: Readonly<Record<string, RegExp>> = {
  'src/bin/kernel.ts': /^(pino|serialport|i2c-bus|yaml)(\/|$)/,
  'src/bin/security.ts': /^(pino|yaml)(\/|$)/,
};
/** Files that a process must not reach, with the reason. */
const UNREACHABLE: Readonly<Record<string, readonly (readonly [RegExp, string])[]>> = {
  'src/bin/kernel.ts': [
    [/^node:(http|https|http2|sqlite|tls)$/, 'kernel serves no network and keeps no disk'],
    [/^src\/tracks\/(security|interface)\//, 'kernel knows no other track'],
    [/^src\/contract\//, 'kernel speaks no network protocol'],
  ],
  'src/bin/security.ts': [
    [/^node:(http|https|http2|tls|dgram)$/, 'security serves no network'],
    [/^drivers\/(bus|device|index)/, 'security touches no device'],
    [/^src\/contract\//, 'security speaks no network protocol'],
  ],
  'src/bin/interface.ts': [
    [/^drivers\/(bus|device|index)/, 'interface touches no device'],
    [/^src\/tracks\/(kernel|security)\//, 'interface holds no key and no rule'],
    [/^src\/orchestrator\//, 'the orchestrator runs beside security'],
    [/^node:sqlite$/, 'interface keeps no state'],
  ],
};

/**
 * A socket file is no network, but Node has both in one module. Where the network is not a process's right, `node:net` is
 * reached through this file alone, which takes nothing but absolute paths.
 */
const PATH_SOCKETS = 'src/link/unix-socket.ts';
const MAY_NET: Readonly<Record<string, readonly string[]>> = {
  'src/bin/security.ts': [PATH_SOCKETS],
  // Modbus/TCP lines and simulated I2C adapters are buses.
  'src/bin/kernel.ts': [PATH_SOCKETS, 'drivers/bus/modbus-tcp.ts', 'drivers/bus/i2c-socket.ts'],
};

interface Import {
  readonly file: string;
  readonly line: number;
  /** Repository path for our own files, else the package or node: name. */
  readonly target: string;
  readonly typeOnly: boolean;
}

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(
      (entry) => entry.isFile() && /\.(ts|js)$/.test(entry.name) && !entry.name.endsWith('.d.ts'),
    )
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

const STATEMENT =
  /(?:^|\n)[ \t]*(?:import|export)\s+(type\s+)?(?:[^;'"]*?\sfrom\s+)?['"]([^'"]+)['"]|(?:import|require)\(\s*['"]([^'"]+)['"]\s*\)/g;

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(STATEMENT)].map((match) => {
    const name = match[2] ?? match[3] ?? '';
    const line =
      text.slice(0, match.index).split('\n').length + (match[0].startsWith('\n') ? 1 : 0);
    return { file, line, target: resolveName(file, name), typeOnly: match[1] !== undefined };
  });
}

function resolveName(file: string, name: string): string {
  const alias = Object.keys(ALIASES).find((prefix) => name.startsWith(prefix));
  if (alias !== undefined) return `${ALIASES[alias]}${name.slice(alias.length)}.ts`;
  if (name.startsWith('.')) return relative(root, resolve(root, dirname(file), name));
  return name;
}

function roomOf(path: string): string | undefined {
  return Object.keys(MAY_IMPORT).find((room) => path === room || path.startsWith(`${room}/`));
}

const all = [...sources('src'), ...sources('drivers')];
const graph = new Map(all.map((file) => [file, importsOf(file)]));

function reachable(start: string): Map<string, string> {
  const from = new Map<string, string>([[start, start]]);
  const waiting = [start];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    for (const { target, typeOnly } of graph.get(file) ?? []) {
      if (typeOnly || from.has(target)) continue;
      from.set(target, `${from.get(file)} -> ${target}`);
      waiting.push(target);
    }
  }
  return from;
}

describe('import rules', () => {
  it('every source file belongs to a room or is a composition root', () => {
    const homeless = all.filter(
      (file) => roomOf(file) === undefined && !file.startsWith('src/bin/'),
    );
    expect(homeless).toEqual([]);
  });

  it('each room imports only the rooms below it', () => {
    const wrong: string[] = [];
    for (const { file, line, target } of [...graph.values()].flat()) {
      const room = roomOf(file);
      const wanted = roomOf(target) ?? (target.startsWith('src/bin/') ? 'src/bin' : undefined);
      if (room === undefined || wanted === undefined || wanted === room) continue;
      if (MAY_IMPORT[room]?.includes(wanted)) continue;
      wrong.push(
        `${file}:${line}: ${room} imports ${wanted}; it may import ${MAY_IMPORT[room]?.join(', ') || 'nothing'}: hand the object in through the constructor`,
      );
    }
    expect(wrong).toEqual([]);
  });

  it('generated code is imported from the contract room alone', () => {
    const wrong = [...graph.values()]
      .flat()
      .filter(
        ({ file, target }) =>
          target.startsWith('src/contract/generated/') && !file.startsWith('src/contract/'),
      )
      .map(({ file, line }) => `${file}:${line}: import the mapping in src/contract instead`);
    expect(wrong).toEqual([]);
  });

  for (const [start, rules] of Object.entries(UNREACHABLE)) {
    it(`from ${start} nothing outside its right can be reached`, () => {
      const wrong: string[] = [];
      for (const [target, path] of reachable(start)) {
        for (const [pattern, why] of rules) if (pattern.test(target)) wrong.push(`${path}: ${why}`);
        const isPackage =
          !target.startsWith('node:') && !graph.has(target) && !/^(src|drivers)\//.test(target);
        const allowed = PACKAGES[start];
        if (isPackage && allowed !== undefined && !allowed.test(target))
          wrong.push(`${path}: package not on the list`);
      }
      expect(wrong).toEqual([]);
    });
  }

  for (const [start, allowed] of Object.entries(MAY_NET)) {
    it(`from ${start} \`node:net\` is reached through ${allowed.join(', ')} alone`, () => {
      const wrong = [...reachable(start).keys()]
        .flatMap((file) => graph.get(file) ?? [])
        .filter(({ target, typeOnly }) => target === 'node:net' && !typeOnly)
        .filter(({ file }) => !allowed.includes(file))
        .map(({ file, line }) => `${file}:${line}: use ${PATH_SOCKETS}`);
      expect(wrong).toEqual([]);
    });
  }

  it('the socket files of the consoles are named by path, never by host or port', () => {
    const text = readFileSync(join(root, PATH_SOCKETS), 'utf8');
    const names = /import \{ ([^}]*) \} from 'node:net'/.exec(text)?.[1];
    expect(names).toBe('createConnection, createServer, type Socket');
    const calls = [...text.matchAll(/\b(?:createConnection|listen|connect)\(([^)]*)\)/g)];
    expect(calls.map((call) => call[1])).toEqual(['{ path }', '{ path }']);
  });

  it('every import of our own leads to a file that exists', () => {
    const known = new Set(all);
    const missing = [...graph.values()]
      .flat()
      .filter(({ target }) => /^(src|drivers)\/.*\.ts$/.test(target) && !known.has(target))
      .map(({ file, line, target }) => `${file}:${line}: ${target}`);
    expect(missing).toEqual([]);
  });
});
