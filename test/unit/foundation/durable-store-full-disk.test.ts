// The durable store on a file system without a free byte: a small tmpfs in a mount namespace of its own.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const mayMount =
  process.getuid?.() === 0 &&
  spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0;

const STORE = new URL('../../../src/foundation/durable-store.ts', import.meta.url).href;
const SCRIPT = `
import { rmSync, writeFileSync } from 'node:fs';
import { DurableStore } from ${JSON.stringify(STORE)};
const [directory] = process.argv.slice(2);
const store = new DurableStore(directory + '/full.db');
store.database.exec('CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT');
const insert = (id) =>
  store.transact((database) => {
    database.prepare('INSERT INTO note (id, text) VALUES (?, ?)').run(id, 'x'.repeat(5000));
  });
await insert(1);
// Take every byte that is left.
let filled = 0;
for (let size = 65536; size >= 1; size = Math.floor(size / 2)) {
  try {
    for (;;) writeFileSync(directory + '/filler-' + filled++, Buffer.alloc(size, 1));
  } catch {}
}
const full = await Promise.allSettled([2, 3].map(insert));
const transaction = store.database.isTransaction;
for (let index = 0; index < filled; index++) rmSync(directory + '/filler-' + index, { force: true });
const after = await Promise.allSettled([insert(4)]);
const ids = store.database.prepare('SELECT id FROM note ORDER BY id').all().map((row) => row.id);
const show = (one) => one.status === 'fulfilled' ? 'durable' : String(one.reason.message);
console.log(JSON.stringify({ full: full.map(show), transaction, after: after.map(show), ids }));
`;

describe.skipIf(!mayMount)('the durable store on a full disk (needs root to mount a tmpfs)', () => {
  it('rejects every writer, keeps no row of them, and goes on when there is room again', () => {
    const directory = mkdtempSync(join(tmpdir(), 'dsmil-full-'));
    const script = join(directory, 'script.mjs');
    writeFileSync(script, SCRIPT);
    const mounted = join(directory, 'disk');
    const run = spawnSync(
      'unshare',
      [
        ...['-m', 'sh', '-ec'],
        'mkdir "$1" && mount -t tmpfs -o size=400k tmpfs "$1" && exec "$2" "$3" "$1"',
        ...['sh', mounted, process.execPath, script],
      ],
      { encoding: 'utf8' },
    );
    rmSync(directory, { recursive: true, force: true });
    expect(run.stderr).not.toMatch(/Error/);
    const found = JSON.parse(run.stdout);
    expect(found.full).toHaveLength(2);
    for (const message of found.full) expect(message).toMatch(/full|I\/O/);
    expect(found.transaction).toBe(false);
    expect(found.after).toEqual(['durable']);
    expect(found.ids).toEqual([1, 4]);
  });
});
