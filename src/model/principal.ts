// Who acts: a person or machine with clearance and compartments, known from the connection alone.

import type { LinearId } from './device.ts';

export const ClearanceLevel = {
  NONE: 0,
  RESTRICTED: 1,
  CONFIDENTIAL: 2,
  SECRET: 3,
  TOP_SECRET: 4,
  SCI: 5,
  SAP: 6,
  COSMIC: 7,
} as const;
export type ClearanceLevel = (typeof ClearanceLevel)[keyof typeof ClearanceLevel];
export type ClearanceName = keyof typeof ClearanceLevel;

export const CLEARANCE_NAMES = [
  'NONE',
  'RESTRICTED',
  'CONFIDENTIAL',
  'SECRET',
  'TOP_SECRET',
  'SCI',
  'SAP',
  'COSMIC',
] as const satisfies readonly ClearanceName[];

export function clearanceName(level: ClearanceLevel): ClearanceName {
  return CLEARANCE_NAMES[level];
}

export const COMPARTMENTS = [
  'CRYPTO',
  'SIGNALS',
  'NUCLEAR',
  'WEAPONS',
  'COMMS',
  'SENSORS',
  'MAINT',
  'EMERGENCY',
] as const;
export type Compartment = (typeof COMPARTMENTS)[number];

export interface Principal {
  readonly id: string;
  readonly name: string;
  /** A machine is an unattended client: interface raises the risk of what it asks for. */
  readonly kind: 'person' | 'machine';
  readonly clearance: ClearanceLevel;
  readonly compartments: readonly Compartment[];
  /** Devices this principal may operate; null for all. */
  readonly devices: readonly LinearId[] | null;
  /** Raises the risk of everything this principal asks for by one level. */
  readonly underReview: boolean;
}

/** What a connection presents; security alone decides what it is worth. */
export type Credential =
  | { readonly kind: 'token'; readonly token: string }
  /** URI subject alternative name and SHA-256 fingerprint of a verified client certificate. */
  | { readonly kind: 'certificate'; readonly uri: string; readonly fingerprint: string }
  /** SO_PEERCRED of a local socket (unix(7)). */
  | { readonly kind: 'local'; readonly uid: number; readonly gid: number; readonly pid: number };

export type Transport = 'grpc' | 'rest' | 'websocket' | 'local';

/** Where a request came from, as the server saw it; recorded, and part of every audit entry. */
export interface Origin {
  readonly transport: Transport;
  /** `127.0.0.1:40312`, or `uid 0` on the local socket. */
  readonly peer: string;
}
