// The guest's systemd as the tests see it: units by name, their properties, and waits that end when something is so.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { systemClock } from '#foundation/clock';
import type { TrackName } from '#model/track-name';

/** Emulated processors on a busy host: a process of the agent has taken minutes to start there. */
const WAIT_MS = 600_000;
const LOOK_MS = 200;
const DROP_INS = '/run/systemd/system';
/** Drop-ins of all directories are read in the order of their names: after those of the site (10-...). */
const LATER = '50-';

export interface Ran {
  readonly status: number | null;
  readonly text: string;
}

export function run(program: string, ...parameters: readonly string[]): Ran {
  const ran = spawnSync(program, parameters, { encoding: 'utf8', timeout: WAIT_MS });
  return { status: ran.status, text: `${ran.stdout ?? ''}${ran.stderr ?? ''}`.trim() };
}

/** The same, for what has to go well. */
export function must(program: string, ...parameters: readonly string[]): string {
  const { status, text } = run(program, ...parameters);
  assert.equal(status, 0, `${program} ${parameters.join(' ')} ended with ${status}: ${text}`);
  return text;
}

export function unitOf(track: TrackName): string {
  return `dsmil-${track}.service`;
}

/** One property of a unit, as systemctl(1) shows it. */
export function property(unit: string, name: string): string {
  return must('systemctl', 'show', '--value', `--property=${name}`, unit);
}

export function pidOf(track: TrackName): number {
  return Number(property(unitOf(track), 'MainPID'));
}

/** Looks until it is so; the failure says what the last look found. */
export async function untilIs(what: string, wanted: string, look: () => string): Promise<void> {
  const endMs = systemClock.nowMs() + WAIT_MS;
  for (let found = look(); found !== wanted; found = look()) {
    if (systemClock.nowMs() > endMs) assert.equal(found, wanted, `${what}\n${journal()}`);
    await systemClock.sleep(LOOK_MS);
  }
}

export function untilState(unit: string, wanted: string): Promise<void> {
  return untilIs(`state of ${unit}`, wanted, () => property(unit, 'ActiveState'));
}

/** Active again as another process than before. */
export async function untilAnew(track: TrackName, before: number): Promise<void> {
  const unit = unitOf(track);
  await untilIs(`${unit} anew`, 'true', () =>
    String(property(unit, 'ActiveState') === 'active' && pidOf(track) !== before),
  );
}

/** Settings beside the unit's own, until they are taken away again. */
export function addDropIn(track: TrackName, name: string, settings: readonly string[]): void {
  const directory = `${DROP_INS}/${unitOf(track)}.d`;
  mkdirSync(directory, { recursive: true });
  writeFileSync(`${directory}/${LATER}${name}.conf`, `${settings.join('\n')}\n`);
  must('systemctl', 'daemon-reload');
}

export function removeDropIn(track: TrackName, name: string): void {
  rmSync(`${DROP_INS}/${unitOf(track)}.d/${LATER}${name}.conf`);
  must('systemctl', 'daemon-reload');
}

/** What a unit and its processes have said until now, a line each; from the line with the given number on. */
export function journalOf(unit: string, from = 0): readonly string[] {
  // The journal takes lines when it has time, on an emulated processor well after the process has ended.
  must('journalctl', '--sync');
  const text = must('journalctl', '--no-pager', '--quiet', '--output=cat', `--unit=${unit}`);
  return text === '' ? [] : text.split('\n').slice(from);
}

/** The last words of everything, for a failure that only they explain. */
export function journal(): string {
  return run('journalctl', '--no-pager', '--output=short-monotonic', '--lines=60').text;
}

/** A group of the guest by its name. */
export function groupOf(name: string): number {
  const row = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((line) => line.startsWith(`${name}:`));
  return Number(row?.split(':')[2] ?? Number.NaN);
}

export function userOf(name: string): { readonly uid: number; readonly gid: number } {
  const row = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((line) => line.startsWith(`${name}:`));
  const [, , uid, gid] = row?.split(':') ?? [];
  return { uid: Number(uid ?? Number.NaN), gid: Number(gid ?? Number.NaN) };
}
