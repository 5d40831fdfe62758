// Each process as one file and shared parts: less to load, less memory, no type stripping at run time. `npm start` and the image use it.
// Invariants: the output lies in build/bin, as deep below the root as src/bin, so that relative paths hold in both; it is
// put in place as a whole, so that a process that starts meanwhile finds the old or the new one.

import { existsSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const output = join(root, 'build/bin');
const PROGRAMS = [
  'kernel',
  'security',
  'interface',
  'simulator',
  'dsmil',
  // A thread of security, beside it because a thread begins with a file of its own.
  'certificate-worker',
] as const;
export type Program = (typeof PROGRAMS)[number];

/** Packages that load native parts or .proto files from their own folder. */
const EXTERNAL = [/^i2c-bus$/, /^serialport$/, /^@serialport\//, /^@grpc\//];

export function bundlePath(program: Program): string {
  return join(output, `${program}.js`);
}

/** Bundles again when any source is newer; resolves at once when everything is fresh. */
export async function bundle(): Promise<void> {
  const newest = Math.max(
    ...['src', 'drivers', 'package-lock.json', 'scripts/bundle.ts'].map((path) =>
      newestOf(join(root, path)),
    ),
  );
  const fresh = PROGRAMS.every((program) => {
    const path = bundlePath(program);
    return existsSync(path) && statSync(path).mtimeMs > newest;
  });
  if (fresh) return;
  const made = `${output}.new-${process.pid}`;
  const old = `${output}.old-${process.pid}`;
  // Loaded only when there is something to do: it is larger than the agent.
  const { build } = await import('rolldown');
  await build({
    input: Object.fromEntries(
      PROGRAMS.map((program) => [program, join(root, `src/bin/${program}.ts`)]),
    ),
    platform: 'node',
    external: EXTERNAL,
    logLevel: 'warn',
    output: {
      dir: made,
      format: 'esm',
      entryFileNames: '[name].js',
      // What is imported on demand stays in files of its own and costs nothing until then.
      chunkFileNames: 'part-[name]-[hash].js',
      // CommonJS packages that ask for Node's own modules need a require.
      banner:
        "import { createRequire as createRequireOfBundle } from 'node:module';\nconst require = createRequireOfBundle(import.meta.url);",
    },
  });
  if (existsSync(output)) renameSync(output, old);
  try {
    renameSync(made, output);
  } catch (error) {
    // Somebody else bundled the same sources and was faster.
    if (!existsSync(output)) throw error;
    rmSync(made, { recursive: true, force: true });
  }
  rmSync(old, { recursive: true, force: true });
}

function newestOf(path: string): number {
  const status = statSync(path);
  if (!status.isDirectory()) return status.mtimeMs;
  let newest = 0;
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    if (!/\.(ts|js|json)$/.test(entry.name)) continue;
    newest = Math.max(newest, statSync(join(entry.parentPath, entry.name)).mtimeMs);
  }
  return newest;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await bundle();
  process.stdout.write(`${output}: ${PROGRAMS.join(', ')}\n`);
}
