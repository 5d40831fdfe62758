// What every end of a link has in common: requests, notices and the peer's state go through its core; bytes are its own.

import type { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { TrackName } from '#model/track-name';
import type { Link, LinkCounters, MessageType, PeerState, RequestHandler } from './link.ts';
import { LinkCore, type LinkCoreOptions } from './link-core.ts';
import type { Message } from './message.ts';
import type { SendResult } from './request-server.ts';

export abstract class LinkEnd implements Link {
  readonly self: TrackName;
  readonly peer: TrackName;
  protected readonly core: LinkCore;

  constructor(options: Omit<LinkCoreOptions, 'send'>) {
    this.self = options.self;
    this.peer = options.peer;
    // Nothing is sent before the whole end is built.
    this.core = new LinkCore({ ...options, send: (message) => this.send(message) });
  }

  get peerState(): PeerState {
    return this.core.peerState;
  }

  request(
    type: MessageType,
    method: string,
    body: unknown,
    deadline: Deadline,
  ): Promise<Outcome<unknown>> {
    return this.core.request(type, method, body, deadline);
  }

  notify(type: MessageType, method: string, body: unknown): Outcome<void> {
    return this.core.notify(type, method, body);
  }

  serve(method: string, handler: RequestHandler): void {
    this.core.serve(method, handler);
  }

  onNotice(method: string, listener: (body: unknown) => void): void {
    this.core.onNotice(method, listener);
  }

  onPeer(listener: (state: PeerState) => void): () => void {
    return this.core.onPeer(listener);
  }

  counters(): LinkCounters {
    return this.core.counters();
  }

  abstract close(): void;
  protected abstract send(message: Message): SendResult;
}
