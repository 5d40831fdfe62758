// Finds who answers at this machine: interface, else security's console with the interface service in this process.
// Invariants: a request that may write is sent one way only, and only after that way has answered a question first.

import { basename, dirname } from 'node:path';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { REST_BASE } from '#model/operation-table';
import { type AgentConnection, exchange } from './agent-client.ts';
import type { AgentInProcess, CliParts, UnsupervisedKernel } from './cli-parts.ts';

export interface AgentRouteOptions {
  /** Interface's local socket; the consoles of the other two are in directories beside its own. */
  readonly socket: string;
  /** How to do without the token, which is good at interface alone; absent where there is none. */
  readonly withoutToken?: string;
  readonly parts: Pick<CliParts, 'openAgentInProcess' | 'openKernel'>;
  readonly onMessage: (text: string) => void;
}

/** As whoever signed in, or as the user of this machine whatever was signed in. */
export type ActingAs = 'own' | 'local';

/** Interface answers within this time, or is taken for absent. */
const ANSWER_MS_MAX = 1_000;

export class AgentRoute {
  readonly #options: AgentRouteOptions;
  readonly #ways = new Map<ActingAs, Promise<Outcome<AgentConnection>>>();
  #agent: AgentInProcess | null = null;
  #kernel: Promise<Outcome<UnsupervisedKernel>> | null = null;

  constructor(options: AgentRouteOptions) {
    this.#options = options;
  }

  get runDirectory(): string {
    const beside = dirname(this.#options.socket);
    return basename(beside) === 'interface' ? dirname(beside) : beside;
  }

  /** Looked for once in the life of this object. */
  way(as: ActingAs): Promise<Outcome<AgentConnection>> {
    const known = this.#ways.get(as);
    if (known !== undefined) return known;
    const way = this.#find(as);
    this.#ways.set(as, way);
    return way;
  }

  kernel(): Promise<Outcome<UnsupervisedKernel>> {
    this.#kernel ??= this.#options.parts.openKernel(this.runDirectory);
    return this.#kernel;
  }

  async close(): Promise<void> {
    await this.#agent?.close();
    const kernel = this.#kernel === null ? null : await this.#kernel;
    if (kernel?.ok === true) kernel.value.close();
  }

  async #find(as: ActingAs): Promise<Outcome<AgentConnection>> {
    const { socket, withoutToken, parts, onMessage } = this.#options;
    const local = { socketPath: socket, agent: false } as const;
    const asked = { method: 'GET', path: `${REST_BASE}/health`, timeoutMs: ANSWER_MS_MAX } as const;
    const health = await exchange(local, undefined, asked);
    // An unhealthy agent that says so is one that answers.
    if (health.kind !== 'unreachable') return succeed(local);
    const none = (finding: string) =>
      refuse(fault('TRACK_UNAVAILABLE', { place: 'agent', finding }));
    if (as === 'own' && withoutToken !== undefined) {
      const only = `security at its own console knows you by your user alone, ${withoutToken}`;
      return none(`interface: ${health.finding}; ${only}`);
    }
    const agent = await parts.openAgentInProcess(this.runDirectory);
    if (!agent.ok) {
      const { place, finding } = agent.fault;
      return none(`interface: ${health.finding}; security: ${place}: ${finding}`);
    }
    this.#agent = agent.value;
    onMessage('interface does not answer; speaking to security directly');
    // Node asks an HTTP agent instead where there is one.
    return succeed({ createConnection: () => agent.value.connect() });
  }
}
