// `dsmil audit list | verify | checkpoint | export | check | archive`: the record of who did what, and proof that it is whole.

import { type Command, InvalidArgumentError } from 'commander';
import { describeError, fault } from '#foundation/fault';
import { refuse, succeed } from '#foundation/outcome';
import { REST_BASE } from '#model/operation-table';
import { count } from './arguments.ts';
import { checkExport } from './audit-check.ts';
import type { CliParts, Run } from './cli-parts.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { refuseExisting, writeNewFile, writeNewText } from './new-file.ts';
import type { CliSession } from './session.ts';
import { timeText } from './times.ts';

const AUDIT = `${REST_BASE}/audit`;
const PROGRESS_EVERY_MS = 250;
const LINE_FEED = 10;
/** A check of a million entries takes seconds. */
const VERIFY_TIMEOUT_MS = 35_000;
const ARCHIVE_TIMEOUT_MS = 35_000;

interface AuditRow {
  readonly sequence: number;
  readonly at: string;
  readonly event: string;
  readonly actor: string;
  readonly operation: string;
  readonly result: string;
}

function sequence(text: string): number {
  if (/^[1-9][0-9]{0,14}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Give the number of an entry, from 1 on.');
}

export function addAudit(program: Command, run: Run, parts: CliParts): void {
  const audit = program.command('audit').description('the audit chain');
  audit
    .command('list')
    .description('entries of the chain, the last ones without --from')
    .option('--from <sequence>', 'first entry', sequence)
    .option('--limit <count>', 'how many', count, 100)
    .action((options: ListOptions) => run((open) => entries(open, options)));
  audit
    .command('verify')
    .description('has the agent check every link and checkpoint')
    .action(() => run(verify));
  audit
    .command('checkpoint')
    .description('the newest signed statement on the end of the chain, to be kept elsewhere')
    .option('--out <file>', 'writes it there with the public key, for `audit check --checkpoint`')
    .action(({ out }: { readonly out?: string }) => run((open) => checkpoint(open, out)));
  audit
    .command('export')
    .description('writes the chain as JSON Lines, for `audit check`')
    .argument('<file>', 'a new file')
    .option('--from <sequence>', 'first entry', sequence, 1)
    .action((file: string, { from }: { readonly from: number }) =>
      run((open) => exportChain(open, parts, file, from)),
    );
  audit
    .command('check')
    .description('checks an export here, without the agent')
    .argument('<file...>', 'exports in their order, as they are or packed with gzip')
    .option('--key <file>', 'public key of the chain, PEM')
    .option(
      '--checkpoint <file>',
      'checkpoints that were kept elsewhere; repeat for several',
      (path: string, before: readonly string[] = []) => [...before, path],
    )
    .action((files: readonly string[], options: CheckOptions) =>
      run((open) => check(open, files, options)),
    );
  audit
    .command('archive')
    .description(
      'seals the oldest entries in a file of their own, as far as retention lets them go',
    )
    .requiredOption('--reason <text>', 'why')
    .action(({ reason }: { readonly reason: string }) =>
      run((open) => {
        const body = { reason };
        const path = `${AUDIT}/archive`;
        const timeoutMs = ARCHIVE_TIMEOUT_MS;
        return open.show(open.client.send({ method: 'POST', path, body, timeoutMs }), (json) => {
          const { archived, message } = json as {
            readonly archived: number;
            readonly message: string;
          };
          open.output.data(json, ['entries archived', ''], [[String(archived), message]]);
        });
      }),
    );
}

interface ListOptions {
  readonly from?: number;
  readonly limit: number;
}

/** Whoever names no entry wants to see what has happened just now. */
async function entries(open: CliSession, { from, limit }: ListOptions): Promise<ExitCode> {
  let first = from;
  if (first === undefined) {
    const status = await open.client.get(`${REST_BASE}/system/status`);
    if (status.kind !== 'data') return open.failed(status);
    const { auditSequence } = status.json as { readonly auditSequence: number };
    first = Math.max(1, auditSequence - limit + 1);
  }
  const path = `${AUDIT}?from=${first}&limit=${limit}`;
  return open.show(open.client.get(path), (json) => list(open, json));
}

interface CheckOptions {
  readonly key?: string;
  readonly checkpoint?: readonly string[];
}

function list(open: CliSession, json: unknown): void {
  const { entries } = json as { readonly entries: readonly AuditRow[] };
  const rows = entries.map((entry) => [
    String(entry.sequence),
    timeText(entry.at),
    entry.event,
    entry.actor,
    entry.operation,
    entry.result,
  ]);
  const head = ['entry', 'at', 'event', 'who', 'operation', 'result'];
  open.output.data(json, head, rows, 'the chain has no such entry');
}

async function verify(open: CliSession): Promise<ExitCode> {
  const path = `${AUDIT}/verify`;
  const answer = await open.client.send({ method: 'GET', path, timeoutMs: VERIFY_TIMEOUT_MS });
  if (answer.kind !== 'data') return open.failed(answer);
  const { entries, intact, finding } = answer.json as {
    readonly entries: number;
    readonly intact: boolean;
    readonly finding: string;
  };
  const rows = [[String(entries), intact ? 'intact' : 'BROKEN', finding]];
  open.output.data(answer.json, ['entries', 'chain', 'finding'], rows);
  return intact ? EXIT.ok : EXIT.tampered;
}

interface CheckpointJson {
  readonly checkpoint: {
    readonly sequence: number;
    readonly hash: string;
    readonly wallMs: number;
    readonly keyId: string;
  } | null;
  readonly publicKeyPem: string;
}

async function checkpoint(open: CliSession, out: string | undefined): Promise<ExitCode> {
  const answer = await open.client.get(`${AUDIT}/checkpoint`);
  if (answer.kind !== 'data') return open.failed(answer);
  const given = answer.json as CheckpointJson;
  if (given.checkpoint === null) {
    open.output.data(given, ['checkpoint'], []);
    open.output.message('the chain has no entry yet, so there is nothing to sign');
    return EXIT.ok;
  }
  if (out !== undefined) {
    const written = await writeNewText(out, 0o644, `${JSON.stringify(given)}\n`);
    if (!written.ok) return open.fault(written.fault);
  }
  const { sequence: last, hash, wallMs, keyId } = given.checkpoint;
  const rows = [
    ['last entry', String(last)],
    ['its hash', hash],
    ['signed at', timeText(new Date(wallMs).toISOString())],
    ['with key', keyId],
  ];
  open.output.data(given, ['checkpoint', ''], rows);
  const kept = out === undefined ? 'keep it (--out FILE)' : `${out}: keep it`;
  open.output.message(
    `${kept} away from this machine: with it nobody can cut off the chain unseen`,
  );
  return EXIT.ok;
}

async function exportChain(
  open: CliSession,
  parts: CliParts,
  path: string,
  from: number,
): Promise<ExitCode> {
  // Said before the whole chain has travelled for nothing.
  const free = await refuseExisting(path);
  if (!free.ok) return open.fault(free.fault);
  const answer = await open.client.stream(`${AUDIT}/export?from=${from}`);
  if (answer.kind !== 'stream') return open.failed(answer);
  const progress = new Progress(parts);
  const written = await writeNewFile(path, 0o600, async (file) => {
    let bytes = 0;
    let lines = 0;
    try {
      for await (const part of answer.body) {
        await file.writeFile(part);
        bytes += part.length;
        lines += lineFeeds(part);
        progress.show(`${lines} lines, ${bytesText(bytes)}`);
      }
    } catch (error) {
      if (isOfTheFile(error)) throw error;
      return refuse(brokenOff(lines, error));
    }
    return succeed({ file: path, from, lines, bytes });
  });
  progress.end();
  if (!written.ok) return open.fault(written.fault);
  const { lines, bytes } = written.value;
  open.output.data(
    written.value,
    ['file', 'lines', 'size'],
    [[path, String(lines), bytesText(bytes)]],
  );
  return EXIT.ok;
}

/** Errors of writing carry the call that failed; those of the connection are another's. */
function isOfTheFile(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).syscall === 'write';
}

function brokenOff(lines: number, error: unknown) {
  const finding = `broke off after ${lines} lines (${describeError(error)})`;
  const consequence = 'nothing was kept; ask again';
  return fault('TRACK_UNAVAILABLE', { place: 'export', finding, consequence });
}

function lineFeeds(part: Buffer): number {
  let found = 0;
  for (let at = part.indexOf(LINE_FEED); at >= 0; at = part.indexOf(LINE_FEED, at + 1)) found += 1;
  return found;
}

export function bytesText(bytes: number): string {
  if (bytes < 10_000) return `${bytes} B`;
  if (bytes < 10_000_000) return `${(bytes / 1e3).toFixed(0)} kB`;
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

/** One line of the terminal, written over and over; nothing at all where there is no terminal. */
class Progress {
  readonly #parts: Pick<CliParts, 'stderr' | 'messagesOnTerminal'>;
  #shownAtMs = 0;
  #shown = false;

  constructor(parts: Pick<CliParts, 'stderr' | 'messagesOnTerminal'>) {
    this.#parts = parts;
  }

  show(text: string): void {
    if (!this.#parts.messagesOnTerminal) return;
    const nowMs = performance.now();
    if (nowMs - this.#shownAtMs < PROGRESS_EVERY_MS) return;
    this.#shownAtMs = nowMs;
    this.#shown = true;
    this.#parts.stderr(`\r\x1b[K${text}`);
  }

  end(): void {
    if (this.#shown) this.#parts.stderr('\r\x1b[K');
  }
}

async function check(
  open: CliSession,
  files: readonly string[],
  options: CheckOptions,
): Promise<ExitCode> {
  const checked = await checkExport(files, options);
  if (!checked.ok) return open.fault(checked.fault);
  const verdict = checked.value;
  const { intact, entries, firstSequence, lastSequence, checkpoints, keyIds, damage } = verdict;
  const rows = [
    ['export', intact ? 'intact' : 'BROKEN'],
    ...(damage === null
      ? []
      : [
          ['first bad entry', String(damage.sequence)],
          ['what is wrong', `${damage.kind}: ${damage.finding}`],
        ]),
    ['entries good', entries === 0 ? '0' : `${entries} (${firstSequence} to ${lastSequence})`],
    ['checkpoints', String(checkpoints)],
    ['signed up to', String(verdict.signedThrough)],
    ['keys', keyIds.join(' ')],
  ];
  open.output.data(verdict, ['check', ''], rows);
  return intact ? EXIT.ok : EXIT.tampered;
}
