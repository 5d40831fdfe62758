// A link between two tracks: requests with answers, notices, and the peer's state, over memory or inside a process.
// Invariants: at most one answer reaches a request; every request ends by its deadline; nothing is queued for a
// peer that is not up.

import type { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { TrackName } from '#model/track-name';

/** The specification's IPC message types (DECISIONS section 2). */
export const MessageType = {
  OPERATION_REQUEST: 1,
  OPERATION_RESPONSE: 2,
  EVENT: 3,
  EMERGENCY_STOP: 4,
  STATE_SYNC: 5,
  TRANSACTION: 6,
  HEALTH: 7,
  RAW: 255,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/**
 * absent: never attached, or closed in good order. up: heartbeat moving. silent: its process lives but its event
 * loop does not turn. lost: its process ended, or the shared memory can no longer be used.
 */
export type PeerState = 'absent' | 'up' | 'silent' | 'lost';

export interface LinkCounters {
  readonly messagesSent: number;
  readonly messagesReceived: number;
  readonly framesSent: number;
  readonly framesReceived: number;
  /** Messages not sent because the ring, the outbox or the table of open requests was full. */
  readonly overruns: number;
  /** Frames thrown away because check, size, order or track did not fit. */
  readonly corruptFrames: number;
  /** Frames of an earlier life of the peer. */
  readonly staleFrames: number;
  /** Messages that passed the check but made no sense. */
  readonly protocolErrors: number;
  /** Answers to requests that were no longer waited for. */
  readonly strayAnswers: number;
  readonly timeouts: number;
  readonly peerLosses: number;
}

export type RequestHandler = (body: unknown, deadline: Deadline) => Promise<Outcome<unknown>>;

export interface Link {
  readonly self: TrackName;
  readonly peer: TrackName;
  readonly peerState: PeerState;
  /**
   * The peer's outcome. Faults of the link itself: TRACK_UNAVAILABLE, LINK_OVERRUN, DEADLINE_EXCEEDED, LINK_PROTOCOL,
   * LINK_CORRUPT, REQUEST_TOO_LARGE; their `metal` is `unknown` once the request had been sent.
   */
  request(
    type: MessageType,
    method: string,
    body: unknown,
    deadline: Deadline,
  ): Promise<Outcome<unknown>>;
  /** Sends without an answer. */
  notify(type: MessageType, method: string, body: unknown): Outcome<void>;
  /** One handler for each method; a second one is a mistake and throws. */
  serve(method: string, handler: RequestHandler): void;
  onNotice(method: string, listener: (body: unknown) => void): void;
  /** Called on every change of `peerState`; returns a function that stops it. */
  onPeer(listener: (state: PeerState) => void): () => void;
  counters(): LinkCounters;
  close(): void;
}

/** Largest message, body and method name together. */
export const MESSAGE_BYTES_MAX = 983_040;
/** Requests waiting for an answer, and requests being served, in one direction. */
export const OUTSTANDING_MAX = 256;
/** Longest deadline a peer may ask for, milliseconds. */
export const DEADLINE_MS_MAX = 600_000;
