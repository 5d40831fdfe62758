// Runs the seeded simulation by hand: one seed or many, shows what happened, and repeats a failure exactly.
//
//   npm run simulate -- --seed 7 --minutes 1            one seed, one virtual minute
//   npm run simulate -- --seed 1 --seeds 500            five hundred seeds from 1
//   npm run simulate -- --seed 7 --trace                every event as it happens

import { parseArgs } from 'node:util';
import { simulate } from '../test/simulation/simulation.ts';
import { missingFrom, reportOf, Tally } from '../test/simulation/tally.ts';

const MINUTE_MS = 60_000;
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '0.1' },
    seeds: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
  },
});

function positive(name: string, text: string): number {
  const number = Number(text);
  if (!(number > 0)) throw new RangeError(`--${name} ${text} is not a number above 0`);
  return number;
}

const first = Math.trunc(positive('seed', values.seed));
const minutes = positive('minutes', values.minutes);
const count = Math.trunc(positive('seeds', values.seeds));
const tally = new Tally();
const startedMs = performance.now();
let failed = 0;
for (let seed = first; seed < first + count; seed++) {
  const result = await simulate({
    seed,
    durationMs: minutes * MINUTE_MS,
    ...(values.trace ? { print: (line: string) => console.log(line) } : {}),
  });
  tally.add(result);
  if (result.violations.length > 0) {
    failed += 1;
    console.error(reportOf(result, minutes));
  }
  const done = seed - first + 1;
  if (done % 25 === 0 || done === count) {
    const seconds = (performance.now() - startedMs) / 1_000;
    console.log(
      `${done} of ${count} seeds, ${failed} failed, ${seconds.toFixed(1)} s: ${tally.line()}`,
    );
  }
}
console.log(tally.table());
const missing = missingFrom(tally);
if (missing.length > 0)
  console.error(`the simulation showed too little: no ${missing.join(', no ')}`);
process.exitCode = failed > 0 || missing.length > 0 ? 1 : 0;
