// Typed access to the native rings of a link: frames of up to 4096 bytes in both directions of one shared file.
// Faults: opening throws an Error with an errno `code`: EMEDIUMTYPE for a file of another size or kind,
// EAGAIN when another process holds this side.

import { addon } from './addon.ts';

export const FRAME_PAYLOAD_BYTES = 4096;

export type PushResult = 'sent' | 'full' | 'broken';

/** Size of a popped frame, or one of these. */
export const POP_EMPTY = -1;
export const POP_CORRUPT = -2;
export const POP_BROKEN = -3;

export interface RingOptions {
  /** The shared file, made when absent. */
  readonly path: string;
  /** Frames each direction holds; a power of two, the same on both sides. */
  readonly slots: number;
  /** 0 for the earlier track in kernel, security, interface. */
  readonly side: 0 | 1;
  /** Specification numbers of the tracks, written into every frame. */
  readonly ownTrack: number;
  readonly peerTrack: number;
  /** Descriptor of the peer's doorbell. */
  readonly peerBell: number;
}

interface NativeLink {
  push(type: number, size: number): number;
  pop(): number;
  free(): number;
  beat(): number;
  look(): number;
  listen(bell: number, listener: () => void): () => void;
  close(): void;
}

interface NativeRings {
  linkOpen(
    path: string,
    slots: number,
    side: number,
    ownTrack: number,
    peerTrack: number,
    peerBell: number,
    send: Uint8Array,
    receive: Uint8Array,
    state: Uint32Array,
  ): NativeLink;
  crc32c(bytes: Uint8Array, how: 'chosen' | 'table'): number;
  readonly crc32cName: string;
}

const native = addon as NativeRings;

/** CRC32C of `bytes`; `chosen` is the hardware's where there is any. */
export function crc32c(bytes: Uint8Array, how: 'chosen' | 'table'): number {
  return native.crc32c(bytes, how);
}

/** `sse4.2`, `armv8-crc` or `table`. */
export function crc32cName(): string {
  return native.crc32cName;
}

const STATE_WORDS = 8;

/** One side of a link file. Attaching bumps the side's epoch and drops frames it had not read. */
export class Rings {
  /** Written before `push`. */
  readonly send = Buffer.alloc(FRAME_PAYLOAD_BYTES);
  /** Holds the frame after `pop`. */
  readonly receive = Buffer.alloc(FRAME_PAYLOAD_BYTES);
  readonly #state = new Uint32Array(STATE_WORDS);
  readonly #link: NativeLink;

  constructor(options: RingOptions) {
    this.#link = native.linkOpen(
      options.path,
      options.slots,
      options.side,
      options.ownTrack,
      options.peerTrack,
      options.peerBell,
      this.send,
      this.receive,
      this.#state,
    );
  }

  /** Sends the first `size` bytes of `send`, waking the peer when it sleeps. */
  push(type: number, size: number): PushResult {
    const result = this.#link.push(type, size);
    return result === 0 ? 'sent' : result === -1 ? 'full' : 'broken';
  }

  /** Takes one frame into `receive`: its size, or POP_EMPTY, POP_CORRUPT, POP_BROKEN. */
  pop(): number {
    return this.#link.pop();
  }

  /** How many frames may be pushed now. */
  free(): number {
    return this.#link.free();
  }

  /** Bumps the own heartbeat and refreshes the peer's words; false when the file was truncated. */
  beat(): boolean {
    return this.#link.beat() === 0;
  }

  /** Refreshes the peer's words; false when the file was truncated. */
  look(): boolean {
    return this.#link.look() === 0;
  }

  /** Calls back when the own bell rings, and again while frames are left. Returns the closing function. */
  listen(bell: number, listener: () => void): () => void {
    return this.#link.listen(bell, listener);
  }

  close(): void {
    this.#link.close();
  }

  #word(index: number): number {
    return this.#state[index] ?? 0;
  }

  /** Message type of the frame popped last. */
  get type(): number {
    return this.#word(0);
  }

  /** Epoch of whoever sent the frame popped last. */
  get frameEpoch(): number {
    return this.#word(1);
  }

  /** 0 when the peer has closed or never attached. */
  get peerPid(): number {
    return this.#word(2);
  }

  get peerEpoch(): number {
    return this.#word(3);
  }

  get peerHeartbeat(): number {
    return this.#word(4);
  }

  get ownEpoch(): number {
    return this.#word(5);
  }

  /** How often the peer had to be woken by its bell. */
  get bellWrites(): number {
    return this.#word(6);
  }

  /** How often a frame came while spinning before sleep. */
  get spinHits(): number {
    return this.#word(7);
  }
}
