// What a request to stop covers: the whole system, or groups and devices of the board, said plainly.
// Invariants: a scope never fails; one that names nothing of this board is the whole system; devices under quarantine are
// told of and never driven.

import {
  DEVICES_PER_GROUP,
  type DeviceDescriptor,
  formatToken,
  type LinearId,
} from '#model/device';
import type { StopRequest } from '#model/orchestrator-port';

export interface StopScope {
  /** Empty for the whole system. */
  readonly devices: readonly LinearId[];
  readonly text: string;
}

const WHOLE = 'whole system';

export function stopScope(
  request: Pick<StopRequest, 'devices' | 'groups'>,
  board: ReadonlyMap<LinearId, DeviceDescriptor>,
  isQuarantined: (device: LinearId) => boolean,
): StopScope {
  if (request.devices.length === 0 && request.groups.length === 0) {
    return { devices: [], text: WHOLE };
  }
  const parts: string[] = [];
  const unknown: string[] = [];
  const covered = new Set<LinearId>();
  for (const group of new Set(request.groups)) {
    const members = [...board.values()].filter(
      ({ id }) => Math.floor(id / DEVICES_PER_GROUP) === group,
    );
    const [first] = members;
    if (first === undefined) {
      unknown.push(`group ${group}`);
      continue;
    }
    for (const { id } of members) covered.add(id);
    const driven = members.filter(({ id }) => !isQuarantined(id)).length;
    parts.push(`group ${group} (${first.groupName}): ${counted(driven)}`);
  }
  const single: string[] = [];
  for (const id of new Set(request.devices)) {
    const device = board.get(id);
    if (device === undefined) unknown.push(`device ${id}`);
    else if (!covered.has(id)) {
      covered.add(id);
      if (!isQuarantined(id)) single.push(nameOf(device));
    }
  }
  if (single.length > 0)
    parts.push(`${single.length === 1 ? 'device' : 'devices'} ${single.join(', ')}`);
  // Somebody wants something stopped, and nobody knows what.
  if (covered.size === 0) {
    return { devices: [], text: `${WHOLE}, for ${absent(unknown)}` };
  }
  const driven = [...covered].filter((id) => !isQuarantined(id));
  const left = covered.size - driven.length;
  if (left > 0) {
    parts.push(`${left} quarantined ${left === 1 ? 'device is' : 'devices are'} never driven`);
  }
  if (unknown.length > 0) parts.push(absent(unknown));
  // Kernel leaves quarantined ones out by itself; they are named here so that the scope is not that of the whole system.
  return { devices: driven.length > 0 ? driven : [...covered], text: parts.join('; ') };
}

/** The devices of a cause on record. */
export function scopeText(
  devices: readonly LinearId[],
  board: ReadonlyMap<LinearId, DeviceDescriptor>,
): string {
  if (devices.length === 0) return WHOLE;
  const names = devices.map((id) => {
    const device = board.get(id);
    return device === undefined ? `device ${id}` : nameOf(device);
  });
  return `${names.length === 1 ? 'device' : 'devices'} ${names.join(', ')}`;
}

function nameOf({ slug, id }: DeviceDescriptor): string {
  return `${slug} (${formatToken(id)})`;
}

function absent(unknown: readonly string[]): string {
  return `${unknown.join(' and ')} ${unknown.length === 1 ? 'is' : 'are'} not on this board`;
}

function counted(count: number): string {
  return count === 1 ? '1 device' : `${count} devices`;
}
