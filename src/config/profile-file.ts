// The shape of a profile file after its schema has been checked and its defaults filled in.

import type { RegisterAccess, WidthBits } from '#model/register';
import type { RiskName } from '#model/risk';
import type { DocumentPath, Problem } from './problem.ts';
import type { WordText } from './words.ts';
import type { YamlDocument } from './yaml-document.ts';

export type BusFamily = 'memory' | 'sysfs' | 'i2c' | 'modbus';

export interface RegisterText {
  readonly name: string;
  readonly offset?: number;
  readonly attribute?: string;
  readonly command?: number;
  readonly protocol?: 'byte' | 'word' | 'word-swapped' | 'raw';
  readonly address?: number;
  readonly table?: 'holding' | 'input' | 'coil' | 'discrete';
  readonly width: WidthBits;
  readonly access: RegisterAccess;
  readonly volatile?: boolean;
  readonly precious?: boolean;
  readonly signed: boolean;
  readonly unit: string;
  readonly scale: number;
  readonly description: string;
  readonly fields: readonly { readonly name: string; readonly bits: WordText }[];
  readonly limits?: { readonly minimum: WordText; readonly maximum: WordText };
  readonly maxStep?: WordText;
  readonly reserved?: WordText;
  readonly readBack?: WordText;
  readonly selfClearing?: WordText;
  readonly settleUs: number;
  readonly safeValue?: WordText;
  readonly safeOrder: number;
  readonly riskFloor: RiskName;
}

export interface ConditionText {
  readonly register: string;
  readonly bits?: WordText;
  readonly mask?: WordText;
  readonly value?: WordText;
  readonly minimum?: WordText;
  readonly maximum?: WordText;
}

export interface RuleText {
  readonly when: readonly ConditionText[];
  readonly state: string;
}

export interface ObserveText {
  readonly registers: readonly string[];
  readonly power: readonly RuleText[];
  readonly status: readonly RuleText[];
}

export interface ThermalText {
  readonly register: string;
  readonly maximum: WordText;
}

export interface WriteText {
  readonly register: string;
  readonly mask?: WordText;
  readonly value: WordText;
}

export interface OperationsText {
  readonly RESET?: readonly WriteText[];
  readonly ACTIVATE?: readonly WriteText[];
  readonly DEACTIVATE?: readonly WriteText[];
  readonly CONFIG?: { readonly registers: readonly string[] };
}

export interface ProfileText {
  readonly id: string;
  readonly version: string;
  readonly description: string;
  readonly bus: BusFamily;
  readonly extends?: string;
  readonly registers: readonly RegisterText[];
  readonly identify?: readonly ConditionText[];
  readonly observe?: ObserveText;
  readonly thermal?: ThermalText;
  readonly operations?: OperationsText;
}

/** A piece of a profile and where it stands: pieces come from the profile itself or from one it extends. */
export interface Piece<T> {
  readonly document: YamlDocument;
  readonly path: DocumentPath;
  readonly text: T;
}

/** Notes a problem at a member of a piece. */
export type Report = (problem: Problem) => void;

export function reportAt<T>(
  report: Report,
  piece: Piece<T>,
  member: DocumentPath,
  finding: string,
): void {
  report(piece.document.problem([...piece.path, ...member], finding));
}
