#!/usr/bin/env node
// The `dsmil` command: gives the command line its streams, the stop latch, the consoles and the board check.

import { join } from 'node:path';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { runCli } from '#tracks/interface/cli/program';
import { PROFILE_DIRECTORIES } from './command-line.ts';

// The latch, the consoles and the board reader are loaded only when asked for: most commands are one request and start at once.

/** Sets the word that people have in the latch; kernel takes it from there, whatever else is down. */
async function engageStop(runDirectory: string): Promise<Outcome<void>> {
  try {
    const { SharedStopLatch } = await import('#link/stop-latch');
    const latch = new SharedStopLatch({ directory: join(runDirectory, 'stop'), self: 'people' });
    latch.engage();
    latch.close();
    return succeed(undefined);
  } catch (error) {
    const finding = 'cannot be engaged from here; use the console or the stop input';
    const internal = describeError(error);
    return refuse(fault('TRACK_UNAVAILABLE', { place: 'stop latch', finding, internal }));
  }
}

function complain(error: unknown, where: string): void {
  process.stderr.write(`${where}: ${describeError(error)}\n`);
}

const { columns } = process.stdout;
process.exitCode = await runCli(process.argv.slice(2), {
  environment: process.env,
  keyboard: () => process.stdin,
  messagesOnTerminal: process.stderr.isTTY,
  ...(process.stdout.isTTY && columns > 0 ? { columns } : {}),
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  engageStop,
  openAgentInProcess: async (runDirectory) => {
    const { openAgentInProcess } = await import('./console/agent.ts');
    return openAgentInProcess(runDirectory, complain);
  },
  openKernel: async (runDirectory) => {
    const { openKernelConsole } = await import('./console/client.ts');
    return openKernelConsole(runDirectory, complain);
  },
  setUp: async (runDirectory, first, second) => {
    const { requestFirstSetup } = await import('./console/setup.ts');
    return requestFirstSetup(runDirectory, { first, second }, complain);
  },
  recover: async (runDirectory, account) => {
    const { requestRecovery } = await import('./console/setup.ts');
    return requestRecovery(runDirectory, account, complain);
  },
  runExercise: async (exercise, context) => {
    const { runExercise } = await import('./chaos/run-exercise.ts');
    return runExercise(exercise, context);
  },
  checkBoard: async (file, { variables, profileDirectories }) => {
    const { checkBoard } = await import('#config/board');
    const { formatProblem } = await import('#config/problem');
    const directories = [...profileDirectories, ...PROFILE_DIRECTORIES];
    return checkBoard(file, { variables, profileDirectories: directories }).problems.map(
      formatProblem,
    );
  },
});
