// A link over a unix stream socket: length-prefixed frames of one message each, for people at the local console.
// Invariants: nothing is believed of the peer: sizes, frame rate and the time to finish a frame are bounded, and a peer
// that breaks a bound or sends what is no frame is cut off; what it does not read is bounded too.

import type { Duplex } from 'node:stream';
import type { Cancel, Clock } from '#foundation/clock';
import type { TrackName } from '#model/track-name';
import { MESSAGE_BYTES_MAX, MessageType } from './link.ts';
import { LinkEnd } from './link-end.ts';
import {
  Assembler,
  bytesOf,
  type Message,
  PIECE_HEADER_BYTES,
  writePieceHeader,
} from './message.ts';
import type { SendResult } from './request-server.ts';

export interface SocketLinkOptions {
  readonly stream: Duplex;
  readonly self: TrackName;
  readonly peer: TrackName;
  readonly clock: Clock;
  /** Errors thrown by handlers and listeners. */
  readonly onError: (error: unknown, where: string) => void;
  /** Why the peer was cut off, or that it closed; called once. */
  readonly onEnd?: (finding: string) => void;
  /** Frames taken in one second; a peer that sends more is cut off. */
  readonly framesPerSecondMax?: number;
}

// Frame: size u32 little-endian of what follows, message type u8, then the header and text of one message (message.ts).
const PREFIX_BYTES = 5;
const FRAME_BYTES_MAX = 1 + PIECE_HEADER_BYTES + MESSAGE_BYTES_MAX;
const FRAME_BYTES_MIN = 1 + PIECE_HEADER_BYTES;
/** Bytes that the peer has not read, above which nothing more is sent and nothing more is taken from it. */
const UNREAD_BYTES_MAX = 2 * MESSAGE_BYTES_MAX;
/** A frame that has begun has to be whole, and what is unread has to be read, within this time. */
const PATIENCE_MS = 5_000;
/** After a close, for what was sent before it. */
const FLUSH_MS_MAX = 1_000;
const FRAMES_PER_SECOND_MAX = 1_000;
const TYPES: ReadonlySet<number> = new Set(Object.values(MessageType));

export class SocketLink extends LinkEnd {
  readonly #clock: Clock;
  readonly #stream: Duplex;
  readonly #onEnd: (finding: string) => void;
  readonly #framesPerSecondMax: number;
  readonly #assembler = new Assembler();
  #received: Buffer[] = [];
  #receivedBytes = 0;
  #cancelFrame: Cancel | null = null;
  #cancelUnread: Cancel | null = null;
  #secondBegan = 0;
  #framesThisSecond = 0;
  #messageId = 0;
  #closed = false;

  constructor(options: SocketLinkOptions) {
    super(options);
    this.#clock = options.clock;
    this.#stream = options.stream;
    this.#onEnd = options.onEnd ?? (() => undefined);
    this.#framesPerSecondMax = options.framesPerSecondMax ?? FRAMES_PER_SECOND_MAX;
    this.#stream.on('data', (bytes: Buffer) => this.#take(bytes));
    this.#stream.on('drain', () => this.#onDrain());
    this.#stream.on('error', () => this.#end('the connection broke', 'lost'));
    this.#stream.on('end', () => this.#end('the peer closed', 'absent'));
    this.#stream.on('close', () => this.#end('the connection closed', 'lost'));
    this.core.setPeer('up');
  }

  /** Lets what was sent reach the peer, then closes. */
  close(): void {
    this.#end('closed here', 'absent');
  }

  protected send(message: Message): SendResult {
    if (this.#closed) return 'broken';
    const totalBytes = bytesOf(message);
    if (totalBytes > MESSAGE_BYTES_MAX) return 'too-large';
    if (this.#stream.writableLength > UNREAD_BYTES_MAX) return 'full';
    const frame = Buffer.allocUnsafe(PREFIX_BYTES + PIECE_HEADER_BYTES + totalBytes);
    frame.writeUInt32LE(frame.length - 4, 0);
    frame[4] = message.type;
    this.#messageId = (this.#messageId + 1) >>> 0;
    const header = frame.subarray(PREFIX_BYTES);
    writePieceHeader(header, message, { id: this.#messageId, totalBytes, offset: 0 });
    const methodBytes = header.write(message.method, PIECE_HEADER_BYTES, 'latin1');
    header.write(message.text, PIECE_HEADER_BYTES + methodBytes, 'utf8');
    this.#stream.write(frame);
    this.core.counts.framesSent += 1;
    return 'sent';
  }

  #take(bytes: Buffer): void {
    if (this.#closed) return;
    this.#received.push(bytes);
    this.#receivedBytes += bytes.length;
    this.#takeFrames();
  }

  #takeFrames(): void {
    while (!this.#closed) {
      // Who does not read its answers is not heard either.
      if (this.#stream.writableLength > UNREAD_BYTES_MAX) {
        this.#waitForReader();
        return;
      }
      const size = this.#frameSize();
      if (size === undefined || this.#receivedBytes < 4 + size) break;
      const frame = this.#cut(4 + size);
      this.#cancelFrame?.();
      this.#cancelFrame = null;
      this.#takeFrame(frame);
    }
    if (this.#closed || this.#receivedBytes === 0) return;
    this.#cancelFrame ??= this.#clock.after(PATIENCE_MS, () =>
      this.#cutOff(`a frame was not whole after ${PATIENCE_MS} ms`),
    );
  }

  #waitForReader(): void {
    this.#stream.pause();
    this.#cancelFrame?.();
    this.#cancelFrame = null;
    this.#cancelUnread ??= this.#clock.after(PATIENCE_MS, () =>
      this.#cutOff(`did not read its answers for ${PATIENCE_MS} ms`),
    );
  }

  #onDrain(): void {
    if (this.#closed) return;
    this.#cancelUnread?.();
    this.#cancelUnread = null;
    this.core.flush();
    this.#takeFrames();
    if (this.#stream.isPaused() && this.#cancelUnread === null) this.#stream.resume();
  }

  /** Bytes after the size itself; undefined while it is not there or has cut the peer off. */
  #frameSize(): number | undefined {
    if (this.#receivedBytes < 4) return undefined;
    if ((this.#received[0]?.length ?? 0) < 4) this.#received = [Buffer.concat(this.#received)];
    const size = this.#received[0]?.readUInt32LE(0) ?? 0;
    if (size >= FRAME_BYTES_MIN && size <= FRAME_BYTES_MAX) return size;
    this.#cutOff(`a frame of ${size} bytes`);
    return undefined;
  }

  #cut(length: number): Buffer {
    const all = this.#received.length === 1 ? this.#received[0] : Buffer.concat(this.#received);
    if (all === undefined) return Buffer.alloc(0);
    const rest = all.subarray(length);
    this.#received = rest.length === 0 ? [] : [rest];
    this.#receivedBytes = rest.length;
    return all.subarray(0, length);
  }

  #takeFrame(frame: Buffer): void {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#secondBegan >= 1_000) {
      this.#secondBegan = nowMs;
      this.#framesThisSecond = 0;
    }
    this.#framesThisSecond += 1;
    if (this.#framesThisSecond > this.#framesPerSecondMax) {
      this.#cutOff(`more than ${this.#framesPerSecondMax} frames in a second`);
      return;
    }
    const type = frame[4] ?? 0;
    const body = frame.subarray(PREFIX_BYTES);
    const message = TYPES.has(type)
      ? this.#assembler.take(type, body, body.length)
      : { finding: 'its type is not known' };
    // A stream has no gaps, so a message that is not whole is no accident.
    if (message === undefined || 'finding' in message) {
      this.#cutOff(`a malformed frame: ${message?.finding ?? 'its message is not whole'}`);
      return;
    }
    this.core.counts.framesReceived += 1;
    this.core.receive(message);
  }

  #cutOff(finding: string): void {
    this.core.counts.corruptFrames += 1;
    this.#end(finding, 'lost');
    this.#stream.destroy();
  }

  #end(finding: string, state: 'lost' | 'absent'): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelFrame?.();
    this.#cancelUnread?.();
    this.#received = [];
    this.#receivedBytes = 0;
    this.core.setPeer(state);
    // What was sent leaves first; a peer that hangs must not keep this process from ending.
    const cancelFlush = this.#clock.after(FLUSH_MS_MAX, () => this.#stream.destroy());
    this.#stream.once('close', cancelFlush);
    this.#stream.end(() => this.#stream.destroy());
    this.#onEnd(finding);
  }
}
