// Whether a stage can run here: what it needs is installed when root; otherwise it is skipped with its reason.
// Invariants: on CI (CI is set) nothing is skipped, a missing requirement fails.

import { ensurePackages } from '../../scripts/rig/packages.ts';
import { prepareRig, type Rig } from '../../scripts/rig/prepare.ts';

export type Requirement<T> =
  | { readonly met: true; readonly value: T }
  | { readonly met: false; readonly reason: string };

export function requirePackages(): Requirement<null> {
  const report = ensurePackages();
  if (report.complete) return { met: true, value: null };
  return unmet(report.sentence, process.getuid?.() !== 0);
}

export function requireRig(): Requirement<Rig> {
  const preparation = prepareRig();
  if (preparation.ready) return { met: true, value: preparation.rig };
  return unmet(preparation.sentence, preparation.mayBeSkipped);
}

function unmet(reason: string, mayBeSkipped: boolean): Requirement<never> {
  if (!mayBeSkipped || process.env.CI) throw new Error(reason);
  console.warn(`skipped: ${reason}`);
  return { met: false, reason };
}
