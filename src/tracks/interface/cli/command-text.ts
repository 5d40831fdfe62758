// A command line as somebody else has to type it: quoted for a shell, without what belongs to the first person alone.

/** Options of `dsmil` itself that say where and as whom, with how many words they take. */
const PERSONAL: ReadonlyMap<string, number> = new Map([
  ['--token', 2],
  ['--socket', 2],
  ['--output', 2],
  ['-o', 2],
]);

/** For a POSIX shell (Shell Command Language, 2.2 Quoting). */
export function shellWord(word: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

export function commandText(argv: readonly string[]): string {
  return ['dsmil', ...argv.map(shellWord)].join(' ');
}

/** The same command without the options that are about the person who typed it. */
export function impersonal(argv: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at] ?? '';
    if (word === '--') return [...kept, ...argv.slice(at)];
    const words = PERSONAL.get(word);
    if (words !== undefined) {
      at += words - 1;
      continue;
    }
    if ([...PERSONAL.keys()].some((name) => word.startsWith(`${name}=`))) continue;
    if (/^-o.+/.test(word)) continue;
    kept.push(word);
  }
  return kept;
}
