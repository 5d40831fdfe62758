// Every row of the operation table, asked for by every kind of caller on every transport of the running agent.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { INDICATOR_RULES } from '#model/safety-policy';
import { Ceremony } from './support/ceremony.ts';
import { CELLS, TRANSPORTS } from './support/matrix-requests.ts';
import { type Cast, castOf } from './support/matrix-roles.ts';
import { type Outcome, tryRole } from './support/matrix-run.ts';
import { Scene } from './support/scene.ts';
import { LocalUsers } from './support/source-addresses.ts';

/** Roles that ask at the same time. */
const AT_ONCE = 6;

let scene: Scene;
let ceremony: Ceremony;
let users: LocalUsers | null = null;
let cast: Cast;
let outcomes: readonly Outcome[];
const directory = mkdtempSync(join(tmpdir(), 'dsmil-matrix-'));

/** Whoever tries every row is an attacker for threat detection; here each cell is to say what it says to the first. */
function patientPolicy(): string {
  const path = join(directory, 'safety.yaml');
  const patient = { after: 1_000_000, each: 0, most: 0 };
  const indicators = Object.fromEntries(INDICATOR_RULES.map((rule) => [rule, patient]));
  writeFileSync(path, JSON.stringify({ threats: { indicators } }));
  return path;
}

beforeAll(async () => {
  scene = await Scene.open(['--safety', patientPolicy()]);
  const { ready } = scene.agent;
  ceremony = new Ceremony(ready);
  if (LocalUsers.possible) users = await LocalUsers.open(ready);
  cast = await castOf(ceremony);
  const parts = { ready, users, cast, sequence: () => scene.auditSequence() };
  const waiting = [...cast.roles];
  const found: Outcome[] = [];
  const worker = async (): Promise<void> => {
    for (let role = waiting.shift(); role !== undefined; role = waiting.shift())
      found.push(...(await tryRole(parts, role)));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  outcomes = found;
}, 300_000);

afterAll(async () => {
  await users?.close();
  ceremony?.close();
  await scene?.close();
  rmSync(directory, { recursive: true, force: true });
});

it('answers each caller at each door as the operation table says, and nobody anywhere else', () => {
  const wrong = outcomes
    .filter(({ verdict, expected: fits }) => !fits.includes(verdict))
    .map(
      ({ role, transport, cell, verdict, expected: fits }) =>
        `${role.name} | ${transport} | ${cell.key} ${cell.door}: "${verdict}", not ${fits.map((one) => `"${one}"`).join(' or ')}`,
    );
  const count = (transport: string) =>
    outcomes.filter((outcome) => outcome.transport === transport).length;
  const shares = TRANSPORTS.map((transport) => `${transport} ${count(transport)}`).join(', ');
  const verdict = wrong.length === 0 ? 'all as expected' : `${wrong.length} are not as expected`;
  console.log(`matrix: ${outcomes.length} cells (${shares}), ${verdict}`);
  const slowest = [...outcomes].sort((one, other) => other.tookMs - one.tookMs).slice(0, 3);
  for (const { role, transport, cell, tookMs } of slowest)
    console.log(`slowest: ${role.name} | ${transport} | ${cell.door}: ${Math.round(tookMs)} ms`);
  expect(wrong).toEqual([]);
});

it('tried every cell of every role', () => {
  const planned = cast.roles.flatMap((role) => role.transports.flatMap((one) => CELLS[one]));
  expect(outcomes.length).toBe(planned.length);
  expect(new Set(planned.map(({ key }) => key)).size).toBeGreaterThan(60);
});
