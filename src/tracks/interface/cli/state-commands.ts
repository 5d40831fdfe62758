// `dsmil conflicts | conflict resolve | sync`: what the tracks together say, and what they disagree about.

import { type Command, InvalidArgumentError } from 'commander';
import type { ConflictJson, SeenDeviceJson } from '#contract/json-state';
import { REST_BASE } from '#model/operation-table';
import { CONFLICT_ANSWERS, type ConflictAnswer } from '#model/unified-state';
import { count } from './arguments.ts';
import type { Run } from './cli-parts.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import type { CliSession } from './session.ts';
import { timeText } from './times.ts';

const HEAD = ['conflict', 'device', 'rule', 'finding', 'positions', 'answer', 'by', 'until'];

function conflictRow(one: ConflictJson): readonly string[] {
  return [
    String(one.id),
    one.token,
    one.rule,
    one.finding,
    one.positions.map(({ track, value, answer }) => `${track}: ${value} (${answer})`).join('; '),
    one.answer ?? 'OPEN',
    one.resolvedBy === '' ? one.method : one.resolvedBy,
    one.answer === null ? timeText(one.deadline) : '',
  ];
}

function conflictAnswer(text: string): ConflictAnswer {
  const answer = CONFLICT_ANSWERS.find((one) => one === text.toUpperCase());
  if (answer !== undefined) return answer;
  throw new InvalidArgumentError(`Give one of ${CONFLICT_ANSWERS.join(', ')}.`);
}

export function addConflicts(program: Command, run: Run): void {
  program
    .command('conflicts')
    .description('what the tracks disagree about: what waits for a person, then what was settled')
    .action(() =>
      run((open) =>
        open.show(open.client.get(`${REST_BASE}/conflicts`), (json) => {
          const { conflicts } = json as { readonly conflicts: readonly ConflictJson[] };
          open.output.data(json, HEAD, conflicts.map(conflictRow), 'the tracks agree');
        }),
      ),
    );
  const conflict = program.command('conflict').description('one conflict between the tracks');
  conflict
    .command('resolve')
    .description('settles a conflict that waits for a person')
    .argument('<id>', 'its number in `conflicts`', count)
    .argument('<answer>', CONFLICT_ANSWERS.join(', '), conflictAnswer)
    .requiredOption('--reason <text>', 'why')
    .action((id: number, answer: ConflictAnswer, { reason }: { readonly reason: string }) =>
      run((open) =>
        open.show(
          open.client.post(`${REST_BASE}/conflicts/${id}/resolve`, { answer, reason }),
          (json) => open.output.data(json, HEAD, [conflictRow(json as ConflictJson)]),
        ),
      ),
    );
}

export function addSync(program: Command, run: Run): void {
  program
    .command('sync')
    .description('has all tracks look and compare now; without devices all of them')
    .argument('[device...]', 'token, linear id or name')
    .action((given: readonly string[]) => run((open) => synchronize(open, given)));
}

async function synchronize(open: CliSession, given: readonly string[]): Promise<ExitCode> {
  const devices = await open.devices(given, 'record');
  if (typeof devices === 'number') return devices;
  const path = `${REST_BASE}/devices/synchronize`;
  const answer = await open.client.post(path, devices.length === 0 ? {} : { devices });
  if (answer.kind !== 'data') return open.failed(answer);
  const { devices: seen, finding } = answer.json as {
    readonly devices: readonly SeenDeviceJson[];
    /** Why they were not compared; empty when they were. */
    readonly finding: string;
  };
  const rows = seen.map((one) => [
    one.token,
    one.slug,
    one.power,
    one.unified?.status ?? one.status,
    one.unified?.security.status ?? '?',
    one.display,
    one.unified?.risk ?? '?',
    one.holds.join(', '),
    one.openConflicts.join(' '),
    (one.unified?.synchronization.staleTracks ?? []).join(', '),
  ]);
  const head = ['token', 'name', 'power', 'status', 'security', 'shown as', 'risk', 'held'];
  open.output.data(answer.json, [...head, 'conflicts', 'old news from'], rows);
  if (finding === '') return EXIT.ok;
  open.output.message(`not compared, this is what was seen last: ${finding}`);
  return EXIT.unreachable;
}
