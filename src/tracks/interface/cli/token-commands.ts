// `dsmil token list | create | revoke`: API tokens, each for one account, with a scope and an end.

import { type Command, InvalidArgumentError } from 'commander';
import { type OperationKey, REST_BASE } from '#model/operation-table';
import type { Run } from './cli-parts.ts';
import type { ExitCode } from './exit-code.ts';
import { rowsArgument } from './row-argument.ts';
import type { CliSession } from './session.ts';
import { accountId } from './setup-commands.ts';
import { timeText } from './times.ts';

const TOKENS = `${REST_BASE}/tokens`;
const SCOPE_NAMED_MAX = 6;

interface TokenJson {
  readonly id: string;
  readonly account: string;
  readonly name: string;
  readonly scope: readonly string[] | null;
  readonly created: string | null;
  readonly expiresAt: string | null;
  readonly revoked: boolean;
}

interface NewToken {
  readonly account?: string;
  readonly name: string;
  readonly scope: readonly OperationKey[] | 'all';
  readonly days: number;
}

function days(text: string): number {
  if (/^[1-9][0-9]{0,3}$/.test(text) && Number(text) <= 3_660) return Number(text);
  throw new InvalidArgumentError('Give a whole number of days, at most 3660.');
}

export function addTokens(program: Command, run: Run): void {
  const token = program.command('token').description('API tokens of machines and scripts');
  token
    .command('list')
    .description('your API tokens; for an administrator everybody’s')
    .action(() => run((open) => open.show(open.client.get(TOKENS), (json) => list(open, json))));
  token
    .command('create')
    .description('makes a token, shown once; for another account two administrators have to ask')
    .requiredOption('--name <text>', 'what it is for')
    .requiredOption(
      '--scope <list>',
      'operations it is good for, comma separated, or all that the account may',
      (text: string) => (text === 'all' ? text : rowsArgument(text)),
    )
    .requiredOption('--days <count>', 'how long it is good', days)
    .option('--account <account>', 'whose it is; your own without', accountId)
    .action((options: NewToken) => run((open) => create(open, options)));
  token
    .command('revoke')
    .description('makes a token worthless at once; what was opened with it ends')
    .argument('<id>', 'as `token list` names it')
    .requiredOption('--reason <text>', 'why')
    .action((id: string, { reason }: { readonly reason: string }) =>
      run(async (open) => {
        const path = `${TOKENS}/${encodeURIComponent(id)}/revoke`;
        const answer = await open.client.post(path, { reason });
        return answer.kind === 'data'
          ? open.ended(answer.json, `token ${id} is worth nothing any more`)
          : open.failed(answer);
      }),
    );
}

function list(open: CliSession, json: unknown): void {
  const { tokens } = json as { readonly tokens: readonly TokenJson[] };
  const rows = tokens.map((one) => [
    one.id,
    one.account,
    one.name,
    scopeText(one.scope),
    timeText(one.created),
    one.revoked ? 'REVOKED' : timeText(one.expiresAt),
  ]);
  const head = ['token', 'account', 'for', 'scope', 'made', 'good until'];
  open.output.data(json, head, rows, 'there is no API token');
}

function scopeText(scope: readonly string[] | null): string {
  if (scope === null) return 'all';
  return scope.length <= SCOPE_NAMED_MAX ? scope.join(' ') : `${scope.length} operations`;
}

async function create(open: CliSession, options: NewToken): Promise<ExitCode> {
  const account = options.account ?? (await ownAccount(open));
  if (typeof account === 'number') return account;
  const { name, days: lifetimeDays } = options;
  // The agent knows no word for it: null is everything that the account may.
  const scope = options.scope === 'all' ? null : options.scope;
  const answer = await open.client.post(TOKENS, { account, name, scope, lifetimeDays });
  if (answer.kind !== 'data') return open.failed(answer);
  const { json } = answer;
  return open.change(json, () => {
    const { id, token } = json as { readonly id: string; readonly token: string };
    open.output.data(json, ['id', 'account', 'token'], [[id, account, token]]);
    open.output.message(
      'this is the only time that the token is shown; keep it where only its user can read it',
    );
  });
}

async function ownAccount(open: CliSession): Promise<string | ExitCode> {
  const answer = await open.client.get(`${REST_BASE}/auth/me`);
  if (answer.kind !== 'data') return open.failed(answer);
  return (answer.json as { readonly id: string }).id;
}
