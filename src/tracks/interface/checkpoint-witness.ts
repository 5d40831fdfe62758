// Posts every signed audit checkpoint to a witness elsewhere: whoever holds one can prove that the chain's end was cut off.
// Invariants: nothing waits for it; at most 64 checkpoints wait, the oldest go first, for the newest vouches for all before
// it; only https, no redirect is followed, and what the witness answers is not read.

import { request } from 'node:https';
import type { Clock } from '#foundation/clock';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { asCheckpoint, type SignedCheckpoint } from '#model/audit-checkpoint';
import type { AgentEvent } from '#model/event';

export interface CheckpointWitnessParts {
  readonly url: URL;
  readonly clock: Clock;
  /** PEM of an authority to trust in place of the system's; `NODE_EXTRA_CA_CERTS` adds to those. */
  readonly authority?: string;
  readonly onNote: (detail: object, message: string) => void;
}

export interface WitnessCounts {
  readonly posted: number;
  readonly failed: number;
  readonly dropped: number;
  readonly waiting: number;
}

const WAITING_MAX = 64;
const ATTEMPT_LIMIT_MS = 10_000;
const AGAIN_FIRST_MS = 1_000;
const AGAIN_LAST_MS = 300_000;

/** The address of a witness as a person gave it. */
export function witnessUrl(text: string): Outcome<URL> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:' && url.username === '' && url.password === '') return succeed(url);
  const finding = 'is no https address without a name and a password in it';
  return refuse(fault('CONFIG_INVALID', { place: 'witness', finding }));
}

export class CheckpointWitness {
  readonly #parts: CheckpointWitnessParts;
  readonly #waiting: SignedCheckpoint[] = [];
  #newest = 0;
  #posting = false;
  #closed = false;
  #againMs = AGAIN_FIRST_MS;
  #counts = { posted: 0, failed: 0, dropped: 0 };

  constructor(parts: CheckpointWitnessParts) {
    this.#parts = parts;
  }

  get counts(): WitnessCounts {
    return { ...this.#counts, waiting: this.#waiting.length };
  }

  /** Every event of the agent; those without a checkpoint are not its business. */
  take(event: AgentEvent): void {
    const { checkpoint: text } = event.data;
    const checkpoint = text === undefined ? undefined : asCheckpoint(parsed(text));
    if (checkpoint === undefined || checkpoint.sequence <= this.#newest) return;
    this.#newest = checkpoint.sequence;
    this.#waiting.push(checkpoint);
    if (this.#waiting.length > WAITING_MAX) {
      this.#waiting.shift();
      this.#counts.dropped += 1;
    }
    void this.#postAll();
  }

  close(): void {
    this.#closed = true;
  }

  async #postAll(): Promise<void> {
    if (this.#posting || this.#closed) return;
    this.#posting = true;
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined || this.#closed) break;
      const finding = await this.#post(next);
      // Newer ones may have pushed it out meanwhile.
      if (finding === null) {
        this.#counts.posted += 1;
        this.#againMs = AGAIN_FIRST_MS;
        const at = this.#waiting.indexOf(next);
        if (at >= 0) this.#waiting.splice(at, 1);
        continue;
      }
      this.#counts.failed += 1;
      const { clock, onNote, url } = this.#parts;
      const againMs = this.#againMs;
      onNote({ finding, host: url.host, againMs }, 'the witness did not take a checkpoint');
      this.#againMs = Math.min(2 * againMs, AGAIN_LAST_MS);
      await clock.sleep(againMs);
    }
    this.#posting = false;
  }

  /** Null when the witness took it. */
  #post(checkpoint: SignedCheckpoint): Promise<string | null> {
    const { url, authority } = this.#parts;
    const body = JSON.stringify(checkpoint);
    return new Promise((resolve) => {
      const call = request(
        url,
        {
          method: 'POST',
          headers: {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
          },
          // One every few minutes: a connection kept open would only break in between.
          agent: false,
          signal: AbortSignal.timeout(ATTEMPT_LIMIT_MS),
          ...(authority === undefined ? {} : { ca: authority }),
        },
        (answer) => {
          const status = answer.statusCode ?? 0;
          answer.destroy();
          resolve(status >= 200 && status < 300 ? null : `it answered ${status}`);
        },
      );
      call.on('error', (error) => resolve(describeError(error)));
      call.end(body);
    });
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
