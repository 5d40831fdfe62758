// Copies of an exported part of the audit chain, damaged as somebody would who knows its format: each copy is closed
// anew with a digest that fits, so that only the chain itself can give it away.
// Invariants: pure; the export that was read is left as it is.

import { type ExportHeader, entryLine, exportBlock, readLine } from '#model/audit-export';
import { ChainHasher, sequenceIn } from '#model/audit-hash';

interface Entry {
  readonly kind: 'entry';
  readonly line: string;
  readonly body: string;
  readonly hash: string;
}

interface Checkpoint {
  readonly kind: 'checkpoint';
  readonly line: string;
}

type Line = Entry | Checkpoint;

export interface ReadExport {
  readonly header: ExportHeader;
  readonly lines: readonly Line[];
}

/** What was done to a copy, and the word that the verifier has to find for it. */
export interface DamagedCopy {
  readonly what: string;
  readonly expected: string;
  readonly text: string;
}

/** Of all blocks; throws where the text is no export. */
export function readExport(text: string): ReadExport {
  let header: ExportHeader | undefined;
  const lines: Line[] = [];
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const read = readLine(line);
    if (read === undefined) throw new Error('the export has a line that is none');
    if (read.kind === 'header') header ??= read.header;
    else if (read.kind === 'entry') lines.push({ ...read, line });
    else if (read.kind === 'checkpoint') lines.push({ kind: 'checkpoint', line });
  }
  if (header === undefined) throw new Error('the export has no header');
  return { header, lines };
}

export function damagedCopies({ header, lines }: ReadExport): readonly DamagedCopy[] {
  const places = lines.flatMap(({ kind }, index) => (kind === 'entry' ? [index] : []));
  // In the middle, with another entry on each side of it.
  const middle = places.findIndex(
    (place, index) =>
      index >= Math.floor(places.length / 2) &&
      places[index - 1] === place - 1 &&
      places[index + 1] === place + 1,
  );
  const at = places[middle];
  if (at === undefined || places.length < 4) {
    throw new Error('the chain is too short to be damaged in five ways');
  }
  const closed = (changed: readonly Line[]) => closedText(header, changed);
  const here = lines[at] as Entry;
  return [
    {
      what: 'an edited entry',
      expected: 'modified',
      text: closed(lines.with(at, editedEntry(here))),
    },
    { what: 'a deleted entry', expected: 'deleted', text: closed(lines.toSpliced(at, 1)) },
    {
      what: 'two entries in the other order',
      expected: 'reordered',
      text: closed(lines.with(at, lines[at + 1] as Line).with(at + 1, here)),
    },
    {
      what: 'a chain without its end',
      expected: 'truncated',
      text: closed(lines.slice(0, cleanEnd(lines, at))),
    },
    {
      what: 'a spliced entry of another history',
      expected: 'spliced',
      text: closed(lines.with(at, foreignEntry(here))),
    },
  ];
}

/** Right behind a checkpoint where there is one, so that what is left looks whole. */
function cleanEnd(lines: readonly Line[], before: number): number {
  const checkpoint = lines.findLastIndex(
    ({ kind }, index) => kind === 'checkpoint' && index < before,
  );
  return checkpoint < 0 ? before : checkpoint + 1;
}

/** The actor is somebody else; the hash is left as it was. */
function editedEntry({ body, hash }: Entry): Entry {
  const changed = body.replace(/"actor":"[^"]*"/, '"actor":"somebody-else"');
  return { kind: 'entry', body: changed, hash, line: entryLine(changed, hash) };
}

/** Sound in itself, with a hash of its own, but after another entry than the one that is there. */
function foreignEntry({ body }: Entry): Entry {
  const previousHash = 'ab'.repeat(32);
  const changed = body.replace(/"previousHash":"[0-9a-f]{64}"/, `"previousHash":"${previousHash}"`);
  const hash = new ChainHasher().hash(previousHash, changed);
  return { kind: 'entry', body: changed, hash, line: entryLine(changed, hash) };
}

function closedText(header: ExportHeader, lines: readonly Line[]): string {
  const entries = lines.filter((line): line is Entry => line.kind === 'entry');
  const end = entries.at(-1);
  const totals = {
    entries: entries.length,
    checkpoints: lines.length - entries.length,
    lastSequence: end === undefined ? header.sequence - 1 : sequenceIn(end.body),
    lastHash: end?.hash ?? header.previousHash,
  };
  const block = exportBlock(
    header,
    lines.map(({ line }) => line),
    totals,
  );
  return `${block.join('\n')}\n`;
}
