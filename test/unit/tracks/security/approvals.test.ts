// Two-person approvals: another person with another credential, the exact plan, devices as they were, once, for a short time.

import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { OperationType } from '#model/operation';
import type { Principal } from '#model/principal';
import { RiskLevel, riskRank } from '#model/risk';
import { APPROVAL_LIFETIME_MS, Approvals } from '#tracks/security/approvals';
import { codeOf, must } from '../../../support/kernel-bench.ts';
import { intentFor, PERSON, SECOND } from './people.ts';

const THIRD: Principal = { ...PERSON, id: 'carol' };
/** The state of the devices when the tests begin. */
const BASIS = 'basis-1';
const { HIGH, CRITICAL } = RiskLevel;
let clock: VirtualClock;
let approvals: Approvals;

beforeEach(() => {
  clock = new VirtualClock();
  approvals = new Approvals(clock);
});

function ask(...given: Parameters<typeof tryToAsk>) {
  return must(tryToAsk(...given));
}

function tryToAsk(
  requester = PERSON,
  planDigest = 'digest-1',
  risk: RiskLevel = HIGH,
  more: { readonly basis?: string; readonly credential?: string } = {},
) {
  return approvals.ask({
    intent: intentFor(OperationType.WRITE),
    basis: more.basis ?? BASIS,
    credential: more.credential ?? `token of ${requester.id}`,
    request: {
      planDigest,
      operation: 'WRITE',
      devices: [0],
      requestedBy: requester.id,
      justification: 'routine maintenance',
      risk,
      transactions: ['write pump.DATA 0x00000001'],
    },
  });
}

const approve = (
  planDigest: string,
  principal: Principal,
  { basis = BASIS, credential = `token of ${principal.id}` } = {},
) => approvals.approve(planDigest, { principal, credential }, basis);

/** Who approved, or `none`, or the code of the fault. */
function consume(
  planDigest: string,
  requester: Principal,
  risk: RiskLevel = HIGH,
  basis = BASIS,
): string {
  const consumed = approvals.consume(planDigest, requester, risk, basis);
  return consumed.ok ? (consumed.value ?? 'none') : consumed.fault.code;
}

describe('an approval', () => {
  it('by a second person lets the requester through exactly once', () => {
    ask();
    expect(consume('digest-1', PERSON)).toBe('none');
    const approved = approve('digest-1', SECOND);
    expect(approved).toMatchObject({ ok: true, value: { approvedBy: 'bob' } });
    expect(consume('digest-1', PERSON)).toBe('bob');
    expect(consume('digest-1', PERSON)).toBe('none');
  });

  it('is refused to the person who asked, and the request stays open', () => {
    ask();
    const refused = approve('digest-1', PERSON);
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'NOT_PERMITTED',
      finding: 'alice asked for it and cannot approve it',
    });
    expect(approve('digest-1', SECOND).ok).toBe(true);
  });

  it('is refused to a machine, however cleared', () => {
    ask();
    const machine: Principal = { ...SECOND, kind: 'machine' };
    expect(codeOf(approve('digest-1', machine))).toBe('NOT_PERMITTED');
    expect(consume('digest-1', PERSON)).toBe('none');
  });

  it('is given once, by one person', () => {
    ask();
    approve('digest-1', SECOND);
    const again = approve('digest-1', THIRD);
    expect(!again.ok && again.fault.finding).toBe('already approved by bob');
    expect(consume('digest-1', PERSON)).toBe('bob');
  });

  it('is worth nothing for another plan, and nothing to another person', () => {
    ask();
    approve('digest-1', SECOND);
    expect(codeOf(approve('digest-2', SECOND))).toBe('APPROVAL_INVALID');
    expect(consume('digest-2', PERSON)).toBe('none');
    expect(consume('digest-1', THIRD)).toBe('none');
    expect(consume('digest-1', SECOND)).toBe('none');
    // The one it was given to still has it.
    expect(consume('digest-1', PERSON)).toBe('bob');
  });

  it('is void when the risk has risen since it was asked for', () => {
    ask();
    approve('digest-1', SECOND);
    expect(consume('digest-1', PERSON, CRITICAL)).toBe('none');
    expect(consume('digest-1', PERSON)).toBe('none');
    expect(ask(PERSON, 'digest-1', CRITICAL).approvedBy).toBe('');
  });

  it.each(['before it is given', 'after it was given'])('expires after 300 s, %s', async (when) => {
    expect(APPROVAL_LIFETIME_MS).toBe(300_000);
    expect(ask().expiresAtWallMs).toBe(clock.wallMs() + 300_000);
    if (when === 'after it was given') approve('digest-1', SECOND);
    await clock.advance(300_000);
    expect(codeOf(approve('digest-1', SECOND))).toBe('APPROVAL_INVALID');
    expect(consume('digest-1', PERSON)).toBe('none');
    expect(approvals.open()).toEqual([]);
  });

  it('stands until the last moment', async () => {
    ask();
    approve('digest-1', SECOND);
    await clock.advance(299_999);
    expect(consume('digest-1', PERSON)).toBe('bob');
  });
});

describe('an approval by what might be the same person', () => {
  it('is refused when both signed in with one credential, whatever they are called', () => {
    ask(PERSON, 'digest-1', HIGH, { credential: 'one token' });
    const refused = approve('digest-1', SECOND, { credential: 'one token' });
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'NOT_PERMITTED',
      finding: 'bob signed in with what alice asked with, so that it might be one person',
    });
    expect(approve('digest-1', SECOND, { credential: 'another token' }).ok).toBe(true);
  });
});

describe('an approval of a device that has changed', () => {
  it('is refused to the second person, and closes the request', () => {
    ask();
    const refused = approve('digest-1', SECOND, { basis: 'basis-2' });
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'APPROVAL_VOID',
      place: 'plan digest-1',
      finding: 'the device changed, or kernel was started again, since alice asked for it',
    });
    expect(approvals.open()).toEqual([]);
    // Also when the device is as it was once more: the person has to ask anew.
    expect(codeOf(approve('digest-1', SECOND))).toBe('APPROVAL_VOID');
    expect(codeOf(approvals.find('digest-1'))).toBe('APPROVAL_VOID');
    expect(consume('digest-1', PERSON)).toBe('none');
    expect(ask().approvedBy).toBe('');
    expect(approve('digest-1', SECOND).ok).toBe(true);
  });

  it('is void for the requester, who is told once and then asks anew', () => {
    ask();
    approve('digest-1', SECOND);
    const consumed = approvals.consume('digest-1', PERSON, HIGH, 'basis-2');
    expect(!consumed.ok && consumed.fault).toMatchObject({
      code: 'APPROVAL_VOID',
      finding: 'the device changed, or kernel was started again, since bob approved the plan',
      consequence: 'nothing was done; the approval is void',
    });
    expect(consume('digest-1', PERSON, HIGH, 'basis-2')).toBe('none');
    expect(consume('digest-1', PERSON)).toBe('none');
  });

  it('gives way when somebody asks for the same plan on the device as it is now', () => {
    ask();
    approve('digest-1', SECOND);
    expect(ask(THIRD, 'digest-1', HIGH, { basis: 'basis-2' })).toMatchObject({
      requestedBy: 'carol',
      approvedBy: '',
    });
    expect(consume('digest-1', PERSON)).toBe('none');
  });
});

describe('what is revoked', () => {
  it('says why to everybody who comes for it, until it would have expired', async () => {
    ask();
    ask(PERSON, 'digest-2');
    approve('digest-1', SECOND);
    approvals.revokeAll('kernel was started again since');
    expect(approvals.open()).toEqual([]);
    const late = approve('digest-2', SECOND);
    expect(!late.ok && late.fault).toMatchObject({
      code: 'APPROVAL_VOID',
      finding: 'kernel was started again since',
    });
    // The one who had an approval hears that it is void; the one who had none simply asks again.
    expect(consume('digest-1', PERSON)).toBe('APPROVAL_VOID');
    expect(consume('digest-1', PERSON)).toBe('none');
    expect(consume('digest-2', PERSON)).toBe('none');
    await clock.advance(APPROVAL_LIFETIME_MS);
    expect(codeOf(approve('digest-2', SECOND))).toBe('APPROVAL_INVALID');
  });

  it('keeps its first reason, and what is not there stays unknown', () => {
    ask();
    approvals.revoke('digest-1', 'the first reason');
    approvals.revoke('digest-1', 'a second reason');
    approvals.revoke('digest-9', 'never asked for');
    const refused = approve('digest-1', SECOND);
    expect(!refused.ok && refused.fault.finding).toBe('the first reason');
    expect(codeOf(approvals.find('digest-9'))).toBe('APPROVAL_INVALID');
  });
});

describe('over any sequence of asking, approving and using', () => {
  const PEOPLE = [PERSON, SECOND, THIRD];
  const person = fc.constantFrom(...PEOPLE);
  const basis = fc.constantFrom(BASIS, BASIS, BASIS, 'basis-2');
  const risk = fc.constantFrom(HIGH, HIGH, CRITICAL);
  const act = fc.constantFrom('ask', 'ask', 'approve', 'approve', 'consume', 'consume', 'wait');
  const command = fc.record({ act, person, basis, risk });
  const commands = fc.array(command, { minLength: 20, maxLength: 40 });

  it('an approval is used at most once, by who asked, on another word, for what was asked, in time', async () => {
    let usedInAll = 0;
    await fc.assert(
      fc.asyncProperty(commands, async (sequence) => {
        clock = new VirtualClock();
        approvals = new Approvals(clock);
        let given = 0;
        let used = 0;
        let asked = { by: '', basis: '', risk: HIGH as RiskLevel, atMs: 0 };
        for (const one of sequence) {
          if (one.act === 'wait') await clock.advance(APPROVAL_LIFETIME_MS / 4);
          if (one.act === 'ask') {
            const before = approvals.open();
            const request = ask(one.person, 'digest-1', one.risk, { basis: one.basis });
            if (!before.includes(request))
              asked = { by: one.person.id, basis: one.basis, risk: one.risk, atMs: clock.nowMs() };
          }
          if (one.act === 'approve') {
            const approved = approve('digest-1', one.person, { basis: one.basis });
            if (!approved.ok) continue;
            given += 1;
            expect(approved.value.requestedBy).not.toBe(one.person.id);
            expect(one.basis).toBe(asked.basis);
          }
          if (one.act === 'consume') {
            const consumed = approvals.consume('digest-1', one.person, one.risk, one.basis);
            if (!consumed.ok || consumed.value === undefined) continue;
            used += 1;
            usedInAll += 1;
            expect(one.person.id).toBe(asked.by);
            expect(consumed.value).not.toBe(one.person.id);
            expect(one.basis).toBe(asked.basis);
            expect(riskRank(one.risk)).toBeLessThanOrEqual(riskRank(asked.risk));
            expect(clock.nowMs() - asked.atMs).toBeLessThan(APPROVAL_LIFETIME_MS);
          }
          expect(used).toBeLessThanOrEqual(given);
        }
      }),
      { numRuns: 150 },
    );
    // The sequences do get that far.
    expect(usedInAll).toBeGreaterThan(10);
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
    approve('digest-1', SECOND);
    expect(ask(THIRD)).toMatchObject({ requestedBy: 'alice', approvedBy: 'bob' });
    expect(consume('digest-1', THIRD)).toBe('none');
    expect(consume('digest-1', PERSON)).toBe('bob');
  });

  it('gives way to newer ones when two hundred and fifty-six are open', () => {
    for (let count = 0; count <= 256; count++)
      ask({ ...PERSON, id: `person-${count % 17}` }, `digest-${count}`);
    expect(approvals.open()).toHaveLength(256);
    expect(codeOf(approvals.find('digest-0'))).toBe('APPROVAL_INVALID');
    expect(approvals.find('digest-256').ok).toBe(true);
  });

  it('is refused to who has sixteen open, whom nobody else pays for, until one of them is over', async () => {
    ask(THIRD, 'of another');
    for (let count = 0; count < 16; count++) ask(PERSON, `digest-${count}`);
    expect(tryToAsk(PERSON, 'one-more')).toMatchObject({
      ok: false,
      fault: { code: 'BUSY', finding: '16 plans of alice wait for a second person already' },
    });
    // What is open already is given out as ever, and others ask as ever.
    ask(PERSON, 'digest-3');
    ask(THIRD, 'another of another');
    expect(approvals.open()).toHaveLength(18);
    approve('digest-5', SECOND);
    expect(tryToAsk(PERSON, 'one-more').ok).toBe(false);
    expect(consume('digest-5', PERSON)).toBe('bob');
    ask(PERSON, 'one-more');
    // One that is closed gives way to the next of the same person.
    approvals.revoke('digest-0', 'the device changed');
    ask(PERSON, 'yet-one-more');
    expect(codeOf(approvals.find('digest-0'))).toBe('APPROVAL_INVALID');
    expect(tryToAsk(PERSON, 'too many').ok).toBe(false);
    await clock.advance(APPROVAL_LIFETIME_MS);
    ask(PERSON, 'too many');
  });
});
