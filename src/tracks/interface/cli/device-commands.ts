// `dsmil device list | read | history | release | quarantine`: devices, their registers, their past and their holds.

import type { Command } from 'commander';
import type { DeviceJson, ReceiptJson } from '#contract/json-answer';
import type { HistoryEntryJson, HoldJson } from '#contract/json-state';
import { REST_BASE } from '#model/operation-table';
import { count } from './arguments.ts';
import type { Run } from './cli-parts.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { addDeviceOperations } from './operation-commands.ts';
import { showReceipt } from './receipt-output.ts';
import type { CliSession } from './session.ts';
import { timeText } from './times.ts';
import { readUnsupervised } from './unsupervised.ts';

const DEVICE = 'token, linear id or name';

export function addDevices(program: Command, run: Run): void {
  const device = program.command('device').description('devices and their registers');
  device
    .command('list')
    .description('every device with its last seen state')
    .action(() =>
      run((open) => open.show(open.client.get(`${REST_BASE}/devices`), (json) => list(open, json))),
    );
  device
    .command('read')
    .description('reads registers from the metal; without names all that are safe to read')
    .argument('<device>', DEVICE)
    .argument('[register...]')
    .action((argument: string, registers: readonly string[]) =>
      run((open) => read(open, argument, registers)),
    );
  addDeviceOperations(device, run);
  device
    .command('history')
    .description('what changed about a device, the newest first')
    .argument('<device>', DEVICE)
    .option('--limit <count>', 'how many', count, 20)
    .action((argument: string, { limit }: { readonly limit: number }) =>
      run((open) =>
        open.withDevice(argument, 'record', (id) => {
          const path = `${REST_BASE}/devices/${id}/history?limit=${limit}`;
          return open.show(open.client.get(path), (json) => {
            const { history } = json as { readonly history: readonly HistoryEntryJson[] };
            const rows = history.map(({ at, what, from, to }) => [timeText(at), what, from, to]);
            const none = 'nothing of this device has changed since the record of it began';
            open.output.data(json, ['at', 'what', 'from', 'to'], rows, none);
          });
        }),
      ),
    );
  addHolds(device, run);
}

function addHolds(device: Command, run: Run): void {
  device
    .command('release')
    .description('ends the hold of a device in doubt, or asks for the end of its quarantine')
    .argument('<device>', DEVICE)
    .requiredOption('--reason <text>', 'what you found, 10 to 512 characters')
    .action((argument: string, { reason }: { readonly reason: string }) =>
      run((open) =>
        open.withDevice(argument, 'record', async (id) => {
          const answer = await open.client.post(`${REST_BASE}/devices/${id}/release`, { reason });
          return answer.kind === 'data' ? open.progress(answer.json) : open.failed(answer);
        }),
      ),
    );
  device
    .command('quarantine')
    .description('keeps everybody from a device until two people release it')
    .argument('<device>', DEVICE)
    .requiredOption('--reason <text>', 'why, 10 to 512 characters')
    .action((argument: string, { reason }: { readonly reason: string }) =>
      run((open) =>
        open.withDevice(argument, 'record', (id) => {
          const path = `${REST_BASE}/devices/${id}/quarantine`;
          return open.show(open.client.post(path, { reason }), (json) => {
            const { token, kind, since, reason: kept } = json as HoldJson;
            open.output.data(
              json,
              ['device', 'hold', 'since', 'reason'],
              [[token, kind, timeText(since), kept]],
            );
          });
        }),
      ),
    );
}

function list(open: CliSession, json: unknown): void {
  const { devices, stale } = json as { devices: readonly DeviceJson[]; stale: boolean };
  const rows = devices.map((one) => [
    one.token,
    String(one.id),
    one.slug,
    one.busKind,
    one.baseRisk,
    one.power,
    one.status,
    one.holds.join(', '),
    one.lastFault,
  ]);
  const head = ['token', 'id', 'name', 'bus', 'risk', 'power', 'status', 'held', 'last fault'];
  open.output.data(json, head, rows, undefined, ['bus', 'id', 'power']);
  if (stale) open.output.message('the picture is stale: this is what was seen last');
}

async function read(
  open: CliSession,
  argument: string,
  registers: readonly string[],
): Promise<ExitCode> {
  const found = await open.device(argument, 'touch');
  if (found.kind === 'refused') return open.fault(found.fault);
  if (found.kind === 'failed') return readUnsupervised(open, found.answer, argument, registers);
  const names = registers.map(encodeURIComponent).join(',');
  const query = names === '' ? '' : `?names=${names}`;
  const answer = await open.client.get(`${REST_BASE}/devices/${found.id}/registers${query}`);
  if (answer.kind !== 'data') return readUnsupervised(open, answer, argument, registers);
  showReceipt(open, answer.json as ReceiptJson);
  return EXIT.ok;
}
