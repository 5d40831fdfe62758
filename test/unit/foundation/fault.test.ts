// The fault catalogue is complete and in range, and a fault says everything a person needs.

import { describe, expect, it } from 'vitest';
import { describeError, describeFault, FaultError, fault } from '#foundation/fault';
import { FAULT_CATALOGUE, type FaultCode, isFaultCode } from '#foundation/fault-catalogue';

const CODES = Object.keys(FAULT_CATALOGUE) as FaultCode[];

describe('the fault catalogue', () => {
  it.each(CODES)('%s says what follows and what to do, in range on each transport', (code) => {
    const { kind, retry, grpc, http, sentence, action } = FAULT_CATALOGUE[code];
    expect(code).toMatch(/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/);
    expect(['refusal', 'operating', 'integrity']).toContain(kind);
    expect(['now', 'later', 'never']).toContain(retry);
    // gRPC: CANCELLED 1 .. UNAUTHENTICATED 16; OK would hide the fault.
    expect(grpc).toBeGreaterThanOrEqual(1);
    expect(grpc).toBeLessThanOrEqual(16);
    expect(http).toBeGreaterThanOrEqual(400);
    expect(http).toBeLessThanOrEqual(599);
    // The sentence follows "finding; " and so begins small and has no full stop; the action is a sentence of its own.
    expect(sentence).toMatch(/^[a-z].*[^.]$/);
    expect(action).toMatch(/^[A-Z].*\.$/);
    // Nothing of this machine in what goes over the network.
    expect(`${sentence} ${action}`).not.toMatch(/\/(dev|sys|proc|etc|home|tmp)|0x[0-9a-f]|errno/i);
  });

  it('gives a client error for everything that is refused, and none for anything else', () => {
    const refusedByServer = CODES.filter((code) => {
      const { kind, http } = FAULT_CATALOGUE[code];
      return kind === 'refusal' && http >= 500;
    });
    // These are refusals by load or state that the client can do nothing about.
    expect(refusedByServer.sort()).toEqual([
      'BUS_QUEUE_FULL',
      'EMERGENCY_STOPPED',
      'RISK_UNKNOWN',
      'UNSUPERVISED',
    ]);
    const ownFault = CODES.filter(
      (code) => FAULT_CATALOGUE[code].kind === 'operating' && FAULT_CATALOGUE[code].http < 500,
    );
    expect(ownFault).toEqual([]);
  });

  it('uses the statuses that panels and scripts were promised', () => {
    const statuses: Partial<Record<FaultCode, number>> = {
      REQUEST_MALFORMED: 400,
      NOT_AUTHENTICATED: 401,
      CLEARANCE_TOO_LOW: 403,
      DEVICE_QUARANTINED: 403,
      DEVICE_UNKNOWN: 404,
      DEVICE_BUSY: 409,
      APPROVAL_INVALID: 412,
      VALUE_OUT_OF_LIMITS: 422,
      ACCOUNT_LOCKED: 423,
      APPROVAL_NEEDED: 428,
      CONFIRMATION_NEEDED: 428,
      RATE_LIMITED: 429,
      EMERGENCY_STOPPED: 503,
    };
    for (const [code, http] of Object.entries(statuses)) {
      expect([code, FAULT_CATALOGUE[code as FaultCode].http]).toEqual([code, http]);
    }
  });

  it('knows its own codes and nothing that merely looks like a member', () => {
    expect(CODES.every(isFaultCode)).toBe(true);
    for (const name of ['', 'toString', '__proto__', 'bus_io'])
      expect(isFaultCode(name)).toBe(false);
  });
});

describe('a fault', () => {
  it('says place, finding and consequence, the consequence from the catalogue where none is given', () => {
    const value = fault('BUS_TIMEOUT', { place: 'fan.duty', finding: 'no answer for 50 ms' });
    expect(describeFault(value)).toBe(
      'fan.duty: no answer for 50 ms; the answer did not come in time',
    );
    expect(value.metal).toBe('untouched');
    expect(value).not.toHaveProperty('internal');
  });

  it('keeps what is for this machine alone out of the sentence', () => {
    const internal = describeError(Object.assign(new Error('no such file'), { code: 'ENOENT' }));
    const value = fault('BUS_ABSENT', { place: 'bus a', finding: 'not there', internal });
    expect(value.internal).toBe('ENOENT: no such file');
    expect(describeFault(value)).not.toContain('ENOENT');
    expect(new FaultError(value).message).toBe(describeFault(value));
  });
});
