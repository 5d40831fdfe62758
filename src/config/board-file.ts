// The shape of a board file after its schema has been checked and its defaults filled in.

import type { BusDescription } from '#model/board';
import type { ClearanceName, Compartment } from '#model/principal';
import type { RiskName } from '#model/risk';
import type { WordText } from './words.ts';
import type { PlainObject } from './yaml-document.ts';

export interface DeviceText {
  readonly token?: number;
  readonly id?: number;
  readonly name: string;
  readonly bus: string;
  readonly profile: string;
  /** Checked against the definition of the profile's bus family. */
  readonly at: PlainObject;
  readonly risk: RiskName;
  readonly clearance: ClearanceName;
  readonly compartments: readonly Compartment[];
  readonly quarantined?: boolean | 'yes' | 'no';
  readonly stopStage: number;
}

export interface StopInputText {
  readonly name: string;
  /** Token, linear id or slug. */
  readonly device: number | string;
  readonly register: string;
  readonly healthy: {
    readonly bits?: WordText;
    readonly mask?: WordText;
    readonly value?: WordText;
    readonly minimum?: WordText;
    readonly maximum?: WordText;
  };
  readonly periodMs: number;
}

export interface BoardText {
  readonly name: string;
  readonly groups: readonly string[];
  readonly buses: readonly BusDescription[];
  readonly devices: readonly DeviceText[];
  readonly stopInputs?: readonly StopInputText[];
}

export interface MemoryAt {
  readonly window: number;
  readonly length: number;
}

export interface SysfsAt {
  readonly directory: string;
  readonly registers: Readonly<
    Record<string, { readonly directory?: string; readonly attribute?: string }>
  >;
}

export interface I2cAt {
  readonly chip: number;
}

export interface ModbusAt {
  readonly unit: number;
  readonly base: number;
}
