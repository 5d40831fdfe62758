// One thing wrong with a file a person edits: where it stands, what was found, what follows.

import { basename } from 'node:path';
import { type Fault, fault } from '#foundation/fault';

/** Members and indices from the top of the document: `['devices', 3, 'token']`. */
export type DocumentPath = readonly (string | number)[];

export interface Problem {
  /** As the person named it. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  /** `devices[3].token`, or empty for the whole file. */
  readonly path: string;
  readonly finding: string;
  readonly consequence: string;
}

export const FILE_NOT_USED = 'the file is not used';
/** More are counted, not kept: a broken file can have one for every line. */
export const PROBLEMS_MAX = 100;

export function formatPath(path: DocumentPath): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += text === '' ? step : `.${step}`;
  }
  return text;
}

/** `board.yaml:12:5: devices[3].token: 0x800C is a gap token; the file is not used`. */
export function formatProblem(problem: Problem): string {
  const { file, line, column, path, finding, consequence } = problem;
  const subject = path === '' ? '' : `${path}: `;
  return `${file}:${line}:${column}: ${subject}${finding}; ${consequence}`;
}

/** The first problem as a fault that may be shown anywhere; all of them stay in `internal`. */
export function problemsFault(problems: readonly Problem[]): Fault {
  const first = problems[0];
  if (first === undefined) {
    return fault('INTERNAL', {
      place: 'configuration',
      finding: 'a file failed without a problem',
    });
  }
  const rest = problems.length - 1;
  const more = rest === 0 ? '' : ` (and ${rest} more ${rest === 1 ? 'problem' : 'problems'})`;
  const subject = first.path === '' ? '' : `${first.path}: `;
  return fault('CONFIG_INVALID', {
    place: `${basename(first.file)}:${first.line}:${first.column}`,
    finding: `${subject}${first.finding}${more}`,
    consequence: first.consequence,
    internal: problems.map(formatProblem).join('\n'),
  });
}

/** Collects the problems of one run, in the order of their places, up to PROBLEMS_MAX. */
export class ProblemList {
  readonly #items: Problem[] = [];
  readonly #keys = new Set<string>();

  get count(): number {
    return this.#items.length;
  }

  /** The same problem met twice, through two devices of one profile, is kept once. */
  add(...problems: readonly Problem[]): void {
    for (const problem of problems) {
      const key = formatProblem(problem);
      if (this.#keys.has(key)) continue;
      this.#keys.add(key);
      this.#items.push(problem);
    }
  }

  /** Paths of everything noted so far. */
  paths(): readonly string[] {
    return this.#items.map(({ path }) => path);
  }

  /** By file as first met, then line and column. */
  sorted(): readonly Problem[] {
    const files = [...new Set(this.#items.map((problem) => problem.file))];
    return [...this.#items]
      .sort(
        (left, right) =>
          files.indexOf(left.file) - files.indexOf(right.file) ||
          left.line - right.line ||
          left.column - right.column,
      )
      .slice(0, PROBLEMS_MAX);
  }
}
