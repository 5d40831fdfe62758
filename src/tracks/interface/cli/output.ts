// Prints data on standard output as a table or JSON, and messages on standard error.

export interface Streams {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Of the terminal that standard output is; absent for a file or a pipe, where each record stays one line. */
  readonly columns?: number;
}

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export type OutputFormat = 'table' | 'json';

const GAP = '  ';
/** No column of sentences is made narrower than this for the sake of the others. */
const COLUMN_WIDTH_MIN = 8;

/** What stands below a row because it found no room beside it begins so far from the left. */
const FOLD_INDENT = '  ';
/** A last column of sentences is not made narrower; then it goes below. */
const LAST_WIDTH_MIN = 24;

/**
 * Columns as wide as their longest cell, two spaces apart, nothing after the last one. In a narrower terminal sentences
 * go on in the next line; words, and so digests and times, are never cut, because people copy them. Where that is not
 * enough, columns without a cell are left out, then the `expendable` ones in their order, and at last the last columns
 * go below each row with their names.
 */
export function tableText(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  columns: number = Number.POSITIVE_INFINITY,
  expendable: readonly string[] = [],
): string {
  const all = [head, ...rows].map((row) => row.map(printable));
  const { cells, beside } = fitted(all, columns, expendable);
  const names = cells[0] ?? [];
  const widths = fittingWidths(needsOf(cells.map((row) => row.slice(0, beside))), columns);
  return cells
    .flatMap((row, index) => [
      ...linesOf(row.slice(0, beside), widths).map((line) =>
        line
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join(GAP)
          .trimEnd(),
      ),
      ...(index === 0 ? [] : linesBelow(names.slice(beside), row.slice(beside), columns)),
    ])
    .join('\n')
    .concat('\n');
}

/** The columns worth showing, and how many of them find room beside each other. */
function fitted(
  cells: readonly (readonly string[])[],
  columns: number,
  expendable: readonly string[],
): { readonly cells: readonly (readonly string[])[]; readonly beside: number } {
  const width = cells[0]?.length ?? 0;
  const tooWide = (table: typeof cells) => roomNeeded(needsOf(table)) > columns;
  if (!tooWide(cells)) return { cells, beside: width };
  let kept = withColumns(
    cells,
    (_name, column) => column === 0 || cells.slice(1).some((row) => (row[column] ?? '') !== ''),
  );
  for (const left of expendable) {
    if (tooWide(kept)) kept = withColumns(kept, (name) => name !== left);
  }
  let beside = kept[0]?.length ?? 0;
  while (beside > 1 && roomNeeded(needsOf(kept.map((row) => row.slice(0, beside)))) > columns) {
    beside -= 1;
  }
  return { cells: kept, beside };
}

function withColumns(
  cells: readonly (readonly string[])[],
  wanted: (name: string, column: number) => boolean,
): readonly (readonly string[])[] {
  const keep = (cells[0] ?? []).map(wanted);
  return cells.map((row) => row.filter((_cell, column) => keep[column] === true));
}

function needsOf(cells: readonly (readonly string[])[]): readonly ColumnNeed[] {
  const width = cells[0]?.length ?? 0;
  return Array.from({ length: width }, (_, column) => {
    const texts = cells.map((row) => row[column] ?? '');
    const natural = longest(texts);
    const word = longest(texts.flatMap((cell) => cell.split(' ')));
    // Nothing stands after the last column: one long word of it may run over the edge.
    const least = column === width - 1 && column > 0 ? Math.min(word, LAST_WIDTH_MIN) : word;
    return { natural, least: Math.max(least, Math.min(COLUMN_WIDTH_MIN, natural)) };
  });
}

function roomNeeded(needs: readonly ColumnNeed[]): number {
  return needs.reduce((sum, { least }) => sum + least, GAP.length * (needs.length - 1));
}

function linesBelow(
  names: readonly string[],
  cells: readonly string[],
  columns: number,
): readonly string[] {
  const said = cells
    .map((cell, index) => [names[index] ?? '', cell] as const)
    .filter(([, cell]) => cell !== '')
    .map(([name, cell]) => (name === '' ? cell : `${name}: ${cell}`));
  return said
    .flatMap((text) => wrap(text, columns - FOLD_INDENT.length))
    .map((line) => `${FOLD_INDENT}${line}`);
}

interface ColumnNeed {
  readonly natural: number;
  readonly least: number;
}

/** The widest columns give way, down to their longest word. */
function fittingWidths(needs: readonly ColumnNeed[], columns: number): readonly number[] {
  const widths = needs.map(({ natural }) => natural);
  const gaps = GAP.length * (widths.length - 1);
  let over = widths.reduce((sum, width) => sum + width, gaps) - columns;
  while (over > 0) {
    let widest = -1;
    for (const [column, width] of widths.entries()) {
      const gives = width > (needs[column]?.least ?? 0);
      if (gives && width > (widths[widest] ?? 0)) widest = column;
    }
    if (widest < 0) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
    over -= 1;
  }
  return widths;
}

/** One row as the lines it takes. */
function linesOf(row: readonly string[], widths: readonly number[]): readonly string[][] {
  const wrapped = row.map((cell, column) => wrap(cell, widths[column] ?? 0));
  const height = Math.max(1, ...wrapped.map((lines) => lines.length));
  return Array.from({ length: height }, (_, line) => wrapped.map((lines) => lines[line] ?? ''));
}

/** Lines of at most `width` characters, except for words that are longer. */
export function wrap(text: string, width: number): readonly string[] {
  if (text.length <= width) return [text];
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line !== '' && longer.length > width) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line];
}

function longest(texts: readonly string[]): number {
  return texts.reduce((length, text) => Math.max(length, text.length), 0);
}

/** Controls of a terminal (C0, DEL, C1), line separators, and marks that turn the writing direction around. */
const STEERING = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;
/** The same in JSON, which escapes the C0 of texts itself; its own line ends are no part of a text. */
const STEERING_IN_JSON =
  /[\u007f-\u009f\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/** Text from elsewhere must not move the cursor, colour the terminal or read backwards. */
export function printable(text: string): string {
  return text.replace(STEERING, '?');
}

/** JSON of the same value that steers no terminal either: a C1 control begins a sequence just as ESC does. */
function jsonText(json: unknown): string {
  const text = JSON.stringify(json, null, 2);
  return text.replace(
    STEERING_IN_JSON,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

export class Output {
  readonly #streams: Streams;
  readonly format: OutputFormat;
  /** Lines of messages and tables are made no longer; infinite for a file or a pipe. */
  readonly columns: number;

  constructor(streams: Streams, format: OutputFormat) {
    this.#streams = streams;
    this.format = format;
    this.columns = streams.columns ?? Number.POSITIVE_INFINITY;
  }

  /** The data itself: `json` whole, or the table; `none` is the sentence for people where it has no row, `expendable` as in `tableText`. */
  data(
    json: unknown,
    head: readonly string[],
    rows: readonly (readonly string[])[],
    none?: string,
    expendable?: readonly string[],
  ): void {
    if (rows.length === 0 && none !== undefined) {
      this.text(json, none);
      return;
    }
    const text =
      this.format === 'json'
        ? `${jsonText(json)}\n`
        : tableText(head, rows, this.columns, expendable);
    this.#streams.stdout(text);
  }

  /** Several tables of one thing, with a line between them. */
  tables(json: unknown, tables: readonly Table[]): void {
    if (this.format === 'json') this.data(json, [], []);
    else {
      const texts = tables.map(({ head, rows }) => tableText(head, rows, this.columns));
      this.#streams.stdout(texts.join('\n'));
    }
  }

  /** One text as data: a certificate, a token; `json` where JSON is wanted. */
  text(json: unknown, text: string): void {
    if (this.format === 'json') this.data(json, [], []);
    else this.#streams.stdout(`${text.split('\n').map(printable).join('\n').trimEnd()}\n`);
  }

  /** A sentence goes on in the next line; tables, and commands that people copy, stay as they are. */
  #messageLines(line: string): readonly string[] {
    return line.includes('  ') ? [line] : wrap(line, this.columns);
  }

  message(text: string): void {
    const lines = text.split('\n').flatMap((line) => this.#messageLines(printable(line)));
    this.#streams.stderr(`${lines.join('\n')}\n`);
  }
}
