// Finds what two entries of one board cannot both have: ids, names, windows, chips, addresses, physical buses.
// Invariants: the later entry gets the problem, and its finding names the earlier one and its place.

import type { BusDescription } from '#model/board';
import { type DeviceDescriptor, formatToken } from '#model/device';
import { writable } from '#model/register';
import type { DocumentPath, Problem } from './problem.ts';
import { overlaps } from './profile-registers.ts';
import { hexadecimal } from './words.ts';
import type { YamlDocument } from './yaml-document.ts';

export interface Entry<T> {
  readonly path: DocumentPath;
  readonly value: T;
}

type Report = (problem: Problem) => void;

export function busConflicts(
  document: YamlDocument,
  entries: readonly Entry<BusDescription>[],
  report: Report,
): void {
  const ids = new Map<string, Entry<BusDescription>>();
  const wires = new Map<string, Entry<BusDescription>>();
  for (const entry of entries) {
    const { value: bus, path } = entry;
    const twin = ids.get(bus.id);
    if (twin !== undefined) {
      const finding = `bus ${bus.id} is already described at ${placeOf(document, twin.path)}`;
      report(document.problem([...path, 'id'], finding));
    } else ids.set(bus.id, entry);
    const wire = wireOf(bus);
    const other = wires.get(wire);
    if (other !== undefined && other.value.id !== bus.id) {
      const place = placeOf(document, other.path);
      report(document.problem(path, `is physically the same as bus ${other.value.id} at ${place}`));
    } else wires.set(wire, entry);
  }
}

/** What the bus is opened by: one queue serves one physical bus, so it may stand on a board once. */
function wireOf(bus: BusDescription): string {
  switch (bus.kind) {
    case 'memory':
    case 'serial':
      return `${bus.kind} ${bus.path}`;
    case 'pci':
      return `pci ${JSON.stringify(bus.match)} ${bus.bar} ${bus.root}`;
    case 'uio':
      return `uio ${JSON.stringify(bus.match)} ${bus.map} ${bus.root}`;
    case 'sysfs':
      return `sysfs ${bus.root}`;
    case 'i2c':
      return `i2c ${JSON.stringify(bus.adapter)}`;
    case 'modbus-tcp':
      return `modbus-tcp ${bus.host}:${bus.port}`;
  }
}

export interface DeviceEntry extends Entry<DeviceDescriptor> {
  /** `token` or `id`, whichever the file gives. */
  readonly idMember: 'token' | 'id';
}

export function deviceConflicts(
  document: YamlDocument,
  entries: readonly DeviceEntry[],
  report: Report,
): void {
  for (const [index, entry] of entries.entries()) {
    for (const earlier of entries.slice(0, index)) {
      const conflict =
        identityConflict(entry, earlier) ?? placeConflict(entry.value, earlier.value);
      if (conflict === undefined) continue;
      const place = placeOf(document, [...earlier.path, ...conflict.earlier]);
      const finding = `${conflict.finding} of ${earlier.value.name} at ${place}`;
      report(document.problem([...entry.path, ...conflict.member], finding));
    }
  }
}

interface Conflict {
  readonly member: DocumentPath;
  readonly earlier: DocumentPath;
  readonly finding: string;
}

function identityConflict(entry: DeviceEntry, earlier: DeviceEntry): Conflict | undefined {
  const { id, slug } = entry.value;
  if (id === earlier.value.id) {
    const finding = `${formatToken(id)} (id ${id}) is already the number`;
    return { member: [entry.idMember], earlier: [earlier.idMember], finding };
  }
  if (slug !== earlier.value.slug) return undefined;
  return { member: ['name'], earlier: ['name'], finding: `${slug} is already the name` };
}

function placeConflict(device: DeviceDescriptor, earlier: DeviceDescriptor): Conflict | undefined {
  if (device.busId !== earlier.busId) return undefined;
  const { window } = device;
  if (window !== undefined && earlier.window !== undefined) {
    const left = { start: window.address, length: window.length };
    const right = { start: earlier.window.address, length: earlier.window.length };
    if (!overlaps(left, right)) return undefined;
    const finding = `window ${rangeText(left)} overlaps ${rangeText(right)}`;
    return { member: ['at', 'window'], earlier: ['at', 'window'], finding };
  }
  for (const { spec, location } of device.registers) {
    for (const other of earlier.registers) {
      const there = other.location;
      if (location.kind === 'i2c' && there.kind === 'i2c' && location.chip === there.chip) {
        const finding = `chip ${hexadecimal(BigInt(location.chip))} is already the chip`;
        return { member: ['at', 'chip'], earlier: ['at', 'chip'], finding };
      }
      if (location.kind === 'modbus' && there.kind === 'modbus') {
        if (location.unit !== there.unit || location.table !== there.table) continue;
        const left = { start: location.address, length: Math.max(1, spec.widthBits / 16) };
        const right = { start: there.address, length: Math.max(1, other.spec.widthBits / 16) };
        if (!overlaps(left, right)) continue;
        const place = `unit ${location.unit}, ${location.table} address ${location.address}`;
        const finding = `${place} (${spec.name}) is already ${other.spec.name}`;
        return { member: ['at', 'unit'], earlier: ['at', 'unit'], finding };
      }
      if (location.kind === 'sysfs' && there.kind === 'sysfs') {
        const same =
          location.directory === there.directory && location.attribute === there.attribute;
        // Two devices may both read one attribute; as soon as one writes it, it has to have one owner.
        if (!same || !(writable(spec) || writable(other.spec))) continue;
        const finding = `${location.directory} ${location.attribute} (${spec.name}) is already ${other.spec.name}`;
        return { member: ['at', 'directory'], earlier: ['at', 'directory'], finding };
      }
    }
  }
  return undefined;
}

function rangeText(range: { readonly start: number; readonly length: number }): string {
  const last = range.start + range.length - 1;
  return `${hexadecimal(BigInt(range.start))} .. ${hexadecimal(BigInt(last))}`;
}

function placeOf(document: YamlDocument, path: DocumentPath): string {
  const { line, column } = document.problem(path, '');
  return `${line}:${column}`;
}
