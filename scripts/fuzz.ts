// Fuzzes the real paths of the agent by hand: one target or all, for minutes, and repeats a failure exactly.
//
//   npm run fuzz                                        every target for a minute, from seeds of this moment
//   npm run fuzz -- --target rings --minutes 10         one target
//   npm run fuzz -- --target rings --seed 7 --runs 1    one input again
//   npm run fuzz -- --list                              the names

import { parseArgs } from 'node:util';
import { describeFailure, fuzz } from '../test/fuzz/fuzz.ts';
import { FUZZ_TARGETS } from '../test/fuzz/targets/index.ts';

const MINUTE_MS = 60_000;
/** Seeds stay whole numbers for as many runs as anybody can wait for. */
const SEED_MAX = 2 ** 48;
const { values } = parseArgs({
  options: {
    target: { type: 'string' },
    seed: { type: 'string' },
    minutes: { type: 'string', default: '1' },
    runs: { type: 'string', default: String(Number.MAX_SAFE_INTEGER) },
    list: { type: 'boolean', default: false },
  },
});

function numberFrom(name: string, text: string): number {
  const number = Number(text);
  if (!(number > 0)) throw new RangeError(`--${name} ${text} is not a number above 0`);
  return number;
}

const chosen = FUZZ_TARGETS.filter(({ name }) => name === (values.target ?? name));
if (values.list) {
  for (const { name } of FUZZ_TARGETS) console.log(name);
  process.exit(0);
}
if (chosen.length === 0) {
  console.error(
    `no target ${values.target}; there are ${FUZZ_TARGETS.map(({ name }) => name).join(', ')}`,
  );
  process.exit(2);
}
const seed = Math.trunc(numberFrom('seed', values.seed ?? String(Date.now()))) % SEED_MAX;
let failed = 0;
for (const target of chosen) {
  const result = await fuzz(target, {
    seed,
    runs: numberFrom('runs', values.runs),
    forMs: numberFrom('minutes', values.minutes) * MINUTE_MS,
    onProgress: (runs, elapsedMs) =>
      console.log(`${target.name}: ${runs} runs in ${(elapsedMs / 1_000).toFixed(0)} s`),
  });
  const perSecond = (result.runs * 1_000) / result.elapsedMs;
  console.log(
    `${target.name}: ${result.runs} runs from seed ${seed}, ${perSecond.toFixed(0)} a second, ` +
      `${(result.grownBytes / 1024).toFixed(0)} KiB more in use`,
  );
  if (result.failure === null) continue;
  failed += 1;
  console.error(describeFailure(result));
}
process.exit(failed > 0 ? 1 : 0);
