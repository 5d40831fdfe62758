// What one caller, one address and all together may ask for, and how long a call may take.

import type { ConnectionLimits } from './connection-gate.ts';
import type { RateLimit } from './rate-limiter.ts';

export interface InterfaceLimits {
  /** DECISIONS section 2: concurrent operations. */
  readonly concurrentOperations: number;
  readonly perPrincipal: RateLimit;
  readonly perAddress: RateLimit;
  /** Worthless credentials from one address. */
  readonly signInFailures: RateLimit;
  /** Open at once over the network doors; the local socket has places of its own. */
  readonly connections: ConnectionLimits;
  readonly callTimeoutMs: number;
  readonly callTimeoutMsMax: number;
}

export const DEFAULT_LIMITS: InterfaceLimits = {
  concurrentOperations: 16,
  perPrincipal: { perSecond: 5_000, burst: 5_000 },
  perAddress: { perSecond: 20_000, burst: 20_000 },
  signInFailures: { perSecond: 1, burst: 20 },
  // A room of forty panels behind one address, with six connections for each browser.
  connections: { total: 768, perAddress: 256 },
  callTimeoutMs: 5_000,
  callTimeoutMsMax: 30_000,
};
