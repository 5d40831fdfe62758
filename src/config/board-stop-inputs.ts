// The stop inputs of a board: circuits that allow the system to run, each a condition on a register of one of its devices.
// Invariants: an input lies on a device that may be read for ever: none under quarantine, and no register whose reading
// has an effect.

import { nearestName, quoted } from '#foundation/nearest';
import type { StopInput } from '#model/board';
import { type DeviceDescriptor, formatToken, linearIdOf } from '#model/device';
import { readable } from '#model/register';
import type { StopInputText } from './board-file.ts';
import type { DocumentPath, Problem } from './problem.ts';
import { registerCondition } from './profile-behaviour.ts';
import type { YamlDocument } from './yaml-document.ts';

export interface StopInputEntry {
  readonly text: StopInputText;
  readonly path: DocumentPath;
}

export function stopInputs(
  document: YamlDocument,
  entries: readonly StopInputEntry[],
  devices: readonly DeviceDescriptor[],
  report: (problem: Problem) => void,
): readonly StopInput[] {
  const names = new Set<string>();
  return entries.flatMap(({ text, path }) => {
    const wrong = (member: string, finding: string) => {
      report(document.problem([...path, member], finding));
      return [];
    };
    if (names.has(text.name)) return wrong('name', `${quoted(text.name)} is already a stop input`);
    names.add(text.name);
    const device = deviceOf(text.device, devices);
    if (device === undefined) return wrong('device', unknownDevice(text.device, devices));
    if (device.quarantined) {
      return wrong('device', `${formatToken(device.id)} is quarantined and never read`);
    }
    const specs = new Map(device.registers.map(({ spec }) => [spec.name, spec]));
    const spec = specs.get(text.register);
    if (spec === undefined) {
      const near = nearestName(text.register, specs.keys());
      const hint = near === undefined ? '' : `, did you mean ${near}?`;
      return wrong('register', `${device.slug} has no register ${text.register}${hint}`);
    }
    if (!readable(spec) || spec.precious) {
      const why = spec.precious ? 'precious' : spec.access;
      return wrong('register', `${text.register} is ${why} and never polled`);
    }
    const { bits, mask, value, minimum, maximum } = text.healthy;
    if ((value === undefined) === (minimum === undefined && maximum === undefined)) {
      return wrong('healthy', 'give a value, or a minimum or maximum or both');
    }
    const condition = {
      register: text.register,
      ...(bits === undefined ? {} : { bits }),
      ...(mask === undefined ? {} : { mask }),
      ...(value === undefined ? {} : { value }),
      ...(minimum === undefined ? {} : { minimum }),
      ...(maximum === undefined ? {} : { maximum }),
    };
    const piece = { document, path: [...path, 'healthy'], text: condition };
    const healthy = registerCondition(piece, specs, report);
    if (healthy === undefined) return [];
    const { name, periodMs } = text;
    return [{ name, device: device.id, healthy, periodMs }];
  });
}

function deviceOf(
  named: number | string,
  devices: readonly DeviceDescriptor[],
): DeviceDescriptor | undefined {
  if (typeof named === 'string') return devices.find(({ slug }) => slug === named);
  const id = linearIdOf(named);
  return devices.find((device) => device.id === id);
}

function unknownDevice(named: number | string, devices: readonly DeviceDescriptor[]): string {
  if (typeof named === 'number') return 'no device of this board has this number';
  const near = nearestName(
    named,
    devices.map(({ slug }) => slug),
  );
  const hint = near === undefined ? '' : `, did you mean ${near}?`;
  return `there is no device ${quoted(named)}${hint}`;
}
