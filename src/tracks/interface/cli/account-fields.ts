// What can be said of an account: its options on the command line, and its record for people, before and after a change.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { formatToken } from '#model/device';
import {
  CLEARANCE_NAMES,
  type ClearanceName,
  COMPARTMENTS,
  type Compartment,
} from '#model/principal';
import type { ExitCode } from './exit-code.ts';
import type { CliSession } from './session.ts';
import { timeArgument, timeText } from './times.ts';

/** An account as REST shows it. */
export interface AccountJson {
  readonly id: string;
  readonly name: string;
  readonly kind: 'person' | 'machine';
  readonly clearance: ClearanceName;
  readonly compartments: readonly Compartment[];
  readonly devices: readonly (number | string)[] | null;
  readonly administrator: boolean;
  readonly enabled: boolean;
  readonly underReview: boolean;
  readonly validFrom: string | null;
  readonly validUntil: string | null;
  readonly certificateUris: readonly string[];
  readonly localUids: readonly number[];
  readonly enrolled: boolean;
  readonly lockedUntil: string | null;
  readonly lockedBecause: string;
  readonly sessions: number;
  readonly tokens: number;
}

/** The members of an account that a person can give rights with; what was not said is absent. */
export type AccountFieldsJson = Partial<
  Omit<
    AccountJson,
    'id' | 'kind' | 'enrolled' | 'lockedUntil' | 'lockedBecause' | 'sessions' | 'tokens'
  >
>;

export interface AccountOptions {
  readonly name?: string;
  readonly clearance?: ClearanceName;
  readonly compartments?: readonly Compartment[];
  readonly devices?: readonly string[] | 'all';
  readonly administrator?: boolean;
  readonly underReview?: boolean;
  readonly enabled?: boolean;
  /** RFC 3339, or `none` for an open end. */
  readonly validFrom?: string;
  readonly validUntil?: string;
  readonly certificateUris?: readonly string[];
  readonly localUids?: readonly number[];
}

function listed(text: string): readonly string[] {
  if (text === 'none') return [];
  return [
    ...new Set(
      text
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== ''),
    ),
  ];
}

function oneOf<T extends string>(names: readonly T[]): (text: string) => T {
  return (text) => {
    const found = names.find((name) => name === text.toUpperCase().replaceAll('-', '_'));
    if (found !== undefined) return found;
    throw new InvalidArgumentError(`Give one of ${names.join(', ')}.`);
  };
}

function localUid(text: string): number {
  if (/^[0-9]{1,10}$/.test(text) && Number(text) <= 0xffff_fffe) return Number(text);
  throw new InvalidArgumentError('Give user ids, comma separated, or none.');
}

/** A list replaces the one before; `none` empties it. */
export function addAccountOptions(command: Command): Command {
  return command
    .option('--name <text>', 'name for people')
    .addOption(
      new Option('--clearance <level>', CLEARANCE_NAMES.join(', ')).argParser(
        oneOf(CLEARANCE_NAMES),
      ),
    )
    .addOption(
      new Option(
        '--compartments <list>',
        `comma separated, or none: ${COMPARTMENTS.join(', ')}`,
      ).argParser((text: string) => listed(text).map(oneOf(COMPARTMENTS))),
    )
    .option(
      '--devices <list>',
      'tokens, linear ids or names, comma separated, or all',
      (text: string) => (text === 'all' ? text : listed(text)),
    )
    .option('--administrator', 'may manage accounts, certificates and keys')
    .option('--no-administrator', 'may not')
    .option('--under-review', 'raises the risk of all that this account asks for')
    .option('--no-under-review', 'does not')
    .option('--valid-from <time>', 'date or time, or none', timeArgument)
    .option('--valid-until <time>', 'date or time, or none', timeArgument)
    .option(
      '--certificate-uris <list>',
      'names in client certificates, comma separated, or none',
      listed,
    )
    .option('--local-uids <list>', 'users of this machine who are this account, or none', (text) =>
      listed(text).map(localUid),
    );
}

/** The members said, with devices looked up; or the exit code, all said. */
export async function accountFields(
  open: CliSession,
  options: AccountOptions,
): Promise<AccountFieldsJson | ExitCode> {
  const { devices: named, ...others } = options;
  const {
    name,
    clearance,
    compartments,
    administrator,
    underReview,
    enabled,
    validFrom,
    validUntil,
    certificateUris,
    localUids,
  } = others;
  const devices =
    named === undefined ? undefined : named === 'all' ? null : await open.devices(named, 'record');
  if (typeof devices === 'number') return devices;
  return {
    ...(name === undefined ? {} : { name }),
    ...(clearance === undefined ? {} : { clearance }),
    ...(compartments === undefined ? {} : { compartments }),
    ...(devices === undefined ? {} : { devices }),
    ...(administrator === undefined ? {} : { administrator }),
    ...(enabled === undefined ? {} : { enabled }),
    ...(underReview === undefined ? {} : { underReview }),
    ...(validFrom === undefined ? {} : { validFrom: openEnd(validFrom) }),
    ...(validUntil === undefined ? {} : { validUntil: openEnd(validUntil) }),
    ...(certificateUris === undefined ? {} : { certificateUris }),
    ...(localUids === undefined ? {} : { localUids }),
  };
}

function openEnd(at: string): string | null {
  return at === 'none' ? null : at;
}

/** Each member in the words of the options, so that what is shown can be typed. */
const SHOWN: {
  readonly [K in keyof Required<AccountFieldsJson>]: readonly [
    string,
    (value: Required<AccountFieldsJson>[K]) => string,
  ];
} = {
  name: ['name', (name) => name],
  clearance: ['clearance', (clearance) => clearance],
  compartments: ['compartments', compartmentsText],
  devices: ['devices', devicesText],
  administrator: ['administrator', yesOrNo],
  enabled: ['enabled', yesOrNo],
  underReview: ['under review', yesOrNo],
  validFrom: ['valid from', (at) => timeText(at) || 'always'],
  validUntil: ['valid until', (at) => timeText(at) || 'always'],
  certificateUris: ['certificate URIs', (list) => list.join(', ') || 'none'],
  localUids: ['local users', (list) => list.join(', ') || 'none'],
};

export function compartmentsText(held: readonly Compartment[]): string {
  if (COMPARTMENTS.every((one) => held.includes(one))) return 'all';
  return held.join(', ') || 'none';
}

export function devicesText(devices: readonly (number | string)[] | null): string {
  if (devices === null) return 'all';
  const tokens = devices.map((one) => (typeof one === 'number' ? formatToken(one) : one));
  return tokens.join(', ') || 'none';
}

function yesOrNo(value: boolean): string {
  return value ? 'yes' : 'no';
}

function shown<K extends keyof AccountFieldsJson>(key: K, fields: AccountFieldsJson): string {
  const value = fields[key];
  if (value === undefined) return '';
  const [, text] = SHOWN[key];
  return text(value as Required<AccountFieldsJson>[K]);
}

const KEYS = Object.keys(SHOWN) as (keyof AccountFieldsJson)[];

/** `what`, `now`, `then` of each member that is said. */
export function changeRows(
  before: AccountFieldsJson,
  change: AccountFieldsJson,
): readonly (readonly string[])[] {
  return KEYS.filter((key) => change[key] !== undefined).map((key) => [
    SHOWN[key][0],
    shown(key, before),
    shown(key, change),
  ]);
}

export function recordRows(account: AccountFieldsJson): readonly (readonly string[])[] {
  return KEYS.map((key) => [SHOWN[key][0], shown(key, account)]);
}
