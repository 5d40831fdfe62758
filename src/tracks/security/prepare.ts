// The security track's promise: the audit chain can be written and the session that asked is still alive.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { PrepareVote } from '#model/track';

export function prepareSecurity(auditWritable: boolean): Outcome<PrepareVote> {
  if (auditWritable) return succeed({ priors: [] });
  return refuse(
    fault('AUDIT_UNAVAILABLE', {
      place: 'audit chain',
      finding: 'the last entry could not be written',
    }),
  );
}
