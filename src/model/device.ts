// What a device is: its two numbers, its group, its permanent quarantine and its description.
// Invariants: a token is 0x8000 + group * 0x10 + index with index 0..11; conversion is never plain subtraction.

import type { BusKind, Location } from './bus.ts';
import type { DeviceBehaviour } from './device-behaviour.ts';
import type { ClearanceLevel, Compartment } from './principal.ts';
import type { RegisterSpec } from './register.ts';
import type { RiskLevel } from './risk.ts';

/** 0..83 on the default board: group * 12 + index. */
export type LinearId = number;
/** 0x8000 + group * 0x10 + index. */
export type Token = number;

export const GROUP_COUNT = 7;
export const DEVICES_PER_GROUP = 12;
export const DEVICE_COUNT_MAX = GROUP_COUNT * DEVICES_PER_GROUP;
const TOKEN_BASE = 0x8000;

/** Never touched, whatever a board file or a person says. */
export const PERMANENT_QUARANTINE: ReadonlySet<Token> = new Set([
  0x8009, 0x800a, 0x800b, 0x8019, 0x8029,
]);

export function tokenOf(id: LinearId): Token {
  return TOKEN_BASE + Math.floor(id / DEVICES_PER_GROUP) * 0x10 + (id % DEVICES_PER_GROUP);
}

/**
 * The linear id for what an interface calls `device_id`: a linear id 0..83 or a token.
 * Gap tokens (index nibble C..F), fractions and everything else give `undefined`.
 */
export function linearIdOf(deviceId: number): LinearId | undefined {
  if (!Number.isInteger(deviceId) || deviceId < 0) return undefined;
  if (deviceId < DEVICE_COUNT_MAX) return deviceId;
  const offset = deviceId - TOKEN_BASE;
  // Before any bit operation: those look at the low 32 bits only.
  if (offset < 0 || offset >= GROUP_COUNT * 0x10) return undefined;
  const group = offset >> 4;
  const index = offset & 0xf;
  if (index >= DEVICES_PER_GROUP) return undefined;
  return group * DEVICES_PER_GROUP + index;
}

export function formatToken(id: LinearId): string {
  return `0x${tokenOf(id).toString(16).toUpperCase()}`;
}

export function permanentlyQuarantined(id: LinearId): boolean {
  return PERMANENT_QUARANTINE.has(tokenOf(id));
}

/** A register of one device, placed on its bus. */
export interface PlacedRegister {
  readonly spec: RegisterSpec;
  readonly location: Location;
}

/** Everything the tracks know about a device before touching it; made from the board file and a profile. */
export interface DeviceDescriptor {
  readonly id: LinearId;
  readonly token: Token;
  readonly name: string;
  /** Stable name for messages and the command line: `fan-controller`. */
  readonly slug: string;
  readonly group: number;
  readonly index: number;
  readonly groupName: string;
  readonly busKind: BusKind;
  /** The physical bus: one queue for each. */
  readonly busId: string;
  readonly profile: string;
  readonly baseRisk: RiskLevel;
  readonly quarantined: boolean;
  /** Raises the clearance of the access table for this device; 0 leaves it as it is. */
  readonly clearanceMinimum: ClearanceLevel;
  readonly compartments: readonly Compartment[];
  readonly registers: readonly PlacedRegister[];
  /** Stage in which the device goes to its safe values, lowest first; absent means 0. */
  readonly stopStage?: number;
  /** Memory, PCI and UIO: the bytes to map, in the bus's own address space. */
  readonly window?: { readonly address: number; readonly length: number };
  /** How the device is recognised, observed and operated, from its profile; pure data. */
  readonly behaviour: DeviceBehaviour;
}

export function registerOf(device: DeviceDescriptor, name: string): PlacedRegister | undefined {
  return device.registers.find((register) => register.spec.name === name);
}
