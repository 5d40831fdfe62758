// Becomes a user and opens one bell after the other, each at a moment that others know; says which it could not open.

import { join } from 'node:path';
import { Doorbell } from '#drivers/native/signal';

const [directory = '', uid, gid, startMs, count, apartMs] = process.argv.slice(2);
process.setgroups?.([Number(gid)]);
process.setgid?.(Number(gid));
process.setuid?.(Number(uid));
process.umask(0o077);
for (let index = 0; index < Number(count); index++) {
  while (Date.now() < Number(startMs) + index * Number(apartMs));
  try {
    new Doorbell(join(directory, `${index}.bell`)).close();
  } catch (error) {
    process.stdout.write(`${index}: ${String(error)}\n`);
  }
}
