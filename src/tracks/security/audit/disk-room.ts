// Watches the room on the disk of the audit chain, so that operations end before entries could no longer be written.
// Invariants: what is reserved is used up by the entries of stops and refusals only; room that returns is seen by itself.

import { statfsSync } from 'node:fs';
import type { Clock } from '#foundation/clock';
import { describeError } from '#foundation/fault';

const LOOK_EVERY_MS = 2_000;
const LOOK_AGAIN_MS = 100;
const MEBIBYTE = 1024 * 1024;

export interface DiskRoomParts {
  readonly directory: string;
  /** Below this no operation starts, bytes. */
  readonly freeBytesMin: number;
  readonly clock: Clock;
  /** The room became short, or is enough again; one sentence. */
  readonly onChange: (finding: string, short: 'short' | 'enough') => void;
}

export class DiskRoom {
  readonly #parts: DiskRoomParts;
  #shortage = '';
  #lookedMs = 0;
  #ended = false;

  constructor(parts: DiskRoomParts) {
    this.#parts = parts;
  }

  /** How much is left and what the limit is, one sentence; empty while there is enough. Nobody is refused on an old look. */
  get shortage(): string {
    const ageMs = this.#parts.clock.nowMs() - this.#lookedMs;
    if (this.#shortage !== '' && ageMs > LOOK_AGAIN_MS) this.look();
    return this.#shortage;
  }

  start(): void {
    if (this.#ended) return;
    this.look();
    this.#parts.clock.after(LOOK_EVERY_MS, () => this.start());
  }

  stop(): void {
    this.#ended = true;
  }

  /** Looks now; a statfs(2) of a local file system takes microseconds. */
  look(): void {
    const { onChange } = this.#parts;
    const before = this.#shortage;
    this.#lookedMs = this.#parts.clock.nowMs();
    this.#shortage = this.#measure();
    if (this.#shortage !== '' && before === '') onChange(this.#shortage, 'short');
    if (this.#shortage === '' && before !== '') {
      onChange('the disk of the audit chain has enough room again', 'enough');
    }
  }

  #measure(): string {
    const { directory, freeBytesMin } = this.#parts;
    let free: number;
    try {
      const { bavail, bsize } = statfsSync(directory);
      free = bavail * bsize;
    } catch (error) {
      return `nobody knows how much room the disk of the audit chain has (${describeError(error)})`;
    }
    if (free >= freeBytesMin) return '';
    return `the disk of the audit chain has ${inMebibytes(free)} MiB free, less than the limit of ${inMebibytes(freeBytesMin)} MiB`;
  }
}

function inMebibytes(bytes: number): string {
  return (bytes / MEBIBYTE).toFixed(1);
}
