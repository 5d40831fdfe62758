// The file of security's database, before it is opened: readable and writable by its owner alone, whatever the umask says.
// SQLite gives its log and its index the rights of the database itself (sqlite.org/wal.html).

import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';

const OWNER_ALONE = 0o600;

export function makeStorePrivate(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  closeSync(openSync(path, 'a', OWNER_ALONE));
  // Those of an earlier start may have been made with other rights.
  for (const file of [path, `${path}-wal`, `${path}-shm`])
    if (existsSync(file)) chmodSync(file, OWNER_ALONE);
}
