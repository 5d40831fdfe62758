// Files that a verb writes for a person: never over another one, never half, and private where they hold a secret.

import { type FileHandle, link, lstat, open, rm } from 'node:fs/promises';
import { describeError, type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';

export type FileMode = 0o600 | 0o644;

/** Writes what `fill` gives it, flushed, under a name that shows it is not whole; the real name comes last. */
export async function writeNewFile<T>(
  path: string,
  mode: FileMode,
  fill: (file: FileHandle) => Promise<Outcome<T>>,
): Promise<Outcome<T>> {
  const partial = `${path}.part-${process.pid}`;
  let file: FileHandle | undefined;
  try {
    file = await open(partial, 'wx', mode);
    const filled = await fill(file);
    if (!filled.ok) return filled;
    await file.sync();
    // A link fails where a rename would silently replace what is there.
    await link(partial, path);
    return filled;
  } catch (error) {
    return refuse(cannotWrite(path, error));
  } finally {
    await file?.close();
    await rm(partial, { force: true });
  }
}

/** For what takes long to come: the same refusal before it. */
export async function refuseExisting(path: string): Promise<Outcome<void>> {
  const there = await lstat(path).then(
    () => true,
    () => false,
  );
  return there ? refuse(cannotWrite(path, { code: 'EEXIST' })) : succeed(undefined);
}

export function writeNewText(path: string, mode: FileMode, text: string): Promise<Outcome<void>> {
  return writeNewFile(path, mode, async (file) => {
    await file.writeFile(text);
    return succeed(undefined);
  });
}

function cannotWrite(path: string, error: unknown): Fault {
  const { code } = error as NodeJS.ErrnoException;
  const there = code === 'EEXIST';
  const finding = there
    ? 'is there already'
    : `cannot be written (${code ?? describeError(error)})`;
  const consequence = there ? 'it was left as it is; give another name' : 'nothing of it is kept';
  return fault('REQUEST_MALFORMED', { place: path, finding, consequence });
}
