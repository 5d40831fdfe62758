// The hardware-in-the-loop simulator: serves all devices of a board file through real mechanisms in one directory.

import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Simulator } from '#drivers/bus/simulated/simulator';
import { systemClock } from '#foundation/clock';
import { describeError, describeFault, FaultError } from '#foundation/fault';
import { loadBoardFile } from './board-file.ts';
import { announceReady, type EndReason, endOnRequest } from './command-line.ts';

const USAGE =
  'usage: simulator --board FILE --directory DIR [--seed N] [--ready-file FILE]\n' +
  'The board file is loaded with the variable SIMULATOR=DIR; requests go to DIR/control.sock.\n';

const ORPHANED_MS = 2_000;

interface Options {
  readonly board: string;
  readonly directory: string;
  readonly seed: number;
  readonly readyFile: string | undefined;
}

function optionsOf(args: readonly string[]): Options | null {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        board: { type: 'string' },
        directory: { type: 'string' },
        seed: { type: 'string', default: '1' },
        'ready-file': { type: 'string' },
      },
    });
    const seed = Number(values.seed);
    if (values.board === undefined || values.directory === undefined) return null;
    if (!Number.isSafeInteger(seed) || seed < 0) return null;
    const directory = resolve(values.directory);
    return { board: values.board, directory, seed, readyFile: values['ready-file'] };
  } catch {
    return null;
  }
}

/** One rename, so that a reader finds the whole file or none. */
function writeReadyFile(path: string, content: object): void {
  writeFileSync(`${path}.part`, `${JSON.stringify(content)}\n`);
  renameSync(`${path}.part`, path);
}

async function main(options: Options): Promise<void> {
  try {
    // Hardware does not wait for the processor: where this process may, it goes before everything that asks it.
    setPriority(constants.priority.PRIORITY_HIGHEST);
  } catch {
    // Without the right it is a device that may be slow on a busy machine.
  }
  const { directory, readyFile, seed } = options;
  const loaded = await loadBoardFile(options.board, { SIMULATOR: directory });
  if (!loaded.ok) throw new FaultError(loaded.fault);
  const board = loaded.value;
  const simulator = new Simulator({ board, directory, clock: systemClock, seed });
  const signal = new Promise<EndReason>((settle) => {
    endOnRequest(settle);
  });
  await simulator.open();
  if (simulator.unserved.length > 0) {
    process.stderr.write(`simulator: no mechanism for bus ${simulator.unserved.join(', ')}\n`);
  }
  if (readyFile !== undefined) {
    writeReadyFile(readyFile, { pid: process.pid, directory, control: simulator.controlPath });
  }
  process.stdout.write(
    `simulator ready: ${board.devices.length} devices of ${board.name}, control ${simulator.controlPath}\n`,
  );
  announceReady({ pid: process.pid, control: simulator.controlPath });
  // Hardware outlives its driver: kernel, orphaned in the same moment, still drives it to safe values.
  if ((await signal) === 'orphaned') await systemClock.sleep(ORPHANED_MS);
  await simulator.close();
  if (readyFile !== undefined) rmSync(readyFile, { force: true });
}

const options = optionsOf(process.argv.slice(2));
if (options === null) {
  process.stderr.write(USAGE);
  process.exitCode = 2;
} else {
  try {
    await main(options);
    // A descriptor of a pseudo-terminal that is being read may outlive its stream; nothing is left to wait for.
    process.exit(0);
  } catch (error) {
    const finding =
      error instanceof FaultError
        ? `${describeFault(error.fault)}${error.fault.internal ? ` (${error.fault.internal})` : ''}`
        : describeError(error);
    process.stderr.write(`simulator: ${finding}\n`);
    process.exit(1);
  }
}
