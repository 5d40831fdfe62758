// npm run bench: every figure beside its limit or plainest alternative, measured in this run; -- --json FILE writes rows.

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { benchAudit } from '../test/bench/audit.ts';
import { benchIdentity } from '../test/bench/identity.ts';
import { benchLinks } from '../test/bench/links.ts';
import { benchOrchestrator } from '../test/bench/orchestrator.ts';
import { benchPipeline } from '../test/bench/pipeline.ts';
import { benchRegisters } from '../test/bench/registers.ts';
import type { BenchRow } from '../test/bench/row.ts';
import { benchStartUp } from '../test/bench/start-up.ts';

const SUITES = {
  registers: benchRegisters,
  links: benchLinks,
  orchestrator: benchOrchestrator,
  identity: benchIdentity,
  audit: benchAudit,
  pipeline: benchPipeline,
  'start-up': benchStartUp,
} as const;

const { values } = parseArgs({
  options: { json: { type: 'string' }, only: { type: 'string', multiple: true, default: [] } },
});

const strangers = values.only.filter((name) => !Object.hasOwn(SUITES, name));
if (strangers.length > 0) {
  const known = Object.keys(SUITES).join(', ');
  process.stderr.write(`--only ${strangers.join(', ')}: no such suite; there are ${known}\n`);
  process.exit(2);
}

function print(row: BenchRow): void {
  const figures = [row.p50, row.p95, row.p99].map((figure) => String(figure).padStart(9)).join('');
  const mark =
    row.reached === null
      ? ''
      : row.reached
        ? `  goal ${row.goal}: reached`
        : `  goal ${row.goal}: MISSED`;
  process.stdout.write(
    `${`${row.name} (${row.bus})`.padEnd(72)} ${row.unit.padEnd(3)} ${figures}   x ${String(row.ratio).padEnd(7)} of ${row.beside.name} (${row.beside.p50} / ${row.beside.p95})${mark}\n`,
  );
}

const rows: BenchRow[] = [];
process.stdout.write(
  `${''.padEnd(77)}      P50      P95      P99   ratio of P95 to the one beside (P50 / P95)\n`,
);
for (const [name, suite] of Object.entries(SUITES)) {
  if (values.only.length > 0 && !values.only.includes(name)) continue;
  process.stderr.write(`measuring ${name} ...\n`);
  for (const row of await suite()) {
    rows.push(row);
    print(row);
  }
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);
