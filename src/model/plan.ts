// What will be done to metal, as data: the ordered register transactions everyone signs by digest.

import { canonicalDigest } from '#foundation/canonical';
import type { LinearId } from './device.ts';
import type { OperationType } from './operation.ts';
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

export interface RegisterPlan {
  readonly type: OperationType;
  readonly steps: readonly RegisterStep[];
  /** Upper bound of the execution time, bus deadlines and settle times included. */
  readonly worstCaseMs: number;
  /** SHA-256 of the canonical type and steps. */
  readonly digest: string;
  /** The kernel track's own assessment, made with the plan: saves asking it a second time. Not part of the digest. */
  readonly risk?: RiskAssessment;
}

export function planOf(
  type: OperationType,
  steps: readonly RegisterStep[],
  worstCaseMs: number,
): RegisterPlan {
  const digest = planDigest(type, steps);
  return { type, steps, worstCaseMs, digest };
}

export function planDigest(type: OperationType, steps: readonly RegisterStep[]): string {
  return canonicalDigest({
    type,
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
