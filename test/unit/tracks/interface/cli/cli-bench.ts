// The command line in this process, over a real local socket and the real REST application, against scripted answers.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { peerCredentials } from '#drivers/native/host';
import { systemClock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { refuse } from '#foundation/outcome';
import type { CliParts } from '#tracks/interface/cli/cli-parts';
import { runCli } from '#tracks/interface/cli/program';
import type { Keyboard } from '#tracks/interface/cli/prompt';
import { LocalServer } from '#tracks/interface/local/local-server';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { InterfaceService } from '#tracks/interface/service';
import { ScriptedOrchestrator } from '../../../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../../../support/small-board.ts';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** What stands on standard input. */
  readonly input?: string;
  readonly columns?: number;
  readonly parts?: Partial<CliParts>;
  readonly environment?: Readonly<Record<string, string>>;
}

export class CliBench {
  readonly directory = mkdtempSync(join(tmpdir(), 'dsmil-cli-'));
  readonly orchestrator = new ScriptedOrchestrator();
  readonly #service: InterfaceService;
  #app: RestApp | null = null;
  #server: LocalServer | null = null;

  constructor() {
    const { orchestrator } = this;
    orchestrator.administrators.add('technician');
    this.#service = new InterfaceService({ orchestrator, board: smallBoard(), clock: systemClock });
  }

  async open(): Promise<void> {
    this.#app = await RestApp.start(this.#service);
    this.#server = new LocalServer(this.#app, this.socket, peerCredentials);
    const listening = await this.#server.listen();
    if (!listening.ok) throw new Error(listening.fault.finding);
  }

  async close(): Promise<void> {
    await this.closeSocket();
    await this.#app?.close();
    this.#service.close();
    rmSync(this.directory, { recursive: true });
  }

  /** Interface is away from here on. */
  async closeSocket(): Promise<void> {
    await this.#server?.close();
    this.#server = null;
  }

  get socket(): string {
    return join(this.directory, 'agent.sock');
  }

  /** What security was asked under a key, in order. */
  asked(key: string): readonly unknown[] {
    return this.orchestrator.administered
      .filter((one) => one.key === key)
      .map(({ request }) => request);
  }

  async run(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
    let stdout = '';
    let stderr = '';
    const nobody = () =>
      Promise.resolve(refuse(fault('TRACK_UNAVAILABLE', { place: 'console', finding: 'is away' })));
    const code = await runCli(argv, {
      environment: {
        DSMIL_SOCKET: this.socket,
        XDG_RUNTIME_DIR: this.directory,
        ...options.environment,
      },
      stdout: (text) => {
        stdout += text;
      },
      stderr: (text) => {
        stderr += text;
      },
      ...(options.columns === undefined ? {} : { columns: options.columns }),
      keyboard: () => pipe(options.input ?? ''),
      messagesOnTerminal: false,
      engageStop: nobody,
      openAgentInProcess: nobody,
      openKernel: nobody,
      setUp: nobody,
      recover: nobody,
      checkBoard: async () => [],
      ...options.parts,
    });
    return { code, stdout, stderr };
  }
}

/** Standard input that is no terminal. */
export function pipe(text: string): Keyboard {
  const input = new PassThrough();
  input.end(text);
  return input;
}
