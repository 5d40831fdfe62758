// `dsmil account list | proposals | create | change | disable | invite | unlock`: people and machines and what they may do.
// Who gives rights sees what changes first, and a second administrator has to ask for exactly the same.

import { type Command, Option } from 'commander';
import { REST_BASE } from '#model/operation-table';
import {
  type AccountFieldsJson,
  type AccountJson,
  type AccountOptions,
  accountFields,
  addAccountOptions,
  changeRows,
  compartmentsText,
  devicesText,
  recordRows,
} from './account-fields.ts';
import type { Run } from './cli-parts.ts';
import { commandText } from './command-text.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { tableText } from './output.ts';
import { proposalCommand } from './proposal-command.ts';
import type { CliSession } from './session.ts';
import { accountId } from './setup-commands.ts';
import { timeText } from './times.ts';

const ACCOUNTS = `${REST_BASE}/accounts`;
/** Of more the number is said; `-o json` names them all. */
const DEVICES_NAMED_MAX = 8;
const PROPOSALS = `${REST_BASE}/proposals`;

interface Reason {
  readonly reason: string;
}
interface Asked extends Reason {
  readonly yes?: true;
}
interface NewAccount extends AccountOptions, Asked {
  readonly kind: 'person' | 'machine';
}

export function addAccounts(program: Command, run: Run): void {
  const account = program
    .command('account')
    .description('people and machines, and what they may do');
  account
    .command('list')
    .description('every account with its rights, and whether it is locked')
    .action(() => run((open) => open.show(open.client.get(ACCOUNTS), (json) => list(open, json))));
  account
    .command('proposals')
    .description('changes that wait for a second administrator, and what that one has to ask for')
    .action(() =>
      run((open) => open.show(open.client.get(PROPOSALS), (json) => waiting(open, json))),
    );
  addAccountOptions(
    account
      .command('create')
      .description('makes an account; two administrators have to ask')
      .argument('<account>', 'its id, never used again for another', accountId)
      .addOption(
        new Option('--kind <kind>', 'what it is').choices(['person', 'machine']).default('person'),
      ),
  )
    .requiredOption('--reason <text>', 'why')
    .option('--yes', 'do not ask again')
    .action((id: string, options: NewAccount) => run((open) => create(open, id, options)));
  addAccountOptions(
    account
      .command('change')
      .description('changes an account; what gives rights takes two administrators')
      .argument('<account>', 'its id', accountId),
  )
    .option('--enabled', 'may sign in again')
    .option('--no-enabled', 'may not, and its sessions end at once')
    .requiredOption('--reason <text>', 'why')
    .option('--yes', 'do not ask again')
    .action((id: string, options: AccountOptions & Asked) =>
      run((open) => change(open, id, options)),
    );
  account
    .command('disable')
    .description('ends every session of an account at once, and lets it sign in no more')
    .argument('<account>', 'its id', accountId)
    .requiredOption('--reason <text>', 'why')
    .action((id: string, { reason }: Reason) =>
      run(async (open) => {
        const body = { change: { enabled: false }, reason };
        return done(open, await open.client.post(`${ACCOUNTS}/${id}`, body), id);
      }),
    );
  account
    .command('invite')
    .description('has a person set a new password and new codes; two administrators have to ask')
    .argument('<account>', 'its id', accountId)
    .requiredOption('--reason <text>', 'why')
    .action((id: string, { reason }: Reason) =>
      run(async (open) =>
        done(open, await open.client.post(`${ACCOUNTS}/${id}/invite`, { reason }), id),
      ),
    );
  account
    .command('unlock')
    .description('ends the lock of an account before its time')
    .argument('<account>', 'its id', accountId)
    .requiredOption('--reason <text>', 'why')
    .action((id: string, { reason }: Reason) =>
      run(async (open) =>
        done(open, await open.client.post(`${ACCOUNTS}/${id}/unlock`, { reason }), id),
      ),
    );
}

function list(open: CliSession, json: unknown): void {
  const { accounts } = json as { readonly accounts: readonly AccountJson[] };
  const rows = accounts.map((one) => [
    one.id,
    one.kind === 'machine' ? `${one.name} (machine)` : one.name,
    one.clearance,
    compartmentsText(one.compartments),
    devicesShort(one.devices),
    stateOf(one).join(', '),
  ]);
  const head = ['account', 'name', 'clearance', 'compartments', 'devices', 'state'];
  open.output.data(json, head, rows);
}

interface ProposalJson {
  readonly by: string;
  readonly operation: string;
  readonly what: string;
  readonly reason: string;
  readonly request: Readonly<Record<string, unknown>>;
  readonly expiresAt: string;
}

function waiting(open: CliSession, json: unknown): void {
  const { proposals } = json as { readonly proposals: readonly ProposalJson[] };
  const rows = proposals.map(({ by, what, reason, expiresAt }) => [
    by,
    what,
    reason,
    timeText(expiresAt),
  ]);
  const none = 'no change waits for a second administrator';
  open.output.data(json, ['who', 'asks', 'why', 'until'], rows, none);
  for (const proposal of proposals) open.output.message(secondAsks(proposal));
}

/** The command whose request is the same; else the request itself, which has every member in it. */
function secondAsks({ by, operation, request }: ProposalJson): string {
  if (operation === 'issueCertificate') {
    return `for what ${by} asks, another administrator types the command that \`dsmil pki issue\` gave ${by}: it names the file of the very same certificate request`;
  }
  const command = proposalCommand(operation, request);
  const text =
    command === undefined ? `${operation} ${JSON.stringify(request)}` : commandText(command);
  return `for what ${by} asks, another administrator has to ask for exactly:\n  ${text}`;
}

/** Named one by one while they are few. */
function devicesShort(devices: AccountJson['devices']): string {
  const many = devices !== null && devices.length > DEVICES_NAMED_MAX;
  return many ? `${devices.length} devices` : devicesText(devices);
}

/** What is worth knowing of an account beside its rights, the worst first. */
function stateOf(account: AccountJson): readonly string[] {
  const { lockedUntil, lockedBecause, validFrom, validUntil } = account;
  return [
    ...(account.enabled ? [] : ['DISABLED']),
    ...(lockedUntil === null
      ? []
      : [
          `LOCKED until ${lockEnd(lockedUntil)}${lockedBecause === '' ? '' : ` (${lockedBecause})`}`,
        ]),
    ...(account.kind === 'person' && !account.enrolled ? ['not enrolled'] : []),
    ...(account.underReview ? ['under review'] : []),
    ...(account.administrator ? ['administrator'] : []),
    ...(validFrom === null ? [] : [`from ${timeText(validFrom)}`]),
    ...(validUntil === null ? [] : [`until ${timeText(validUntil)}`]),
    ...(account.localUids.length === 0 ? [] : [`local user ${account.localUids.join(', ')}`]),
    ...counted(account.sessions, 'session'),
    ...counted(account.tokens, 'token'),
  ];
}

/** A lock of threat detection has no end of its own: its time is the last one that is written with four digits. */
function lockEnd(until: string): string {
  return until.startsWith('9999-') ? 'two administrators unlock it' : timeText(until);
}

function counted(count: number, noun: string): readonly string[] {
  return count === 0 ? [] : [`${count} ${noun}${count === 1 ? '' : 's'}`];
}

/** Nothing is given that was not said: no clearance, no compartments and no devices. */
const NOTHING: Required<AccountFieldsJson> = {
  name: '',
  clearance: 'NONE',
  compartments: [],
  devices: [],
  administrator: false,
  enabled: true,
  underReview: false,
  validFrom: null,
  validUntil: null,
  certificateUris: [],
  localUids: [],
};

async function create(open: CliSession, id: string, options: NewAccount): Promise<ExitCode> {
  const fields = await accountFields(open, options);
  if (typeof fields === 'number') return fields;
  const { kind, reason } = options;
  const account = { id, kind, ...NOTHING, name: options.name ?? id, ...fields };
  open.output.message(`a new ${kind}, ${id}`);
  open.output.message(
    tableText(['what', 'is'], recordRows(account), open.output.columns).trimEnd(),
  );
  if (!(await agreed(open, options))) return EXIT.error;
  return done(open, await open.client.post(ACCOUNTS, { account, reason }), id);
}

async function change(
  open: CliSession,
  id: string,
  options: AccountOptions & Asked,
): Promise<ExitCode> {
  const fields = await accountFields(open, options);
  if (typeof fields === 'number') return fields;
  if (Object.keys(fields).length === 0) {
    open.output.message('account change: say what is to change, see `dsmil account change --help`');
    return EXIT.usage;
  }
  const known = await open.client.get(ACCOUNTS);
  if (known.kind !== 'data') return open.failed(known);
  const { accounts } = known.json as { readonly accounts: readonly AccountJson[] };
  const before = accounts.find((one) => one.id === id);
  // An account that is not there is security's to refuse: it puts the attempt on record.
  if (before !== undefined) {
    const rows = changeRows(before, fields);
    open.output.message(tableText([id, 'now', 'then'], rows, open.output.columns).trimEnd());
    if (rows.every(([, now, then]) => now === then)) {
      open.output.message('nothing of this is a change; nothing was sent');
      return EXIT.ok;
    }
    if (!(await agreed(open, options))) return EXIT.error;
  }
  const body = { change: fields, reason: options.reason };
  return done(open, await open.client.post(`${ACCOUNTS}/${id}`, body), id);
}

/** A person at the keyboard says yes to what is shown; a script has said so by calling. */
async function agreed(open: CliSession, { yes }: Asked): Promise<boolean> {
  if (yes === true || !open.prompt.interactive) return true;
  const answer = await open.prompt.ask('Type yes to do it: ', 'shown');
  if (answer.ok && answer.value.trim().toLowerCase() === 'yes') return true;
  open.output.message('nothing was sent');
  return false;
}

type Answer = Awaited<ReturnType<CliSession['client']['post']>>;

function done(open: CliSession, answer: Answer, id: string): ExitCode {
  if (answer.kind !== 'data') return open.failed(answer);
  const { json } = answer;
  const { done, message, invitation = '' } = json as ChangeJson;
  if (invitation === '') {
    return open.change(json, () => open.output.data(json, ['account', 'done'], [[id, 'yes']]));
  }
  open.output.data(json, ['account', 'half of the invitation'], [[id, invitation]]);
  open.output.message(message);
  if (!done) {
    open.saySecondCommand();
    return EXIT.needsPeople;
  }
  open.output.message(`with both halves ${id} enrols, once and within 24 hours, with: dsmil enrol`);
  return EXIT.ok;
}

interface ChangeJson {
  readonly done: boolean;
  readonly message: string;
  /** The half that this administrator hands over; empty where there is none. */
  readonly invitation?: string;
}
