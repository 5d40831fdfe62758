// Finds the device a person means by token, linear id or slug, and refuses one in quarantine before anything is sent.
// The command line is the fifth of the five places that refuse quarantined devices.

import type { DeviceJson } from '#contract/json-answer';
import { type Fault, fault } from '#foundation/fault';
import { nearestName } from '#foundation/nearest';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { formatToken, type LinearId, linearIdOf, permanentlyQuarantined } from '#model/device';

export type KnownDevice = Pick<DeviceJson, 'id' | 'slug' | 'quarantined'>;

/** The linear id for `0x8003` or `3`; undefined for a slug. */
export function numberedDevice(argument: string): Outcome<LinearId> | undefined {
  if (!/^(0[xX][0-9a-fA-F]+|[0-9]+)$/.test(argument)) return undefined;
  const id = linearIdOf(Number(argument));
  if (id !== undefined) return succeed(id);
  const finding = 'is neither a linear id 0 to 83 nor a device token';
  return refuse(fault('DEVICE_ID_INVALID', { place: `device ${argument.slice(0, 20)}`, finding }));
}

export function slugDevice(argument: string, devices: readonly KnownDevice[]): Outcome<LinearId> {
  const found = devices.find((device) => device.slug === argument.toLowerCase());
  if (found !== undefined) return succeed(found.id);
  const near = nearestName(
    argument,
    devices.map((device) => device.slug),
  );
  const finding = `no device of this name${near === undefined ? '' : `; did you mean ${near}?`}`;
  return refuse(fault('DEVICE_UNKNOWN', { place: argument.slice(0, 64), finding }));
}

export function quarantineFault(id: LinearId, devices: readonly KnownDevice[]): Fault | null {
  const listed = devices.find((device) => device.id === id);
  if (!permanentlyQuarantined(id) && listed?.quarantined !== true) return null;
  return fault('DEVICE_QUARANTINED', {
    place: `device ${formatToken(id)}`,
    finding: 'is in quarantine',
    consequence: 'the command line sent nothing',
  });
}
