// `dsmil explain | board check`: answered by the command line itself, without the agent.

import { type Command, InvalidArgumentError } from 'commander';
import { FAULT_CATALOGUE, isFaultCode } from '#foundation/fault-catalogue';
import { nearestName } from '#foundation/nearest';
import type { CliParts, Run } from './cli-parts.ts';
import { EXIT, exitCodeOf } from './exit-code.ts';

export function addLocal(program: Command, run: Run, parts: CliParts): void {
  program
    .command('explain')
    .description('what a fault code means and what to do')
    .argument('<code>')
    .action((given: string) =>
      run((open) => {
        const code = given.toUpperCase();
        if (!isFaultCode(code)) {
          const near = nearestName(code, Object.keys(FAULT_CATALOGUE));
          const hint = near === undefined ? '' : `; did you mean ${near}?`;
          open.output.message(`${given.slice(0, 64)}: no fault has this code${hint}`);
          return EXIT.usage;
        }
        const entry = FAULT_CATALOGUE[code];
        const rows = [
          ['kind', entry.kind],
          ['means', entry.sentence],
          ['do', entry.action],
          ['try again', entry.retry],
          ['HTTP status', String(entry.http)],
          ['gRPC status', String(entry.grpc)],
          ['exit code', String(exitCodeOf(code))],
        ];
        open.output.data({ code, ...entry, exit: exitCodeOf(code) }, [code, ''], rows);
        return EXIT.ok;
      }),
    );
  const board = program.command('board').description('board files');
  board
    .command('check')
    .description('checks a board file with its profiles')
    .argument('<file>')
    .option(
      '--variable <name=value>',
      'value of a variable in the file; repeat for several',
      variable,
    )
    .option('--profiles <directory...>', 'searched before the own profiles')
    .action((file: string, options: CheckOptions) =>
      run(async (open) => {
        const problems = await parts.checkBoard(file, {
          variables: options.variable ?? {},
          profileDirectories: options.profiles ?? [],
        });
        for (const problem of problems) open.output.message(problem);
        if (problems.length > 0) return EXIT.error;
        open.output.message(`${file}: no problems`);
        return EXIT.ok;
      }),
    );
}

interface CheckOptions {
  readonly variable?: Readonly<Record<string, string>>;
  readonly profiles?: readonly string[];
}

function variable(text: string, before: Readonly<Record<string, string>> = {}) {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Give NAME=VALUE.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
