// What a second administrator types for what a first one asks: the command whose request is the very same.
// Invariants: a proposal with a member that no option says gives no command rather than one that asks for something else.

import { formatToken } from '#model/device';

type Json = Readonly<Record<string, unknown>>;

/** The words after `dsmil`; undefined where no command line can say it. */
export function proposalCommand(operation: string, request: Json): readonly string[] | undefined {
  const { id, account, change, reason, key, scenario, ...others } = request;
  const why = ['--reason', String(reason)];
  const alone = Object.keys(others).length === 0;
  switch (operation) {
    case 'createAccount':
      return alone ? created(account as Json, why) : undefined;
    case 'changeAccount': {
      const options = alone ? optionsOf(change as Json) : undefined;
      return options && ['account', 'change', String(id), ...options, ...why];
    }
    case 'inviteAccount':
      return alone ? ['account', 'invite', String(id), ...why] : undefined;
    case 'unlockAccount':
      return alone ? ['account', 'unlock', String(id), ...why] : undefined;
    case 'rotateKey':
      return alone ? ['keys', 'rotate', String(key), ...why] : undefined;
    case 'startChaos':
      return alone ? ['chaos', 'run', String(scenario), ...why] : undefined;
    case 'createToken':
      return token(request);
    default:
      return undefined;
  }
}

function created(account: Json, why: readonly string[]): readonly string[] | undefined {
  const { id, kind, enabled, ...fields } = account;
  // An account that begins disabled is made over the network alone.
  if (enabled !== true) return undefined;
  // What a new account has when nothing is said of it is not said here either.
  const said = Object.entries(fields).filter((member) => !isNothing(member));
  const options = optionsOf(Object.fromEntries(said));
  const machine = kind === 'person' ? [] : ['--kind', String(kind)];
  return options && ['account', 'create', String(id), ...machine, ...options, ...why];
}

/** `devices: null` is every device, and so is said. */
function isNothing([member, value]: readonly [string, unknown]): boolean {
  if (value === null) return member !== 'devices';
  return value === false || value === 'NONE' || (Array.isArray(value) && value.length === 0);
}

const LISTS: Readonly<Record<string, string>> = {
  compartments: '--compartments',
  certificateUris: '--certificate-uris',
  localUids: '--local-uids',
};
const TEXTS: Readonly<Record<string, string>> = { name: '--name', clearance: '--clearance' };
const TIMES: Readonly<Record<string, string>> = {
  validFrom: '--valid-from',
  validUntil: '--valid-until',
};
const FLAGS: Readonly<Record<string, string>> = {
  administrator: 'administrator',
  underReview: 'under-review',
  enabled: 'enabled',
};

function optionsOf(fields: Json): readonly string[] | undefined {
  const words: string[] = [];
  for (const [member, value] of Object.entries(fields)) {
    const option = optionOf(member, value);
    if (option === undefined) return undefined;
    words.push(...option);
  }
  return words;
}

function optionOf(member: string, value: unknown): readonly string[] | undefined {
  const text = TEXTS[member];
  if (text !== undefined && typeof value === 'string') return [text, value];
  const time = TIMES[member];
  if (time !== undefined) return [time, value === null ? 'none' : String(value)];
  const flag = FLAGS[member];
  if (flag !== undefined && typeof value === 'boolean') {
    return [value ? `--${flag}` : `--no-${flag}`];
  }
  if (member === 'devices' && value === null) return ['--devices', 'all'];
  if (!Array.isArray(value)) return undefined;
  const list = member === 'devices' ? '--devices' : LISTS[member];
  const items = value.map((item: unknown) =>
    member === 'devices' && typeof item === 'number' ? formatToken(item) : String(item),
  );
  // A comma would make two of one, and a space at an end would be lost.
  const sayable = items.every((item) => item !== '' && item === item.trim() && !/,/.test(item));
  if (list === undefined || !sayable || items.includes('none')) return undefined;
  return [list, items.length === 0 ? 'none' : items.join(',')];
}

function token(request: Json): readonly string[] | undefined {
  const { account, name, scope, lifetimeDays, ...others } = request;
  if (Object.keys(others).length > 0) return undefined;
  const wanted = Array.isArray(scope) ? scope.join(',') : 'all';
  return [
    ...['token', 'create', '--name', String(name), '--scope', wanted],
    ...['--days', String(lifetimeDays), '--account', String(account)],
  ];
}
