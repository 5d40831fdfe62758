// `dsmil stop | reset`: the emergency stop, which works even when the agent does not answer.

import { dirname } from 'node:path';
import type { Command } from 'commander';
import type { StopReportJson } from '#contract/json-answer';
import { describeFault } from '#foundation/fault';
import { REST_BASE } from '#model/operation-table';
import type { CliParts, Run } from './cli-parts.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import type { CliSession } from './session.ts';

const STOP_TIMEOUT_MS = 5_000;

export function addStop(program: Command, run: Run, parts: CliParts, socket: () => string): void {
  /** The agent could not confirm the stop: sets the latch itself and says that nobody vouches for the devices. */
  const engageDirectly = async (open: CliSession, finding: string): Promise<ExitCode> => {
    const engaged = await parts.engageStop(dirname(socket()));
    if (!engaged.ok) {
      open.output.message(`agent: ${finding}\nstop latch: ${describeFault(engaged.fault)}`);
      return EXIT.unreachable;
    }
    open.output.message(
      `agent: ${finding}\nthe stop latch is engaged; kernel drives the devices to their safe values, but no receipt says so`,
    );
    return EXIT.inDoubt;
  };
  program
    .command('stop')
    .description('stops the whole system or the named devices at once')
    .requiredOption('--reason <text>', 'why')
    .option('--device <device...>', 'only these: token or linear id')
    .action((options: { readonly reason: string; readonly device?: readonly string[] }) =>
      run(async (open) => {
        const answer = await open.client.send({
          method: 'POST',
          path: `${REST_BASE}/emergency-stop`,
          body: {
            reason: options.reason,
            ...(options.device === undefined ? {} : { devices: options.device }),
          },
          timeoutMs: STOP_TIMEOUT_MS,
        });
        const whole = options.device === undefined;
        if (answer.kind === 'unreachable' && whole) return engageDirectly(open, answer.finding);
        if (answer.kind === 'problem' && whole) return engageDirectly(open, answer.detail);
        if (answer.kind !== 'data') return open.failed(answer);
        const report = answer.json as StopReportJson;
        const rows = report.tracks.map((track) => [
          track.track,
          track.ok ? 'ok' : 'FAILED',
          track.message,
          track.unsafe.map(({ token, finding }) => `${token} ${finding}`).join('; '),
        ]);
        open.output.data(report, ['track', 'result', 'message', 'not safe'], rows);
        open.output.message(`${report.scope}, ${report.durationMs.toFixed(1)} ms`);
        return report.success ? EXIT.ok : EXIT.inDoubt;
      }),
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
        const progress = answer.json as { readonly released: boolean; readonly message: string };
        const rows = [[progress.released ? 'yes' : 'no', progress.message]];
        open.output.data(progress, ['released', 'message'], rows);
        return progress.released ? EXIT.ok : EXIT.needsPeople;
      }),
    );
}
