// What a verb of the command line is given: its surroundings and the way to run.

import type { Duplex } from 'node:stream';
import type { Outcome } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import type { Exercise, ExerciseReport } from '#model/exercise';
import type { RegisterReading } from '#model/operation';
import type { WidthBits } from '#model/register';
import type { KernelSnapshot } from '#model/snapshot';
import type { StopReceipt } from '#model/stop';
import type { AgentClient } from './agent-client.ts';
import type { ExitCode } from './exit-code.ts';
import type { Streams } from './output.ts';
import type { Keyboard } from './prompt.ts';
import type { CliSession } from './session.ts';

export interface BoardCheckOptions {
  /** For `${NAME}` in the board file. */
  readonly variables: Readonly<Record<string, string>>;
  /** Searched before those of the agent and the site. */
  readonly profileDirectories: readonly string[];
}

/** The interface service in this process, on top of security's own console. */
export interface AgentInProcess {
  /** A new HTTP connection to its REST application. */
  connect(): Duplex;
  close(): Promise<void>;
}

/** Kernel at its own console, when nobody supervises: nothing of it writes but the stop. */
export interface UnsupervisedKernel {
  status(): Promise<
    Outcome<{
      /** False while security answers kernel. */
      readonly unsupervised: boolean;
      /** Why writes are on hold; empty when they are not. */
      readonly holdReason: string;
      readonly devices: readonly {
        readonly id: LinearId;
        readonly slug: string;
        readonly quarantined: boolean;
      }[];
      readonly snapshot: KernelSnapshot;
    }>
  >;
  /** No registers: all whose reading has no effect. */
  read(
    device: LinearId,
    registers: readonly string[],
  ): Promise<Outcome<readonly (RegisterReading & { readonly widthBits: WidthBits })[]>>;
  stop(reason: string): Promise<Outcome<StopReceipt>>;
  close(): void;
}

/** One of the two people whom the first setup makes administrators. */
export interface FirstPerson {
  readonly id: string;
  readonly name: string;
}

export interface FirstInvitation {
  readonly account: string;
  /** Shown this once. */
  readonly invitation: string;
  readonly expiresAtWallMs: number;
}

/** What a scenario is run with: where the agent is, and how to tell the person who watches. */
export interface ExerciseContext {
  readonly socket: string;
  readonly runDirectory: string;
  /** As who started the exercise: what the agent saw of it is asked with this. */
  readonly client: Pick<AgentClient, 'get' | 'post' | 'stream'>;
  /** Of who started it, for a connection that stays open; undefined for the user of this machine. */
  readonly token: string | undefined;
  /** One short sentence about what happens now. */
  readonly onProgress: (step: string) => void;
  /** The person breaks it off, or its time is over; the scenario then leaves everything as it found it. */
  readonly signal: AbortSignal;
}

export interface CliParts extends Streams {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Standard input, opened when the first question is asked. */
  readonly keyboard: () => Keyboard;
  /** Where progress is shown in place; false for a file or a pipe. */
  readonly messagesOnTerminal: boolean;
  /** Sets the stop latch in the run directory without the agent; kernel acts on it. */
  readonly engageStop: (runDirectory: string) => Promise<Outcome<void>>;
  /** Through security, when interface does not answer. */
  readonly openAgentInProcess: (runDirectory: string) => Promise<Outcome<AgentInProcess>>;
  /** When security does not answer either. */
  readonly openKernel: (runDirectory: string) => Promise<Outcome<UnsupervisedKernel>>;
  /** The first two administrators, at security's console: once, by root or security's own user. */
  readonly setUp: (
    runDirectory: string,
    first: FirstPerson,
    second: FirstPerson,
  ) => Promise<Outcome<readonly FirstInvitation[]>>;
  /** A new invitation for an administrator, at the same console by the same users. */
  readonly recover: (runDirectory: string, account: string) => Promise<Outcome<FirstInvitation>>;
  /** Absent where this build carries no scenarios. */
  readonly runExercise?: (exercise: Exercise, context: ExerciseContext) => Promise<ExerciseReport>;
  /** Every problem of a board file as `file:line:column: ...`; empty for a good one. */
  readonly checkBoard: (file: string, options: BoardCheckOptions) => Promise<readonly string[]>;
}

/** Opens the session of this command line, runs the verb and keeps its exit code. */
export type Run = (action: (open: CliSession) => Promise<ExitCode> | ExitCode) => Promise<void>;
