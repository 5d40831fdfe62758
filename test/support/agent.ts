// Starts the real agent with `scripts/start.ts` on free ports, waits for its ready file, and ends it again.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent as Connections, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const REPOSITORY = new URL('../..', import.meta.url).pathname;
export const NODE = join(REPOSITORY, 'node_modules/.bin/node');

export interface ReadyPerson {
  readonly id: string;
  readonly clearance: string;
  readonly token: string;
  readonly certificate: string;
  readonly key: string;
}

export interface ReadyFile {
  readonly http: string;
  readonly websocket: string;
  readonly grpc: string;
  readonly socket: string;
  readonly ca: string;
  readonly people: readonly ReadyPerson[];
  readonly pids: Readonly<
    Record<'supervisor' | 'kernel' | 'security' | 'interface' | 'simulator', number>
  >;
  readonly simulator: { readonly control: string; readonly directory: string } | null;
  readonly stateDirectory: string;
  readonly runDirectory: string;
}

export interface RestAnswer {
  readonly status: number;
  // Tests look into answers by name; the shapes are the product's own documents.
  readonly body: Record<string, unknown>;
  readonly text: string;
}

export interface AgentOptions {
  /** A program and its arguments that become the supervisor, such as `unshare`. */
  readonly prefix?: readonly string[];
  /** `temporary`: the agent chooses its own state directory; else it is inside this test's. */
  readonly state?: 'temporary';
  /** Beside the environment of the test itself. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** The supervisor itself gives up after two minutes; a hook of a test has as long. */
const READY_MS_MAX = 110_000;
/** Of a wait that a test gives no limit: how long something may take that nobody promised a time for. */
const WAIT_MS_MAX = 30_000;

export class Agent {
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #readyFile: string;
  /** The supervisor's exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  #output = '';
  #connections: Connections | null = null;

  private constructor(directory: string, extra: readonly string[], options: AgentOptions) {
    this.#directory = directory;
    this.#readyFile = join(directory, 'ready.json');
    const [program = NODE, ...rest] = [...(options.prefix ?? []), NODE];
    this.#child = spawn(
      program,
      [
        ...rest,
        join(REPOSITORY, 'scripts/start.ts'),
        ...(options.state === 'temporary' ? [] : ['--state-dir', join(directory, 's')]),
        ...['--ready-file', this.#readyFile],
        ...['--http', '127.0.0.1:0', '--grpc', '127.0.0.1:0', ...extra],
      ],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, ...options.environment },
      },
    );
    this.ended = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => resolve(signal ?? code ?? 0));
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString();
      });
    }
  }

  static async start(extra: readonly string[] = [], options: AgentOptions = {}): Promise<Agent> {
    const agent = new Agent(mkdtempSync(join(tmpdir(), 'dsmil-e2e-')), extra, options);
    await agent.waitUntil('the ready file', () => existsSync(agent.#readyFile), READY_MS_MAX);
    return agent;
  }

  /** From now on calls of one person share connections, and so a session; by default each call signs in anew. */
  keepConnections(): void {
    this.#connections = new Connections({ keepAlive: true });
  }

  /** Read anew each time: a restarted process has another pid. */
  get ready(): ReadyFile {
    return JSON.parse(readFileSync(this.#readyFile, 'utf8')) as ReadyFile;
  }

  /** What the supervisor printed so far. */
  get output(): string {
    return this.#output;
  }

  log(name: string): string {
    return readFileSync(join(this.ready.stateDirectory, 'log', `${name}.log`), 'utf8');
  }

  async stop(): Promise<void> {
    this.#connections?.destroy();
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGTERM');
      await this.ended;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async waitUntil(
    what: string,
    holds: () => boolean | Promise<boolean>,
    limitMs = WAIT_MS_MAX,
  ): Promise<void> {
    const untilMs = performance.now() + limitMs;
    while (!(await holds())) {
      const ended = this.#child.exitCode !== null || this.#child.signalCode !== null;
      if (performance.now() > untilMs || ended) {
        throw new Error(`waited ${limitMs} ms for ${what}\n${this.#output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** One REST call as one of the demonstration people (0, 1) or as nobody. */
  rest(person: 0 | 1 | null, method: string, path: string, body?: unknown): Promise<RestAnswer> {
    const { http, ca, people } = this.ready;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers: Record<string, string> = {};
    if (this.#connections === null) headers.connection = 'close';
    if (person !== null) headers.authorization = `Bearer ${people[person]?.token}`;
    if (text !== undefined) headers['content-type'] = 'application/json';
    return new Promise((resolve, reject) => {
      const call = request(
        `${http}/api/v1/${path}`,
        {
          method,
          headers,
          ca: readFileSync(ca),
          ...(this.#connections === null ? {} : { agent: this.#connections }),
        },
        (response) => {
          let received = '';
          response.on('data', (chunk: Buffer) => {
            received += chunk.toString();
          });
          response.on('end', () => {
            let parsed: Record<string, unknown> = {};
            try {
              parsed = JSON.parse(received) as Record<string, unknown>;
            } catch {
              // Not JSON (metrics): `text` has it.
            }
            resolve({ status: response.statusCode ?? 0, body: parsed, text: received });
          });
        },
      );
      call.on('error', reject);
      call.end(text);
    });
  }
}
