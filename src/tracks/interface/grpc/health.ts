// The standard health service (grpc.health.v1), from generated code: grpc-health-check parses its definition at run time,
// which costs 13 MB of resident memory.

import { type ServerWritableStream, status } from '@grpc/grpc-js';
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  type HealthServer,
  ServingStatus,
} from '#contract/health';

/** Streams of `Watch` at once; more are refused. */
const WATCHERS_MAX = 128;

type Watcher = ServerWritableStream<HealthCheckRequest, HealthCheckResponse>;

export class HealthState {
  readonly #services: ReadonlySet<string>;
  readonly #watchers = new Set<Watcher>();
  #serving = false;

  /** `services` are full names; the empty name is the server as a whole. */
  constructor(services: readonly string[]) {
    this.#services = new Set(['', ...services]);
  }

  set(serving: 'SERVING' | 'NOT_SERVING'): void {
    const changed = (serving === 'SERVING') !== this.#serving;
    this.#serving = serving === 'SERVING';
    if (!changed) return;
    for (const watcher of this.#watchers) {
      if (this.#services.has(watcher.request.service)) watcher.write(this.#answer());
    }
  }

  implementation(): HealthServer {
    return {
      check: (call, answer) => {
        if (this.#services.has(call.request.service)) answer(null, this.#answer());
        else answer({ code: status.NOT_FOUND, details: 'this server has no such service' });
      },
      watch: (call) => {
        if (this.#watchers.size >= WATCHERS_MAX) {
          call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'too many watchers' });
          return;
        }
        const known = this.#services.has(call.request.service);
        call.write(known ? this.#answer() : { status: ServingStatus.SERVICE_UNKNOWN });
        this.#watchers.add(call);
        call.on('close', () => this.#watchers.delete(call));
      },
    };
  }

  #answer(): HealthCheckResponse {
    return { status: this.#serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING };
  }
}
