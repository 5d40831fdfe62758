// What can be asked of security beside operations, from JSON and to JSON, by one rule for every row.
// Invariants: a member `xWallMs` is `x` as RFC 3339 text outside, null for 0 and null; enumerations go by name; devices
// come as linear id or token; what a rule does not name passes unchanged.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AdministrationKey, AdministrationRequest } from '#model/administration';
import { linearIdOf } from '#model/device';
import { type OperationName, OperationType } from '#model/operation';
import { type ClearanceLevel, clearanceName } from '#model/principal';
import { ACCOUNT_DEFAULTS } from './json-administration-schema.ts';
import { timeOrNull } from './json-parts.ts';
import { deviceIdFromJson } from './json-request.ts';

const WALL_SUFFIX = /^(.+)WallMs$/;
/** Members of requests that are times. */
const TIMES: ReadonlySet<string> = new Set(['validFrom', 'validUntil']);
/** RFC 3339 section 5.6; the date itself is checked by reading it back. */
const TIME = /^(\d{4}-\d{2}-\d{2})T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;

type Members = Readonly<Record<string, unknown>>;

/** An answer of security as JSON: times and clearances in words, everything else as it is. */
export function administrationToJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(administrationToJson);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => memberToJson(name, member)),
  );
}

function memberToJson(name: string, member: unknown): readonly [string, unknown] {
  const time = WALL_SUFFIX.exec(name)?.[1];
  if (time !== undefined && (typeof member === 'number' || member === null)) {
    return [time, timeOrNull(member ?? 0)];
  }
  if (name === 'clearance' && typeof member === 'number') {
    return [name, clearanceName(member as ClearanceLevel)];
  }
  return [name, administrationToJson(member)];
}

/** The request for a body that fits its schema; `path` are the parameters of the route. */
export function administrationFromJson<K extends AdministrationKey>(
  key: K,
  body: unknown,
  path: Members = {},
): Outcome<AdministrationRequest<K>> {
  const members = fromJson((body ?? {}) as Members, 'body');
  if (!members.ok) return members;
  const request = { ...members.value, ...path };
  if (key !== 'createAccount') return succeed(request as unknown as AdministrationRequest<K>);
  const account = { ...ACCOUNT_DEFAULTS, ...(members.value.account as Members) };
  return succeed({ ...request, account } as unknown as AdministrationRequest<K>);
}

function fromJson(members: Members, place: string): Outcome<Members> {
  const found: [string, unknown][] = [];
  for (const [name, member] of Object.entries(members)) {
    const inside = `${place}.${name}`;
    const one = memberFromJson(name, member, inside);
    if (!one.ok) return one;
    found.push([TIMES.has(name) ? `${name}WallMs` : name, one.value]);
  }
  return succeed(Object.fromEntries(found));
}

function memberFromJson(name: string, member: unknown, place: string): Outcome<unknown> {
  if (TIMES.has(name)) return timeFromJson(member, place);
  if (name === 'devices' && Array.isArray(member)) return devicesFromJson(member, place);
  if (typeof member !== 'object' || member === null || Array.isArray(member)) {
    return succeed(member);
  }
  return fromJson(member as Members, place);
}

/** Milliseconds for an RFC 3339 time with offset, null for null. */
export function timeFromJson(value: unknown, place: string): Outcome<number | null> {
  if (value === null) return succeed(null);
  const text = String(value);
  const day = TIME.exec(text)?.[1];
  const wallMs = Date.parse(text);
  // The reader takes the 30th of February for the 2nd of March: a day that does not exist is refused here.
  const exists = day !== undefined && dayExists(day) && Number.isFinite(wallMs);
  if (exists && wallMs > 0) return succeed(wallMs);
  const finding = 'is no RFC 3339 time with offset after 1970, such as 2030-01-31T12:00:00Z';
  return refuse(fault('REQUEST_MALFORMED', { place, finding }));
}

function dayExists(day: string): boolean {
  const atNoon = Date.parse(`${day}T12:00:00Z`);
  return Number.isFinite(atNoon) && new Date(atNoon).toISOString().startsWith(day);
}

export function devicesFromJson(
  devices: readonly (number | string)[],
  place: string,
): Outcome<readonly number[]> {
  const ids: number[] = [];
  for (const given of devices) {
    const id = linearIdOf(deviceIdFromJson(given));
    if (id === undefined) {
      const finding = `${given} is neither a linear id 0 to 83 nor a device token`;
      return refuse(fault('DEVICE_ID_INVALID', { place, finding }));
    }
    ids.push(id);
  }
  return succeed(ids);
}

export interface RightsJson {
  readonly operations?: readonly string[];
  readonly devices?: readonly (number | string)[];
  readonly operation?: OperationName;
}

/** Nothing named asks about every row; devices without an operation are asked about as for reading. */
export function rightsFromJson(asked: RightsJson): Outcome<AdministrationRequest<'rights'>> {
  const devices = devicesFromJson(asked.devices ?? [], 'devices');
  if (!devices.ok) return devices;
  const type = OperationType[asked.operation ?? 'READ'];
  return succeed({ operations: asked.operations ?? [], devices: devices.value, type });
}
