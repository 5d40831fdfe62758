// The `dsmil` command: its global options and its verbs.
// Data goes to standard output, messages to standard error; exit codes are in exit-code.ts.

import { type Argument, Command, CommanderError, Option } from 'commander';
import { fault } from '#foundation/fault';
import { refuse } from '#foundation/outcome';
import { addAccounts } from './account-commands.ts';
import { addAudit } from './audit-commands.ts';
import { addCertificates } from './certificate-commands.ts';
import { addChaos } from './chaos-commands.ts';
import type { CliParts, Run } from './cli-parts.ts';
import { addDevices } from './device-commands.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { addIncidents } from './incident-commands.ts';
import { addLocal } from './local-commands.ts';
import { addOperations } from './operation-commands.ts';
import { type OutputFormat, wrap } from './output.ts';
import { addRights, addSessions } from './rights-commands.ts';
import { CliSession } from './session.ts';
import { addEnrolment, addSetup } from './setup-commands.ts';
import { addSignIn } from './sign-in-commands.ts';
import { addConflicts, addSync } from './state-commands.ts';
import { addStop } from './stop-commands.ts';
import { addApprovals, addStatus } from './system-commands.ts';
import { addTokens } from './token-commands.ts';

/** Descriptions are wrapped down to so few characters beside long verbs. */
const HELP_WIDTH_MIN = 24;

export const DEFAULT_SOCKET = '/run/dsmil/interface/agent.sock';

interface GlobalOptions {
  readonly socket: string;
  readonly token?: string;
  readonly output: OutputFormat;
}

function argumentTerm(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

function wrappedLines(text: string, columns = Number.POSITIVE_INFINITY): string {
  return text
    .split('\n')
    .flatMap((line) => wrap(line, columns))
    .join('\n');
}

/** Runs one command line without `node` and the script's name; never throws for a person's mistake. */
export async function runCli(argv: readonly string[], parts: CliParts): Promise<ExitCode> {
  let exit: ExitCode = EXIT.ok;
  const program = buildProgram(parts, argv, (code) => {
    exit = code;
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
  return exit;
}

/** Every verb as typed, `device read`; for the completeness test. */
export function commandNames(): readonly string[] {
  const silent = () => undefined;
  const nobody = refuse(fault('TRACK_UNAVAILABLE', { place: 'agent', finding: 'not asked' }));
  const parts: CliParts = {
    environment: {},
    stdout: silent,
    stderr: silent,
    keyboard: () => process.stdin,
    messagesOnTerminal: false,
    setUp: async () => nobody,
    recover: async () => nobody,
    engageStop: async () => ({ ok: true, value: undefined }),
    openAgentInProcess: async () => nobody,
    openKernel: async () => nobody,
    checkBoard: async () => [],
  };
  const names: string[] = [];
  const walk = (command: Command, prefix: string): void => {
    for (const sub of command.commands) {
      const name = `${prefix}${sub.name()}`;
      if (sub.commands.length === 0) names.push(name);
      else walk(sub, `${name} `);
    }
  };
  walk(buildProgram(parts, [], silent), '');
  return names;
}

function buildProgram(
  parts: CliParts,
  argv: readonly string[],
  finish: (code: ExitCode) => void,
): Command {
  const { environment } = parts;
  const program = new Command('dsmil')
    .description('Looks at and operates the devices of this appliance.')
    .addOption(
      new Option('--socket <path>', 'local socket of the agent').default(
        environment.DSMIL_SOCKET ?? DEFAULT_SOCKET,
      ),
    )
    .addOption(
      new Option(
        '--token <token>',
        'act as its account; everybody here sees it in ps, so better set DSMIL_TOKEN',
      ),
    )
    .addOption(
      new Option('-o, --output <format>', 'how data is printed')
        .choices(['table', 'json'])
        .default('table'),
    )
    .exitOverride()
    .configureOutput({
      writeOut: parts.stdout,
      writeErr: parts.stderr,
      outputError: (text, write) => write(wrappedLines(text, parts.columns)),
    })
    // Without `[options]` behind each verb its description has room beside it.
    .configureHelp({
      minWidthToWrap: HELP_WIDTH_MIN,
      subcommandTerm: (command) =>
        [command.name(), ...command.registeredArguments.map(argumentTerm)].join(' '),
    });

  const run: Run = async (action) => {
    const { socket, token: given, output: format } = program.opts<GlobalOptions>();
    const token = given ?? environment.DSMIL_TOKEN;
    const open = new CliSession({
      parts,
      socket,
      token: token === '' ? undefined : token,
      format,
      argv,
    });
    try {
      finish(await action(open));
    } finally {
      await open.close();
    }
  };

  program.commandsGroup('Devices:');
  addStatus(program, run);
  addDevices(program, run);
  addOperations(program, run);
  addApprovals(program, run);
  addConflicts(program, run);
  addSync(program, run);
  program.commandsGroup('Emergency stop:');
  addStop(program, run, parts);
  program.commandsGroup('You:');
  addSignIn(program, run);
  addEnrolment(program, run, parts);
  addRights(program, run);
  program.commandsGroup('Who may do what:');
  addSetup(program, run, parts);
  addAccounts(program, run);
  addSessions(program, run);
  addTokens(program, run);
  addCertificates(program, run);
  program.commandsGroup('What was done and what is wrong:');
  addAudit(program, run, parts);
  addIncidents(program, run);
  addChaos(program, run, parts);
  addLocal(program, run, parts);
  return program;
}
