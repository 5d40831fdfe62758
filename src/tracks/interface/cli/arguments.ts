// Arguments that several verbs take.

import { InvalidArgumentError } from 'commander';

export function count(text: string): number {
  if (/^[0-9]{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Give a whole number.');
}
