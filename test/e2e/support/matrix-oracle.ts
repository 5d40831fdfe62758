// What each caller must be answered at each door, worked out from the columns of the operation table alone.
// Written anew on purpose: nothing of the agent's own rule is called, so that the two are held against each other.

import { OPERATION_TABLE, type OperationRow } from '#model/operation-table';
import type { Cell, MatrixTransport } from './matrix-requests.ts';

/** What the agent knows of whoever asks. */
export type Standing =
  /** Presents nothing, or a certificate that TLS does not believe. */
  | { readonly is: 'nobody' }
  /** Presents a certificate with a wrong signature, over which TLS may hang up. */
  | { readonly is: 'forger' }
  /** At the local socket, as a user who has no account. */
  | { readonly is: 'local stranger' }
  /** Presents something that is worth nothing. */
  | { readonly is: 'turned away' }
  /** Presents what is right, for an account that is locked. */
  | { readonly is: 'locked out' }
  /** Signed in, and locked since. */
  | { readonly is: 'locked in' }
  /** Presents a revoked certificate: the server hangs up. */
  | { readonly is: 'cut off' }
  | {
      readonly is: 'known';
      readonly clearance: 'NONE' | 'RESTRICTED' | 'CONFIDENTIAL' | 'SECRET' | 'TOP_SECRET';
      readonly administrator: boolean;
      readonly scope: readonly string[] | null;
      readonly way: 'password' | 'token' | 'certificate' | 'local';
    };

const RANKS = ['NONE', 'RESTRICTED', 'CONFIDENTIAL', 'SECRET', 'TOP_SECRET'];
/** A token sees itself, leaves and stops whatever it is for. */
const EVERY_TOKEN = ['me', 'logout', 'stop'];

/** The codes that fit; the cell is wrong with any other. */
export function expected(
  cell: Cell,
  transport: MatrixTransport,
  standing: Standing,
): readonly string[] {
  const { key, kind, reached } = cell;
  if (standing.is === 'forger')
    return [...expected(cell, transport, { is: 'nobody' }), 'no connection'];
  if (standing.is === 'cut off') return ['no connection'];
  // A WebSocket is for those who are signed in: before that, nothing but the sign-in is answered.
  if (transport === 'websocket') {
    if (standing.is === 'nobody') return key === 'login' ? [''] : ['REQUEST_MALFORMED'];
    if (standing.is === 'turned away') return ['NOT_AUTHENTICATED'];
    if (standing.is === 'locked out') return ['ACCOUNT_LOCKED'];
  }
  if (kind === 'unlisted') return reached;
  const { who } = OPERATION_TABLE[key] as OperationRow;
  if (who === 'anyone') return reached;
  // Whoever the connection belongs to may see something burn.
  const onConnection = ['locked in', 'locked out', 'local stranger'].includes(standing.is);
  if (key === 'stop' && onConnection) return reached;
  switch (standing.is) {
    case 'nobody':
    case 'local stranger':
    case 'turned away':
      return ['NOT_AUTHENTICATED'];
    case 'locked out':
    case 'locked in':
      return ['ACCOUNT_LOCKED'];
    case 'known':
      break;
  }
  const { clearance, administrator, scope, way } = standing;
  if (who === 'nobody') return ['NOT_PERMITTED'];
  // What is tried as an operation is a reading: that row has to be in the scope too.
  const rows = key === 'operate' ? ['operate', 'readRegisters'] : [key];
  const inScope = scope === null || rows.every((row) => scope.includes(row));
  if (!inScope && !EVERY_TOKEN.includes(key)) return ['SCOPE_EXCEEDED'];
  if (who === 'administrator') return administrator ? reached : ['NOT_PERMITTED'];
  if (who !== 'signed-in' && RANKS.indexOf(clearance) < RANKS.indexOf(who))
    return ['CLEARANCE_TOO_LOW'];
  // What a row that is open to everybody asks beside that.
  if (key === 'createToken' && way === 'token') return ['NOT_PERMITTED'];
  if (key === 'changePassword' && way !== 'password') return ['NOT_PERMITTED'];
  return reached;
}
