// Typed client of the simulator's control socket, for tests and scripts.
// Faults: throws on a refused request with the simulator's sentence, on a lost connection, and after the deadline.

import { connect, type Socket } from 'node:net';
import type {
  ControlRequest,
  ControlResults,
  FaultRequest,
  NumberText,
} from './control-protocol.ts';

interface Waiter {
  readonly resolve: (line: string) => void;
  readonly reject: (error: Error) => void;
}

const ANSWER_MS_MAX = 5_000;

export class ControlClient {
  readonly #socket: Socket;
  readonly #waiters: Waiter[] = [];
  #rest = '';

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => this.#hear(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      for (const waiter of this.#waiters.splice(0)) {
        waiter.reject(new Error('simulator control: the connection was closed'));
      }
    });
  }

  static connect(path: string): Promise<ControlClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new ControlClient(socket));
      });
    });
  }

  /** One request; resolves with the members of the answer. */
  async ask<R extends ControlRequest>(request: R): Promise<ControlResults[R['do']]> {
    const line = await this.line(JSON.stringify(request));
    const answer = JSON.parse(line) as { ok: boolean; error?: string };
    if (!answer.ok) throw new Error(`simulator control: ${answer.error ?? 'refused'}`);
    return answer as unknown as ControlResults[R['do']];
  }

  /** Raw text in, raw answer line out: for what `ask` cannot express. */
  line(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`simulator control: no answer within ${ANSWER_MS_MAX} ms`));
        this.#socket.destroy();
      }, ANSWER_MS_MAX);
      const settle =
        <T>(call: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer);
          call(value);
        };
      this.#waiters.push({ resolve: settle(resolve), reject: settle(reject) });
      if (this.#socket.destroyed)
        this.#waiters.pop()?.reject(new Error('simulator control: closed'));
      else this.#socket.write(`${text}\n`);
    });
  }

  ping(): Promise<ControlResults['ping']> {
    return this.ask({ do: 'ping' });
  }

  get(device: string, register: string): Promise<ControlResults['get']> {
    return this.ask({ do: 'get', device, register });
  }

  /** Changes what a sensor reads; it stays there until `clear`. */
  set(device: string, register: string, value: NumberText): Promise<ControlResults['set']> {
    return this.ask({ do: 'set', device, register, value });
  }

  fault(fault: Omit<FaultRequest, 'do'>): Promise<ControlResults['fault']> {
    return this.ask({ do: 'fault', ...fault });
  }

  clear(): Promise<ControlResults['clear']> {
    return this.ask({ do: 'clear' });
  }

  /** The last writes that the devices saw, oldest first. */
  async log(device?: string, count?: number): Promise<ControlResults['log']['writes']> {
    const request = {
      do: 'log',
      ...(device === undefined ? {} : { device }),
      ...(count === undefined ? {} : { count }),
    } as const;
    return (await this.ask(request)).writes;
  }

  /** Empties the log. */
  async forget(): Promise<void> {
    await this.ask({ do: 'forget' });
  }

  canaries(): Promise<ControlResults['canaries']> {
    return this.ask({ do: 'canaries' });
  }

  close(): void {
    this.#socket.destroy();
  }

  #hear(chunk: string): void {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#waiters.shift()?.resolve(line);
  }
}
