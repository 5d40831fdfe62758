// `dsmil login | logout | whoami`: a person signs in with password and code, and `dsmil` acts as that person until the end.
// The sign-in is kept for one terminal session of one user, see sign-in-file.ts.

import type { Command } from 'commander';
import { REST_BASE } from '#model/operation-table';
import type { Compartment } from '#model/principal';
import { compartmentsText, devicesText } from './account-fields.ts';
import type { Run } from './cli-parts.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { askCode, askSecret, sayBefore } from './secrets.ts';
import type { CliSession } from './session.ts';
import { accountId } from './setup-commands.ts';
import { timeText } from './times.ts';

export function addSignIn(program: Command, run: Run): void {
  program
    .command('login')
    .description('signs you in with password and one-time code, for this terminal session')
    .argument('<account>', 'who you are', accountId)
    .action((account: string) => run((open) => signIn(open, account)));
  program
    .command('logout')
    .description('ends the sign-in of this terminal session')
    .action(() => run(signOut));
  program
    .command('whoami')
    .description('who the agent takes you for')
    .action(() => run((open) => open.show(open.client.get(ME), (json) => showMe(open, json))));
}

const ME = `${REST_BASE}/auth/me`;

async function signIn(open: CliSession, account: string): Promise<ExitCode> {
  const place = open.signInFile.prepare();
  if (!place.ok) return open.fault(place.fault);
  sayBefore(open, `signs you in as ${account} in this terminal; the password is not shown`);
  const password = await askSecret(open, 'Password: ');
  if (!password.ok) return open.fault(password.fault);
  const code = await askCode(open, 'Code: ');
  if (!code.ok) return open.fault(code.fault);
  const answer = await open.client.send({
    method: 'POST',
    path: `${REST_BASE}/auth/login`,
    body: { account, password: password.value, code: code.value, bearer: true },
    as: 'local',
  });
  if (answer.kind !== 'data') return open.failed(answer);
  const { token, expiresAt } = answer.json as {
    readonly token?: string;
    readonly expiresAt: string;
  };
  if (token === undefined) {
    open.output.message('the agent signed you in and gave no token; nothing is kept here');
    return EXIT.error;
  }
  // Whoever was signed in here before is not any more.
  if (open.actsAs === 'signed-in') await open.client.post(`${REST_BASE}/auth/logout`);
  const kept = open.signInFile.write({ token, account, expiresAt });
  if (!kept.ok) return open.fault(kept.fault);
  const json = { account, expiresAt };
  open.output.data(json, ['signed in', 'until'], [[account, timeText(expiresAt)]]);
  return EXIT.ok;
}

async function signOut(open: CliSession): Promise<ExitCode> {
  switch (open.actsAs) {
    case 'local':
      open.output.message('nobody is signed in here');
      return EXIT.ok;
    case 'token':
      open.output.message('a token was given for this command; there is no sign-in to end');
      return EXIT.usage;
    case 'unusable':
      open.signInFile.remove();
      open.output.message('the sign-in was over, and is forgotten');
      return EXIT.ok;
    case 'signed-in':
      return endSignIn(open);
  }
}

async function endSignIn(open: CliSession): Promise<ExitCode> {
  const answer = await open.client.post(`${REST_BASE}/auth/logout`);
  // Whatever the agent says: from here on nobody acts by this file.
  open.signInFile.remove();
  const over = answer.kind === 'problem' && answer.code === 'NOT_AUTHENTICATED';
  if (answer.kind === 'data' || over) {
    open.output.message('signed out');
    return EXIT.ok;
  }
  const code = open.failed(answer);
  open.output.message('the sign-in is forgotten here; the agent ends it when it expires');
  return code;
}

interface MeJson {
  readonly id: string;
  readonly name: string;
  readonly kind: string;
  readonly clearance: string;
  readonly compartments: readonly Compartment[];
  readonly devices: readonly (number | string)[] | null;
  readonly administrator?: boolean;
  readonly way?: string;
  readonly scope?: readonly string[] | null;
  readonly expiresAt: string;
}

function showMe(open: CliSession, json: unknown): void {
  const me = json as MeJson;
  const rows = [
    ['account', me.id],
    ['name', me.name],
    ['kind', me.kind],
    ['clearance', me.clearance],
    ['compartments', compartmentsText(me.compartments)],
    ['devices', devicesText(me.devices)],
    ...(me.administrator === undefined ? [] : [['administrator', me.administrator ? 'yes' : 'no']]),
    ...(me.way === undefined ? [] : [['signed in by', me.way]]),
    ...(me.scope === undefined || me.scope === null ? [] : [['scope', me.scope.join(' ')]]),
    ['until', timeText(me.expiresAt)],
  ];
  open.output.data(json, ['you', 'are'], rows);
}
