// The interface process as far as fuzzing needs it: every door that it has, over a link to a scripted security.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { peerCredentials } from '#drivers/native/host';
import { systemClock } from '#foundation/clock';
import type { Outcome } from '#foundation/outcome';
import { loopbackPair } from '#link/loopback';
import { orchestratorClient } from '#link/orchestrator-client';
import { serveOrchestrator } from '#link/orchestrator-server';
import { DEFAULT_LIMITS, type InterfaceLimits } from '#tracks/interface/limits';
import { LocalServer } from '#tracks/interface/local/local-server';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { InterfaceService } from '#tracks/interface/service';
import { WebSocketServer } from '#tracks/interface/websocket/websocket-server';
import { ScriptedOrchestrator } from '../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../support/small-board.ts';
import type { Complaint } from '../verdict.ts';

/** What is asked thousands of times a second must reach the parsers, not the limiter. */
const ENOUGH = { perSecond: 1e9, burst: 1e9 } as const;
const LIMITS: InterfaceLimits = {
  concurrentOperations: 1_000,
  perPrincipal: ENOUGH,
  perAddress: ENOUGH,
  signInFailures: ENOUGH,
  connections: DEFAULT_LIMITS.connections,
  callTimeoutMs: 5_000,
  callTimeoutMsMax: 30_000,
};

/** Lines of the agent's own log that tell of a mistake in it, not of the peer's. */
const MISTAKE = /Error|undefined|is not a function|Cannot read/;

export function need<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Error(outcome.fault.finding);
}

export class Front {
  readonly orchestrator = new ScriptedOrchestrator();
  readonly service: InterfaceService;
  readonly path: string;
  readonly #directory = mkdtempSync(join(tmpdir(), 'fuzz-front-'));
  readonly #errors: string[] = [];
  readonly #logged: string[] = [];
  readonly #closing: (() => Promise<void> | void)[] = [];

  private constructor() {
    this.path = join(this.#directory, 'agent.sock');
    const link = loopbackPair('security', 'interface', {
      clock: systemClock,
      onError: (error) => this.#errors.push(error instanceof Error ? `${error.stack}` : `${error}`),
    });
    serveOrchestrator(link.left, this.orchestrator);
    this.service = new InterfaceService({
      orchestrator: orchestratorClient(link.right),
      board: smallBoard(),
      clock: systemClock,
      limits: LIMITS,
      log: (message) => this.#logged.push(message),
    });
    this.#closing.push(() => {
      link.left.close();
      rmSync(this.#directory, { recursive: true });
    });
  }

  static async open(): Promise<Front> {
    const front = new Front();
    const { service } = front;
    const app = await RestApp.start(service);
    const local = new LocalServer(app, front.path, peerCredentials);
    const webSockets = new WebSocketServer(service, app);
    webSockets.attach(local.server);
    need(await local.listen());
    front.#closing.unshift(
      () => webSockets.close(),
      () => local.close(),
      () => app.close(),
      () => service.close(),
    );
    return front;
  }

  beforeClosing(close: () => Promise<void>): void {
    this.#closing.unshift(close);
  }

  /** Forgets what the script remembers, which would grow, and tells what went wrong inside. */
  judge(): Complaint {
    const { orchestrator } = this;
    for (const list of [
      orchestrator.administered,
      orchestrator.intents,
      orchestrator.stops,
      orchestrator.refusals,
      orchestrator.authentications,
      orchestrator.receipts,
      orchestrator.acknowledged,
      orchestrator.holds,
      orchestrator.releases,
      orchestrator.synchronized,
    ] as unknown[][]) {
      list.length = 0;
    }
    orchestrator.selected.clear();
    orchestrator.confirmed.clear();
    orchestrator.registers.clear();
    const mistake = this.#logged.splice(0).find((line) => MISTAKE.test(line));
    const [error] = this.#errors.splice(0);
    if (error !== undefined) return `thrown in a handler: ${error}`;
    return mistake === undefined ? null : `logged a mistake: ${mistake}`;
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0)) await close();
  }
}
