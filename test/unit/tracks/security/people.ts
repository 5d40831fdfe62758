// People and intents for the tests of the security track.

import { type Intent, NO_REQUIREMENTS, type OperationType } from '#model/operation';
import { ClearanceLevel, COMPARTMENTS, type Principal } from '#model/principal';
import { RiskLevel } from '#model/risk';

export const PERSON: Principal = {
  id: 'alice',
  name: 'Alice',
  kind: 'person',
  clearance: ClearanceLevel.TOP_SECRET,
  compartments: [...COMPARTMENTS],
  devices: null,
  underReview: false,
};

export const SECOND: Principal = { ...PERSON, id: 'bob', name: 'Bob' };

/** An intent that fails no condition of conduct, with what a test wants different. */
export function intentFor(type: OperationType, changes: Partial<Intent> = {}): Intent {
  return {
    operationId: 'operation-1',
    type,
    targets: [{ device: 0, registers: [] }],
    requirements: NO_REQUIREMENTS,
    justification: 'routine maintenance',
    confirmedRisk: RiskLevel.CRITICAL,
    dryRun: false,
    involved: [],
    ...changes,
  };
}
