// Starts the pymodbus server and its line: a pseudo-terminal pair, the serial port of a machine, or a TCP port.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const SERVER = fileURLToPath(new URL('./modbus_server.py', import.meta.url));
/** Debian's own Python: a version manager's would not have Debian's packages. */
const PYTHON = '/usr/bin/python3';
const START_LIMIT_MS = 10_000;

export interface ModbusWrite {
  readonly wrote: string;
  readonly address: number;
  readonly values: readonly number[];
}

export async function waitFor(what: string, holds: () => boolean): Promise<void> {
  const untilMs = Date.now() + START_LIMIT_MS;
  while (!holds()) {
    if (Date.now() > untilMs) throw new Error(`waited ${START_LIMIT_MS} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

/** socat with two ends, each of them an address of socat(1). */
export function startLine(left: string, right: string): ChildProcess {
  return spawn('socat', [left, right], { stdio: 'ignore' });
}

export async function startPseudoTerminals(left: string, right: string): Promise<ChildProcess> {
  const child = startLine(`pty,raw,echo=0,link=${left}`, `pty,raw,echo=0,link=${right}`);
  await waitFor('the pseudo-terminal pair', () => existsSync(left) && existsSync(right));
  return child;
}

export class ModbusPeer {
  readonly #writes: ModbusWrite[] = [];
  /** Where it serves: a path or a port. */
  ready: string | number | undefined;
  readonly #child: ChildProcess;
  #acknowledged = 0;
  #sent = 0;
  #errors = '';

  private constructor(parameters: readonly string[]) {
    this.#child = spawn(PYTHON, [SERVER, ...parameters], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#errors += chunk.toString();
    });
    if (this.#child.stdout === null) throw new Error('the peer has no output');
    createInterface(this.#child.stdout).on('line', (text) => this.#take(text));
  }

  static async start(...parameters: readonly string[]): Promise<ModbusPeer> {
    const peer = new ModbusPeer(parameters);
    try {
      await waitFor('the pymodbus server', () => peer.ready !== undefined);
    } catch (error) {
      await peer.stop();
      throw new Error(`${String(error)}\n${peer.#errors}`);
    }
    return peer;
  }

  /** Sends a command (see modbus_server.py) and waits until the server has taken it. */
  async tell(command: Readonly<Record<string, unknown>>): Promise<void> {
    this.#sent += 1;
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    await waitFor('the server to take a command', () => this.#acknowledged === this.#sent);
  }

  /** Every write that reached the store, told over the same pipe as the answer to an empty command. */
  async writes(): Promise<readonly ModbusWrite[]> {
    await this.tell({});
    return this.#writes;
  }

  stop(): Promise<void> {
    return endProcess(this.#child);
  }

  #take(text: string): void {
    const line = JSON.parse(text) as Record<string, unknown>;
    if (typeof line.ready === 'string' || typeof line.ready === 'number') this.ready = line.ready;
    if (line.done !== undefined) this.#acknowledged += 1;
    if (line.wrote !== undefined) this.#writes.push(line as unknown as ModbusWrite);
  }
}
