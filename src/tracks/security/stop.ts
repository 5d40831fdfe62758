// The security track's part of a stop: no authorization is granted from here on, and the order is on record.

import type { StopReceipt } from '#model/stop';

export function securityStopReceipt(auditWritable: boolean, durationMs: number): StopReceipt {
  const message = auditWritable
    ? 'no authorization is granted until the stop is reset'
    : 'no authorization is granted until the stop is reset; the audit chain cannot be written';
  return { track: 'security', ok: auditWritable, message, safe: [], unsafe: [], durationMs };
}
