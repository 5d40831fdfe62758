// What makes one bus of the simulated hardware touchable from another process.

export interface Mechanism {
  /** Creates its file, tree, socket or terminal; answers from then on. */
  open(): Promise<void>;
  /** Takes in at once what the agent has written, where writes are found by looking. */
  flush(): void;
  /** Quarantined devices whose canaries do not read as they were laid. */
  touched(): readonly string[];
  /** Removes everything it created. */
  close(): Promise<void>;
}
