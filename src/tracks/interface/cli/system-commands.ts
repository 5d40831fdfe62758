// `dsmil status | approvals | approve | audit`: the agent, waiting plans and the record.

import type { Command } from 'commander';
import type { ApprovalJson, StatusJson } from '#contract/json-answer';
import { REST_BASE } from '#model/operation-table';
import { securityIsAway } from './agent-client.ts';
import { count } from './arguments.ts';
import type { Run } from './cli-parts.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import type { CliSession } from './session.ts';
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
      : `${stopTest.ok ? 'passed' : 'FAILED'} ${stopTest.at} in ${stopTest.durationMs.toFixed(1)} ms${stopTest.finding === '' ? '' : `: ${stopTest.finding}`}`;
  return [
    ['state', found.state],
    ...found.findings.map((finding) => ['finding', finding]),
    ['emergency stop', found.stopEngaged ? 'ENGAGED' : 'released'],
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
        `${scope}, ${cause.at} by ${cause.triggeredBy}: ${cause.reason}; ${by}`,
      ];
    }),
    ['stop test', test],
    ...found.tracks.map(({ track, up, finding }) => [
      track,
      `${up ? 'up' : 'DOWN'}${finding === '' ? '' : `, ${finding}`}`,
    ]),
    ...holdRows(found),
    ['conflicts open', String(found.conflictsOpen)],
    ['operations running', String(found.activeOperations)],
    ['audit entries', String(found.auditSequence)],
    ['board', found.board.name],
  ];
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
  const row = (one: ApprovalJson) => [
    one.planDigest,
    one.operation,
    one.devices.map(({ token }) => token).join(' '),
    one.requestedBy,
    one.expiresAt,
    one.approvedBy,
    one.transactions.join('; '),
  ];
  const head = [
    'plan',
    'operation',
    'devices',
    'asked by',
    'expires',
    'approved by',
    'transactions',
  ];
  program
    .command('approvals')
    .description('plans that wait for a second person')
    .action(() =>
      run((open) =>
        open.show(open.client.get(`${REST_BASE}/approvals`), (json) => {
          const { approvals } = json as { readonly approvals: readonly ApprovalJson[] };
          open.output.data(json, head, approvals.map(row));
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
          (json) => open.output.data(json, head, [row(json as ApprovalJson)]),
        ),
      ),
    );
}

interface AuditRow {
  readonly sequence: number;
  readonly at: string;
  readonly event: string;
  readonly actor: string;
  readonly operation: string;
  readonly result: string;
}

export function addAudit(program: Command, run: Run): void {
  const audit = program.command('audit').description('the audit chain');
  audit
    .command('list')
    .description('entries of the chain')
    .option('--from <sequence>', 'first entry', count, 1)
    .option('--limit <count>', 'how many', count, 100)
    .action((options: { readonly from: number; readonly limit: number }) =>
      run((open) => {
        const path = `${REST_BASE}/audit?from=${options.from}&limit=${options.limit}`;
        return open.show(open.client.get(path), (json) => {
          const { entries } = json as { readonly entries: readonly AuditRow[] };
          const rows = entries.map((entry) => [
            String(entry.sequence),
            entry.at,
            entry.event,
            entry.actor,
            entry.operation,
            entry.result,
          ]);
          open.output.data(json, ['entry', 'at', 'event', 'who', 'operation', 'result'], rows);
        });
      }),
    );
  audit
    .command('verify')
    .description('checks every link and checkpoint')
    .action(() =>
      run(async (open) => {
        const answer = await open.client.get(`${REST_BASE}/audit/verify`);
        if (answer.kind !== 'data') return open.failed(answer);
        const check = answer.json as {
          readonly entries: number;
          readonly intact: boolean;
          readonly finding: string;
        };
        const rows = [[String(check.entries), check.intact ? 'intact' : 'BROKEN', check.finding]];
        open.output.data(check, ['entries', 'chain', 'finding'], rows);
        return check.intact ? EXIT.ok : EXIT.error;
      }),
    );
}
