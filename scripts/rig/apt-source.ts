// Fetches packages of another Debian suite with apt under directories of its own: the machine's apt is untouched.
// Invariants: the mirror is the one this machine already uses, and every index is checked against Debian's keyring.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const FETCH_TIMEOUT_MS = 300_000;

/** URIs of Debian's main archive in the machine's own apt sources, most likely first. */
export function debianMirrors(sourceFiles: readonly string[], codename: string): readonly string[] {
  const found: string[] = [];
  for (const text of sourceFiles) {
    for (const stanza of text.split(/\n\s*\n/)) {
      const field = (name: string): readonly string[] =>
        new RegExp(`^${name}:[ \\t]*(.*)$`, 'mi').exec(stanza)?.[1]?.trim().split(/\s+/) ?? [];
      if (!field('Types').includes('deb') || field('Enabled')[0] === 'no') continue;
      if (field('Suites').includes(codename)) found.push(...field('URIs'));
    }
    for (const line of text.split('\n')) {
      const match = /^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+main\b/.exec(line);
      if (match?.[1] !== undefined && match[2] === codename) found.push(match[1]);
    }
  }
  return [...new Set(found)];
}

export class AptSource {
  readonly #directory: string;
  readonly #suite: string;

  /** @param directory a private directory for lists, cache and configuration; made when absent. */
  constructor(directory: string, suite: string) {
    this.#directory = directory;
    this.#suite = suite;
  }

  /** Reads the machine's mirror, writes the private configuration and fetches the suite's index. */
  update(): void {
    const mirror = this.#machineMirror();
    const at = (name: string): string => join(this.#directory, name);
    for (const name of [
      'etc/parts',
      'etc/preferences',
      'state/lists/partial',
      'cache/archives/partial',
    ]) {
      mkdirSync(at(name), { recursive: true });
    }
    writeFileSync(
      at('etc/sources.sources'),
      `Types: deb\nURIs: ${mirror}\nSuites: ${this.#suite}\nComponents: main\nArchitectures: amd64\nSigned-By: ${KEYRING}\n`,
    );
    writeFileSync(at('state/status'), '');
    writeFileSync(
      at('apt.conf'),
      [
        `Dir::Etc::parts "${at('etc/parts')}";`,
        `Dir::Etc::main "${at('etc/none')}";`,
        `Dir::Etc::sourcelist "${at('etc/sources.sources')}";`,
        `Dir::Etc::sourceparts "${at('etc/none')}";`,
        `Dir::Etc::preferences "${at('etc/none')}";`,
        `Dir::Etc::preferencesparts "${at('etc/preferences')}";`,
        `Dir::State "${at('state')}";`,
        `Dir::State::status "${at('state/status')}";`,
        `Dir::Cache "${at('cache')}";`,
        'APT::Architecture "amd64";',
        'APT::Architectures "amd64";',
        'APT::Sandbox::User "root";',
        'Acquire::Languages "none";',
        'Acquire::Retries "3";',
        ...this.#machineTransport(),
        '',
      ].join('\n'),
    );
    this.#run('apt-get', ['--quiet', 'update'], this.#directory);
  }

  /** The value of one field of the newest version of a package. */
  field(packageName: string, name: string): string {
    const text = this.#run(
      'apt-cache',
      ['show', '--no-all-versions', packageName],
      this.#directory,
    );
    const value = new RegExp(`^${name}: (.*)$`, 'm').exec(text)?.[1];
    if (value === undefined) {
      throw new Error(`apt-cache show ${packageName}: no field ${name} in suite ${this.#suite}`);
    }
    return value;
  }

  /** Downloads one package and gives the path of its archive; apt checks size and SHA-256. */
  download(packageName: string): string {
    const into = join(this.#directory, 'download');
    mkdirSync(into, { recursive: true });
    this.#run('apt-get', ['--quiet', 'download', packageName], into);
    const archive = readdirSync(into).find(
      (file) => file.startsWith(`${packageName}_`) && file.endsWith('.deb'),
    );
    if (archive === undefined) throw new Error(`apt-get download ${packageName}: left no archive`);
    return join(into, archive);
  }

  #machineMirror(): string {
    const parts = '/etc/apt/sources.list.d';
    const files = existsSync(parts)
      ? readdirSync(parts)
          .filter((file) => /\.(list|sources)$/.test(file))
          .map((file) => join(parts, file))
      : [];
    const texts = ['/etc/apt/sources.list', ...files]
      .filter((file) => existsSync(file))
      .map((file) => readFileSync(file, 'utf8'));
    const release = readFileSync('/etc/os-release', 'utf8');
    const codename = /^VERSION_CODENAME=(\S+)/m.exec(release)?.[1] ?? '';
    const mirror = debianMirrors(texts, codename)[0];
    if (mirror === undefined) {
      throw new Error(
        `no Debian mirror: /etc/apt/sources.list(.d) names none for suite ${codename || 'unknown'}; the rig needs Debian's archive`,
      );
    }
    return mirror;
  }

  /** Proxy and certificate settings of the machine, without its hooks. */
  #machineTransport(): readonly string[] {
    const run = spawnSync('apt-config', ['dump', '--no-empty', '--format', '%f "%v";%n'], {
      encoding: 'utf8',
    });
    return (run.stdout ?? '')
      .split('\n')
      .filter((line) => /^Acquire::(https?::|Check-(Date|Valid-Until) )/.test(line));
  }

  #run(program: string, parameters: readonly string[], directory: string): string {
    const run = spawnSync(program, parameters, {
      cwd: directory,
      encoding: 'utf8',
      timeout: FETCH_TIMEOUT_MS,
      env: { ...process.env, APT_CONFIG: join(this.#directory, 'apt.conf') },
    });
    if (run.status !== 0) {
      const words = `${run.stdout ?? ''}${run.stderr ?? ''}`
        .trim()
        .split('\n')
        .slice(-6)
        .join('\n  ');
      throw new Error(
        `${program} ${parameters.join(' ')} (suite ${this.#suite}) ended with ${run.status ?? run.error?.message}:\n  ${words}`,
      );
    }
    return run.stdout;
  }
}
