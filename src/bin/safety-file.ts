// The safety policy for a process: the file it was given, the site's own where there is one, else the built-in policy.

import { existsSync } from 'node:fs';
import { type Outcome, succeed } from '#foundation/outcome';
import { DEFAULT_POLICY, type SafetyPolicy } from '#model/safety-policy';

const SITE_FILE = '/etc/dsmil/safety.yaml';

/** A file that was asked for has to be there; the site's own may be absent. */
export async function loadSafetyFile(given: string | undefined): Promise<Outcome<SafetyPolicy>> {
  const path = given ?? (existsSync(SITE_FILE) ? SITE_FILE : undefined);
  if (path === undefined) return succeed(DEFAULT_POLICY);
  // YAML costs 10 MB: loaded only where there is something to read.
  const { loadSafetyPolicy } = await import('#config/safety-policy');
  return loadSafetyPolicy(path);
}
