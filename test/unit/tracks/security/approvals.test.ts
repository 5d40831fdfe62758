// Two-person approvals: another person, the exact plan, once, for a short time.

import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { OperationType } from '#model/operation';
import type { Principal } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { APPROVAL_LIFETIME_MS, Approvals } from '#tracks/security/approvals';
import { codeOf } from '../../../support/kernel-bench.ts';
import { intentFor, PERSON, SECOND } from './people.ts';

const THIRD: Principal = { ...PERSON, id: 'carol' };
const { HIGH, CRITICAL } = RiskLevel;
let clock: VirtualClock;
let approvals: Approvals;

beforeEach(() => {
  clock = new VirtualClock();
  approvals = new Approvals(clock);
});

function ask(requester = PERSON, planDigest = 'digest-1', risk: RiskLevel = HIGH) {
  return approvals.ask(intentFor(OperationType.WRITE), risk, {
    planDigest,
    operation: 'WRITE',
    devices: [0],
    requestedBy: requester.id,
    justification: 'routine maintenance',
    transactions: ['write pump.DATA 0x00000001'],
  });
}

describe('an approval', () => {
  it('by a second person lets the requester through exactly once', () => {
    ask();
    expect(approvals.consume('digest-1', PERSON, HIGH)).toBeUndefined();
    const approved = approvals.approve('digest-1', SECOND);
    expect(approved).toMatchObject({ ok: true, value: { approvedBy: 'bob' } });
    expect(approvals.consume('digest-1', PERSON, HIGH)).toBe('bob');
    expect(approvals.consume('digest-1', PERSON, HIGH)).toBeUndefined();
  });

  it('is refused to the person who asked, and the request stays open', () => {
    ask();
    const refused = approvals.approve('digest-1', PERSON);
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'NOT_PERMITTED',
      finding: 'alice asked for it and cannot approve it',
    });
    expect(approvals.approve('digest-1', SECOND).ok).toBe(true);
  });

  it('is refused to a machine, however cleared', () => {
    ask();
    const machine: Principal = { ...SECOND, kind: 'machine' };
    expect(codeOf(approvals.approve('digest-1', machine))).toBe('NOT_PERMITTED');
    expect(approvals.consume('digest-1', PERSON, HIGH)).toBeUndefined();
  });

  it('is given once, by one person', () => {
    ask();
    approvals.approve('digest-1', SECOND);
    const again = approvals.approve('digest-1', THIRD);
    expect(!again.ok && again.fault.finding).toBe('already approved by bob');
    expect(approvals.consume('digest-1', PERSON, HIGH)).toBe('bob');
  });

  it('is worth nothing for another plan, and nothing to another person', () => {
    ask();
    approvals.approve('digest-1', SECOND);
    expect(codeOf(approvals.approve('digest-2', SECOND))).toBe('APPROVAL_INVALID');
    expect(approvals.consume('digest-2', PERSON, HIGH)).toBeUndefined();
    expect(approvals.consume('digest-1', THIRD, HIGH)).toBeUndefined();
    expect(approvals.consume('digest-1', SECOND, HIGH)).toBeUndefined();
    // The one it was given to still has it.
    expect(approvals.consume('digest-1', PERSON, HIGH)).toBe('bob');
  });

  it('is void when the risk has risen since it was asked for', () => {
    ask();
    approvals.approve('digest-1', SECOND);
    expect(approvals.consume('digest-1', PERSON, CRITICAL)).toBeUndefined();
    expect(approvals.consume('digest-1', PERSON, HIGH)).toBeUndefined();
    expect(ask(PERSON, 'digest-1', CRITICAL).approvedBy).toBe('');
  });

  it.each(['before it is given', 'after it was given'])('expires after 300 s, %s', async (when) => {
    expect(APPROVAL_LIFETIME_MS).toBe(300_000);
    expect(ask().expiresAtWallMs).toBe(clock.wallMs() + 300_000);
    if (when === 'after it was given') approvals.approve('digest-1', SECOND);
    await clock.advance(300_000);
    expect(codeOf(approvals.approve('digest-1', SECOND))).toBe('APPROVAL_INVALID');
    expect(approvals.consume('digest-1', PERSON, HIGH)).toBeUndefined();
    expect(approvals.open()).toEqual([]);
  });

  it('stands until the last moment', async () => {
    ask();
    approvals.approve('digest-1', SECOND);
    await clock.advance(299_999);
    expect(approvals.consume('digest-1', PERSON, HIGH)).toBe('bob');
  });
});

describe('a request', () => {
  it('is opened once for a plan, also when it is asked for again', () => {
    const first = ask();
    expect(ask()).toEqual(first);
    expect(approvals.open()).toEqual([first]);
  });

  it('cannot be displaced by another person who asks for the same plan', () => {
    ask();
    approvals.approve('digest-1', SECOND);
    expect(ask(THIRD)).toMatchObject({ requestedBy: 'alice', approvedBy: 'bob' });
    expect(approvals.consume('digest-1', THIRD, HIGH)).toBeUndefined();
    expect(approvals.consume('digest-1', PERSON, HIGH)).toBe('bob');
  });

  it('gives way to newer ones when two hundred and fifty-six are open', () => {
    for (let count = 0; count <= 256; count++) ask(PERSON, `digest-${count}`);
    expect(approvals.open()).toHaveLength(256);
    expect(codeOf(approvals.find('digest-0'))).toBe('APPROVAL_INVALID');
    expect(approvals.find('digest-256').ok).toBe(true);
  });
});
