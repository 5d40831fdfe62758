// What one caller, one address and all together may ask for, and how long a call may take.

import type { RateLimit } from './rate-limiter.ts';

export interface InterfaceLimits {
  /** DECISIONS section 2: concurrent operations. */
  readonly concurrentOperations: number;
  readonly perPrincipal: RateLimit;
  readonly perAddress: RateLimit;
  /** Worthless credentials from one address. */
  readonly signInFailures: RateLimit;
  readonly callTimeoutMs: number;
  readonly callTimeoutMsMax: number;
}

export const DEFAULT_LIMITS: InterfaceLimits = {
  concurrentOperations: 16,
  perPrincipal: { perSecond: 5_000, burst: 5_000 },
  perAddress: { perSecond: 20_000, burst: 20_000 },
  signInFailures: { perSecond: 1, burst: 20 },
  callTimeoutMs: 5_000,
  callTimeoutMsMax: 30_000,
};
