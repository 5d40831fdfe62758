// `dsmil stop | acknowledge | reset`: the emergency stop, which works even when the agent does not answer.

import { type Command, InvalidArgumentError } from 'commander';
import type { StopReportJson } from '#contract/json-answer';
import { describeFault } from '#foundation/fault';
import { GROUP_COUNT } from '#model/device';
import { REST_BASE } from '#model/operation-table';
import type { AgentAnswer } from './agent-client.ts';
import type { CliParts, Run } from './cli-parts.ts';
import { numberedDevice } from './device-argument.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import type { CliSession } from './session.ts';
import { timeText } from './times.ts';
import { stopUnsupervised, whyUnsupervised } from './unsupervised.ts';

const STOP_TIMEOUT_MS = 5_000;
/** An agent that answers has engaged the latch long before; looking for one that does not may take seconds. */
const LATCH_AFTER_MS = 250;

interface StopOptions {
  readonly reason: string;
  readonly device?: readonly string[];
  readonly group?: readonly number[];
}

function groupNumber(text: string, before: readonly number[] = []): readonly number[] {
  if (/^[0-9]$/.test(text) && Number(text) < GROUP_COUNT) return [...before, Number(text)];
  throw new InvalidArgumentError(`Give a group of 0 to ${GROUP_COUNT - 1}.`);
}

export function addStop(program: Command, run: Run, parts: CliParts): void {
  program
    .command('stop')
    .description('stops the whole system, or only the named groups and devices, at once')
    .requiredOption('--reason <text>', 'why')
    .option('--group <group...>', 'only these: 0 to 6', groupNumber)
    .option('--device <device...>', 'only these: token, linear id or name')
    .action((options: StopOptions) => run((open) => stop(open, parts, options)));
  program
    .command('acknowledge')
    .description('says that you have seen every stop that stands now')
    .action(() =>
      run((open) =>
        open.show(open.client.post(`${REST_BASE}/emergency-stop/acknowledge`), (json) => {
          const { acknowledgments } = json as {
            readonly acknowledgments: readonly AcknowledgmentJson[];
          };
          const rows = acknowledgments.map(({ stopId, by, at }) => [
            String(stopId),
            by,
            timeText(at),
          ]);
          open.output.data(json, ['stop', 'seen by', 'at'], rows, 'no stop stands');
        }),
      ),
    );
  program
    .command('reset')
    .description('asks to release the emergency stop; two people have to')
    .requiredOption('--reason <text>', 'why it is safe, 10 to 512 characters')
    .action((options: { readonly reason: string }) =>
      run(async (open) => {
        const path = `${REST_BASE}/emergency-stop/reset`;
        const answer = await open.client.post(path, { reason: options.reason });
        if (answer.kind !== 'data') return open.failed(answer);
        return open.progress(answer.json);
      }),
    );
}

interface AcknowledgmentJson {
  readonly stopId: number;
  readonly by: string;
  readonly at: string;
}

/** Numbers are sent as they are: only for a name the agent is asked first which device it is. */
async function stopDevices(
  open: CliSession,
  given: readonly string[] | undefined,
): Promise<readonly (string | number)[] | undefined | ExitCode> {
  if (given === undefined || given.every((one) => numberedDevice(one)?.ok === true)) return given;
  const ids = await open.devices(given, 'record');
  if (typeof ids === 'number') open.output.message(NOTHING_STOPPED);
  return ids;
}

const NOTHING_STOPPED =
  'nothing was stopped; `dsmil stop --reason TEXT` alone stops everything, and needs no device';

async function stop(open: CliSession, parts: CliParts, options: StopOptions): Promise<ExitCode> {
  const { reason, group } = options;
  const device = await stopDevices(open, options.device);
  if (typeof device === 'number') return device;
  const whole = device === undefined && group === undefined;
  let engaged: ReturnType<CliParts['engageStop']> | undefined;
  const engage = () => {
    engaged ??= parts.engageStop(open.runDirectory);
    return engaged;
  };
  const latch = whole ? setTimeout(() => void engage(), LATCH_AFTER_MS) : undefined;
  const request = {
    method: 'POST',
    path: `${REST_BASE}/emergency-stop`,
    body: {
      reason,
      ...(device === undefined ? {} : { devices: device }),
      ...(group === undefined ? {} : { groups: group }),
    },
    timeoutMs: STOP_TIMEOUT_MS,
  } as const;
  let answer = await open.client.send(request);
  if (open.actsAs !== 'local' && nobodyKnowsMe(answer)) {
    // A stop must not fail because a token is worth nothing any more; the user of this machine may stop too.
    open.output.message('stopping as the user of this machine');
    answer = await open.client.send({ ...request, as: 'local' });
  }
  clearTimeout(latch);
  if (answer.kind === 'data') {
    const report = answer.json as StopReportJson;
    const kernel = report.tracks.find(({ track, ok }) => track === 'kernel' && ok);
    if (kernel === undefined && whole) {
      // Interface engaged the latch, and nobody gave a receipt for the devices.
      const byKernel = await stopUnsupervised(open, reason, 'no receipt of kernel');
      if (byKernel !== undefined) return byKernel;
    }
    showReport(open, report);
    const safe = kernel !== undefined && report.tracks.every(({ unsafe }) => unsafe.length === 0);
    return safe ? EXIT.ok : EXIT.inDoubt;
  }
  if (!whole) return open.failed(answer);
  const why = answer.kind === 'unreachable' ? answer.finding : answer.detail;
  // The latch first: it needs nobody, and whoever is asked next may not answer.
  const direct = await engage();
  const byKernel = await stopUnsupervised(open, reason, whyUnsupervised(answer));
  if (byKernel !== undefined) return byKernel;
  if (!direct.ok) {
    open.output.message(`agent: ${why}\nstop latch: ${describeFault(direct.fault)}`);
    return EXIT.unreachable;
  }
  open.output.message(
    `agent: ${why}\nthe stop latch is engaged; kernel drives the devices to their safe values, but no receipt says so`,
  );
  return EXIT.inDoubt;
}

function nobodyKnowsMe(answer: AgentAnswer): boolean {
  if (answer.kind === 'problem') {
    return ['NOT_AUTHENTICATED', 'NOT_PERMITTED', 'CONFIG_INVALID'].includes(answer.code);
  }
  return answer.kind === 'unreachable';
}

function showReport(open: CliSession, report: StopReportJson): void {
  const rows = report.tracks.map((track) => [
    track.track,
    track.ok ? 'ok' : 'FAILED',
    track.message,
    track.unsafe.map(({ token, finding }) => `${token} ${finding}`).join('; '),
  ]);
  open.output.data(report, ['track', 'result', 'message', 'not safe'], rows);
  open.output.message(`${report.scope}, ${report.durationMs.toFixed(1)} ms`);
}
