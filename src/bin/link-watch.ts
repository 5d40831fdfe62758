// Reports what a link had to throw away or could not take: counted by the link, told here once a second at most.

import type { Link } from '#link/link';

const PERIOD_MS = 1_000;

/** Calls `report` with a sentence whenever overruns, corrupt frames or messages without sense have been added. */
export function watchLink(link: Link, report: (finding: string) => void): void {
  let before = link.counters();
  const timer = setInterval(() => {
    const now = link.counters();
    const added: string[] = [];
    if (now.overruns > before.overruns) {
      added.push(`${now.overruns - before.overruns} messages found the link full`);
    }
    if (now.corruptFrames > before.corruptFrames) {
      added.push(`${now.corruptFrames - before.corruptFrames} frames were corrupt`);
    }
    if (now.protocolErrors > before.protocolErrors) {
      added.push(`${now.protocolErrors - before.protocolErrors} messages made no sense`);
    }
    before = now;
    if (added.length > 0) report(`link to ${link.peer}: ${added.join(', ')}`);
  }, PERIOD_MS);
  timer.unref();
}
