// Whom kernel must not touch, in the run directory: memory that outlives the process and ends with the machine.
// Invariants: replaced as a whole; a file that cannot be read holds nobody, for security hands over its own record anyway.

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { linearIdOf } from '#model/device';
import type { DeviceHold } from '#model/hold';
import type { QuarantineMemory } from '#tracks/kernel/interlock';

export class QuarantineFile implements QuarantineMemory {
  readonly #path: string;
  readonly #onError: (error: unknown) => void;

  constructor(path: string, onError: (error: unknown) => void) {
    this.#path = path;
    this.#onError = onError;
  }

  recall(): readonly DeviceHold[] {
    try {
      const parsed: unknown = JSON.parse(readFileSync(this.#path, 'utf8'));
      return Array.isArray(parsed) ? parsed.filter(isQuarantine) : [];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#onError(error);
      return [];
    }
  }

  remember(holds: readonly DeviceHold[]): void {
    try {
      writeFileSync(`${this.#path}.new`, JSON.stringify(holds), { mode: 0o600 });
      renameSync(`${this.#path}.new`, this.#path);
    } catch (error) {
      this.#onError(error);
    }
  }
}

function isQuarantine(value: unknown): value is DeviceHold {
  const hold = value as Partial<DeviceHold> | null;
  return (
    typeof hold?.device === 'number' &&
    linearIdOf(hold.device) === hold.device &&
    hold.kind === 'quarantined' &&
    typeof hold.reason === 'string' &&
    typeof hold.sinceWallMs === 'number'
  );
}
