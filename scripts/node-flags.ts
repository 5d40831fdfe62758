// How each process of the agent is run, in development, in the bench and on the appliance.

const COMMON = ['--disable-warning=ExperimentalWarning', '--max-old-space-size=256'];
/** The agent's heaps are small: larger young generations cost more memory than they save time. */
const SMALL = [...COMMON, '--max-semi-space-size=1', '--optimize-for-size'];
/** The stop waits for no collection of a heap that panels fill: most of what a request leaves dies young here. */
const PROMPT = [...COMMON, '--min-semi-space-size=8', '--max-semi-space-size=8'];

export function nodeFlagsOf(program: string): readonly string[] {
  return program === 'kernel' ? PROMPT : SMALL;
}
