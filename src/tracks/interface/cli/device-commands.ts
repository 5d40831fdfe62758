// `dsmil device list | read | write`: devices and their registers.

import { type Command, InvalidArgumentError, Option } from 'commander';
import type { DeviceJson, ReceiptJson } from '#contract/json-answer';
import { REST_BASE } from '#model/operation-table';
import { RiskLevel } from '#model/risk';
import type { Run } from './cli-parts.ts';
import type { CliSession } from './session.ts';

function assignment(text: string, before: readonly { name: string; value: string }[] = []) {
  const match = /^([^=]{1,128})=(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})$/.exec(text);
  const [, name, value] = match ?? [];
  if (name === undefined || value === undefined) {
    throw new InvalidArgumentError('Give REGISTER=VALUE with a decimal or 0x-hexadecimal value.');
  }
  return [...before, { name, value }];
}

function showReceipt(open: CliSession, receipt: ReceiptJson): void {
  const rows = receipt.readings.map((reading) => [
    reading.token,
    reading.register,
    reading.value ?? '-',
    reading.before ?? '',
    reading.fault === undefined ? '' : `${reading.fault.code}: ${reading.fault.finding}`,
  ]);
  if (receipt.transactions !== undefined) {
    const planned = receipt.transactions.map((transaction) => [transaction]);
    open.output.data(receipt, ['register transaction'], planned);
  } else {
    open.output.data(receipt, ['device', 'register', 'value', 'before', 'fault'], rows);
  }
  open.explainReceipt(receipt);
}

interface WriteOptions {
  readonly reason?: string;
  readonly confirm?: string;
  readonly dryRun?: true;
}

export function addDevices(program: Command, run: Run): void {
  const device = program.command('device').description('devices and their registers');
  device
    .command('list')
    .description('every device with its last seen state')
    .action(() =>
      run((open) =>
        open.show(open.client.get(`${REST_BASE}/devices`), (json) => {
          const { devices, stale } = json as { devices: readonly DeviceJson[]; stale: boolean };
          const rows = devices.map((one) => [
            one.token,
            String(one.id),
            one.slug,
            one.busKind,
            one.baseRisk,
            one.power,
            one.status,
            one.lastFault,
          ]);
          const head = ['token', 'id', 'name', 'bus', 'risk', 'power', 'status', 'last fault'];
          open.output.data(json, head, rows);
          if (stale) open.output.message('the picture is stale: security passes on no news');
        }),
      ),
    );
  device
    .command('read')
    .description('reads registers from the metal; without names all that are safe to read')
    .argument('<device>', 'token, linear id or name')
    .argument('[register...]')
    .action((argument: string, registers: readonly string[]) =>
      run(async (open) => {
        const id = await open.device(argument);
        if (typeof id === 'number') return id;
        if (!id.ok) return open.fault(id.fault);
        const names = registers.map(encodeURIComponent).join(',');
        const query = names === '' ? '' : `?names=${names}`;
        const path = `${REST_BASE}/devices/${id.value}/registers${query}`;
        return open.show(open.client.get(path), (json) => showReceipt(open, json as ReceiptJson));
      }),
    );
  device
    .command('write')
    .description('writes registers of one device as one transaction')
    .argument('<device>', 'token, linear id or name')
    .argument('<register=value...>', 'raw values, decimal or 0x-hexadecimal', assignment)
    .option('--reason <text>', 'why, 10 to 512 characters')
    .addOption(
      new Option('--confirm <risk>', 'the risk you were shown and accept').choices(
        Object.keys(RiskLevel).filter((name) => name !== 'UNKNOWN'),
      ),
    )
    .option('--dry-run', 'plan, assess and check only')
    .action(
      (
        argument: string,
        registers: readonly { readonly name: string; readonly value: string }[],
        options: WriteOptions,
      ) =>
        run(async (open) => {
          const id = await open.device(argument);
          if (typeof id === 'number') return id;
          if (!id.ok) return open.fault(id.fault);
          const body = {
            operation: 'WRITE',
            device: id.value,
            registers,
            ...(options.reason === undefined ? {} : { justification: options.reason }),
            ...(options.confirm === undefined ? {} : { confirmedRisk: options.confirm }),
            ...(options.dryRun === undefined ? {} : { dryRun: true }),
          };
          return open.show(open.client.post(`${REST_BASE}/operations`, body), (json) =>
            showReceipt(open, json as ReceiptJson),
          );
        }),
    );
}
