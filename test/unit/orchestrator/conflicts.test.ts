import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HOLD_KINDS } from '#model/hold';
import { DisplayState, OverallStatus, PowerState, SecurityStatus } from '#model/snapshot';
import { CONFLICT_ANSWERS, CONFLICT_RULES, type ConflictRule } from '#model/unified-state';
import {
  type ConflictContext,
  type DeviceParts,
  displayOf,
  floorOf,
  RULES,
  type Verdict,
} from '#orchestrator/conflicts';
import { lessSafe } from '#orchestrator/resolution';
import { kernelDevice, unifiedState } from '../../support/unified-states.ts';

const DEVICE = 3;
const NOW = 1_000_000;

interface Case {
  readonly kernel?: Partial<DeviceParts['kernel']>;
  readonly security?: Partial<DeviceParts['security']>;
  readonly interface?: Partial<DeviceParts['interface']>;
  readonly context?: Partial<ConflictContext>;
}

function judge(rule: ConflictRule, given: Case): Verdict {
  const calm = unifiedState(DEVICE);
  const parts: DeviceParts = {
    kernel: kernelDevice(DEVICE, { lastAccessMs: NOW - 500, ...given.kernel }),
    security: { ...calm.security, status: SecurityStatus.NORMAL, ...given.security },
    interface: { ...calm.interface, display: DisplayState.NORMAL, ...given.interface },
  };
  return RULES[rule].judge(parts, {
    nowMs: NOW,
    stopCovers: false,
    expectedHolds: [],
    canRest: true,
    staleAfterMs: 15_000,
    kernelUp: true,
    kernelHeardMs: NOW - 100,
    inCharge: true,
    interfaceUp: true,
    ...given.context,
  });
}

const { QUARANTINED, LOCKED } = SecurityStatus;
const fault = { status: OverallStatus.FAULT };
const silent = { kernelHeardMs: NOW - 15_001 };

describe('the rules', () => {
  it.each<[ConflictRule, Case]>([
    ['ACTIVE_WHILE_QUARANTINED', { security: { status: QUARANTINED } }],
    [
      'ACTIVE_WHILE_QUARANTINED',
      { security: { status: QUARANTINED }, kernel: { power: PowerState.OFF } },
    ],
    ['ACTIVE_WHILE_LOCKED', { security: { status: LOCKED } }],
    ['RUNNING_WHILE_STOPPED', { context: { stopCovers: true } }],
    ['NORMAL_WHILE_FAULT', { kernel: fault }],
    ['NORMAL_WHILE_FAULT', { kernel: { power: PowerState.FAULT } }],
    ['NORMAL_WHILE_FAULT', { kernel: { lastFault: 'fan.duty: no answer' } }],
    ['CURRENT_WHILE_STALE', { context: { kernelUp: false } }],
    ['CURRENT_WHILE_STALE', { context: silent }],
    ['CURRENT_WHILE_STALE', { kernel: { lastAccessMs: NOW - 15_001 } }],
    ['HOLD_DISAGREES', { context: { expectedHolds: ['in-doubt'] } }],
    ['HOLD_DISAGREES', { kernel: { holds: ['deactivated'] } }],
    [
      'HOLD_DISAGREES',
      { kernel: { holds: ['stopped'] }, context: { expectedHolds: ['in-doubt'] } },
    ],
    ['CHANGED_WITHOUT_OPERATION', { kernel: { unexplained: 'DATA 0x1 to 0x2' } }],
  ])('%s is found: %j', (rule, given) => {
    expect(judge(rule, given)).toMatchObject({ kind: 'disagreement', disagreement: { rule } });
  });

  it.each<[ConflictRule, string, Case]>([
    [
      'ACTIVE_WHILE_QUARANTINED',
      'kernel enforces the quarantine',
      {
        security: { status: QUARANTINED },
        kernel: { status: OverallStatus.QUARANTINED, holds: ['quarantined'] },
      },
    ],
    [
      'ACTIVE_WHILE_QUARANTINED',
      'kernel waits to be told the holds',
      { security: { status: QUARANTINED }, context: { inCharge: false } },
    ],
    [
      'ACTIVE_WHILE_LOCKED',
      'the device cannot be switched off',
      { security: { status: LOCKED }, context: { canRest: false } },
    ],
    [
      'RUNNING_WHILE_STOPPED',
      'the device is off',
      { context: { stopCovers: true }, kernel: { power: PowerState.OFF } },
    ],
    [
      'RUNNING_WHILE_STOPPED',
      'what was last seen of it is worth nothing',
      { context: { stopCovers: true }, kernel: { lastFault: 'no answer' } },
    ],
    [
      'RUNNING_WHILE_STOPPED',
      'a device in quarantine is never driven',
      { context: { stopCovers: true }, security: { status: QUARANTINED } },
    ],
    ['NORMAL_WHILE_FAULT', 'there is no fault', {}],
    ['CURRENT_WHILE_STALE', 'kernel spoke just now', {}],
    ['CURRENT_WHILE_STALE', 'it was never looked at', { kernel: { lastAccessMs: 0 } }],
    [
      'HOLD_DISAGREES',
      'both know the same holds in another order',
      {
        kernel: { holds: ['stopped', 'in-doubt'] },
        context: { expectedHolds: ['in-doubt', 'stopped'] },
      },
    ],
    [
      'HOLD_DISAGREES',
      'kernel is away',
      { context: { expectedHolds: ['in-doubt'], kernelUp: false } },
    ],
    ['CHANGED_WITHOUT_OPERATION', 'everything is accounted for', {}],
  ])('%s is none where %s', (rule, _why, given) => {
    expect(judge(rule, given)).toEqual({ kind: 'none' });
  });

  it.each<[ConflictRule, Case]>([
    ['NORMAL_WHILE_FAULT', { kernel: fault, interface: { display: DisplayState.CRITICAL } }],
    ['NORMAL_WHILE_FAULT', { kernel: fault, context: { interfaceUp: false } }],
    ['CURRENT_WHILE_STALE', { context: silent, interface: { display: DisplayState.STALE } }],
  ])('%s leaves the cause standing where panels do not contradict it', (rule, given) => {
    expect(judge(rule, given)).toEqual({ kind: 'cause' });
  });
});

describe('every rule', () => {
  const parts = fc.record({
    kernel: fc.record({
      power: fc.constantFrom(...Object.values(PowerState)),
      status: fc.constantFrom(...Object.values(OverallStatus)),
      lastFault: fc.constantFrom('', 'no answer'),
      lastAccessMs: fc.integer({ min: 0, max: NOW }),
      holds: fc.subarray([...HOLD_KINDS]),
      unexplained: fc.constantFrom('', 'DATA 0x1 to 0x2', 'DATA 0x1 to 0x2; CONFIG 0x0 to 0x7'),
    }),
    security: fc.record({ status: fc.constantFrom(...Object.values(SecurityStatus)) }),
    interface: fc.record({ display: fc.constantFrom(...Object.values(DisplayState)) }),
    context: fc.record({
      stopCovers: fc.boolean(),
      expectedHolds: fc.subarray([...HOLD_KINDS]),
      canRest: fc.boolean(),
      kernelUp: fc.boolean(),
      inCharge: fc.boolean(),
      interfaceUp: fc.boolean(),
      kernelHeardMs: fc.integer({ min: 0, max: NOW }),
    }),
  });

  it('gives a verdict on anything, always the same, with answers that it permits', () => {
    fc.assert(
      fc.property(fc.constantFrom(...CONFLICT_RULES), parts, (rule, given) => {
        const verdict = judge(rule, given);
        expect(judge(rule, given)).toEqual(verdict);
        if (verdict.kind !== 'disagreement') return;
        const { disagreement } = verdict;
        expect(disagreement.positions.length).toBeGreaterThan(1);
        expect(disagreement.finding).not.toBe('');
        for (const position of disagreement.positions) {
          expect(RULES[rule].answers).toContain(position.answer);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('has its answers in order of safety, the least safe as its floor', () => {
    for (const rule of CONFLICT_RULES) {
      const { answers } = RULES[rule];
      const ordered = [...answers].sort(
        (left, right) => CONFLICT_ANSWERS.indexOf(left) - CONFLICT_ANSWERS.indexOf(right),
      );
      expect(answers).toEqual(ordered);
      for (const answer of answers) expect(lessSafe(answer, floorOf(rule))).toBe(false);
    }
  });

  it('about a quarantine, a stop or a hold leaves nothing to choose', () => {
    const strict = ['ACTIVE_WHILE_QUARANTINED', 'RUNNING_WHILE_STOPPED', 'HOLD_DISAGREES'] as const;
    for (const rule of strict) expect(RULES[rule].answers).toHaveLength(1);
  });
});

it('shows a fault as critical and an old picture as stale', () => {
  expect(displayOf('SHOW_FAULT')).toBe(DisplayState.CRITICAL);
  expect(displayOf('SHOW_STALE')).toBe(DisplayState.STALE);
  expect(displayOf('ACCEPT')).toBeUndefined();
});

it('takes changes of the same registers for one subject, whatever they changed to', () => {
  const subject = (unexplained: string) => {
    const verdict = judge('CHANGED_WITHOUT_OPERATION', { kernel: { unexplained } });
    return verdict.kind === 'disagreement' ? verdict.disagreement.subject : '';
  };
  expect(subject('DATA 0x1 to 0x2; CONFIG 0x0 to 0x7')).toBe('CONFIG,DATA');
  expect(subject('CONFIG 0x0 to 0x9; DATA 0x1 to 0x3')).toBe('CONFIG,DATA');
});
