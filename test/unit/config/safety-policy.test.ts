import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { formatProblem } from '#config/problem';
import { checkSafetyPolicy, loadSafetyPolicy } from '#config/safety-policy';
import { DEFAULT_POLICY } from '#model/safety-policy';
import { CONFLICT_RULES } from '#model/unified-state';
import { loadSafetyFile } from '../../../src/bin/safety-file.ts';
import { must } from '../../support/kernel-bench.ts';

const directory = mkdtempSync(join(tmpdir(), 'dsmil-safety-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const SHIPPED = join(import.meta.dirname, '../../../src/config/safety.yaml');

function fileOf(text: string): string {
  const path = join(directory, 'safety.yaml');
  writeFileSync(path, text);
  return path;
}

const problemsOf = (text: string) =>
  checkSafetyPolicy(fileOf(text)).problems.map((problem) =>
    formatProblem(problem).replace(`${directory}/`, ''),
  );

describe('the safety policy', () => {
  it('is the built-in one in the file that is shipped', () => {
    expect(must(loadSafetyPolicy(SHIPPED))).toEqual(DEFAULT_POLICY);
  });

  it('is the built-in one where the site has no file', async () => {
    expect(must(await loadSafetyFile(undefined))).toEqual(DEFAULT_POLICY);
  });

  it('is refused when the file that was asked for is absent', async () => {
    const loaded = await loadSafetyFile(join(directory, 'absent.yaml'));
    expect(loaded.ok || loaded.fault.code).toBe('CONFIG_INVALID');
  });

  it('takes what a site decides, and the cautious value for the rest', () => {
    const policy = must(
      loadSafetyPolicy(
        fileOf(`
risk: { method: WEIGHTED, weights: { kernel: 3 }, uncertaintyFactor: 0.25 }
conflicts:
  - { rule: CHANGED_WITHOUT_OPERATION, method: USER_MEDIATED, devices: [0x8010, 3], deadlineSeconds: 60 }
  - { rule: NORMAL_WHILE_FAULT, method: AUTHORITY, authority: [kernel] }
selection: { secondsMax: 30 }
identity: { idleMinutes: 5, failuresMax: 5 }
`),
      ),
    );
    expect(policy.risk).toEqual({
      method: 'WEIGHTED',
      weights: { kernel: 3, security: 1, interface: 1 },
      uncertaintyFactor: 0.25,
    });
    expect(policy.conflicts).toEqual([
      {
        rule: 'CHANGED_WITHOUT_OPERATION',
        method: 'USER_MEDIATED',
        devices: [12, 3],
        deadlineSeconds: 60,
        authority: ['security', 'kernel', 'interface'],
      },
      {
        rule: 'NORMAL_WHILE_FAULT',
        method: 'AUTHORITY',
        devices: null,
        deadlineSeconds: 300,
        authority: ['kernel'],
      },
    ]);
    expect(policy.selection.secondsMax).toBe(30);
    expect(policy.identity).toEqual({
      ...DEFAULT_POLICY.identity,
      idleMinutes: 5,
      failuresMax: 5,
    });
    expect(policy.sync).toEqual(DEFAULT_POLICY.sync);
    expect(policy.stop).toEqual(DEFAULT_POLICY.stop);
  });

  it('takes single indicators of threats and leaves the others as they are', () => {
    const text =
      'threats: { levels: { low: 5 }, indicators: { rate: { after: 1, each: 2, most: 3 } } }';
    const { threats } = must(loadSafetyPolicy(fileOf(text)));
    const { levels, indicators } = DEFAULT_POLICY.threats;
    expect(threats.levels).toEqual({ ...levels, low: 5 });
    expect(threats.indicators).toEqual({ ...indicators, rate: { after: 1, each: 2, most: 3 } });
  });

  it('knows every rule of conflict', () => {
    const entries = CONFLICT_RULES.map((rule) => `  - { rule: ${rule}, method: LATEST_VALID }`);
    const policy = must(loadSafetyPolicy(fileOf(`conflicts:\n${entries.join('\n')}\n`)));
    expect(policy.conflicts.map((entry) => entry.rule)).toEqual(CONFLICT_RULES);
  });

  it.each([
    ['risk: { method: OPTIMISTIC }', /^safety\.yaml:1:17: risk\.method: must be one of/],
    ['risk: { uncertaintyFactor: 2 }', /1:28: risk\.uncertaintyFactor: must be at most 1, not 2/],
    ['risk: { weight: 1 }', /risk rule has no such member, did you mean weights\?/],
    [
      'risk: { method: WEIGHTED, weights: { kernel: 0, security: 0, interface: 0 } }',
      /risk\.weights: no track has any weight/,
    ],
    [
      'sync: { periodMs: 20000 }',
      /sync\.staleAfterMs: 15000 ms is less than two periods of 20000 ms/,
    ],
    ['sync: { periodMs: 1 }', /sync\.periodMs: must be at least 250, not 1/],
    ['conflicts: [{ rule: HOLD_DISAGREES }]', /conflicts\[0\].*method is missing/],
    [
      'conflicts: [{ rule: HOLD_DISAGREES, method: GUESS }]',
      /conflicts\[0\]\.method: must be one of CONSERVATIVE/,
    ],
    [
      'conflicts: [{ rule: HOLD_DISAGREES, method: AUTHORITY }]',
      /conflicts\[0\]: AUTHORITY needs the member authority/,
    ],
    [
      'conflicts: [{ rule: HOLD_DISAGREES, method: CONSERVATIVE, authority: [kernel] }]',
      /authority: has no meaning for CONSERVATIVE/,
    ],
    [
      'conflicts: [{ rule: HOLD_DISAGREES, method: LATEST_VALID, devices: [0x800C] }]',
      /devices\[0\]: 0x800C is no token and no linear id/,
    ],
    [
      'conflicts: [{ rule: HOLD_DISAGREES, method: LATEST_VALID, devices: [84] }]',
      /devices\[0\]: 0x54 is no token and no linear id/,
    ],
    [
      'conflicts: [{ rule: HOLD_DISAGREES, method: LATEST_VALID, devices: [0x8010, 12] }]',
      /devices\[1\]: names a device that stands in the list already/,
    ],
    [
      `conflicts:
  - { rule: HOLD_DISAGREES, method: LATEST_VALID, devices: [1, 2] }
  - { rule: HOLD_DISAGREES, method: CONSERVATIVE, devices: [2] }`,
      /3:.*conflicts\[1\]: settles HOLD_DISAGREES for device 2 as conflicts\[0\] does already/,
    ],
    ['identity: { failuresMax: 0 }', /identity\.failuresMax: must be at least 1, not 0/],
    ['identity: { hoursMax: 48 }', /identity\.hoursMax: must be at most 24, not 48/],
    ['identity: { lockMinutes: 0 }', /identity\.lockMinutes: must be at least 5, not 0/],
    [
      'identity: { idleMinutes: 90, hoursMax: 1 }',
      /identity\.idleMinutes: 90 minutes are more than the 1 hours of a whole session/,
    ],
    ['selection: { secondsMax: 0 }', /selection\.secondsMax: must be at least 1, not 0/],
    ['stop: { selfTestPeriodMs: soon }', /stop\.selfTestPeriodMs: must be an integer, not soon/],
    [
      'threats: { levels: { low: 60 } }',
      /threats\.levels: 60, 50, 70, 90: each level needs a higher score than the one before it/,
    ],
    ['threats: { criticalGroups: [7] }', /criticalGroups\[0\]: must be at most 6, not 7/],
    ['threats: { indicators: { rates: { after: 0, each: 1, most: 1 } } }', /indicators/],
    ['threats: { indicators: { rate: { each: 1, most: 1 } } }', /rate.*after is missing/],
    ['- risk', /must be a mapping/],
    ['risk: [', /safety\.yaml:\d+:\d+: /],
  ])('is refused with its place: %s', (text, problem) => {
    const problems = problemsOf(text);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems[0]).toMatch(problem);
    expect(problems[0]).toMatch(/; the file is not used$/);
  });
});
