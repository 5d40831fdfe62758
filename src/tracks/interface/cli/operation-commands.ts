// `dsmil device write | config | activate | deactivate | reset | select` and `dsmil operation operate | release`.

import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ReceiptJson } from '#contract/json-answer';
import type { OperationName } from '#model/operation';
import { REST_BASE } from '#model/operation-table';
import { RiskLevel } from '#model/risk';
import { count } from './arguments.ts';
import type { Run } from './cli-parts.ts';
import { EXIT } from './exit-code.ts';
import { showReceipt } from './receipt-output.ts';

interface RegisterValue {
  readonly name: string;
  readonly value: string;
}

interface OperationOptions {
  readonly reason?: string;
  readonly confirm?: string;
  readonly dryRun?: true;
  readonly seconds?: number;
}

const DEVICE = 'token, linear id or name';
const VALUES = 'raw values, decimal or 0x-hexadecimal';

/** Verb, whether it takes registers, what it does. */
const VERBS = [
  ['write', 'WRITE', 'registers', 'writes registers of one device as one transaction'],
  ['config', 'CONFIG', 'registers', 'writes configuration registers of one device'],
  ['activate', 'ACTIVATE', 'none', 'switches a device on, after a reset of the stop too'],
  ['deactivate', 'DEACTIVATE', 'none', 'switches a device off'],
  ['reset', 'RESET', 'none', 'resets a device; two people have to'],
] as const satisfies readonly (readonly [string, OperationName, 'registers' | 'none', string])[];

function assignment(text: string, before: readonly RegisterValue[] = []) {
  const match = /^([^=]{1,128})=(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})$/.exec(text);
  const [, name, value] = match ?? [];
  if (name === undefined || value === undefined) {
    throw new InvalidArgumentError('Give REGISTER=VALUE with a decimal or 0x-hexadecimal value.');
  }
  return [...before, { name, value }];
}

function seconds(text: string): number {
  if (/^[1-9][0-9]{0,4}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Give a whole number of seconds.');
}

function confirmOption(): Option {
  const levels = Object.keys(RiskLevel).filter((name) => name !== 'UNKNOWN');
  return new Option('--confirm <risk>', 'the risk you were shown and accept').choices(levels);
}

/** The verbs below `dsmil device`. */
export function addDeviceOperations(device: Command, run: Run): void {
  const perform = (
    argument: string,
    operation: OperationName,
    registers: readonly RegisterValue[],
    options: OperationOptions,
  ) =>
    run((open) =>
      open.withDevice(argument, 'touch', (id) => {
        const { reason, confirm, dryRun, seconds: held } = options;
        const body = {
          operation,
          device: id,
          ...(registers.length === 0 ? {} : { registers }),
          ...(reason === undefined ? {} : { justification: reason }),
          ...(confirm === undefined ? {} : { confirmedRisk: confirm }),
          ...(dryRun === undefined ? {} : { dryRun: true }),
          ...(held === undefined ? {} : { selectForSeconds: held }),
        };
        return open.show(open.client.post(`${REST_BASE}/operations`, body), (json) =>
          showReceipt(open, json as ReceiptJson),
        );
      }),
    );
  for (const [verb, operation, takes, description] of VERBS) {
    const command = device
      .command(verb)
      .description(description)
      .argument('<device>', DEVICE)
      .option('--reason <text>', 'why, 10 to 512 characters')
      .addOption(confirmOption())
      .option('--dry-run', 'show what would change, the risk and who is needed; touch nothing');
    if (takes === 'none') {
      command.action((argument: string, options: OperationOptions) =>
        perform(argument, operation, [], options),
      );
      continue;
    }
    command
      .argument('<register=value...>', VALUES, assignment)
      .action((argument: string, registers: readonly RegisterValue[], options: OperationOptions) =>
        perform(argument, operation, registers, options),
      );
  }
  device
    .command('select')
    .description('holds a device for one operation that you perform or release later')
    .argument('<device>', DEVICE)
    .addArgument(
      device
        .createArgument('<operation>', 'what is to be done')
        .choices(VERBS.map(([verb]) => verb)),
    )
    .argument('[register=value...]', VALUES, assignment)
    .requiredOption('--seconds <count>', 'how long the device is held', seconds)
    .option('--reason <text>', 'why, 10 to 512 characters')
    .addOption(confirmOption())
    .action(
      (
        argument: string,
        verb: string,
        registers: readonly RegisterValue[] | undefined,
        options: OperationOptions,
      ) => {
        const operation = VERBS.find(([name]) => name === verb)?.[1] ?? 'WRITE';
        return perform(argument, operation, registers ?? [], options);
      },
    );
}

/** What was asked for, also by a command that broke off. */
function addLookups(operation: Command, run: Run): void {
  operation
    .command('list')
    .description('the last operations and what became of them, the newest first')
    .option('--limit <count>', 'how many', count, 20)
    .action(({ limit }: { readonly limit: number }) =>
      run((open) =>
        open.show(open.client.get(`${REST_BASE}/operations?limit=${limit}`), (json) => {
          const { operations } = json as { readonly operations: readonly ReceiptJson[] };
          const rows = operations.map((one) => [
            one.operationId,
            one.operation,
            one.selectedUntil === undefined ? one.state : 'SELECTED',
            one.effect,
            one.risk,
            one.auditSequence === 0 ? '' : String(one.auditSequence),
            one.fault?.code ?? '',
          ]);
          const head = ['id', 'operation', 'state', 'effect', 'risk', 'entry', 'fault'];
          open.output.data(json, head, rows, 'no operation is on record here', ['entry']);
        }),
      ),
    );
  operation
    .command('show')
    .description('what became of one operation, with its registers')
    .argument('<id>', 'as `operation list` or the operation itself named it')
    .action((id: string) =>
      run((open) =>
        open.show(open.client.get(`${REST_BASE}/operations/${encodeURIComponent(id)}`), (json) =>
          showReceipt(open, json as ReceiptJson),
        ),
      ),
    );
}

export function addOperations(program: Command, run: Run): void {
  const operation = program
    .command('operation')
    .description('what became of operations, and those on selected devices');
  addLookups(operation, run);
  operation
    .command('operate')
    .description('performs what you selected')
    .argument('<id>', 'the operation, as `device select` named it')
    .addOption(confirmOption())
    .action((id: string, options: { readonly confirm?: string }) =>
      run((open) => {
        const path = `${REST_BASE}/operations/${encodeURIComponent(id)}/operate`;
        const body = options.confirm === undefined ? {} : { confirmedRisk: options.confirm };
        return open.show(open.client.post(path, body), (json) =>
          showReceipt(open, json as ReceiptJson),
        );
      }),
    );
  operation
    .command('release')
    .description('frees the device of a selection; nothing is written')
    .argument('<id>', 'the operation, as `device select` named it')
    .action((id: string) =>
      run(async (open) => {
        const path = `${REST_BASE}/operations/${encodeURIComponent(id)}/release`;
        const answer = await open.client.post(path);
        if (answer.kind !== 'data') return open.failed(answer);
        open.output.data(
          { operationId: id, released: true },
          ['operation', 'is'],
          [[id, 'released']],
        );
        return EXIT.ok;
      }),
    );
}
