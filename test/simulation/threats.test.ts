// Ordinary work is no attack: people of the simulation who are within their rights never come under suspicion.

import { expect, it } from 'vitest';
import type { Meddled } from './simulation.ts';
import { simulate } from './simulation.ts';

/** They hold every clearance and compartment; the others are refused a lot, as they should be. */
const ENTITLED = ['alice', 'bob', 'maria', 'noah'];

it.each([11, 12])(
  'seed %i: who is entitled to everything is held nothing against',
  async (seed) => {
    const reports: (readonly [string, number])[] = [];
    const subjects: string[] = [];
    const look = ({ bench }: Meddled) => {
      const threats = bench.security?.threats;
      if (threats === undefined) return;
      for (const id of ENTITLED) reports.push([id, threats.report({ kind: 'person', id }).score]);
      for (const { subject } of threats.incidents.list(100)) subjects.push(subject.id);
    };
    const result = await simulate({ seed, durationMs: 60_000, chaos: 'none', meddle: look });
    expect(result.violations).toEqual([]);
    expect(result.counts.get('effect committed') ?? 0).toBeGreaterThan(50);
    expect(reports).toEqual(ENTITLED.map((id) => [id, 0]));
    expect(subjects.filter((id) => ENTITLED.includes(id))).toEqual([]);
  },
);
