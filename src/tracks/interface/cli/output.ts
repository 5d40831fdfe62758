// Prints data on standard output as a table or JSON, and messages on standard error.

export interface Streams {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export type OutputFormat = 'table' | 'json';

/** Columns as wide as their longest cell, two spaces apart, nothing after the last one. */
export function tableText(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map(printable));
  const widths = head.map((_name, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  );
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
    .concat('\n');
}

/** Text from elsewhere must not move the cursor or colour the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
}

export class Output {
  readonly #streams: Streams;
  readonly format: OutputFormat;

  constructor(streams: Streams, format: OutputFormat) {
    this.#streams = streams;
    this.format = format;
  }

  /** The data itself: `json` whole, or the table. */
  data(json: unknown, head: readonly string[], rows: readonly (readonly string[])[]): void {
    const text =
      this.format === 'json' ? `${JSON.stringify(json, null, 2)}\n` : tableText(head, rows);
    this.#streams.stdout(text);
  }

  /** Several tables of one thing, with a line between them. */
  tables(json: unknown, tables: readonly Table[]): void {
    if (this.format === 'json') this.data(json, [], []);
    else this.#streams.stdout(tables.map(({ head, rows }) => tableText(head, rows)).join('\n'));
  }

  message(text: string): void {
    this.#streams.stderr(`${text.split('\n').map(printable).join('\n')}\n`);
  }
}
