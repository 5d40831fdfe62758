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
    command: `/bin/busybox nc -w 5 ${host} ${port} < /dev/null`,
  };
}

/** Ends by itself when it is refused, and by the time given when it listens. */
export function listening(port: number): Trial {
  return {
    name: `listen ${port}`,
    command: `( /bin/busybox timeout 5 /bin/busybox nc -l -p ${port}; [ $? = 143 ] )`,
  };
}

/** Tries all of them in the sandbox of one track: by name, whether it went well and what was said. */
export function tryAs(
  track: TrackName,
  trials: readonly Trial[],
): ReadonlyMap<string, { readonly ok: boolean; readonly said: string }> {
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
  const unit = `probe-${track}.service`;
  writeFileSync(`${SITE}/${unit}`, copied.join('\n'));
  const own = ['[Service]', 'Type=oneshot', `ExecStart=/bin/busybox sh ${script}`];
  mkdirSync(`${SITE}/${unit}.d`, { recursive: true });
  writeFileSync(
    `${SITE}/${unit}.d/probe.conf`,
    `${[...own, `StandardOutput=file:${output}`, 'TimeoutStartSec=600'].join('\n')}\n`,
  );
  must('systemctl', 'daemon-reload');
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
export function allowed(results: ReturnType<typeof tryAs>): readonly string[] {
  return [...results].filter(([, { ok }]) => ok).map(([name]) => name);
}
