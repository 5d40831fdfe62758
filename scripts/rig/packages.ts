// Debian packages that the rig and its peers need: found by a file each one brings, installed when root.
// Faults: `missing` names every package that is not there and why it was not installed; nothing is thrown.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface RigPackage {
  readonly name: string;
  /** A file the package brings; its presence is the whole test, so a hand-built tool counts too. */
  readonly evidence: string;
}

export interface PackageReport {
  /** True when every package is there. */
  readonly complete: boolean;
  readonly installed: readonly string[];
  readonly missing: readonly string[];
  /** One sentence for a person: what was installed, or what is missing and how to get it. */
  readonly sentence: string;
}

const LIST = fileURLToPath(new URL('./packages.txt', import.meta.url));
const INSTALL_TIMEOUT_MS = 300_000;

export function readPackageList(text: string): readonly RigPackage[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name, evidence] = line.split(/\s+/);
      if (name === undefined || evidence === undefined) {
        throw new Error(`packages.txt: a line needs a package and a file, found "${line}"`);
      }
      return { name, evidence };
    });
}

/** Installs what is missing when it may, and says what it did; needs no network when all is there. */
export function ensurePackages(): PackageReport {
  const wanted = readPackageList(readFileSync(LIST, 'utf8'));
  const absent = absentOf(wanted);
  if (absent.length === 0) {
    return { complete: true, installed: [], missing: [], sentence: 'every package is there' };
  }
  const command = `apt-get install --no-install-recommends ${absent.join(' ')}`;
  if (process.getuid?.() !== 0) {
    return lacking([], absent, `not root, so nothing was installed; as root: ${command}`);
  }
  if (!existsSync('/usr/bin/apt-get')) {
    return lacking([], absent, 'this machine has no apt-get; install them by its own means');
  }
  const finding = install(absent);
  const still = absentOf(wanted);
  const installed = absent.filter((name) => !still.includes(name));
  if (still.length > 0) return lacking(installed, still, finding);
  return { complete: true, installed, missing: [], sentence: `installed ${installed.join(' ')}` };
}

function absentOf(wanted: readonly RigPackage[]): readonly string[] {
  return wanted.filter((entry) => !existsSync(entry.evidence)).map((entry) => entry.name);
}

function lacking(
  installed: readonly string[],
  missing: readonly string[],
  reason: string,
): PackageReport {
  const sentence = `missing packages ${missing.join(' ')}: ${reason}`;
  return { complete: false, installed, missing, sentence };
}

/** The last lines of apt's own words when it failed. */
function install(names: readonly string[]): string {
  let finding = 'apt-get said nothing';
  for (const step of [['update'], ['install', '--yes', '--no-install-recommends', ...names]]) {
    const run = spawnSync('apt-get', ['--quiet', ...step], {
      encoding: 'utf8',
      timeout: INSTALL_TIMEOUT_MS,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
    const words = `${run.stdout ?? ''}${run.stderr ?? ''}`.trim().split('\n').slice(-4).join(' | ');
    finding = `apt-get ${step[0]} ended with ${run.status ?? run.error?.message}: ${words}`;
  }
  return finding;
}
