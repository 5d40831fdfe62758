// Every condition that fails at once: the same verdict as the first that fails, nothing missing and nothing too much.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DeviceDescriptor } from '#model/device';
import { NO_REQUIREMENTS, OperationType } from '#model/operation';
import { ClearanceLevel, COMPARTMENTS, type Principal } from '#model/principal';
import { RiskLevel, riskRank } from '#model/risk';
import {
  type AccessQuestion,
  clearanceNeeded,
  decideAccess,
  explainAccess,
} from '#tracks/security/access-table';
import { memoryDevice } from '../../../support/kernel-bench.ts';
import { intentFor, PERSON } from './people.ts';

const level = fc.constantFrom(...Object.values(ClearanceLevel));
const risk = fc.constantFrom(...Object.values(RiskLevel));
const compartments = fc.subarray([...COMPARTMENTS]);
/** 9 is quarantined for ever, 4 by the board, 5 at run time. */
const IDS = [0, 1, 2, 4, 5, 9] as const;

const devices = fc.shuffledSubarray([...IDS], { minLength: 1, maxLength: 3 }).chain((ids) =>
  fc.tuple(
    ...ids.map((id) =>
      fc.record({ clearanceMinimum: level, compartments }).map(
        (rights): DeviceDescriptor => ({
          ...memoryDevice(id, `device-${id}`, RiskLevel.LOW, id === 4 ? 'quarantined' : 'free'),
          ...rights,
        }),
      ),
    ),
  ),
);

const principal: fc.Arbitrary<Principal> = fc
  .record({ clearance: level, compartments, devices: fc.option(fc.subarray([...IDS])) })
  .map((rights) => ({ ...PERSON, ...rights }));

const requirements = fc
  .record({
    requiredClearance: level,
    requiredCompartments: compartments,
    userConfirmationRequired: fc.boolean(),
    riskDisclosureRequired: fc.boolean(),
    dualAuthorizationRequired: fc.boolean(),
    confirmationTimeoutSeconds: fc.constantFrom(0, 60),
  })
  .map((asked) => ({ ...NO_REQUIREMENTS, ...asked }));

const question: fc.Arbitrary<AccessQuestion> = fc
  .record({
    principal,
    devices,
    risk,
    type: fc.constantFrom(...Object.values(OperationType)),
    // Nothing demanded in half of the cases, so that granting is as common as refusing.
    requirements: fc.oneof(fc.constant(NO_REQUIREMENTS), requirements),
    justification: fc.constantFrom('', 'short', 'routine maintenance', 'x'.repeat(513)),
    confirmedRisk: risk,
    dryRun: fc.boolean(),
    disclosed: fc.option(fc.record({ risk, ageMs: fc.constantFrom(1, 100_000, 400_000) })),
    watched: fc.subarray([...IDS]),
  })
  .map(({ type, disclosed, watched, principal: asking, devices: asked, risk: found, ...said }) => ({
    principal: asking,
    devices: asked,
    risk: found,
    intent: intentFor(type, said),
    isQuarantined: (device) => device.id === 5,
    dualRequired: (device) => watched.some((id) => id === device.id),
    ...(disclosed === null ? {} : { disclosed }),
  }));

/** The conditions of the decisions about person, devices and risk, said once more and in no order. */
function failing({
  principal: asking,
  devices: asked,
  risk: found,
  intent,
}: AccessQuestion): string[] {
  const codes = asked.filter(({ id }) => [4, 5, 9].includes(id)).map(() => 'DEVICE_QUARANTINED');
  if (intent.type === OperationType.EMERGENCY_STOP && intent.dryRun) return codes;
  for (const { id } of asked)
    if (asking.devices?.includes(id) === false) codes.push('NOT_PERMITTED');
  const needed = clearanceNeeded(intent.type, found);
  if (found === RiskLevel.UNKNOWN) codes.push('RISK_UNKNOWN');
  else if (needed === undefined) codes.push('NOT_PERMITTED');
  const { requiredClearance, requiredCompartments } = intent.requirements;
  const minimum = asked.map(({ clearanceMinimum }) => clearanceMinimum);
  if ([needed ?? 0, requiredClearance, ...minimum].some((least) => asking.clearance < least))
    codes.push('CLEARANCE_TOO_LOW');
  const held = (wanted: (typeof COMPARTMENTS)[number]) => asking.compartments.includes(wanted);
  if (![...requiredCompartments, ...asked.flatMap((one) => one.compartments)].every(held))
    codes.push('COMPARTMENT_MISSING');
  return codes;
}

describe('all that is missing', () => {
  it('is exactly every condition that fails, the one that decides first', () => {
    fc.assert(
      fc.property(question, (asked) => {
        const { missing, conduct } = explainAccess(asked);
        expect(missing.map(({ code }) => code).sort()).toEqual(failing(asked).sort());
        const decided = decideAccess(asked);
        const undone = conduct.flatMap(({ fault }) => fault ?? []);
        expect(decided.ok).toBe(missing.length + undone.length === 0);
        if (!decided.ok) expect(decided.fault).toEqual([...missing, ...undone][0]);
      }),
      { numRuns: 2_000 },
    );
  });

  it('is all: whoever has what was named, and does what was asked for, is let in', () => {
    fc.assert(
      fc.property(question, (asked) => {
        const { missing } = explainAccess(asked);
        const hopeless = ['DEVICE_QUARANTINED', 'RISK_UNKNOWN'];
        const place = asked.devices.map((device) => device.slug).join(', ');
        fc.pre(!missing.some(({ code }) => hopeless.includes(code)));
        fc.pre(!missing.some(({ finding }) => finding.endsWith('is open to nobody')));
        const named = new Set(missing.map(({ code }) => code));
        const helped: Principal = {
          ...asked.principal,
          ...(named.has('NOT_PERMITTED') ? { devices: null } : {}),
          ...(named.has('CLEARANCE_TOO_LOW') ? { clearance: ClearanceLevel.COSMIC } : {}),
          ...(named.has('COMPARTMENT_MISSING') ? { compartments: COMPARTMENTS } : {}),
        };
        const intent = {
          ...asked.intent,
          justification: 'routine maintenance',
          confirmedRisk: RiskLevel.QUARANTINED,
        };
        const disclosed = { risk: RiskLevel.QUARANTINED, ageMs: 0 };
        const again = decideAccess({ ...asked, principal: helped, intent, disclosed });
        expect([place, again.ok]).toEqual([place, true]);
      }),
      { numRuns: 1_000 },
    );
  });

  it('names every device and the person in the words of a refusal', () => {
    const found = explainAccess({
      principal: {
        ...PERSON,
        clearance: ClearanceLevel.CONFIDENTIAL,
        compartments: [],
        devices: [],
      },
      intent: intentFor(OperationType.WRITE, {
        justification: '',
        confirmedRisk: RiskLevel.UNKNOWN,
      }),
      devices: [
        { ...memoryDevice(0, 'pump', RiskLevel.HIGH), compartments: ['MAINT'] },
        memoryDevice(9, 'forbidden', RiskLevel.LOW),
      ],
      risk: RiskLevel.HIGH,
      isQuarantined: () => false,
    });
    expect(found.missing.map(({ place, finding }) => `${place}: ${finding}`)).toEqual([
      'forbidden: WRITE refused: device 0x8009 is quarantined',
      'pump: alice may not operate this device',
      'forbidden: alice may not operate this device',
      'pump, forbidden: WRITE at risk HIGH needs SECRET, alice has CONFIDENTIAL',
      'pump, forbidden: alice does not hold MAINT',
    ]);
  });
});

describe('conduct', () => {
  const kinds = (asked: AccessQuestion) => explainAccess(asked).conduct.map(({ kind }) => kind);

  it('asks for a second person exactly where the grant does, and where threat detection wants one', () => {
    fc.assert(
      fc.property(question, (asked) => {
        const { intent, risk: found, devices: all, dualRequired } = asked;
        fc.pre(intent.type !== OperationType.EMERGENCY_STOP);
        const two =
          riskRank(found) >= riskRank(RiskLevel.HIGH) ||
          intent.type === OperationType.RESET ||
          intent.requirements.dualAuthorizationRequired ||
          all.some((device) => dualRequired?.(device) === true);
        expect(kinds(asked).includes('second-person')).toBe(two);
        const decided = decideAccess(asked);
        if (decided.ok) expect(decided.value.dualAuthorization).toBe(two);
      }),
    );
  });

  it('is listed whether it was done or not, with a fault only where it was not', () => {
    const asked = (justification: string, confirmedRisk: RiskLevel) =>
      explainAccess({
        principal: PERSON,
        intent: intentFor(OperationType.WRITE, { justification, confirmedRisk }),
        devices: [memoryDevice(0, 'pump', RiskLevel.HIGH)],
        risk: RiskLevel.HIGH,
        isQuarantined: () => false,
      }).conduct.map(({ kind, fault }) => [kind, fault?.code ?? 'done']);
    expect(asked('', RiskLevel.UNKNOWN)).toEqual([
      ['justification', 'JUSTIFICATION_NEEDED'],
      ['confirmation', 'CONFIRMATION_NEEDED'],
      ['second-person', 'done'],
    ]);
    expect(asked('routine maintenance', RiskLevel.HIGH)).toEqual([
      ['justification', 'done'],
      ['confirmation', 'done'],
      ['second-person', 'done'],
    ]);
  });

  it('names the device that threat detection watches', () => {
    const { conduct } = explainAccess({
      principal: PERSON,
      intent: intentFor(OperationType.READ, { confirmedRisk: RiskLevel.LOW }),
      devices: [memoryDevice(0, 'pump', RiskLevel.LOW), memoryDevice(1, 'valve', RiskLevel.LOW)],
      risk: RiskLevel.LOW,
      isQuarantined: () => false,
      dualRequired: ({ id }) => id === 1,
    });
    expect(conduct.map(({ demand }) => demand)).toEqual([
      'have a second person approve the exact plan: threat detection demands it for valve',
    ]);
  });
});
