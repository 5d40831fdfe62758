// Numbers events and hands them to every listener; a listener that throws harms nobody else.

import type { Clock } from '#foundation/clock';
import type { AgentEvent, AgentEventDraft } from '#model/event';

export class EventHub {
  readonly #clock: Clock;
  readonly #onError: (error: unknown) => void;
  readonly #listeners = new Set<(event: AgentEvent) => void>();
  #sequence = 0;

  constructor(clock: Clock, onError: (error: unknown) => void) {
    this.#clock = clock;
    this.#onError = onError;
  }

  publish(draft: AgentEventDraft): void {
    const event: AgentEvent = {
      ...draft,
      sequence: ++this.#sequence,
      wallMs: this.#clock.wallMs(),
    };
    for (const listen of this.#listeners) {
      try {
        listen(event);
      } catch (error) {
        this.#onError(error);
      }
    }
  }

  listen(listener: (event: AgentEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
