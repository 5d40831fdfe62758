// What a verb of the command line is given: its surroundings and the way to run.

import type { Outcome } from '#foundation/outcome';
import type { ExitCode } from './exit-code.ts';
import type { Streams } from './output.ts';
import type { CliSession } from './session.ts';

export interface BoardCheckOptions {
  /** For `${NAME}` in the board file. */
  readonly variables: Readonly<Record<string, string>>;
  /** Searched before those of the agent and the site. */
  readonly profileDirectories: readonly string[];
}

export interface CliParts extends Streams {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Sets the stop latch in the run directory without the agent; kernel acts on it. */
  readonly engageStop: (runDirectory: string) => Promise<Outcome<void>>;
  /** Every problem of a board file as `file:line:column: ...`; empty for a good one. */
  readonly checkBoard: (file: string, options: BoardCheckOptions) => Promise<readonly string[]>;
}

/** Opens the session of this command line, runs the verb and keeps its exit code. */
export type Run = (action: (open: CliSession) => Promise<ExitCode> | ExitCode) => Promise<void>;
