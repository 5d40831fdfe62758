// The operation machine: total, with the invariants that its header states, over any sequence of inputs.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Effect,
  INITIAL,
  INPUTS,
  type Input,
  isTerminal,
  PHASES,
  type Phase,
  stateOf,
  transition,
} from '#orchestrator/operation-machine';

const inputs = fc.array(fc.constantFrom(...INPUTS), { maxLength: 30 });

interface Step {
  readonly from: Phase;
  readonly input: Input;
  readonly to: Phase;
  readonly effects: readonly Effect[];
}

/** The steps that the accepted inputs of a sequence make. */
function walk(sequence: readonly Input[]): Step[] {
  const steps: Step[] = [];
  let phase = INITIAL.phase;
  for (const input of sequence) {
    const next = transition(phase, input);
    if (next === undefined) continue;
    steps.push({ from: phase, input, to: next.phase, effects: next.effects });
    phase = next.phase;
  }
  return steps;
}

describe('the operation machine', () => {
  it('has an answer for every input in every phase: a next phase or a refusal, and never throws', () => {
    for (const phase of PHASES) {
      for (const input of INPUTS) {
        const next = transition(phase, input);
        if (next !== undefined) expect(PHASES).toContain(next.phase);
      }
    }
  });

  it('accepts nothing in its three terminal phases', () => {
    const terminal = PHASES.filter(isTerminal);
    expect(terminal).toEqual(['COMPLETED', 'FAILED', 'EMERGENCY_STOPPED']);
    for (const phase of terminal) {
      for (const input of INPUTS) expect(transition(phase, input)).toBeUndefined();
    }
  });

  it('accepts a stop and a refusal in every other phase, and ends with them', () => {
    for (const phase of PHASES.filter((one) => !isTerminal(one))) {
      expect(transition(phase, 'STOPPED')?.phase).toBe('EMERGENCY_STOPPED');
      expect(transition(phase, 'REFUSED')?.phase).toBe('FAILED');
    }
  });

  it('commits only right after a durable decision, or for a plan that only reads', () => {
    fc.assert(
      fc.property(inputs, (sequence) => {
        for (const step of walk(sequence)) {
          const commits = step.to === 'COMMITTING' || step.effects.includes('commit');
          if (commits) expect(['DECIDED', 'PERMITTED_TO_READ']).toContain(step.input);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('never commits after a selection, and selects only what is permitted', () => {
    fc.assert(
      fc.property(inputs, (sequence) => {
        const steps = walk(sequence);
        const at = steps.findIndex((step) => step.input === 'PERMITTED_TO_SELECT');
        for (const step of steps) {
          if (step.effects.includes('select')) expect(step.input).toBe('PERMITTED_TO_SELECT');
          if (step.input === 'SELECTED') expect(step.from).toBe('SELECTING');
        }
        if (at < 0) return;
        const after = steps.slice(at).flatMap((step) => step.effects);
        for (const effect of ['prepare', 'decide', 'commit'] as const)
          expect(after).not.toContain(effect);
      }),
      { numRuns: 1_000 },
    );
  });

  it('can be stopped from every phase that a walk can reach, and every phase can be reached', () => {
    const reached = new Set<Phase>([INITIAL.phase]);
    for (const phase of reached)
      for (const input of INPUTS) {
        const next = transition(phase, input);
        if (next !== undefined) reached.add(next.phase);
      }
    expect([...reached].sort()).toEqual([...PHASES].sort());
    fc.assert(
      fc.property(inputs, (sequence) => {
        const last = walk(sequence).at(-1)?.to ?? INITIAL.phase;
        const stopped = transition(last, 'STOPPED');
        if (isTerminal(last)) expect(stopped).toBeUndefined();
        else expect(stopped?.phase).toBe('EMERGENCY_STOPPED');
      }),
      { numRuns: 1_000 },
    );
  });

  it('decides only what all have promised, and promises only what is permitted', () => {
    fc.assert(
      fc.property(inputs, (sequence) => {
        const accepted = walk(sequence).map((step) => step.input);
        const precedes = (earlier: Input, later: Input) => {
          const at = accepted.indexOf(later);
          return at < 0 || (accepted.indexOf(earlier) >= 0 && accepted.indexOf(earlier) < at);
        };
        expect(precedes('PLANNED', 'ASSESSED')).toBe(true);
        expect(precedes('ASSESSED', 'PERMITTED')).toBe(true);
        expect(precedes('ASSESSED', 'PERMITTED_TO_READ')).toBe(true);
        expect(precedes('PERMITTED', 'PREPARED')).toBe(true);
        expect(precedes('PREPARED', 'DECIDED')).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  it('always comes to an end, within a few accepted inputs, whatever comes', () => {
    fc.assert(
      fc.property(inputs, (sequence) => {
        const steps = walk(sequence);
        expect(steps.length).toBeLessThanOrEqual(6);
        const phases = steps.map((step) => step.to);
        expect(new Set(phases).size).toBe(phases.length);
      }),
    );
  });

  it('records every end but a dry run, and gives back what was prepared before it', () => {
    for (const phase of PHASES) {
      for (const input of INPUTS) {
        const next = transition(phase, input);
        if (next === undefined || !isTerminal(next.phase)) continue;
        expect([phase, input, next.effects.includes('record')]).toEqual([
          phase,
          input,
          input !== 'SHOWN',
        ]);
        const held = phase === 'PREPARING' || phase === 'PREPARED' || phase === 'SELECTING';
        expect(next.effects.includes('abort')).toBe(held && input !== 'SELECTED');
      }
    }
  });

  it('has one working effect in each phase on the way', () => {
    const way: readonly Input[] = [
      'PLANNED',
      'ASSESSED',
      'PERMITTED',
      'PREPARED',
      'DECIDED',
      'COMMITTED',
    ];
    expect(INITIAL.effects).toEqual(['plan']);
    expect(walk(way).map((step) => [step.to, ...step.effects])).toEqual([
      ['SAFETY_CHECKING', 'assess'],
      ['AUTHORIZING', 'authorize'],
      ['PREPARING', 'prepare'],
      ['PREPARED', 'decide'],
      ['COMMITTING', 'commit'],
      ['COMPLETED', 'record'],
    ]);
  });

  it('ends a selection with what it holds and its record, and nothing else', () => {
    const way: readonly Input[] = ['PLANNED', 'ASSESSED', 'PERMITTED_TO_SELECT', 'SELECTED'];
    expect(walk(way).map((step) => [step.to, ...step.effects])).toEqual([
      ['SAFETY_CHECKING', 'assess'],
      ['AUTHORIZING', 'authorize'],
      ['SELECTING', 'select'],
      ['COMPLETED', 'record'],
    ]);
  });

  it('shows the states of the specification', () => {
    expect(PHASES.map(stateOf)).toEqual([
      'INITIALIZING',
      'SAFETY_CHECKING',
      'AUTHORIZING',
      'AUTHORIZING',
      'EXECUTING',
      'EXECUTING',
      'EXECUTING',
      'COMPLETED',
      'FAILED',
      'EMERGENCY_STOPPED',
    ]);
  });
});
