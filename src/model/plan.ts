// What will be done to metal, as data: the ordered register transactions everyone signs by digest.

import { canonicalDigest } from '#foundation/canonical';
import type { LinearId } from './device.ts';
import type { OperationType, RegisterReading } from './operation.ts';
import type { WidthBits, Word } from './register.ts';
import type { RiskAssessment } from './risk.ts';

/** A register named in a plan; the kernel track alone knows where it lies. */
export interface RegisterReference {
  readonly device: LinearId;
  readonly register: string;
  readonly widthBits: WidthBits;
}

export interface ReadStep extends RegisterReference {
  readonly kind: 'read';
}

export interface WriteStep extends RegisterReference {
  readonly kind: 'write';
  /** Bits of `value` that are written; the others keep what prepare read. */
  readonly mask: Word;
  readonly value: Word;
  /** Wait before the read-back, microseconds. */
  readonly settleUs: number;
  /** Bits compared in the read-back and what they must be; null when it cannot be read back. */
  readonly expect: { readonly mask: Word; readonly value: Word } | null;
  /** A write whose effect no later write undoes (w1c, self-clearing, write-only). */
  readonly irreversible: boolean;
}

export type RegisterStep = ReadStep | WriteStep;

/** A live temperature that must not pass its limit before any step: `thermal_monitoring_required`. */
export interface ThermalGuard extends RegisterReference {
  /** Highest allowed reading, raw, signed where the register is. */
  readonly maximum: number;
}

/** Conditions that the executor checks on metal beside the steps; part of what everyone signs. */
export interface PlanGuards {
  readonly thermal: readonly ThermalGuard[];
  /** Registers outside the plan that must hold the same word after it as before: `memory_protection_required`. */
  readonly unchanged: readonly RegisterReference[];
}

export const NO_GUARDS: PlanGuards = { thermal: [], unchanged: [] };

export interface RegisterPlan {
  readonly type: OperationType;
  readonly steps: readonly RegisterStep[];
  readonly guards: PlanGuards;
  /** Upper bound of the execution time, bus deadlines and settle times included. */
  readonly worstCaseMs: number;
  /** SHA-256 of the canonical type, steps and guards. */
  readonly digest: string;
  /**
   * What the devices were like when the plan was made: changes with every change of any of them, and with a restart of
   * kernel. An approval holds for one basis. Not part of the digest.
   */
  readonly basis: string;
  /** Dry runs: what the registers of the plan hold now, where reading has no side effect. Not part of the digest. */
  readonly preview?: readonly RegisterReading[];
  /** The kernel track's own assessment, made with the plan: saves asking it a second time. Not part of the digest. */
  readonly risk?: RiskAssessment;
}

export function planOf(
  type: OperationType,
  steps: readonly RegisterStep[],
  worstCaseMs: number,
  more: { readonly guards?: PlanGuards; readonly basis?: string } = {},
): RegisterPlan {
  const guards = more.guards ?? NO_GUARDS;
  const digest = planDigest(type, steps, guards);
  return { type, steps, guards, worstCaseMs, digest, basis: more.basis ?? '' };
}

export function planDigest(
  type: OperationType,
  steps: readonly RegisterStep[],
  guards: PlanGuards = NO_GUARDS,
): string {
  return canonicalDigest({
    type,
    thermal: guards.thermal.map(({ device, register, widthBits, maximum }) => ({
      device,
      register,
      width: widthBits,
      maximum,
    })),
    unchanged: guards.unchanged.map(({ device, register, widthBits }) => ({
      device,
      register,
      width: widthBits,
    })),
    steps: steps.map((step) =>
      step.kind === 'read'
        ? { kind: step.kind, device: step.device, register: step.register, width: step.widthBits }
        : {
            kind: step.kind,
            device: step.device,
            register: step.register,
            width: step.widthBits,
            mask: step.mask,
            value: step.value,
            settleUs: step.settleUs,
            expect: step.expect,
            irreversible: step.irreversible,
          },
    ),
  });
}

export function writesOf(plan: RegisterPlan): readonly WriteStep[] {
  return plan.steps.filter((step) => step.kind === 'write');
}

export function devicesOf(plan: RegisterPlan): readonly LinearId[] {
  return [...new Set(plan.steps.map((step) => step.device))];
}
