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

/**
 * Columns as wide as their longest cell, two spaces apart, nothing after the last one. In a narrower terminal sentences
 * go on in the next line; words, and so digests and times, are never cut, because people copy them.
 */
export function tableText(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  columns: number = Number.POSITIVE_INFINITY,
): string {
  const cells = [head, ...rows].map((row) => row.map(printable));
  const widths = fittingWidths(
    head.map((_name, column) => {
      const words = cells.map((row) => row[column] ?? '');
      return { natural: longest(words), least: longest(words.flatMap((cell) => cell.split(' '))) };
    }),
    columns,
  );
  return cells
    .flatMap((row) => linesOf(row, widths))
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join(GAP)
        .trimEnd(),
    )
    .join('\n')
    .concat('\n');
}

interface ColumnNeed {
  readonly natural: number;
  readonly least: number;
}

/** The widest columns give way, down to their longest word. */
function fittingWidths(needs: readonly ColumnNeed[], columns: number): readonly number[] {
  const widths = needs.map(({ natural }) => natural);
  const least = needs.map((need) => Math.max(need.least, Math.min(COLUMN_WIDTH_MIN, need.natural)));
  const gaps = GAP.length * (widths.length - 1);
  let over = widths.reduce((sum, width) => sum + width, gaps) - columns;
  while (over > 0) {
    let widest = -1;
    for (const [column, width] of widths.entries()) {
      const gives = width > (least[column] ?? 0);
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

/** Text from elsewhere must not move the cursor or colour the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
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

  /** The data itself: `json` whole, or the table. */
  data(json: unknown, head: readonly string[], rows: readonly (readonly string[])[]): void {
    const text =
      this.format === 'json'
        ? `${JSON.stringify(json, null, 2)}\n`
        : tableText(head, rows, this.columns);
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
