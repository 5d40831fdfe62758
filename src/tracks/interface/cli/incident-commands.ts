// `dsmil incident list | close | explain`: what threat detection found, why, and what it did about it.

import { type Command, InvalidArgumentError } from 'commander';
import { fault } from '#foundation/fault';
import { formatToken } from '#model/device';
import type { ThreatIndicator, ThreatSubject } from '#model/incident';
import { REST_BASE } from '#model/operation-table';
import type { Run } from './cli-parts.ts';
import type { ExitCode } from './exit-code.ts';
import type { Table } from './output.ts';
import type { CliSession } from './session.ts';
import { timeText } from './times.ts';

const INCIDENTS = `${REST_BASE}/incidents`;
const KINDS = ['person', 'device', 'source'] as const;

interface IncidentJson {
  readonly id: number;
  readonly subject: ThreatSubject;
  readonly devices: readonly (number | string)[];
  readonly actor: string;
  readonly level: string;
  readonly score: number;
  readonly finding: string;
  readonly indicators: readonly ThreatIndicator[];
  readonly responses: readonly string[];
  readonly opened: string | null;
  readonly changed: string | null;
  readonly closed: string | null;
  readonly closedBy: string;
  readonly closedBecause: string;
}

function incidentNumber(text: string): number {
  if (/^[1-9][0-9]{0,14}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Give the number that `incident list` shows.');
}

export function addIncidents(program: Command, run: Run): void {
  const incident = program.command('incident').description('what threat detection found');
  incident
    .command('list')
    .description('incidents, the open ones first')
    .action(() =>
      run((open) =>
        open.show(open.client.get(INCIDENTS), (json) => {
          const { incidents } = json as { readonly incidents: readonly IncidentJson[] };
          open.output.data(json, HEAD, incidents.map(incidentRow), 'no incident is on record');
        }),
      ),
    );
  incident
    .command('close')
    .description('closes an incident that you have looked into')
    .argument('<id>', 'its number in `incident list`', incidentNumber)
    .requiredOption('--reason <text>', 'what it was')
    .action((id: number, { reason }: { readonly reason: string }) =>
      run((open) =>
        open.show(open.client.post(`${INCIDENTS}/${id}/close`, { reason }), (json) => {
          const { incident: closed } = json as { readonly incident: IncidentJson };
          open.output.data(json, HEAD, [incidentRow(closed)]);
        }),
      ),
    );
  incident
    .command('explain')
    .description('an incident with its reasons and responses; or how a score is made up right now')
    .argument('<what>', 'number of an incident, or one of person, device, source')
    .argument('[whom]', 'account; token, linear id or name of a device; address')
    .action((what: string, whom: string | undefined) => run((open) => explain(open, what, whom)));
}

const HEAD = ['incident', 'level', 'about', 'state', 'finding'];

function subjectText({ kind, id }: ThreatSubject): string {
  const device = kind === 'device' && /^[0-9]{1,2}$/.test(id);
  return `${kind} ${device ? formatToken(Number(id)) : id}`;
}

function stateText(one: IncidentJson): string {
  if (one.closed === null) return `OPEN since ${timeText(one.opened)}`;
  return `closed ${timeText(one.closed)} by ${one.closedBy}`;
}

function incidentRow(one: IncidentJson): readonly string[] {
  const level = `${one.level} ${one.score}`;
  return [String(one.id), level, subjectText(one.subject), stateText(one), one.finding];
}

async function explain(
  open: CliSession,
  what: string,
  whom: string | undefined,
): Promise<ExitCode> {
  if (whom === undefined) return explainIncident(open, what);
  const kind = KINDS.find((name) => name === what);
  if (kind === undefined) return open.fault(notSaid(what));
  const ids = kind === 'device' ? await open.devices([whom], 'record') : [whom];
  if (typeof ids === 'number') return ids;
  const id = encodeURIComponent(String(ids[0] ?? ''));
  return open.show(open.client.get(`${REST_BASE}/threats/${kind}/${id}`), (json) => {
    const { report } = json as {
      readonly report: {
        readonly subject: ThreatSubject;
        readonly score: number;
        readonly level: string;
        readonly windowMs: number;
        readonly indicators: readonly ThreatIndicator[];
      };
    };
    const rows = [
      ['about', subjectText(report.subject)],
      ['score', `${report.score}, ${report.level}`],
      ['looked back', `${Math.round(report.windowMs / 1000)} s`],
    ];
    open.output.tables(json, withReasons({ head: ['threat', ''], rows }, report.indicators));
  });
}

async function explainIncident(open: CliSession, number: string): Promise<ExitCode> {
  const id = /^[1-9][0-9]{0,14}$/.test(number) ? Number(number) : undefined;
  if (id === undefined) return open.fault(notSaid(number));
  const answer = await open.client.get(INCIDENTS);
  if (answer.kind !== 'data') return open.failed(answer);
  const { incidents } = answer.json as { readonly incidents: readonly IncidentJson[] };
  const found = incidents.find((one) => one.id === id);
  if (found === undefined) {
    const finding = 'is not in the list';
    return open.fault(fault('INCIDENT_UNKNOWN', { place: `incident ${id}`, finding }));
  }
  const { devices, responses, closedBecause } = found;
  const tokens = devices.map((one) => (typeof one === 'number' ? formatToken(one) : one));
  const rows = [
    ['about', subjectText(found.subject)],
    ['level', `${found.level}, score ${found.score}`],
    ['state', stateText(found)],
    ...(closedBecause === '' ? [] : [['closed because', closedBecause]]),
    ['who', found.actor],
    ['devices', tokens.join(' ') || 'none'],
    ['finding', found.finding],
    ...responses.map((response, at) => [at === 0 ? 'done by itself' : '', response]),
  ];
  const table = { head: [`incident ${id}`, ''], rows };
  return open.show(Promise.resolve({ kind: 'data', json: found }), (json) =>
    open.output.tables(json, withReasons(table, found.indicators)),
  );
}

function withReasons(table: Table, indicators: readonly ThreatIndicator[]): readonly Table[] {
  if (indicators.length === 0) return [table];
  const rows = indicators.map(({ name, points, finding, entries }) => [
    `+${points}`,
    name,
    finding,
    entries.join(' '),
  ]);
  return [table, { head: ['points', 'because', 'seen', 'audit entries'], rows }];
}

function notSaid(given: string) {
  const finding = 'is neither the number of an incident nor a kind with a name after it';
  const consequence = 'nothing was asked; see `dsmil incident explain --help`';
  return fault('REQUEST_MALFORMED', { place: given.slice(0, 64), finding, consequence });
}
