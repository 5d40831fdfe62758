// `dsmil setup | enrol | password`: the first two administrators or one who is let in again, an invited person's password and
// codes, a new password.
// Invariants: a secret is typed or read from standard input, never an argument, because arguments show in ps.

import { type Command, InvalidArgumentError } from 'commander';
import { type Outcome, succeed } from '#foundation/outcome';
import { REST_BASE } from '#model/operation-table';
import type { AgentAnswer } from './agent-client.ts';
import type { CliParts, FirstPerson, Run } from './cli-parts.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { qrCode } from './qr-code.ts';
import { askCode, askNewPassword, askSecret, sayBefore } from './secrets.ts';
import type { CliSession } from './session.ts';
import { timeText } from './times.ts';

/** Passwords or codes a person may mistype at the keyboard before the command gives up. */
const TRIES_MAX = 3;
const SECRET_GROUP = 4;
/** Characters of half an invitation without its dashes. */
const HALF_LENGTH = 16;

export function accountId(text: string): string {
  if (/^[a-z0-9][a-z0-9-]{0,62}$/.test(text)) return text;
  throw new InvalidArgumentError('Give lower-case letters, digits and hyphens, at most 63.');
}

function firstPerson(text: string): FirstPerson {
  const at = text.indexOf('=');
  if (at < 0) return { id: accountId(text), name: text };
  return { id: accountId(text.slice(0, at)), name: text.slice(at + 1) };
}

export function addSetup(program: Command, run: Run, parts: CliParts): void {
  program
    .command('setup')
    .description('makes the first two administrators; once, by root at this machine')
    .argument('[first]', 'the first person: ACCOUNT or ACCOUNT=NAME', firstPerson)
    .argument('[second]', 'the second person', firstPerson)
    .option(
      '--recover <account>',
      'instead: a new invitation for an administrator who cannot sign in, whose lock ends',
      accountId,
    )
    .action(
      (first: FirstPerson | undefined, second: FirstPerson | undefined, { recover: account }) =>
        run((open) => {
          if (account !== undefined && first === undefined) return recover(open, parts, account);
          if (account === undefined && first !== undefined && second !== undefined)
            return setUp(open, parts, first, second);
          open.output.message('setup: name two people, or one administrator with --recover alone');
          return EXIT.usage;
        }),
    );
}

export function addEnrolment(program: Command, run: Run, parts: CliParts): void {
  program
    .command('enrol')
    .description('sets your password and one-time codes with an invitation')
    .action(() => run((open) => enrol(open, parts)));
  program
    .command('password')
    .description('changes your own password; your other sessions end')
    .action(() => run(changePassword));
}

async function setUp(
  open: CliSession,
  parts: CliParts,
  first: FirstPerson,
  second: FirstPerson,
): Promise<ExitCode> {
  if (first.id === second.id) {
    open.output.message(
      `setup: ${first.id} twice is one person; two people have to be administrators`,
    );
    return EXIT.usage;
  }
  const made = await parts.setUp(open.runDirectory, first, second);
  if (!made.ok) return open.fault(made.fault);
  const invitations = made.value.map(({ account, invitation, expiresAtWallMs }) => {
    return { account, invitation, expiresAt: new Date(expiresAtWallMs).toISOString() };
  });
  const rows = invitations.map((one) => [one.account, one.invitation, timeText(one.expiresAt)]);
  open.output.data({ invitations }, ['administrator', 'invitation', 'good until'], rows);
  open.output.message(
    [
      'give each person the own invitation and nobody the other one; it is good once',
      'each person then types at this machine:',
      '  dsmil enrol          with the invitation: sets password and one-time codes',
      '  dsmil login ACCOUNT  signs in with both',
      'until both have done so, nothing that takes two administrators can be changed',
    ].join('\n'),
  );
  return EXIT.ok;
}

async function recover(open: CliSession, parts: CliParts, id: string): Promise<ExitCode> {
  const made = await parts.recover(open.runDirectory, id);
  if (!made.ok) return open.fault(made.fault);
  const { account, invitation, expiresAtWallMs } = made.value;
  const json = { account, invitation, expiresAt: new Date(expiresAtWallMs).toISOString() };
  const row = [account, invitation, timeText(json.expiresAt)];
  open.output.data(json, ['administrator', 'invitation', 'good until'], [row]);
  open.output.message(
    [
      `give it to ${account} and nobody else; it is good once, with: dsmil enrol`,
      'the password, one-time codes and sessions of before are worth nothing, and any lock has ended',
      `tokens and certificates of ${account} are as good as before: revoke those that were lost too`,
    ].join('\n'),
  );
  return EXIT.ok;
}

interface EnrolmentJson {
  readonly account: string;
  readonly secret: string;
  readonly uri: string;
}

async function enrol(open: CliSession, parts: CliParts): Promise<ExitCode> {
  sayBefore(
    open,
    'sets your password and shows the secret of your one-time codes: have your invitation and an authenticator at hand; what you type is not shown',
  );
  const invitation = await askInvitation(open);
  if (!invitation.ok) return open.fault(invitation.fault);
  const answer = await retried(open, 'PASSWORD_UNSUITABLE', async () => {
    const password = await askNewPassword(open, 'Password: ');
    if (!password.ok) return password.fault;
    const body = { invitation: invitation.value, password: password.value };
    return open.client.post(`${REST_BASE}/auth/enrol`, body);
  });
  if (typeof answer === 'number') return answer;
  const given = answer.json as EnrolmentJson;
  await showSecret(open, parts, given);
  const confirmed = await retried(open, 'NOT_AUTHENTICATED', async () => {
    const code = await askCode(open, 'First code: ');
    if (!code.ok) return code.fault;
    const body = { invitation: invitation.value, code: code.value };
    return open.client.post(`${REST_BASE}/auth/enrol/confirm`, body);
  });
  if (typeof confirmed === 'number') {
    open.output.message('not enrolled yet: the invitation is still good, type `dsmil enrol` again');
    return confirmed;
  }
  open.output.message(`${given.account} is enrolled; sign in with: dsmil login ${given.account}`);
  return EXIT.ok;
}

/** Whole, as the first setup gives it, or one half after the other, as two administrators handed them over. */
async function askInvitation(open: CliSession): Promise<Outcome<string>> {
  const given = await askSecret(open, 'Invitation: ');
  if (!given.ok || given.value.replace(/[\s-]/g, '').length !== HALF_LENGTH) return given;
  const other = await askSecret(open, 'Its other half: ');
  return other.ok ? succeed(`${given.value} ${other.value}`) : other;
}

/** For an authenticator: as text, as otpauth URI and, on a terminal with room for it, to photograph. */
async function showSecret(open: CliSession, parts: CliParts, given: EnrolmentJson): Promise<void> {
  const grouped = given.secret.match(new RegExp(`.{1,${SECRET_GROUP}}`, 'g'))?.join(' ') ?? '';
  const rows = [
    ['account', given.account],
    ['secret', grouped],
    ['address', given.uri],
  ];
  open.output.data(given, ['for your', 'authenticator'], rows);
  if (parts.columns === undefined || open.output.format !== 'table') return;
  const code = await qrCode(given.uri);
  if (code.width <= parts.columns) parts.stdout(`\n${code.text}\n\n`);
}

type Data = Extract<AgentAnswer, { readonly kind: 'data' }>;

/** Asks again at a keyboard after the one mistake that a person can mend; from a pipe there is one try. */
async function retried(
  open: CliSession,
  mistake: string,
  attempt: () => Promise<AgentAnswer | Parameters<CliSession['fault']>[0]>,
): Promise<Data | ExitCode> {
  for (let tries = 1; ; tries += 1) {
    const answer = await attempt();
    if (!('kind' in answer)) return open.fault(answer);
    if (answer.kind === 'data') return answer;
    const code = open.failed(answer);
    const mendable = answer.kind === 'problem' && answer.code === mistake;
    if (!mendable || !open.prompt.interactive || tries >= TRIES_MAX) return code;
  }
}

async function changePassword(open: CliSession): Promise<ExitCode> {
  sayBefore(
    open,
    'changes the password of the account that you are signed in as, and ends its other sessions; passwords are not shown',
  );
  const password = await askSecret(open, 'Password now: ');
  if (!password.ok) return open.fault(password.fault);
  const code = await askCode(open, 'Code: ');
  if (!code.ok) return open.fault(code.fault);
  const next = await askNewPassword(open, 'New password: ');
  if (!next.ok) return open.fault(next.fault);
  const body = { password: password.value, code: code.value, next: next.value };
  return open.show(open.client.post(`${REST_BASE}/auth/password`, body), (json) => {
    const { sessionsEnded } = json as { readonly sessionsEnded: number };
    open.output.data(
      json,
      ['password', 'other sessions ended'],
      [['changed', String(sessionsEnded)]],
    );
  });
}
