// Whether a session may call a row of the operation table at all: one rule, asked by interface and again by security.
// Invariants: pure; a row that is not in the table is refused; a token's scope never widens what its account may.

import { type Fault, fault } from '#foundation/fault';
import { OPERATION_TABLE, type OperationKey, operationRow } from './operation-table.ts';
import type { Session } from './orchestrator-port.ts';
import { ClearanceLevel } from './principal.ts';

/** Rows that every token may call, whatever its scope: to see oneself, to leave, and to stop. */
const OUTSIDE_SCOPES: ReadonlySet<OperationKey> = new Set<OperationKey>(['me', 'logout', 'stop']);

export function isOperationKey(key: string): key is OperationKey {
  return Object.hasOwn(OPERATION_TABLE, key);
}

/** Null when the session may; rows for anyone need none. */
export function callRefusal(
  key: OperationKey,
  session: Pick<Session, 'principal' | 'administrator' | 'scope'> | null,
): Fault | null {
  const { who } = operationRow(key);
  if (who === 'anyone') return null;
  if (who === 'nobody') {
    return fault('NOT_PERMITTED', { place: key, finding: 'is not open to any client' });
  }
  if (session === null) {
    const finding = 'needs a session, and none was presented';
    return fault('NOT_AUTHENTICATED', { place: key, finding });
  }
  const { principal, administrator, scope } = session;
  if (scope !== null && !scope.includes(key) && !OUTSIDE_SCOPES.has(key)) {
    const finding = `is outside the scope of the token that ${principal.id} signed in with`;
    return fault('SCOPE_EXCEEDED', { place: key, finding });
  }
  if (who === 'signed-in') return null;
  if (who === 'administrator') {
    if (administrator) return null;
    const finding = `needs an administrator, ${principal.id} is none`;
    return fault('NOT_PERMITTED', { place: key, finding });
  }
  if (principal.clearance >= ClearanceLevel[who]) return null;
  return fault('CLEARANCE_TOO_LOW', { place: key, finding: `needs the clearance ${who}` });
}
