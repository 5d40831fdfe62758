// `dsmil rights | session list | session end`: what one may do and why not, and who is signed in.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { OperationType } from '#model/operation';
import { type OperationKey, REST_BASE } from '#model/operation-table';
import type { Run } from './cli-parts.ts';
import type { ExitCode } from './exit-code.ts';
import { rowArgument } from './row-argument.ts';
import type { CliSession } from './session.ts';
import { timeText } from './times.ts';

interface RightsOptions {
  readonly device?: readonly string[];
  readonly type?: string;
}

export function addRights(program: Command, run: Run): void {
  const types = Object.keys(OperationType).filter((name) => name !== 'UNKNOWN');
  program
    .command('rights')
    .description('what you may do and, where not, what is missing and who could')
    .argument(
      '[operation...]',
      'name of the operation, or a verb in quotes ("device read"); all without',
      (text: string, before: readonly OperationKey[] | undefined) => [
        ...(before ?? []),
        rowArgument(text),
      ],
    )
    .option(
      '--device <device>',
      'token, linear id or name; repeat for several',
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .addOption(
      new Option('--type <operation>', 'what is to be done with the devices')
        .choices(types)
        .argParser((text: string) => typeArgument(text, types)),
    )
    .action((operations: readonly OperationKey[], options: RightsOptions) =>
      run((open) => rights(open, operations, options)),
    );
}

function typeArgument(text: string, types: readonly string[]): string {
  const type = text.toUpperCase();
  if (types.includes(type)) return type;
  throw new InvalidArgumentError(`Give one of ${types.join(', ')}.`);
}

interface RightJson {
  readonly operation: string;
  readonly permitted: boolean;
  readonly missing: readonly string[];
  readonly who: readonly string[];
  readonly conduct: readonly string[];
}

async function rights(
  open: CliSession,
  operations: readonly OperationKey[],
  { device = [], type }: RightsOptions,
): Promise<ExitCode> {
  // Of a quarantined device the answer is a refusal, which is what was asked for; nothing touches it.
  const devices = await open.devices(device, 'record');
  if (typeof devices === 'number') return devices;
  const query = new URLSearchParams();
  if (operations.length > 0) query.set('operations', operations.join(','));
  if (devices.length > 0) query.set('devices', devices.join(','));
  if (type !== undefined) query.set('type', type);
  const text = query.toString();
  const path = `${REST_BASE}/auth/rights${text === '' ? '' : `?${text}`}`;
  return open.show(open.client.get(path), (json) => {
    const { rights: found } = json as { readonly rights: readonly RightJson[] };
    const rows = found.map((one) => [
      one.operation,
      one.permitted ? 'yes' : 'NO',
      [...one.missing.map((text) => afterName(one.operation, text)), ...one.conduct].join('; '),
      one.permitted ? '' : one.who.join(' ') || 'nobody now',
    ]);
    open.output.data(json, ['operation', 'may', 'missing or to be done', 'who could'], rows);
  });
}

/** The first column has the name already. */
function afterName(operation: string, text: string): string {
  const name = `${operation}: `;
  return text.startsWith(name) ? text.slice(name.length) : text;
}

interface SessionJson {
  readonly handle: string;
  readonly account: string;
  readonly way: string;
  readonly transport: string;
  readonly peer: string;
  readonly opened: string | null;
  readonly expiresAt: string | null;
  readonly own: boolean;
}

export function addSessions(program: Command, run: Run): void {
  const session = program.command('session').description('who is signed in');
  session
    .command('list')
    .description('your open sessions; for an administrator everybody’s')
    .action(() =>
      run((open) =>
        open.show(open.client.get(`${REST_BASE}/auth/sessions`), (json) => {
          const { sessions } = json as { readonly sessions: readonly SessionJson[] };
          const rows = sessions.map((one) => [
            one.handle,
            one.own ? `${one.account} (this)` : one.account,
            `${one.way}, ${one.transport}`,
            one.peer,
            timeText(one.opened),
            timeText(one.expiresAt),
          ]);
          const head = ['session', 'account', 'signed in by', 'from', 'since', 'until'];
          open.output.data(json, head, rows);
        }),
      ),
    );
  session
    .command('end')
    .description('ends a session at once, with every stream and socket it has')
    .argument('<session>', 'as `session list` names it')
    .action((handle: string) =>
      run(async (open) => {
        const path = `${REST_BASE}/auth/sessions/${encodeURIComponent(handle)}/end`;
        const answer = await open.client.post(path);
        if (answer.kind !== 'data') return open.failed(answer);
        return open.ended(answer.json);
      }),
    );
}
