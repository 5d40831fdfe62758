// Files that people edit, damaged: boards, profiles and safety policies through the loaders. Every problem has its place,
// and no damage takes a permanent quarantine away.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { checkBoard } from '#config/board';
import { PROBLEMS_MAX, type Problem } from '#config/problem';
import { checkProfile } from '#config/profile';
import { checkSafetyPolicy } from '#config/safety-policy';
import { permanentlyQuarantined } from '#model/device';
import { damageBytes } from '../byte-mutators.ts';
import type { FuzzBench, FuzzTarget } from '../fuzz.ts';
import type { FuzzRandom } from '../random.ts';
import { damageLines, damageTree } from '../tree-mutators.ts';
import type { Complaint } from '../verdict.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const PROFILES = join(ROOT, 'drivers/profiles');
const FIXTURES = join(ROOT, 'test/fixtures/boards');
const WORDS = [
  '&a',
  '*a',
  '<<: *a',
  '!!js/function',
  '---',
  '...',
  '\t',
  '? ',
  '%YAML 1.1',
  '\u0000',
];

const yamlFilesIn = (directory: string) =>
  readdirSync(directory)
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => join(directory, name));

/** One time in two as a tree, mostly in flow style, else by lines or bytes. */
function mutateYaml(corpus: readonly Buffer[]) {
  return (input: Buffer, random: FuzzRandom): Buffer => {
    const text = input.toString('utf8');
    const first = text.startsWith('#') ? text.slice(0, text.indexOf('\n') + 1) : '';
    const other = random.pick(corpus).toString('utf8');
    switch (random.below(8)) {
      case 0:
        return damageBytes(input, { random, corpus, dictionary: WORDS });
      case 1:
      case 2:
      case 3:
        return Buffer.from(first + damageLines(text.slice(first.length), other, random));
      default: {
        const tree = damageTree(parse(text), random, () => parse(other));
        return Buffer.from(`${first}${tree}\n`);
      }
    }
  };
}

function judgeProblems(problems: readonly Problem[], text: string): Complaint {
  if (problems.length > PROBLEMS_MAX) return `${problems.length} problems`;
  const lines = text.split('\n').length;
  for (const { file, line, column, finding, consequence } of problems) {
    const placed = Number.isInteger(line) && line >= 1 && Number.isInteger(column) && column >= 1;
    if (file === '' || !placed) return `a problem at ${file}:${line}:${column}`;
    // A problem may stand in another file, a profile of the board, which is longer.
    if (file.startsWith(tmpdir()) && line > lines) return `a problem in line ${line} of ${lines}`;
    if (finding.trim() === '' || consequence.trim() === '') return `a problem without words`;
  }
  return null;
}

function judgeChecked(value: unknown, problems: readonly Problem[], text: string): Complaint {
  if ((value === undefined) !== problems.length > 0) {
    return value === undefined ? 'refused without a problem' : 'used in spite of problems';
  }
  return judgeProblems(problems, text);
}

function target(
  name: string,
  runs: number,
  texts: () => readonly Buffer[],
  check: (file: string, text: string) => Complaint,
): FuzzTarget {
  return {
    name,
    runs,
    open: async (): Promise<FuzzBench> => {
      const directory = mkdtempSync(join(tmpdir(), `fuzz-${name}-`));
      const corpus = texts();
      return {
        corpus,
        mutate: mutateYaml(corpus),
        check: async (input) => {
          const text = input.toString('utf8');
          // A profile is found by the name of its file; the first line keeps it.
          const id = /^# ([a-z0-9-]{1,64})$/m.exec(text.slice(0, 80))?.[1] ?? 'any';
          const file = join(directory, `${id}.yaml`);
          writeFileSync(file, input);
          try {
            return check(file, text);
          } finally {
            rmSync(file);
          }
        },
        close: async () => rmSync(directory, { recursive: true }),
      };
    },
  };
}

/** The shipped board has 84 devices; pieces of it are as good and a hundred times as fast. */
function boardTexts(): readonly Buffer[] {
  const whole = parse(readFileSync(join(PROFILES, 'boards/default.yaml'), 'utf8')) as {
    readonly devices: readonly { readonly token?: number }[];
  };
  const pieces: string[] = [];
  for (let from = 0; from < whole.devices.length; from += 6) {
    pieces.push(stringify({ ...whole, devices: whole.devices.slice(from, from + 6) }));
  }
  const others = [join(FIXTURES, 'good.yaml'), join(PROFILES, 'boards/bench.yaml')];
  return [...pieces.map((text) => Buffer.from(text)), ...others.map((file) => readFileSync(file))];
}

const VARIABLES = { ROOT: '/tmp', RUN: '/tmp', SIM: '/tmp' } as const;

export const board = target('board', 150, boardTexts, (file, text) => {
  const profileDirectories = [PROFILES, join(FIXTURES, 'profiles')];
  const checked = checkBoard(file, { variables: VARIABLES, profileDirectories });
  const freed = checked.board?.devices.find(
    (device) => permanentlyQuarantined(device.id) && !device.quarantined,
  );
  if (freed !== undefined) return `${freed.slug} is out of its permanent quarantine`;
  return judgeChecked(checked.board, checked.problems, text);
});

export const profile = target(
  'profile',
  300,
  () =>
    [...yamlFilesIn(PROFILES), ...yamlFilesIn(join(FIXTURES, 'profiles'))].map((file) => {
      const text = readFileSync(file, 'utf8');
      const { id } = parse(text) as { readonly id: string };
      return Buffer.from(`# ${id}\n${text}`);
    }),
  (file, text) => {
    const directories = [PROFILES, join(FIXTURES, 'profiles')];
    const checked = checkProfile(file, directories);
    return judgeChecked(checked.profile, checked.problems, text);
  },
);

export const safetyPolicy = target(
  'safety-policy',
  300,
  () => {
    const shipped = readFileSync(join(ROOT, 'src/config/safety.yaml'));
    const more = parse(shipped.toString('utf8')) as Readonly<Record<string, unknown>>;
    const conflicts = [
      { rule: 'CHANGED_WITHOUT_OPERATION', method: 'USER_MEDIATED', devices: [0x8003, 17] },
      { rule: 'NORMAL_WHILE_FAULT', method: 'AUTHORITY', authority: ['kernel', 'security'] },
    ];
    return [shipped, Buffer.from(stringify({ ...more, conflicts }))];
  },
  (file, text) => {
    const { policy, problems } = checkSafetyPolicy(file);
    return judgeChecked(policy, problems, text);
  },
);
