// `dsmil chaos list | run`: attacks that people start against their own appliance to see what it notices.
// Invariants: nothing is attacked before the agent has permitted it; whatever becomes of the attack, the exercise is ended
// and its report goes on record.

import type { Command } from 'commander';
import { describeError } from '#foundation/fault';
import type { Exercise, ExerciseReport } from '#model/exercise';
import { REST_BASE } from '#model/operation-table';
import type { CliParts, Run } from './cli-parts.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import type { CliSession } from './session.ts';
import { timeText } from './times.ts';

const CHAOS = `${REST_BASE}/chaos`;

interface ScenarioJson {
  readonly id: string;
  readonly summary: string;
  readonly limits: readonly string[];
  readonly durationSecondsMax: number;
}

type ExerciseJson = Omit<Exercise, 'endsAtWallMs'> & { readonly endsAt: string };

export function addChaos(program: Command, run: Run, parts: CliParts): void {
  const chaos = program.command('chaos').description('attacks on your own appliance, as exercises');
  chaos
    .command('list')
    .description('the attacks that can be tried here, and what they never exceed')
    .action(() =>
      run((open) =>
        open.show(open.client.get(CHAOS), (json) => {
          const { simulated, scenarios } = json as {
            readonly simulated: boolean;
            readonly scenarios: readonly ScenarioJson[];
          };
          const rows = scenarios.map((one) => [
            one.id,
            one.summary,
            one.limits.join('; '),
            `${one.durationSecondsMax} s`,
          ]);
          open.output.data(json, ['scenario', 'what it tries', 'limits', 'at most'], rows);
          open.output.message(
            simulated
              ? 'the board is simulated: one administrator can start them'
              : 'this is real hardware: two administrators have to ask',
          );
        }),
      ),
    );
  chaos
    .command('run')
    .description('tries one attack and reports whether and how fast it was noticed')
    .argument('<scenario>', 'as `chaos list` names it')
    .requiredOption('--reason <text>', 'why')
    .action((scenario: string, { reason }: { readonly reason: string }) =>
      run((open) => exercise(open, parts, scenario, reason)),
    );
}

async function exercise(
  open: CliSession,
  parts: CliParts,
  scenario: string,
  reason: string,
): Promise<ExitCode> {
  const { runExercise } = parts;
  if (runExercise === undefined) {
    open.output.message('chaos run: this build of the command line carries no scenarios');
    return EXIT.error;
  }
  const started = await open.client.post(CHAOS, { scenario, reason });
  if (started.kind !== 'data') return open.failed(started);
  const { exercise: given } = started.json as { readonly exercise: ExerciseJson | null };
  if (given === null) return open.change(started.json, () => undefined);
  const { endsAt, ...others } = given;
  const permitted: Exercise = { ...others, endsAtWallMs: new Date(endsAt).getTime() };
  open.output.message(
    `exercise ${permitted.id} as ${permitted.account}, until ${timeText(endsAt)} at most`,
  );
  const report = await attempt(open, runExercise, permitted);
  const path = `${CHAOS}/${encodeURIComponent(permitted.id)}/end`;
  const ended = await open.client.post(path, { report });
  showReport(open, report);
  if (ended.kind !== 'data') {
    const code = open.failed(ended);
    open.output.message('the exercise ends by itself at its time; its report is not on record');
    return code;
  }
  return report.detected && report.contained && report.limitsKept ? EXIT.ok : EXIT.error;
}

/** The scenario's report; of one that broke off, what is known. */
async function attempt(
  open: CliSession,
  runExercise: NonNullable<CliParts['runExercise']>,
  permitted: Exercise,
): Promise<ExerciseReport> {
  const controller = new AbortController();
  const leftMs = Math.max(0, permitted.endsAtWallMs - Date.now());
  const timer = setTimeout(() => controller.abort(new Error('its time is over')), leftMs);
  const interrupt = () => controller.abort(new Error('it was broken off by a signal'));
  // However it is ended, what was changed is put back first.
  for (const signal of ENDINGS) process.once(signal, interrupt);
  const startedMs = performance.now();
  const broke = new Promise<never>((_resolve, reject) =>
    controller.signal.addEventListener('abort', () => {
      // Time for the scenario to leave everything as it found it.
      setTimeout(() => reject(controller.signal.reason as Error), LEAVING_MS).unref();
    }),
  );
  try {
    const { socket, runDirectory, client } = open;
    const credential = client.credential();
    const token = credential.ok ? credential.value : undefined;
    const onProgress = (step: string) => {
      const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
      open.output.message(`${seconds.padStart(6)} s  ${step}`);
    };
    const { signal } = controller;
    const context = { socket, runDirectory, client, token, onProgress, signal };
    return await Promise.race([runExercise(permitted, context), broke]);
  } catch (error) {
    return {
      scenario: permitted.scenario,
      detected: false,
      evidence: [`the exercise broke off: ${describeError(error)}`.slice(0, 1_000)],
      responseMs: null,
      contained: false,
      containment: 'not known',
      limitsKept: false,
      limits: [],
    };
  } finally {
    clearTimeout(timer);
    for (const signal of ENDINGS) process.off(signal, interrupt);
  }
}

const LEAVING_MS = 5_000;
const ENDINGS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

function showReport(open: CliSession, report: ExerciseReport): void {
  const { detected, contained, limitsKept, responseMs } = report;
  const rows = [
    ['detected', detected ? 'yes' : 'NO'],
    ['after', responseMs === null ? 'never' : `${responseMs.toFixed(0)} ms`],
    ['contained', contained ? 'yes' : 'NO'],
    ['how', report.containment],
    ...named('seen as', report.evidence),
    ['limits kept', limitsKept ? 'yes' : 'NO'],
    ...named('limits', report.limits),
  ];
  open.output.data(report, [report.scenario, ''], rows);
}

function named(name: string, sentences: readonly string[]): readonly (readonly string[])[] {
  return sentences.map((sentence, at) => [at === 0 ? name : '', sentence]);
}
