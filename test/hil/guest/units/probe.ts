// What a unit's sandbox lets through, by trying: a one-shot unit with every setting of the real one and a shell in it.
// Only what starts, watches and restarts the process is left out of the copy.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { TrackName } from '#model/track-name';
import { must, unitOf } from './service.ts';

const DIRECTORY = '/run/probe';
const UNITS = '/usr/lib/systemd/system';
const SITE = '/etc/systemd/system';
const NOT_COPIED =
  /^(Type|NotifyAccess|WatchdogSec|Restart\w*|Exec\w+|OnFailure|PartOf|StartLimit\w+|WantedBy|Timeout\w+)=/;

/** What a shell line must come to: `ok`, or something else said. */
export interface Trial {
  readonly name: string;
  readonly command: string;
}

export function opening(path: string, how: 'read' | 'write'): Trial {
  const operator = how === 'read' ? '<' : '<>';
  return { name: `${how} ${path}`, command: `( : ${operator} '${path}' )` };
}

export function connecting(host: string, port: number): Trial {
  return {
    name: `connect ${host}:${port}`,
    command: `/bin/busybox nc -w 60 ${host} ${port} -e /bin/busybox true`,
  };
}

/** Ends by itself when it is refused, and after the time given when it listens. */
export function listening(port: number, limitS: number): Trial {
  const listen = `/bin/busybox timeout ${limitS} /bin/busybox nc -l -p ${port}`;
  // 128 and SIGTERM, as timeout ends it.
  return { name: `listen ${port}`, command: `( ${listen}; [ $? = 143 ] )` };
}

/** By name, whether it went well and what was said. */
export type Tried = ReadonlyMap<string, { readonly ok: boolean; readonly said: string }>;

/** Tries all of them in the sandbox of one track; once for each, because systemd reads a new unit by itself but once. */
export function tryAs(track: TrackName, trials: readonly Trial[]): Tried {
  mkdirSync(DIRECTORY, { recursive: true, mode: 0o755 });
  const script = `${DIRECTORY}/${track}.sh`;
  const output = `${DIRECTORY}/${track}.out`;
  const lines = trials.map(
    ({ name, command }) =>
      `said=$( ${command} 2>&1 > /dev/null ); code=$?; echo "${name}|$code|$said" | /bin/busybox tr '\\n' ' '; echo`,
  );
  writeFileSync(script, `${lines.join('\n')}\n`, { mode: 0o755 });
  const copied = readFileSync(`${UNITS}/${unitOf(track)}`, 'utf8')
    .split('\n')
    .filter((line) => !NOT_COPIED.test(line) && line !== '[Install]');
  const own = [
    ...['[Service]', 'Type=oneshot', `ExecStart=/bin/busybox sh ${script}`],
    ...[`StandardOutput=file:${output}`, 'TimeoutStartSec=600'],
  ];
  const unit = `probe-${track}.service`;
  writeFileSync(`${SITE}/${unit}`, `${[...copied, ...own].join('\n')}\n`);
  must('systemctl', 'start', unit);
  const rows = readFileSync(output, 'utf8').split('\n').filter(Boolean);
  return new Map(
    rows.map((row) => {
      const [name = '', code = '', said = ''] = row.split('|');
      return [name, { ok: code === '0', said: said.trim() }];
    }),
  );
}

/** The names of those that went well. */
export function allowed(tried: Tried): readonly string[] {
  return [...tried].filter(([, { ok }]) => ok).map(([name]) => name);
}
