// The end of a link that is fed frames by hand and keeps what it answers; above the frames everything is the product's.

import type { Clock } from '#foundation/clock';
import { FaultError } from '#foundation/fault';
import { decodeBody } from '#link/codec';
import { LinkEnd } from '#link/link-end';
import { Assembler, type Message, PIECE_HEADER_BYTES, writePieceHeader } from '#link/message';
import type { SendResult } from '#link/request-server';
import type { TrackName } from '#model/track-name';
import { type Complaint, describeThrown, judgeFault } from '../verdict.ts';

const FRAME_BYTES = 4_096;
const PIECE_BYTES = FRAME_BYTES - PIECE_HEADER_BYTES;
/** Type and size before each frame of an input. */
const PREFIX_BYTES = 3;

export class FedEnd extends LinkEnd {
  readonly answers: Message[] = [];
  readonly errors: string[] = [];
  /** Requests that came through whole. */
  requests = 0;
  readonly #assembler = new Assembler();
  readonly #frame = Buffer.alloc(FRAME_BYTES);

  constructor(self: TrackName, peer: TrackName, clock: Clock) {
    const errors: string[] = [];
    super({
      self,
      peer,
      clock,
      // A notice has no answer, so what is wrong with it is thrown as the fault it is.
      onError: (error) =>
        void (error instanceof FaultError
          ? errors.push(judgeFault(error.fault) ?? '')
          : errors.push(describeThrown(error))),
    });
    this.errors = errors;
    this.core.setPeer('up');
  }

  /** As `SharedLink` does with each frame that passed its check. */
  feed(type: number, bytes: Buffer): Complaint {
    this.#frame.fill(0xaa);
    const size = bytes.copy(this.#frame);
    const message = this.#assembler.take(type, this.#frame, size);
    if (message === undefined) return null;
    if ('finding' in message) return message.finding === '' ? 'an empty finding' : null;
    this.deliver(message);
    return null;
  }

  deliver(message: Message): void {
    if (message.kind === 'request') this.requests += 1;
    this.core.receive(message);
  }

  /** What it said to everything so far. */
  judge(): Complaint {
    const wrong = this.errors.find((text) => text !== '');
    if (wrong !== undefined) return `thrown in a handler: ${wrong}`;
    const given = this.answers.length;
    if (given !== this.requests) return `${this.requests} requests, ${given} answers`;
    for (const { kind, text } of this.answers) {
      const body = decodeBody(text);
      if (!body.ok) return `answers what cannot be read: ${body.fault.finding}`;
      const complaint = kind === 'fault' ? judgeFault(body.value) : null;
      if (complaint !== null) return complaint;
    }
    return null;
  }

  close(): void {
    this.core.close();
  }

  protected send(message: Message): SendResult {
    if (message.kind !== 'notice') this.answers.push(message);
    return 'sent';
  }
}

/** Frames of one message as the shared link cuts them, each behind its type and size. */
export function framesOf(message: Message, id: number): Buffer {
  const bytes = Buffer.concat([Buffer.from(message.method, 'latin1'), Buffer.from(message.text)]);
  const frames: Buffer[] = [];
  for (let offset = 0; offset < Math.max(1, bytes.length); offset += PIECE_BYTES) {
    const body = bytes.subarray(offset, offset + PIECE_BYTES);
    const frame = Buffer.alloc(PREFIX_BYTES + PIECE_HEADER_BYTES + body.length);
    frame[0] = message.type;
    frame.writeUInt16LE(frame.length - PREFIX_BYTES, 1);
    writePieceHeader(frame.subarray(PREFIX_BYTES), message, {
      id,
      totalBytes: bytes.length,
      offset,
    });
    frame.set(body, PREFIX_BYTES + PIECE_HEADER_BYTES);
    frames.push(frame);
  }
  return Buffer.concat(frames);
}

/** The frames of an input; a size beyond what is left takes what is left. */
export function* framesIn(input: Buffer): Generator<readonly [type: number, frame: Buffer]> {
  for (let at = 0; at + PREFIX_BYTES <= input.length; ) {
    const size = Math.min(input.readUInt16LE(at + 1), FRAME_BYTES);
    const start = at + PREFIX_BYTES;
    yield [input[at] ?? 0, input.subarray(start, start + size)];
    at = start + size;
  }
}
