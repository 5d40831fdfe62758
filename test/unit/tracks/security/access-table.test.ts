// Who may do what: every cell of the access table written out, and each condition beside it.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OperationType, operationName, type SafetyRequirements } from '#model/operation';
import { ClearanceLevel, type Compartment, type Principal } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { type AccessQuestion, clearanceNeeded, decideAccess } from '#tracks/security/access-table';
import { memoryDevice } from '../../../support/kernel-bench.ts';
import { intentFor, PERSON } from './people.ts';

const PUMP = memoryDevice(0, 'pump', RiskLevel.LOW);

// Copied from the decisions, operation by operation; a dash is open to nobody.
const TABLE = `
              SAFE          LOW           MODERATE      HIGH          CRITICAL      QUARANTINED  UNKNOWN
READ          RESTRICTED    RESTRICTED    CONFIDENTIAL  SECRET        SECRET        -            -
WRITE         CONFIDENTIAL  CONFIDENTIAL  SECRET        SECRET        TOP_SECRET    -            -
DEACTIVATE    CONFIDENTIAL  CONFIDENTIAL  SECRET        SECRET        TOP_SECRET    -            -
CONFIG        CONFIDENTIAL  CONFIDENTIAL  SECRET        TOP_SECRET    TOP_SECRET    -            -
RESET         SECRET        SECRET        SECRET        TOP_SECRET    TOP_SECRET    -            -
ACTIVATE      SECRET        SECRET        SECRET        TOP_SECRET    TOP_SECRET    -            -
EMERGENCY_STOP -            -             -             -             -             -            -
UNKNOWN       -             -             -             -             -             -            -
`;
const [HEAD = [], ...ROWS] = TABLE.trim()
  .split('\n')
  .map((line) => line.trim().split(/\s+/));
const CELLS = ROWS.flatMap(([operation = '', ...cells]) =>
  cells.map((needed, column) => [operation, HEAD[column] ?? '', needed] as const),
);

const typeOf = (name: string) => OperationType[name as keyof typeof OperationType];
const riskOf = (name: string) => RiskLevel[name as keyof typeof RiskLevel];

function person(changes: Partial<Principal>): Principal {
  return { ...PERSON, ...changes };
}

function ask(changes: Partial<AccessQuestion> = {}) {
  const risk = changes.risk ?? RiskLevel.LOW;
  return decideAccess({
    principal: PERSON,
    intent: intentFor(OperationType.READ, { confirmedRisk: risk }),
    devices: [PUMP],
    risk,
    isQuarantined: () => false,
    ...changes,
  });
}

function codeOf(outcome: ReturnType<typeof ask>): string {
  return outcome.ok ? 'granted' : outcome.fault.code;
}

describe('the access table', () => {
  it('has a cell for every operation and every risk', () => {
    expect(CELLS).toHaveLength(Object.keys(OperationType).length * Object.keys(RiskLevel).length);
  });

  it.each(CELLS)('%s at risk %s needs %s', (operation, risk, needed) => {
    const clearance = clearanceNeeded(typeOf(operation), riskOf(risk));
    const wanted =
      needed === '-' ? undefined : ClearanceLevel[needed as keyof typeof ClearanceLevel];
    expect(clearance).toBe(wanted);
  });

  it.each(CELLS.filter(([, , needed]) => needed !== '-'))(
    '%s at risk %s is granted from %s on and refused one level below',
    (operation, risk, needed) => {
      const level = ClearanceLevel[needed as keyof typeof ClearanceLevel];
      const intent = intentFor(typeOf(operation), { confirmedRisk: riskOf(risk) });
      const at = (clearance: number) =>
        codeOf(
          ask({
            principal: person({ clearance: clearance as ClearanceLevel }),
            intent,
            risk: riskOf(risk),
          }),
        );
      expect(at(level)).toBe('granted');
      expect(at(ClearanceLevel.COSMIC)).toBe('granted');
      expect(at(level - 1)).toBe('CLEARANCE_TOO_LOW');
    },
  );

  it.each(CELLS.filter(([, , needed]) => needed === '-'))(
    '%s at risk %s is open to nobody, whatever the clearance',
    (operation, risk) => {
      const intent = intentFor(typeOf(operation), { confirmedRisk: RiskLevel.QUARANTINED });
      const principal = person({ clearance: ClearanceLevel.COSMIC });
      const code = codeOf(ask({ principal, intent, risk: riskOf(risk) }));
      expect(code).toBe(risk === 'UNKNOWN' ? 'RISK_UNKNOWN' : 'NOT_PERMITTED');
    },
  );

  it('says which clearance is needed, which is there, and who could', () => {
    const outcome = ask({
      principal: person({ clearance: ClearanceLevel.CONFIDENTIAL }),
      intent: intentFor(OperationType.WRITE),
      risk: RiskLevel.HIGH,
    });
    expect(!outcome.ok && outcome.fault).toMatchObject({
      place: 'pump',
      finding: 'WRITE at risk HIGH needs SECRET, alice has CONFIDENTIAL',
      consequence: 'nothing was done; a person with SECRET can',
    });
  });

  it('is raised by the device and by the request, and lowered by neither', () => {
    const at = (clearance: ClearanceLevel, minimum: ClearanceLevel, required: ClearanceLevel) => {
      const intent = intentFor(OperationType.WRITE);
      const requirements = { ...intent.requirements, requiredClearance: required };
      const devices = [{ ...PUMP, clearanceMinimum: minimum }];
      return codeOf(
        ask({ principal: person({ clearance }), devices, intent: { ...intent, requirements } }),
      );
    };
    expect(at(ClearanceLevel.CONFIDENTIAL, ClearanceLevel.NONE, ClearanceLevel.NONE)).toBe(
      'granted',
    );
    expect(at(ClearanceLevel.CONFIDENTIAL, ClearanceLevel.SECRET, ClearanceLevel.NONE)).toBe(
      'CLEARANCE_TOO_LOW',
    );
    expect(at(ClearanceLevel.CONFIDENTIAL, ClearanceLevel.NONE, ClearanceLevel.SECRET)).toBe(
      'CLEARANCE_TOO_LOW',
    );
    expect(at(ClearanceLevel.SECRET, ClearanceLevel.SECRET, ClearanceLevel.SECRET)).toBe('granted');
    expect(at(ClearanceLevel.RESTRICTED, ClearanceLevel.NONE, ClearanceLevel.NONE)).toBe(
      'CLEARANCE_TOO_LOW',
    );
  });
});

describe('compartments', () => {
  const device = { ...PUMP, compartments: ['CRYPTO', 'MAINT'] as const };
  const holding = (...compartments: Compartment[]) =>
    ask({ principal: person({ compartments }), devices: [device] });

  it('have to be held all, whatever the clearance', () => {
    expect(codeOf(holding('CRYPTO', 'MAINT', 'COMMS'))).toBe('granted');
    expect(codeOf(holding('CRYPTO'))).toBe('COMPARTMENT_MISSING');
    const none = ask({
      principal: person({ clearance: ClearanceLevel.COSMIC, compartments: [] }),
      devices: [device],
    });
    expect(!none.ok && none.fault.finding).toBe('alice does not hold CRYPTO, MAINT');
    expect(!none.ok && none.fault.consequence).toBe(
      'nothing was done; a person who holds CRYPTO, MAINT can',
    );
  });

  it('add up over the devices and the request', () => {
    const other = { ...memoryDevice(1, 'valve', RiskLevel.LOW), compartments: ['COMMS'] as const };
    const intent = intentFor(OperationType.READ);
    const requirements = { ...intent.requirements, requiredCompartments: ['SENSORS'] as const };
    const asked = (...compartments: Compartment[]) =>
      codeOf(
        ask({
          principal: person({ compartments }),
          devices: [device, other],
          intent: { ...intent, requirements },
        }),
      );
    expect(asked('CRYPTO', 'MAINT', 'COMMS', 'SENSORS')).toBe('granted');
    expect(asked('CRYPTO', 'MAINT', 'SENSORS')).toBe('COMPARTMENT_MISSING');
    expect(asked('CRYPTO', 'MAINT', 'COMMS')).toBe('COMPARTMENT_MISSING');
  });
});

describe('a justification', () => {
  const saying = (justification: string, risk: RiskLevel) =>
    codeOf(
      ask({
        risk,
        intent: intentFor(OperationType.READ, { justification, confirmedRisk: risk }),
      }),
    );

  it.each([
    ['', 'LOW', 'granted'],
    ['', 'MODERATE', 'JUSTIFICATION_NEEDED'],
    ['123456789', 'MODERATE', 'JUSTIFICATION_NEEDED'],
    ['         a          ', 'MODERATE', 'JUSTIFICATION_NEEDED'],
    ['1234567890', 'MODERATE', 'granted'],
    ['x'.repeat(512), 'CRITICAL', 'granted'],
    ['x'.repeat(513), 'CRITICAL', 'JUSTIFICATION_NEEDED'],
    ['x'.repeat(513), 'LOW', 'JUSTIFICATION_NEEDED'],
  ] as const)('of "%s" at risk %s: %s', (text, risk, expected) => {
    expect(saying(text, RiskLevel[risk])).toBe(expected);
  });
});

describe('a confirmation', () => {
  const confirming = (confirmedRisk: RiskLevel, risk: RiskLevel, dryRun = 'no') =>
    codeOf(
      ask({
        risk,
        intent: intentFor(OperationType.READ, { confirmedRisk, dryRun: dryRun === 'dry run' }),
      }),
    );

  it('is needed from MODERATE up, of at least the assessed risk', () => {
    const { UNKNOWN, LOW, MODERATE, HIGH, CRITICAL } = RiskLevel;
    expect(confirming(UNKNOWN, LOW)).toBe('granted');
    expect(confirming(UNKNOWN, MODERATE)).toBe('CONFIRMATION_NEEDED');
    expect(confirming(LOW, MODERATE)).toBe('CONFIRMATION_NEEDED');
    expect(confirming(MODERATE, MODERATE)).toBe('granted');
    expect(confirming(MODERATE, HIGH)).toBe('CONFIRMATION_NEEDED');
    expect(confirming(CRITICAL, HIGH)).toBe('granted');
  });

  it('is not needed to be shown the risk', () => {
    expect(confirming(RiskLevel.UNKNOWN, RiskLevel.HIGH, 'dry run')).toBe('granted');
  });

  it.each(['userConfirmationRequired', 'riskDisclosureRequired'] as const)(
    'is needed at any risk when the request demands it by %s',
    (demand) => {
      const intent = intentFor(OperationType.READ, { confirmedRisk: RiskLevel.UNKNOWN });
      const demanding = { ...intent, requirements: { ...intent.requirements, [demand]: true } };
      const disclosed = { risk: RiskLevel.LOW, ageMs: 0 };
      expect(codeOf(ask({ intent: demanding, disclosed }))).toBe('CONFIRMATION_NEEDED');
      const confirmed = { ...demanding, confirmedRisk: RiskLevel.LOW };
      expect(codeOf(ask({ intent: confirmed, disclosed }))).toBe('granted');
    },
  );
});

describe('a confirmation that counts only after the risk was disclosed', () => {
  const { LOW, MODERATE, HIGH, CRITICAL } = RiskLevel;
  const confirming = (
    requirements: Partial<SafetyRequirements>,
    disclosed?: { readonly risk: RiskLevel; readonly ageMs: number },
    risk: RiskLevel = MODERATE,
    confirmedRisk: RiskLevel = CRITICAL,
  ) => {
    const intent = intentFor(OperationType.WRITE, { confirmedRisk });
    return ask({
      risk,
      intent: { ...intent, requirements: { ...intent.requirements, ...requirements } },
      ...(disclosed === undefined ? {} : { disclosed }),
    });
  };
  const findingOf = (outcome: ReturnType<typeof ask>) => {
    if (outcome.ok) return 'granted';
    expect(outcome.fault.code).toBe('CONFIRMATION_NEEDED');
    return outcome.fault.finding;
  };

  it.each([
    ['risk_disclosure_required', { riskDisclosureRequired: true }],
    ['confirmation_timeout_seconds', { confirmationTimeoutSeconds: 60 }],
  ] as const)('%s: is worth nothing to a person who was never shown it', (_, requirements) => {
    expect(findingOf(confirming(requirements))).toBe(
      'the risk of this plan was never shown to alice: ask for the plan first',
    );
    expect(findingOf(confirming(requirements, { risk: MODERATE, ageMs: 1 }))).toBe('granted');
  });

  it('needs the disclosure of at least the risk that the plan has now', () => {
    const requirements = { riskDisclosureRequired: true };
    expect(findingOf(confirming(requirements, { risk: LOW, ageMs: 1 }))).toBe(
      'alice was shown risk LOW, it is MODERATE now',
    );
    expect(findingOf(confirming(requirements, { risk: HIGH, ageMs: 1 }))).toBe('granted');
    expect(findingOf(confirming(requirements, { risk: HIGH, ageMs: 1 }, HIGH, MODERATE))).toBe(
      'risk HIGH was confirmed only as MODERATE',
    );
  });

  it.each([
    [60, 60_000, 'granted'],
    [60, 94_100, 'the risk was shown 95 s ago, more than the 60 s asked for'],
    [600, 400_000, 'granted'],
    [0, 300_000, 'granted'],
    [0, 300_001, 'the risk was shown 301 s ago, more than the 300 s that a disclosure lasts'],
  ])('confirmation_timeout_seconds %d, shown %d ms ago: %s', (seconds, ageMs, expected) => {
    const requirements = { riskDisclosureRequired: true, confirmationTimeoutSeconds: seconds };
    expect(findingOf(confirming(requirements, { risk: MODERATE, ageMs }))).toBe(expected);
  });

  it('is as good as any other where the request demands neither', () => {
    expect(findingOf(confirming({}))).toBe('granted');
    expect(findingOf(confirming({ userConfirmationRequired: true }))).toBe('granted');
  });

  it('is not asked for where no confirmation is needed', () => {
    expect(findingOf(confirming({ confirmationTimeoutSeconds: 60 }, undefined, LOW))).toBe(
      'granted',
    );
  });

  it('counts exactly when person, risk and time all fit, whatever the numbers', () => {
    const level = fc.constantFrom(...Object.values(RiskLevel));
    const assessed = fc.constantFrom(MODERATE, HIGH, CRITICAL);
    const seconds = fc.nat(1_000);
    fc.assert(
      fc.property(
        assessed,
        level,
        level,
        seconds,
        fc.nat(1_100_000),
        (risk, confirmed, told, timeout, ageMs) => {
          const requirements = {
            riskDisclosureRequired: true,
            confirmationTimeoutSeconds: timeout,
          };
          const granted = confirming(requirements, { risk: told, ageMs }, risk, confirmed).ok;
          const limitMs = (timeout === 0 ? 300 : timeout) * 1_000;
          expect(granted).toBe(
            confirmed !== RiskLevel.UNKNOWN &&
              confirmed >= risk &&
              told >= risk &&
              ageMs <= limitMs,
          );
        },
      ),
    );
  });
});

describe('what a stop would do', () => {
  it('is shown to anybody who is signed in, but never done as a plan', () => {
    const principal = person({ clearance: ClearanceLevel.NONE, compartments: [], devices: [] });
    const stop = (dryRun: boolean) =>
      ask({
        principal,
        risk: RiskLevel.UNKNOWN,
        intent: intentFor(OperationType.EMERGENCY_STOP, { dryRun, justification: '' }),
      });
    expect(stop(true)).toEqual({ ok: true, value: { dualAuthorization: false } });
    expect(codeOf(stop(false))).toBe('NOT_PERMITTED');
  });

  it('is not shown for a quarantined device', () => {
    const intent = intentFor(OperationType.EMERGENCY_STOP, { dryRun: true });
    const devices = [memoryDevice(9, 'forbidden', RiskLevel.SAFE)];
    expect(codeOf(ask({ devices, intent }))).toBe('DEVICE_QUARANTINED');
  });
});

describe('the requirements that security judges, by their names in the specification', () => {
  const requiring = (requirements: Partial<SafetyRequirements>, principal = PERSON) => {
    const intent = intentFor(OperationType.READ, { confirmedRisk: RiskLevel.SAFE });
    const all = { ...intent.requirements, ...requirements };
    return ask({ principal, risk: RiskLevel.SAFE, intent: { ...intent, requirements: all } });
  };

  it('required_clearance refuses a person below it, and lowers nothing', () => {
    const secret = { requiredClearance: ClearanceLevel.SECRET };
    expect(codeOf(requiring(secret, person({ clearance: ClearanceLevel.CONFIDENTIAL })))).toBe(
      'CLEARANCE_TOO_LOW',
    );
    expect(codeOf(requiring(secret, person({ clearance: ClearanceLevel.SECRET })))).toBe('granted');
    expect(codeOf(requiring({}, person({ clearance: ClearanceLevel.NONE })))).toBe(
      'CLEARANCE_TOO_LOW',
    );
  });

  it('required_compartments refuses a person who lacks one of them', () => {
    const both = { requiredCompartments: ['NUCLEAR', 'WEAPONS'] as const };
    expect(codeOf(requiring(both, person({ compartments: ['NUCLEAR'] })))).toBe(
      'COMPARTMENT_MISSING',
    );
    expect(codeOf(requiring(both))).toBe('granted');
  });

  it('dual_authorization_required asks for a second person at any risk', () => {
    expect(requiring({ dualAuthorizationRequired: true })).toEqual({
      ok: true,
      value: { dualAuthorization: true },
    });
    expect(requiring({})).toEqual({ ok: true, value: { dualAuthorization: false } });
  });
});

describe('a second person', () => {
  const TYPES = ['READ', 'WRITE', 'DEACTIVATE', 'CONFIG', 'RESET', 'ACTIVATE'] as const;
  const RISKS = ['SAFE', 'LOW', 'MODERATE', 'HIGH', 'CRITICAL'] as const;

  it.each(TYPES.flatMap((type) => RISKS.map((risk) => [type, risk] as const)))(
    'for %s at risk %s is needed exactly from HIGH up and for every RESET',
    (type, risk) => {
      const intent = intentFor(OperationType[type], { confirmedRisk: RiskLevel[risk] });
      const outcome = ask({ intent, risk: RiskLevel[risk] });
      const dualAuthorization = type === 'RESET' || risk === 'HIGH' || risk === 'CRITICAL';
      expect(outcome).toEqual({ ok: true, value: { dualAuthorization } });
    },
  );

  it('is needed at any risk when the request demands it', () => {
    const intent = intentFor(OperationType.READ);
    const requirements = { ...intent.requirements, dualAuthorizationRequired: true };
    const outcome = ask({ intent: { ...intent, requirements } });
    expect(outcome).toEqual({ ok: true, value: { dualAuthorization: true } });
  });
});

describe('quarantine', () => {
  it.each([9, 10, 11, 21, 33])(
    'of device %d is kept, even when the board says it is free',
    (id) => {
      const device = memoryDevice(id, 'forbidden', RiskLevel.SAFE);
      const principal = person({ clearance: ClearanceLevel.COSMIC });
      for (const type of Object.values(OperationType)) {
        const code = codeOf(ask({ principal, devices: [device], intent: intentFor(type) }));
        expect([operationName(type), code]).toEqual([operationName(type), 'DEVICE_QUARANTINED']);
      }
    },
  );

  it('by the board and at run time is kept as well', () => {
    const byBoard = { ...PUMP, quarantined: true };
    expect(codeOf(ask({ devices: [byBoard] }))).toBe('DEVICE_QUARANTINED');
    expect(codeOf(ask({ isQuarantined: (device) => device.id === 0 }))).toBe('DEVICE_QUARANTINED');
  });

  it('is found behind a device that the person may not operate: no attempt hides behind another refusal', () => {
    const principal = person({ devices: [9], clearance: ClearanceLevel.NONE, compartments: [] });
    const devices = [PUMP, memoryDevice(9, 'forbidden', RiskLevel.SAFE)];
    const risk = RiskLevel.UNKNOWN;
    expect(codeOf(ask({ principal, devices, risk }))).toBe('DEVICE_QUARANTINED');
  });
});

describe('devices of a person', () => {
  it('are the only ones that person may operate', () => {
    expect(codeOf(ask({ principal: person({ devices: [0] }) }))).toBe('granted');
    expect(codeOf(ask({ principal: person({ devices: [1] }) }))).toBe('NOT_PERMITTED');
    expect(codeOf(ask({ principal: person({ devices: [] }) }))).toBe('NOT_PERMITTED');
  });
});
