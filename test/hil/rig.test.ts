// The rig's own reading of apt sources, package lists and kernel modules, on real text and a real module.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { debianMirrors } from '../../scripts/rig/apt-source.ts';
import { dependenciesOf } from '../../scripts/rig/modules.ts';
import { readPackageList } from '../../scripts/rig/packages.ts';
import { prepareRig } from '../../scripts/rig/prepare.ts';
import { requireRig } from './requirement.ts';

const rig = requireRig();

describe('finding the Debian mirror that a machine already uses', () => {
  it('reads deb822 files, and passes over other suites, sources only and switched-off stanzas', () => {
    const text = `Types: deb-src
URIs: http://sources.invalid/debian
Suites: bookworm

Types: deb
Enabled: no
URIs: http://off.invalid/debian
Suites: bookworm

Types: deb
# a comment that names http://comment.invalid/debian
URIs: http://main.invalid/debian
Suites: bookworm bookworm-updates

Types: deb
URIs: http://security.invalid/debian-security
Suites: bookworm-security
`;
    expect(debianMirrors([text], 'bookworm')).toEqual(['http://main.invalid/debian']);
  });

  it('reads one-line files with and without options', () => {
    const text = `# deb http://comment.invalid/debian bookworm main
deb [signed-by=/usr/share/keyrings/x.gpg] http://main.invalid/debian bookworm main contrib
deb http://security.invalid/debian-security bookworm-security main
`;
    expect(debianMirrors([text], 'bookworm')).toEqual(['http://main.invalid/debian']);
  });

  it('finds none where none is named', () => {
    expect(debianMirrors(['', '# nothing'], 'bookworm')).toEqual([]);
  });
});

describe('the list of packages', () => {
  it('gives each package with the file that proves it', () => {
    expect(readPackageList('# x\n\ncpio /usr/bin/cpio\n')).toEqual([
      { name: 'cpio', evidence: '/usr/bin/cpio' },
    ]);
  });

  it('refuses a line without a file', () => {
    expect(() => readPackageList('cpio\n')).toThrow(/needs a package and a file/);
  });
});

describe.skipIf(!rig.met)('a prepared rig', () => {
  it('is found in the cache again, with nothing fetched', () => {
    const again = prepareRig();
    expect(again.ready).toBe(true);
    expect(again.sentence).toMatch(/is in the cache$/);
  });

  it('holds every module after the modules that it depends on', () => {
    if (!rig.met) return;
    const { modules } = rig.value;
    const orders = readdirSync(modules).filter((name) => name.endsWith('.order'));
    expect(orders.length).toBeGreaterThan(5);
    for (const file of orders) {
      const order = readFileSync(join(modules, file), 'utf8').split('\n').filter(Boolean);
      for (const [index, name] of order.entries()) {
        const needs = dependenciesOf(readFileSync(join(modules, `${name}.ko`)));
        expect(order.slice(0, index)).toEqual(expect.arrayContaining([...needs]));
      }
    }
  });
});
