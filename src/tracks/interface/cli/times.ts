// Times as the command line prints and takes them: UTC, to the second.

import { InvalidArgumentError } from 'commander';

/** `2023-11-14 22:13:20Z` of an RFC 3339 time; empty for never. */
export function timeText(at: string | null | undefined): string {
  if (at === null || at === undefined || at === '') return '';
  return at.replace('T', ' ').replace(/\.[0-9]+Z$/, 'Z');
}

/** An RFC 3339 time, a date (its beginning, UTC), or `none`. */
export function timeArgument(text: string): string {
  if (text === 'none') return text;
  const match =
    /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)(Z|[+-]\d\d:\d\d))?$/i.exec(text);
  const [, date, time = '00:00', zone = 'Z'] = match ?? [];
  const at = new Date(`${date}T${time}${zone.toUpperCase()}`);
  // 31 February would become a day in March.
  const real = new Date(`${date}T00:00Z`);
  if (date === undefined || Number.isNaN(at.getTime()) || !sameDay(real, date)) {
    throw new InvalidArgumentError(
      'Give a date (2027-03-31), a time with its zone (2027-03-31T12:00Z), or none.',
    );
  }
  return at.toISOString();
}

function sameDay(at: Date, date: string): boolean {
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(date);
}
