// Security's risk: forceful operations, people under review, open incidents, quarantine.

import { describe, expect, it } from 'vitest';
import { OperationType } from '#model/operation';
import type { Principal } from '#model/principal';
import { RiskLevel, riskName } from '#model/risk';
import { assessSecurityRisk } from '#tracks/security/assess';
import { memoryDevice } from '../../../support/kernel-bench.ts';
import { PERSON } from './people.ts';

const { READ, WRITE, RESET, ACTIVATE } = OperationType;
const LOW = memoryDevice(0, 'pump', RiskLevel.LOW);
const HIGH = memoryDevice(2, 'heater', RiskLevel.HIGH);
const REVIEWED: Principal = { ...PERSON, underReview: true };

function level(
  type: OperationType,
  devices = [LOW],
  principal = PERSON,
  view: { readonly incident?: number; readonly quarantined?: number } = {},
): string {
  const assessed = assessSecurityRisk(type, devices, principal, {
    isQuarantined: (device) => device.id === view.quarantined,
    incidentOn: (device) => device.id === view.incident,
  });
  return riskName(assessed.level);
}

describe("security's risk", () => {
  it('is SAFE where nothing is known against person or device', () => {
    expect([level(READ), level(WRITE), level(RESET), level(ACTIVATE)]).toEqual(
      Array(4).fill('SAFE'),
    );
    expect(level(WRITE, [HIGH])).toBe('SAFE');
  });

  it('is at least HIGH for RESET and ACTIVATE of a HIGH device', () => {
    expect(level(RESET, [HIGH])).toBe('HIGH');
    expect(level(ACTIVATE, [LOW, HIGH])).toBe('HIGH');
  });

  it('is raised one level for a person under review, two for an open incident, and both add up', () => {
    expect(level(READ, [LOW], REVIEWED)).toBe('LOW');
    expect(level(READ, [LOW], PERSON, { incident: 0 })).toBe('MODERATE');
    expect(level(READ, [LOW], REVIEWED, { incident: 0 })).toBe('HIGH');
    expect(level(RESET, [HIGH], REVIEWED, { incident: 2 })).toBe('QUARANTINED');
    expect(level(READ, [LOW], PERSON, { incident: 2 })).toBe('SAFE');
  });

  it('is QUARANTINED for a quarantined device among others, by board or at run time', () => {
    const forbidden = memoryDevice(9, 'forbidden', RiskLevel.SAFE, 'quarantined');
    expect(level(READ, [LOW, forbidden])).toBe('QUARANTINED');
    expect(level(READ, [LOW, HIGH], PERSON, { quarantined: 2 })).toBe('QUARANTINED');
  });
});
