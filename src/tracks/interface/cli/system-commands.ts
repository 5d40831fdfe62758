// `dsmil status | approvals | approve | audit`: the agent, waiting plans and the record.

import { type Command, InvalidArgumentError } from 'commander';
import type { ApprovalJson, StatusJson } from '#contract/json-answer';
import { REST_BASE } from '#model/operation-table';
import type { Run } from './cli-parts.ts';
import { EXIT } from './exit-code.ts';

export function addStatus(program: Command, run: Run): void {
  program
    .command('status')
    .description('state of the agent, its tracks and the emergency stop')
    .action(() =>
      run((open) =>
        open.show(open.client.get(`${REST_BASE}/system/status`), (json) => {
          const status = json as StatusJson;
          const rows = [
            ['state', status.state],
            ['emergency stop', status.stopEngaged ? 'ENGAGED' : 'released'],
            ...status.stopCauses.map((cause) => [
              'stop cause',
              `${cause.at} ${cause.triggeredBy}: ${cause.reason}`,
            ]),
            ...status.tracks.map(({ track, up, finding }) => [
              track,
              `${up ? 'up' : 'DOWN'}${finding === '' ? '' : `, ${finding}`}`,
            ]),
            ['operations running', String(status.activeOperations)],
            ['audit entries', String(status.auditSequence)],
            ['board', status.board.name],
          ];
          open.output.data(json, ['what', 'is'], rows);
        }),
      ),
    );
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

function count(text: string): number {
  if (/^[0-9]{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Give a whole number.');
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
