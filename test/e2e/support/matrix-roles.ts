// Everybody who asks in the matrix: made through the agent's own doors, with what each presents on each transport.

import { randomBytes } from 'node:crypto';
import type { Ceremony, ClientCertificate } from './ceremony.ts';
import type { Identity } from './matrix-doors.ts';
import type { Standing } from './matrix-oracle.ts';
import { type MatrixTransport, TRANSPORTS } from './matrix-requests.ts';
import { pause } from './scene.ts';
import { LocalUsers } from './source-addresses.ts';

export interface Role {
  readonly name: string;
  readonly account: string;
  readonly transports: readonly MatrixTransport[];
  readonly standing: (transport: MatrixTransport) => Standing;
  readonly identity: (transport: MatrixTransport) => Identity;
  /** Which local user it is; only root can be another one. */
  readonly user: 'own' | 'other';
  /** Signs in on a connection of its own first, and is locked while that is open. */
  readonly locked?: 'by this connection' | 'by another connection';
}

type Clearance = Extract<Standing, { is: 'known' }>['clearance'];

export const CLEARANCES: readonly Clearance[] = [
  'NONE',
  'RESTRICTED',
  'CONFIDENTIAL',
  'SECRET',
  'TOP_SECRET',
];
/** Two rows of the table each. */
const SCOPES: Readonly<Record<string, readonly string[]>> = {
  'for events and status': ['events', 'status'],
  'for reading registers': ['operate', 'readRegisters'],
};
const OTHER_USERS = LocalUsers.possible ? TRANSPORTS : TRANSPORTS.filter((one) => one !== 'local');
const NETWORK: readonly MatrixTransport[] = ['grpc', 'rest', 'websocket'];
/** Of accounts whose time is soon over. */
const SHORT_MS = 8_000;

const known = (
  clearance: Clearance,
  way: 'password' | 'token' | 'certificate' | 'local',
  more: { readonly administrator?: boolean; readonly scope?: readonly string[] } = {},
): Standing => ({ is: 'known', clearance, way, administrator: false, scope: null, ...more });

const byToken = (token: string): Identity => ({ by: 'token', token });

function tokenRole(name: string, account: string, token: string, standing: Standing): Role {
  return {
    name,
    account,
    transports: OTHER_USERS,
    standing: () => standing,
    identity: () => byToken(token),
    user: 'other',
  };
}

function certificateRole(
  name: string,
  account: string,
  certificate: ClientCertificate,
  standing: Standing,
): Role {
  return {
    name,
    account,
    transports: NETWORK,
    standing: () => standing,
    identity: () => ({ by: 'certificate', ...certificate }),
    user: 'own',
  };
}

export interface Cast {
  readonly roles: readonly Role[];
  readonly goodToken: string;
  readonly invitation: string;
}

export async function castOf(ceremony: Ceremony): Promise<Cast> {
  const secret = { clearance: 'SECRET' } as const;
  // First what has to run out by itself: nothing that is made for an account is good for longer than that is.
  await ceremony.holder('short', secret);
  const outlived = await ceremony.holder('outlived', secret);
  const endedMs = Date.now() + SHORT_MS;
  const validUntil = new Date(endedMs).toISOString();
  await ceremony.take('short', { validUntil });
  const { token: expiredToken } = await ceremony.token('short');
  const expired = await ceremony.certificate('short');
  await ceremony.take('outlived', { validUntil });

  const roles: Role[] = [stranger(), ownUser()];
  for (const clearance of CLEARANCES) {
    const id = clearance.toLowerCase().replace('_', '-');
    const token = await ceremony.holder(id, { clearance });
    roles.push(tokenRole(`person, ${clearance}`, id, token, known(clearance, 'token')));
  }
  roles.push(await administrator(ceremony));
  const robot = await ceremony.holder('robot', { ...secret, kind: 'machine' });
  roles.push(tokenRole('machine, SECRET', 'robot', robot, known('SECRET', 'token')));
  for (const [what, scope] of Object.entries(SCOPES)) {
    const { token } = await ceremony.token('top-secret', scope);
    const standing = known('TOP_SECRET', 'token', { scope });
    roles.push(tokenRole(`token ${what}`, 'top-secret', token, standing));
  }

  const away: Standing = { is: 'turned away' };
  const turnedAway = (name: string, account: string, token: string) =>
    roles.push(tokenRole(name, account, token, away));
  turnedAway('unknown token', 'nobody', randomBytes(32).toString('base64url'));
  await ceremony.account('holder', secret);
  const revokedToken = await ceremony.token('holder');
  await ceremony.revokeToken(revokedToken.id);
  turnedAway('revoked token', 'holder', revokedToken.token);
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString();
  const early = await ceremony.holder('early', secret);
  await ceremony.take('early', { validFrom: tomorrow });
  turnedAway('account not valid yet', 'early', early);
  const disabled = await ceremony.holder('disabled', secret);
  await ceremony.take('disabled', { enabled: false });
  turnedAway('disabled account', 'disabled', disabled);

  const guessed = await ceremony.holder('guessed', secret);
  await ceremony.guessAt('guessed');
  roles.push(tokenRole('locked account', 'guessed', guessed, { is: 'locked out' }));
  for (const transport of TRANSPORTS) {
    for (const locked of ['by this connection', 'by another connection'] as const) {
      const id = `${locked === 'by this connection' ? 'prober' : 'bystander'}-${transport}`;
      const token = await ceremony.holder(id, { clearance: 'TOP_SECRET' });
      const role = tokenRole(`session locked ${locked}`, id, token, { is: 'locked in' });
      roles.push({ ...role, transports: OTHER_USERS.filter((one) => one === transport), locked });
    }
  }

  await ceremony.account('certified', secret);
  const good = await ceremony.certificate('certified');
  const revoked = await ceremony.certificate('certified');
  await ceremony.revokeCertificate(revoked);
  const certified = known('SECRET', 'certificate');
  const nobody: Standing = { is: 'nobody' };
  roles.push(
    certificateRole('certificate', 'certified', good, certified),
    certificateRole('revoked certificate', 'certified', revoked, { is: 'cut off' }),
    certificateRole(
      'certificate by another authority',
      'certified',
      await ceremony.foreign('certified'),
      { is: 'forger' },
    ),
    certificateRole(
      'certificate not valid yet',
      'certified',
      await ceremony.early('certified'),
      nobody,
    ),
    certificateRole(
      'certificate on no list',
      'certified',
      await ceremony.unlisted('certified'),
      away,
    ),
    certificateRole('expired certificate', 'short', expired, nobody),
  );
  const visitor = await ceremony.holder('visitor', { clearance: 'RESTRICTED' });
  const invitation = await ceremony.account('invited', { clearance: 'NONE' });

  await pause(Math.max(0, endedMs - Date.now()) + 1_100);
  // Only the account is good again: what was made for its first time stays worthless.
  await ceremony.give('short', { validUntil: null });
  turnedAway('expired token', 'short', expiredToken);
  turnedAway('account not valid any more', 'outlived', outlived);
  return { roles, goodToken: visitor, invitation };
}

function stranger(): Role {
  return {
    name: 'nobody',
    account: 'nobody',
    transports: OTHER_USERS,
    standing: (transport) => ({ is: transport === 'local' ? 'local stranger' : 'nobody' }),
    identity: () => ({ by: 'nothing' }),
    user: 'other',
  };
}

/** The account of the local user who runs the demonstration. */
function ownUser(): Role {
  return {
    name: 'local user with an account',
    account: 'technician',
    transports: ['local'],
    standing: () => known('CONFIDENTIAL', 'local'),
    identity: () => ({ by: 'nothing' }),
    user: 'own',
  };
}

/** Signed in with a password twice: leaving on one transport ends that sign-in on all of them. */
async function administrator(ceremony: Ceremony): Promise<Role> {
  const rights = { clearance: 'NONE', administrator: true };
  const telephone = await ceremony.enrol(await ceremony.account('chief', rights));
  const network = await ceremony.signIn('chief', telephone);
  const local = await ceremony.signIn('chief', telephone);
  const standing = known('NONE', 'password', { administrator: true });
  return {
    name: 'administrator, NONE',
    account: 'chief',
    transports: LocalUsers.possible
      ? ['grpc', 'websocket', 'rest', 'local']
      : ['grpc', 'websocket', 'rest'],
    standing: () => standing,
    identity: (transport) => byToken(transport === 'local' ? local : network),
    user: 'other',
  };
}
