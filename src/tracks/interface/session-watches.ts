// Whoever serves a session for longer than one call hears here that it is over or locked, and cuts it off at once.
// Invariants: each watcher hears of the end once; a watcher that throws disturbs nobody.

/** ended: nothing is served any more. locked: nothing but a stop is. */
export type SessionChange =
  | { readonly kind: 'ended'; readonly reason: string }
  | { readonly kind: 'locked' };

export type SessionWatcher = (change: SessionChange) => void;

export class SessionWatches {
  readonly #watchers = new Map<string, Set<SessionWatcher>>();

  has(key: string): boolean {
    return this.#watchers.has(key);
  }

  /** Returns the way to stop watching. */
  watch(key: string, watcher: SessionWatcher): () => void {
    const watchers = this.#watchers.get(key) ?? new Set();
    watchers.add(watcher);
    this.#watchers.set(key, watchers);
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.#watchers.get(key) === watchers) this.#watchers.delete(key);
    };
  }

  ended(key: string, reason: string): void {
    const watchers = this.#watchers.get(key);
    this.#watchers.delete(key);
    tell(watchers, { kind: 'ended', reason });
  }

  locked(key: string): void {
    tell(this.#watchers.get(key), { kind: 'locked' });
  }
}

function tell(watchers: ReadonlySet<SessionWatcher> | undefined, change: SessionChange): void {
  for (const watcher of [...(watchers ?? [])]) {
    try {
      watcher(change);
    } catch {
      // One socket that cannot be closed must not keep the others open.
    }
  }
}
