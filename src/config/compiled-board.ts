// A checked board as one binary file: the agent's processes load it without YAML, schemas or profiles.
// Invariants: made by this version of the agent from a board file without problems; belongs on a path only root writes.
// Faults: CONFIG_INVALID when the file is absent, of another version or not such a file.

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Board } from '#model/board';

/** Raised with every change of the Board type. */
const FORMAT = 'dsmil-board-3';
export const COMPILED_SUFFIX = '.compiled';

export function writeCompiledBoard(path: string, board: Board): void {
  writeFileSync(`${path}.new`, serialize({ format: FORMAT, board }), { mode: 0o640, flush: true });
  renameSync(`${path}.new`, path);
}

export function readCompiledBoard(path: string): Outcome<Board> {
  const invalid = (finding: string, internal: string) =>
    refuse(fault('CONFIG_INVALID', { place: 'compiled board', finding, internal }));
  try {
    const content = deserialize(readFileSync(path)) as {
      readonly format?: unknown;
      readonly board: Board;
    };
    if (content.format === FORMAT) return succeed(content.board);
    return invalid(`the format is ${String(content.format)}, this agent reads ${FORMAT}`, path);
  } catch (error) {
    return invalid('the file cannot be read as a compiled board', describeError(error));
  }
}
