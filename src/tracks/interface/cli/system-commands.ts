// `dsmil status | approvals | approve`: the agent and the plans that wait for a second person.

import type { Command } from 'commander';
import type { ApprovalJson, StatusJson } from '#contract/json-answer';
import { REST_BASE } from '#model/operation-table';
import { securityIsAway } from './agent-client.ts';
import type { Run } from './cli-parts.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import type { Table } from './output.ts';
import type { CliSession } from './session.ts';
import { timeText } from './times.ts';
import { statusUnsupervised, whyUnsupervised } from './unsupervised.ts';

/** Devices named one by one; more of them are counted. */
const HELD_NAMED_MAX = 8;

export function addStatus(program: Command, run: Run): void {
  program
    .command('status')
    .description('state of the agent, its tracks, the emergency stop and what is held')
    .action(() => run(status));
}

async function status(open: CliSession): Promise<ExitCode> {
  const answer = await open.client.get(`${REST_BASE}/system/status`);
  if (answer.kind !== 'data') {
    const away = securityIsAway(answer);
    const direct = away ? await statusUnsupervised(open, whyUnsupervised(answer)) : undefined;
    return direct ?? open.failed(answer);
  }
  const found = answer.json as StatusJson;
  const security = found.tracks.find(({ track }) => track === 'security');
  if (security?.up === false) {
    // Interface knows only what it saw last; kernel sees the devices.
    const direct = await statusUnsupervised(open, '');
    if (direct !== undefined) return direct;
  }
  open.output.data(found, ['what', 'is'], statusRows(found));
  return EXIT.ok;
}

function statusRows(found: StatusJson): readonly (readonly string[])[] {
  const { stopTest } = found;
  const test =
    stopTest === null
      ? 'not tested yet'
      : `${stopTest.ok ? 'passed' : 'FAILED'} ${timeText(stopTest.at)} in ${stopTest.durationMs.toFixed(1)} ms${stopTest.finding === '' ? '' : `: ${stopTest.finding}`}`;
  return [
    ['state', found.state],
    ...found.findings.map((finding) => ['finding', finding]),
    ['emergency stop', stopText(found)],
    ...found.stopCauses.map((cause) => {
      const seen = found.stopAcknowledgments.filter(({ stopId }) => stopId === cause.id);
      const by =
        seen.length === 0
          ? 'seen by nobody yet'
          : `seen by ${seen.map((one) => one.by).join(', ')}`;
      const scope =
        cause.devices.length === 0
          ? 'whole system'
          : named(cause.devices.map(({ token }) => token));
      return [
        `stop ${cause.id}`,
        `${scope}, ${timeText(cause.at)} by ${cause.triggeredBy}: ${cause.reason}; ${by}`,
      ];
    }),
    ['stop test', test],
    ...found.tracks.map(({ track, up, finding }) => [
      track,
      `${up ? 'up' : 'DOWN'}${finding === '' ? '' : `, ${finding}`}`,
    ]),
    ...holdRows(found),
    ...found.selections.map(({ operationId, by, operation, devices, until }) => [
      'selected',
      `${named(devices.map(({ token }) => token))}: ${operation} of ${by} until ${timeText(until)}, operation ${operationId}`,
    ]),
    ['conflicts open', String(found.conflictsOpen)],
    ['operations running', String(found.activeOperations)],
    ['audit entries', String(found.auditSequence)],
    ['board', found.board.name],
  ];
}

function stopText({ stopEngaged, stopCauses }: StatusJson): string {
  if (stopEngaged) return 'ENGAGED';
  return stopCauses.length === 0 ? 'released' : 'engaged for the devices below alone';
}

function named(tokens: readonly string[]): string {
  return tokens.length <= HELD_NAMED_MAX ? tokens.join(' ') : `${tokens.length} devices`;
}

/** One line for each kind and reason: after a reset every device is held the same way. */
function holdRows({ holds }: StatusJson): readonly (readonly string[])[] {
  const groups = new Map<string, { kind: string; reason: string; tokens: string[] }>();
  for (const { kind, reason, token } of holds) {
    const key = `${kind} ${reason}`;
    const group = groups.get(key) ?? { kind, reason, tokens: [] };
    group.tokens.push(token);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ kind, reason, tokens }) => {
    const which = named(tokens);
    return [`held ${kind}`, `${which}: ${reason}`];
  });
}

export function addApprovals(program: Command, run: Run): void {
  program
    .command('approvals')
    .description('plans that wait for a second person')
    .action(() =>
      run((open) =>
        open.show(open.client.get(`${REST_BASE}/approvals`), (json) => {
          const { approvals } = json as { readonly approvals: readonly ApprovalJson[] };
          if (approvals.length > 0) open.output.tables(json, approvals.map(approvalTable));
          else open.output.text(json, 'no plan waits for a second person');
        }),
      ),
    );
  program
    .command('approve')
    .description('approves one exact plan as the second person')
    .argument('<digest>', 'the plan, 64 hexadecimal digits')
    .action((digest: string) =>
      run((open) =>
        open.show(
          open.client.post(`${REST_BASE}/approvals`, { planDigest: digest.toLowerCase() }),
          (json) => {
            const approved = json as ApprovalJson;
            open.output.tables(json, [approvalTable(approved)]);
            open.output.message(
              `${approved.requestedBy} now asks for the same again, before it expires`,
            );
          },
        ),
      ),
    );
}

/** All that the second person answers for: what is asked, by whom and why, how dangerous it is, and every register touched. */
function approvalTable(one: ApprovalJson): Table {
  return {
    head: ['plan', one.planDigest],
    rows: [
      ['operation', one.operation],
      ['devices', one.devices.map(({ token }) => token).join(' ')],
      ['risk', one.risk],
      ['asked by', one.requestedBy],
      ['reason', one.justification],
      ['expires', timeText(one.expiresAt)],
      ['approved by', one.approvedBy === '' ? 'nobody yet' : one.approvedBy],
      ...one.transactions.map((transaction, index) => [`step ${index + 1}`, transaction]),
    ],
  };
}
