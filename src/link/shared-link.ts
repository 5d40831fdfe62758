// A link over shared-memory rings with doorbells, a heartbeat and a watch on the peer's process.
// Invariants: frames of an earlier life of the peer are never delivered; what the peer sent before it died is
// delivered before its loss is told; the event loop is woken only by the peer, its end and the heartbeat.

import { join } from 'node:path';
import {
  FRAME_PAYLOAD_BYTES,
  POP_BROKEN,
  POP_CORRUPT,
  POP_EMPTY,
  Rings,
} from '#drivers/native/rings';
import { Doorbell, watchProcess } from '#drivers/native/signal';
import type { Clock } from '#foundation/clock';
import { SOURCE_NUMBER, TRACKS, type TrackName } from '#model/track-name';
import { MESSAGE_BYTES_MAX } from './link.ts';
import { LinkEnd } from './link-end.ts';
import {
  Assembler,
  bytesOf,
  type Message,
  PIECE_HEADER_BYTES,
  piecesOf,
  writePieceHeader,
} from './message.ts';
import type { SendResult } from './request-server.ts';

export interface SharedLinkOptions {
  /** Directory of this link's files, normally /run/dsmil/links/kernel-security; both sides name the same one. */
  readonly directory: string;
  readonly self: TrackName;
  readonly peer: TrackName;
  readonly clock: Clock;
  /** Errors thrown by handlers and listeners. */
  readonly onError: (error: unknown, where: string) => void;
  /** Frames in each direction, a power of two, the same on both sides. */
  readonly slots?: number;
  readonly heartbeatMs?: number;
  /** A peer whose heartbeat stands still for this long is silent. */
  readonly silentAfterMs?: number;
  /** Frames taken in one turn of the loop; a side whose loop must hear other bells soon takes few. */
  readonly framesPerTurn?: number;
}

/** Holds one largest message; 2.1 MB for the two directions. */
export const SLOTS_DEFAULT = 256;
export const HEARTBEAT_MS = 20;
export const SILENT_AFTER_MS = 500;
/** Of the time between two looks at the peer's heartbeat this much counts: more is the own absence, in which nobody looked. */
const UNWATCHED_AFTER_MS = 100;
const FRAMES_PER_TURN_DEFAULT = 64;
const PIECE_BYTES = FRAME_PAYLOAD_BYTES - PIECE_HEADER_BYTES;
/** A UTF-16 unit becomes at most three bytes. */
const TEXT_LENGTH_SURE = Math.floor((PIECE_BYTES - 255) / 3);

/** Both names of a pair in the fixed order of tracks: `kernel-security`. */
export function linkName(left: TrackName, right: TrackName): string {
  const [first, second] =
    TRACKS.indexOf(left) < TRACKS.indexOf(right) ? [left, right] : [right, left];
  return `${first}-${second}`;
}

/**
 * Attaches one side. Throws an Error with an errno `code` when the files cannot be made or used: EMEDIUMTYPE for a
 * file of another size or kind, EAGAIN when a process already holds this side.
 */
export class SharedLink extends LinkEnd {
  readonly #clock: Clock;
  readonly #rings: Rings;
  readonly #ownBell: Doorbell;
  readonly #peerBell: Doorbell;
  readonly #assembler = new Assembler();
  readonly #corruptListeners = new Set<(finding: string) => void>();
  readonly #onError: (error: unknown, where: string) => void;
  readonly #silentAfterMs: number;
  readonly #framesPerTurn: number;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #stopListening: () => void;
  #stopWatching: (() => void) | null = null;
  #peerEpoch = 0;
  #peerBeat = -1;
  /** For how long this side has watched the peer's heartbeat stand still, and when it last looked. */
  #stillMs = 0;
  #lookedAtMs = 0;
  #messageId = 0;
  #turns = 0;
  #closed = false;
  #broken = false;

  constructor(options: SharedLinkOptions) {
    super(options);
    this.#clock = options.clock;
    this.#onError = options.onError;
    this.#framesPerTurn = options.framesPerTurn ?? FRAMES_PER_TURN_DEFAULT;
    this.#silentAfterMs = options.silentAfterMs ?? SILENT_AFTER_MS;
    const base = join(options.directory, linkName(options.self, options.peer));
    this.#ownBell = new Doorbell(`${base}.${options.self}.bell`);
    this.#peerBell = new Doorbell(`${base}.${options.peer}.bell`);
    try {
      this.#rings = new Rings({
        path: `${base}.link`,
        slots: options.slots ?? SLOTS_DEFAULT,
        side: TRACKS.indexOf(options.self) < TRACKS.indexOf(options.peer) ? 0 : 1,
        ownTrack: SOURCE_NUMBER[options.self],
        peerTrack: SOURCE_NUMBER[options.peer],
        peerBell: this.#peerBell.descriptor,
      });
    } catch (error) {
      this.#ownBell.close();
      this.#peerBell.close();
      throw error;
    }
    this.#stopListening = this.#rings.listen(this.#ownBell.descriptor, () => this.#onBell());
    this.#heartbeat = setInterval(() => this.#onHeartbeat(), options.heartbeatMs ?? HEARTBEAT_MS);
  }

  /** How often the own heartbeat came round, whatever became of the peer. */
  get turns(): number {
    return this.#turns;
  }

  /** Called for every frame, message or file that cannot be trusted, with what was found. */
  onCorrupt(listener: (finding: string) => void): () => void {
    this.#corruptListeners.add(listener);
    return () => this.#corruptListeners.delete(listener);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#heartbeat);
    this.#stopWatching?.();
    this.#stopListening();
    this.#rings.close();
    this.#ownBell.close();
    this.#peerBell.close();
    this.core.close();
  }

  protected send(message: Message): SendResult {
    if (this.#closed || this.#broken) return 'broken';
    const { method, text } = message;
    if (text.length > TEXT_LENGTH_SURE) return this.#sendInPieces(message);
    const frame = this.#rings.send;
    const methodBytes = frame.write(method, PIECE_HEADER_BYTES, 'latin1');
    const textBytes = frame.write(text, PIECE_HEADER_BYTES + methodBytes, 'utf8');
    const totalBytes = methodBytes + textBytes;
    writePieceHeader(frame, message, { id: this.#nextMessageId(), totalBytes, offset: 0 });
    const result = this.#rings.push(message.type, PIECE_HEADER_BYTES + totalBytes);
    if (result === 'sent') this.core.counts.framesSent += 1;
    return result;
  }

  /** All pieces or none: the ring must have room for the whole message. */
  #sendInPieces(message: Message): SendResult {
    const totalBytes = bytesOf(message);
    const pieces = piecesOf(totalBytes, FRAME_PAYLOAD_BYTES);
    if (totalBytes > MESSAGE_BYTES_MAX) return 'too-large';
    if (this.#rings.free() < pieces) return 'full';
    const bytes = Buffer.allocUnsafe(totalBytes);
    bytes.write(message.text, bytes.write(message.method, 0, 'latin1'), 'utf8');
    const frame = this.#rings.send;
    const id = this.#nextMessageId();
    for (let offset = 0; offset < totalBytes; offset += PIECE_BYTES) {
      const length = bytes.copy(
        frame,
        PIECE_HEADER_BYTES,
        offset,
        Math.min(offset + PIECE_BYTES, totalBytes),
      );
      writePieceHeader(frame, message, { id, totalBytes, offset });
      const result = this.#rings.push(message.type, PIECE_HEADER_BYTES + length);
      if (result !== 'sent') return result;
      this.core.counts.framesSent += 1;
    }
    return 'sent';
  }

  #nextMessageId(): number {
    this.#messageId = (this.#messageId + 1) >>> 0;
    return this.#messageId;
  }

  #onBell(): void {
    if (this.#closed) return;
    if (!this.#rings.look()) {
      this.#fail();
      return;
    }
    this.#meetPeer();
    this.#takeFrames(this.#framesPerTurn);
    this.core.flush();
  }

  #onHeartbeat(): void {
    this.#turns += 1;
    if (this.#closed || this.#broken) return;
    if (!this.#rings.beat()) {
      this.#fail();
      return;
    }
    this.#meetPeer();
    if (this.#closed) return;
    this.#noteHeartbeat();
    this.core.flush();
  }

  #takeFrames(limit: number): void {
    for (let taken = 0; taken < limit && !this.#closed; taken++) {
      const size = this.#rings.pop();
      if (size === POP_EMPTY) return;
      if (size === POP_BROKEN) {
        this.#fail();
        return;
      }
      if (size === POP_CORRUPT) {
        this.core.counts.corruptFrames += 1;
        this.#reportCorrupt('a frame did not pass its check and was thrown away');
        this.core.frameLost();
      } else {
        this.#takeFrame(size);
      }
    }
    // What is left waits for one turn of the loop, so that other bells are heard between.
    if (!this.#closed) setImmediate(() => this.#onBell());
  }

  #takeFrame(size: number): void {
    const { counts } = this.core;
    counts.framesReceived += 1;
    if (this.#rings.frameEpoch !== this.#peerEpoch) {
      // Perhaps a peer that attached since the last look.
      if (!this.#rings.look()) {
        this.#fail();
        return;
      }
      this.#meetPeer();
      if (this.#rings.frameEpoch !== this.#peerEpoch) {
        counts.staleFrames += 1;
        return;
      }
    }
    const message = this.#assembler.take(this.#rings.type, this.#rings.receive, size);
    if (message === undefined) return;
    if ('finding' in message) {
      counts.protocolErrors += 1;
      this.#reportCorrupt(message.finding);
      return;
    }
    this.core.receive(message);
  }

  /** Compares the peer's words with what was known of it. */
  #meetPeer(): void {
    const { peerEpoch, peerPid } = this.#rings;
    if (peerEpoch !== this.#peerEpoch && peerEpoch !== 0) {
      const known = this.#peerEpoch !== 0;
      this.#peerEpoch = peerEpoch;
      this.#stopWatching?.();
      this.#stopWatching = null;
      this.#assembler.reset();
      if (known) this.core.peerReplaced();
      if (peerPid === 0) return;
      this.#watch(peerPid);
      return;
    }
    if (peerPid === 0 && this.#stopWatching !== null) {
      this.#stopWatching();
      this.#stopWatching = null;
      this.#takeFrames(Number.POSITIVE_INFINITY);
      this.core.setPeer('absent');
    }
  }

  #watch(pid: number): void {
    const epoch = this.#peerEpoch;
    try {
      this.#stopWatching = watchProcess(pid, () => {
        if (epoch === this.#peerEpoch) this.#onPeerEnd();
      });
    } catch (error) {
      // Without a pidfd (an old kernel, a system call filter) only the heartbeat is left to tell.
      this.#onError(error, `watch of ${this.peer}`);
      this.#stopWatching = () => undefined;
    }
    // A process that is gone already left its words behind; it is not there until it attaches again.
    if (this.#stopWatching === null) return;
    this.#peerBeat = this.#rings.peerHeartbeat;
    this.#stillMs = 0;
    this.#lookedAtMs = this.#clock.nowMs();
    this.core.setPeer('up');
  }

  #onPeerEnd(): void {
    if (this.#closed) return;
    this.#stopWatching?.();
    this.#stopWatching = null;
    this.#takeFrames(Number.POSITIVE_INFINITY);
    // Its words may already be those of a successor.
    if (this.#stopWatching === null) this.core.setPeer('lost');
  }

  #noteHeartbeat(): void {
    if (this.#stopWatching === null) return;
    const nowMs = this.#clock.nowMs();
    // A machine that stood still as a whole wakes one process before the other: the peer gets its turn too.
    const watchedMs = Math.min(nowMs - this.#lookedAtMs, UNWATCHED_AFTER_MS);
    this.#lookedAtMs = nowMs;
    if (this.#rings.peerHeartbeat !== this.#peerBeat) {
      this.#peerBeat = this.#rings.peerHeartbeat;
      this.#stillMs = 0;
      this.core.setPeer('up');
      return;
    }
    this.#stillMs += watchedMs;
    if (this.#stillMs > this.#silentAfterMs) this.core.setPeer('silent');
  }

  /** The file was cut short under us: nothing in it can be believed any more. */
  #fail(): void {
    if (this.#broken) return;
    this.#broken = true;
    this.#stopWatching?.();
    this.#stopWatching = null;
    this.core.counts.corruptFrames += 1;
    this.#reportCorrupt('the link file was cut short');
    this.core.setPeer('lost');
  }

  #reportCorrupt(finding: string): void {
    for (const listener of [...this.#corruptListeners]) {
      try {
        listener(finding);
      } catch (error) {
        this.#onError(error, 'corruption listener');
      }
    }
  }
}
