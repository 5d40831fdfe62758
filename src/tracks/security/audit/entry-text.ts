// The canonical bytes of an audit entry, written in one go: `canonicalText` of the same entry, several times faster.
// Invariants: pure; equal to `canonicalText` for every entry (a property test holds it to that).

import { canonicalText } from '#foundation/canonical';
import type { AuditEntry } from '#model/audit-entry';
import type { Origin } from '#model/principal';

export function entryText(entry: Omit<AuditEntry, 'hash'>): string {
  return (
    `{"actor":${text(entry.actor)},"bootId":${text(entry.bootId)},"clockQuality":"${entry.clockQuality}",` +
    `"decision":${text(entry.decision)},"details":${isEmpty(entry.details) ? '{}' : canonicalText(entry.details)},` +
    `"devices":[${entry.devices.join(',')}],"event":"${entry.event}","monotonicMs":${entry.monotonicMs},` +
    `"operation":${text(entry.operation)},"operationId":${text(entry.operationId)},"origin":${originText(entry.origin)},` +
    `"planDigest":${text(entry.planDigest)},"previousHash":"${entry.previousHash}","reason":${text(entry.reason)},` +
    `"result":${text(entry.result)},"risk":${text(entry.risk)},"sequence":${entry.sequence},` +
    `"tracks":[${entry.tracks.map(trackText).join(',')}],"wallMs":${entry.wallMs}}`
  );
}

function originText(origin: Origin | null): string {
  return origin === null
    ? 'null'
    : `{"peer":${text(origin.peer)},"transport":"${origin.transport}"}`;
}

function trackText({ track, ok, durationMs }: AuditEntry['tracks'][number]): string {
  return `{"durationMs":${durationMs},"ok":${ok},"track":"${track}"}`;
}

/** Nothing but what JSON writes as it is: most texts of an entry. */
const PLAIN = /^[ !#-[\]-~]*$/;

function text(value: string): string {
  return PLAIN.test(value) ? `"${value}"` : JSON.stringify(value);
}

function isEmpty(value: object): boolean {
  for (const _ in value) return false;
  return true;
}
