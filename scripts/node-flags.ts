// How each process of the agent is run, in development, in the bench and on the appliance.

/** The agent's heaps are small: larger young generations and more arenas cost more memory than they save time. */
export const NODE_FLAGS: readonly string[] = [
  '--disable-warning=ExperimentalWarning',
  '--max-semi-space-size=1',
  '--optimize-for-size',
  '--max-old-space-size=256',
];
