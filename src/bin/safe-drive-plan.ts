// Writes down what a stop would do, for `dsmil-safe-drive` to do when this process is gone: drivers/native/safe-drive.
// Invariants: replaced as a whole; no device that may not be touched is in it; until security has said which those are, a
// plan that an earlier life left for the same board stands, and one for another board or of an earlier boot gives way to an
// empty one; a plan that can no longer be replaced is not left standing.

import {
  closeSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { type SafeBus, safeBusOf } from '#drivers/bus/safe-step';
import { crc32c } from '#drivers/native/rings';
import type { Fault } from '#foundation/fault';
import type { Board } from '#model/board';
import { formatToken, type LinearId } from '#model/device';
import type { DeviceAccess } from '#tracks/kernel/device-access';
import { type SafeStage, type SafeWrite, safeStagesOf } from '#tracks/kernel/safe-plan';

export interface SafeDriveParts {
  readonly path: string;
  readonly board: Board;
  readonly access: DeviceAccess;
  /** Devices that must not be touched now, beside those that have no way to metal at all. */
  readonly leftOut: (device: LinearId) => boolean;
  readonly onError: (error: unknown) => void;
}

/** A bus and its number in the plan. */
interface PlacedBus {
  readonly index: number;
  readonly bus: SafeBus;
}

const FORMAT = 'dsmil-safe-drive 2';
/** Where devices are holds until the machine starts again. */
const BOOT_ID = '/proc/sys/kernel/random/boot_id';
const SETTLE_MS_MAX = 5_000;
const REASON_LENGTH_MAX = 80;

export class SafeDrivePlan {
  readonly #parts: SafeDriveParts;
  readonly #stages: readonly SafeStage[];
  #supervised = false;

  constructor(parts: SafeDriveParts) {
    this.#parts = parts;
    this.#stages = safeStagesOf(parts.access);
    if (!this.#left()) this.#replace(ending([this.#head()], 0));
  }

  /** Security has said whom not to touch: from now on the plan follows what this process may touch. */
  supervised(): void {
    this.#supervised = true;
    this.write();
  }

  /** After every change of what may be touched, and of where the buses are. */
  write(): void {
    if (this.#supervised) this.#replace(this.text());
  }

  /** The plan as of now. */
  text(): string {
    const { board, access, leftOut } = this.#parts;
    const buses = new Map<string, PlacedBus | Fault>();
    let reachable = 0;
    const lines = [this.#head()];
    const used = new Set(board.devices.map(({ busId }) => busId));
    for (const description of board.buses.filter(({ id }) => used.has(id))) {
      const bus = safeBusOf(description, board.devices);
      buses.set(description.id, bus.ok ? { index: reachable, bus: bus.value } : bus.fault);
      if (!bus.ok) continue;
      lines.push(`bus ${reachable} ${bus.value.fields}`);
      reachable += 1;
    }
    let steps = 0;
    for (const [stage, { immediate, queued }] of this.#stages.entries()) {
      lines.push(`stage ${stage}`);
      const writes = [...immediate, ...queued.flatMap((bus) => bus.flatMap((one) => one.writes))];
      for (const write of writes) {
        const { id, busId } = write.point.device;
        if (leftOut(id) || !access.devices.has(id)) continue;
        const bus = buses.get(busId);
        lines.push(bus === undefined ? absent(write, 'its bus is unknown') : stepLine(write, bus));
        steps += 1;
      }
    }
    return ending(lines, steps);
  }

  #head(): string {
    return `${FORMAT} ${this.#parts.board.digest} ${bootId()}`;
  }

  #left(): boolean {
    try {
      return readFileSync(this.#parts.path, 'utf8').startsWith(`${this.#head()}\n`);
    } catch {
      return false;
    }
  }

  #replace(text: string): void {
    const { path, onError } = this.#parts;
    try {
      writeFileSync(`${path}.new`, text, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    } catch (error) {
      onError(error);
      this.#overwrite(text);
    }
  }

  /** No room for a second file: what stands may name a device that is quarantined by now, or a path that is another's. */
  #overwrite(text: string): void {
    try {
      const file = openSync(this.#parts.path, 'r+');
      try {
        // Until it is whole again its last line does not fit, and the program refuses it.
        ftruncateSync(file, 0);
        writeSync(file, text);
      } finally {
        closeSync(file);
      }
    } catch (error) {
      this.#parts.onError(error);
    }
  }
}

/** Of the running kernel, a new one with each start of the machine (random(4)). */
export function bootId(): string {
  return readFileSync(BOOT_ID, 'latin1').trim();
}

function stepLine(write: SafeWrite, placed: PlacedBus | Fault): string {
  if (!('bus' in placed)) return absent(write, placed.finding);
  const { index, bus } = placed;
  const { point, word, mask, expected } = write;
  const step = bus.step({ cell: point.cell, word, mask, expected });
  if (!step.ok) return absent(write, step.fault.finding);
  const settleMs = Math.min(SETTLE_MS_MAX, Math.ceil(point.spec.settleUs / 1_000));
  return `step ${head(write)} ${index} ${bus.timeoutMs} ${settleMs} ${step.value}`;
}

/** What cannot be done is in the plan all the same, so that its device is not taken for safe. */
function absent(write: SafeWrite, finding: string): string {
  const reason = finding.replaceAll(/[^\x21-\x7e]+/g, '-').slice(0, REASON_LENGTH_MAX);
  return `absent ${head(write)} ${reason}`;
}

function head({ point }: SafeWrite): string {
  return `${formatToken(point.device.id).slice(2).toLowerCase()} ${point.cell.place}`;
}

function ending(lines: readonly string[], steps: number): string {
  const text = `${lines.join('\n')}\n`;
  const sum = crc32c(Buffer.from(text), 'chosen').toString(16).padStart(8, '0');
  return `${text}end ${steps} ${sum}\n`;
}
