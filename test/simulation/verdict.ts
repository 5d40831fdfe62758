// The last judgment of a simulated run, when everything is mended and quiet: the record against the metal's own log.

import { createHash } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import type { DeviceHold } from '#model/hold';
import type { EffectOutcome } from '#model/operation';
import { writesOf } from '#model/plan';
import type { OperationTrack } from './ledger.ts';
import type { Monitor } from './monitor.ts';
import type { Acknowledged } from './people.ts';

interface Entry {
  readonly sequence: number;
  readonly event: string;
  readonly operationId: string;
  readonly devices: readonly number[];
  readonly result: string;
}

const EFFECTS: readonly EffectOutcome[] = [
  'none',
  'committed',
  'rolled-back',
  'in-doubt',
  'stopped',
];
const OPERATION_EVENTS: ReadonlySet<string> = new Set([
  'OPERATION_COMPLETED',
  'OPERATION_REFUSED',
  'OPERATION_FAILED',
  'QUARANTINE_PROBE',
  'TRANSACTION_RECOVERED',
]);
/** Everything of this event ends a doubt about a device. */
const RELEASES: ReadonlySet<string> = new Set(['DEVICE_RELEASED']);

export interface VerdictParts {
  readonly database: string;
  readonly monitor: Monitor;
  readonly acknowledged: readonly Acknowledged[];
  /** Transactions that are open on disk. */
  readonly open: readonly string[];
  readonly stopEngaged: boolean;
  /** Holds that kernel enforces now. */
  readonly holds: readonly DeviceHold[];
}

export function judge(parts: VerdictParts): void {
  const { monitor, acknowledged } = parts;
  const database = new DatabaseSync(parts.database, { readOnly: true });
  try {
    const entries = readChain(database, monitor);
    for (const operationId of parts.open)
      monitor.violate('I3', `transaction ${operationId} is still open`);
    checkHolds(parts);
    const bySequence = new Map(entries.map((entry) => [entry.sequence, entry]));
    for (const known of acknowledged) checkAcknowledged(known, bySequence, monitor);
    for (const operation of monitor.ledger.operations.values())
      checkOperation(operation, entries, parts);
  } finally {
    database.close();
  }
}

/** Stops and quarantines that people were told of stand until people end them. */
function checkHolds({ monitor, holds, stopEngaged }: VerdictParts): void {
  const held = (device: number, kind: DeviceHold['kind']) =>
    holds.some((hold) => hold.device === device && hold.kind === kind);
  for (const device of monitor.acknowledgedStops) {
    if (!stopEngaged && !held(device, 'stopped'))
      monitor.violate('I7', `the stop of device ${device} is forgotten`);
  }
  for (const device of monitor.acknowledgedQuarantine) {
    if (!held(device, 'quarantined'))
      monitor.violate('I7', `the quarantine of device ${device} is forgotten`);
  }
}

/** Every link of the chain, worked out here and not by the agent. */
function readChain(database: DatabaseSync, monitor: Monitor): readonly Entry[] {
  const entries: Entry[] = [];
  let previous = '0'.repeat(64);
  for (const row of database
    .prepare('SELECT sequence, body, hash FROM audit ORDER BY sequence')
    .all()) {
    const body = String(row.body);
    const hash = createHash('sha256')
      .update(Buffer.from(previous, 'hex'))
      .update(body)
      .digest('hex');
    if (hash !== row.hash || Number(row.sequence) !== entries.length + 1) {
      monitor.violate('I4', `the audit chain is broken at entry ${String(row.sequence)}`);
      break;
    }
    previous = hash;
    entries.push(JSON.parse(body) as Entry);
  }
  monitor.count('audit entries', entries.length);
  return entries;
}

function checkAcknowledged(
  known: Acknowledged,
  entries: ReadonlyMap<number, Entry>,
  monitor: Monitor,
): void {
  if (known.auditSequence === 0) {
    if (known.effect === 'committed') monitor.count('committed without a record');
    return;
  }
  const entry = entries.get(known.auditSequence);
  const what = `${known.operationId} was answered ${known.effect}, entry ${known.auditSequence}`;
  if (entry === undefined) monitor.violate('I7', `${what}, which is gone`);
  else if (entry.operationId !== known.operationId || effectOf(entry) !== known.effect)
    monitor.violate('I7', `${what}, which says ${entry.operationId} ${entry.result}`);
}

function effectOf(entry: Entry): EffectOutcome | undefined {
  const first = /^[a-z-]+/.exec(entry.result)?.[0];
  return EFFECTS.find((effect) => effect === first);
}

function checkOperation(
  operation: OperationTrack,
  entries: readonly Entry[],
  { monitor, holds }: VerdictParts,
): void {
  const { operationId, plan } = operation;
  const written = operation.forwards.filter((forward) => !forward.ambiguous);
  const about = entries.filter(
    (entry) => entry.operationId === operationId && OPERATION_EVENTS.has(entry.event),
  );
  const last = about.at(-1);
  if (last === undefined) {
    if (written.length > 0) monitor.violate('I4', `${operationId} wrote and is not on record`);
    return;
  }
  const effect = effectOf(last);
  const writes = writesOf(plan);
  const devices = [...new Set(writes.map((step) => step.device))];
  const changed = ({ device, register }: { readonly device: number; readonly register: string }) =>
    monitor.disturbedSince(device, register, operation.leasedAtMs);
  if (writes.some(changed)) {
    monitor.count('operation not judged: disturbed');
    return;
  }
  monitor.count('operation judged');
  const standing = written.filter((forward) => !forward.undone && !forward.restored);
  const no = (finding: string) =>
    monitor.violate('I3', `${operationId} is ${last.result} on record, but ${finding}`);
  const name = (index: number) => {
    const step = writes[index];
    return step === undefined ? '?' : `device ${step.device} ${step.register}`;
  };
  switch (effect) {
    case undefined:
      no('that is no effect');
      return;
    case 'committed': {
      const forwards = new Map(operation.forwards.map((forward) => [forward.index, forward]));
      for (const index of writes.keys()) {
        const forward = forwards.get(index);
        const stands = forward !== undefined && !forward.undone;
        if (!stands && !operation.holding.has(index)) no(`${name(index)} does not stand`);
      }
      return;
    }
    case 'none':
      for (const forward of written) no(`${name(forward.index)} was written`);
      return;
    case 'rolled-back':
      for (const forward of standing) no(`${name(forward.index)} was not undone`);
      return;
    case 'stopped':
      for (const { step, index } of standing) {
        if (!operation.covered.has(step.device)) no(`${name(index)} stands and is not covered`);
      }
      return;
    case 'in-doubt':
      for (const device of devices) {
        const held = holds.some((hold) => hold.device === device && hold.kind === 'in-doubt');
        const released = entries.some(
          (entry) =>
            entry.sequence > last.sequence &&
            RELEASES.has(entry.event) &&
            entry.devices.includes(device),
        );
        const concerned = standing.some(({ step }) => step.device === device);
        if (concerned && !held && !released) no(`device ${device} is not held`);
      }
      return;
  }
}
