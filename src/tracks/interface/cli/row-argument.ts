// Finds the row of the operation table a person means, by its key or by the verb of this command line.

import { InvalidArgumentError } from 'commander';
import { nearestName } from '#foundation/nearest';
import { OPERATION_TABLE, type OperationKey, type OperationRow } from '#model/operation-table';

const rows = Object.entries(OPERATION_TABLE) as [OperationKey, OperationRow][];

/** `closeIncident`, in any case, or `incident close`. */
export function rowArgument(text: string): OperationKey {
  const asked = text.trim().toLowerCase();
  const found = rows.find(
    ([key, row]) => key.toLowerCase() === asked || row.cli?.includes(asked) === true,
  );
  if (found !== undefined) return found[0];
  const near = nearestName(text, [
    ...rows.map(([key]) => key),
    ...rows.flatMap(([, row]) => row.cli ?? []),
  ]);
  const hint = near === undefined ? '' : `; did you mean ${near}?`;
  throw new InvalidArgumentError(`No operation has this name${hint}`);
}

/** Comma separated. */
export function rowsArgument(text: string): readonly OperationKey[] {
  return [...new Set(text.split(',').map(rowArgument))];
}
