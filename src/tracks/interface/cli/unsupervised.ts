// What is left when security is away: kernel at its own console shows its state, reads and stops, marked unsupervised.

import { wordToJson } from '#contract/json-answer';
import { describeFault } from '#foundation/fault';
import { formatToken } from '#model/device';
import { formatWord } from '#model/register';
import { OverallStatus, PowerState } from '#model/snapshot';
import { type AgentAnswer, securityIsAway } from './agent-client.ts';
import type { UnsupervisedKernel } from './cli-parts.ts';
import { EXIT, type ExitCode, exitCodeOf } from './exit-code.ts';
import { type CliSession, deviceAmong } from './session.ts';

const MARK = 'unsupervised';

/** Kernel, when the answer shows that security is away and kernel can be asked; else the exit code, all said. */
async function kernelInstead(
  open: CliSession,
  answer: Exclude<AgentAnswer, { readonly kind: 'data' }>,
): Promise<UnsupervisedKernel | ExitCode> {
  if (!securityIsAway(answer)) return open.failed(answer);
  const kernel = await open.kernel();
  if (kernel.ok) return kernel.value;
  const code = open.failed(answer);
  open.output.message(`kernel: ${kernel.fault.place}: ${kernel.fault.finding}`);
  return code;
}

function sayUnsupervised(open: CliSession, why: string): void {
  open.output.message(
    `${MARK}: security does not answer${why === '' ? '' : ` (${why})`}; kernel was asked directly, and security will record it`,
  );
}

/** Why nobody else was asked; a refusal for want of security says no more than that. */
export function whyUnsupervised(answer: Exclude<AgentAnswer, { readonly kind: 'data' }>): string {
  return answer.kind === 'unreachable' ? answer.finding : '';
}

/** `device read` from kernel itself. */
export async function readUnsupervised(
  open: CliSession,
  answer: Exclude<AgentAnswer, { readonly kind: 'data' }>,
  argument: string,
  registers: readonly string[],
): Promise<ExitCode> {
  const kernel = await kernelInstead(open, answer);
  if (typeof kernel === 'number') return kernel;
  const status = await kernel.status();
  if (!status.ok) return open.fault(status.fault);
  const found = deviceAmong(argument, status.value.devices, 'touch');
  if (found.kind === 'refused') return open.fault(found.fault);
  const readings = await kernel.read(found.id, registers);
  if (!readings.ok) return open.fault(readings.fault);
  const token = formatToken(found.id);
  const rows = readings.value.map(({ register, widthBits, value, fault }) => [
    token,
    register,
    value === undefined ? '-' : formatWord(value, widthBits),
    fault === undefined ? '' : `${fault.code}: ${fault.finding}`,
    MARK,
  ]);
  const json = {
    unsupervised: true,
    device: found.id,
    token,
    readings: readings.value.map(({ register, value, fault }) => ({
      register,
      ...(value === undefined ? {} : { value: wordToJson(value) }),
      ...(fault === undefined ? {} : { fault: { code: fault.code, finding: fault.finding } }),
    })),
  };
  open.output.data(json, ['device', 'register', 'value', 'fault', 'supervision'], rows);
  sayUnsupervised(open, whyUnsupervised(answer));
  const failed = readings.value.find(({ fault }) => fault !== undefined)?.fault;
  return failed === undefined ? EXIT.ok : exitCodeOf(failed.code);
}

function nameIn(table: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(table).find((name) => table[name] === value) ?? 'UNKNOWN';
}

/** `status` from kernel itself; undefined when kernel cannot be asked or security supervises it. */
export async function statusUnsupervised(
  open: CliSession,
  why: string,
): Promise<ExitCode | undefined> {
  const kernel = await open.kernel();
  if (!kernel.ok) return undefined;
  const status = await kernel.value.status();
  if (!status.ok || !status.value.unsupervised) return undefined;
  const { holdReason, snapshot, devices: known } = status.value;
  const { stopEngaged, devices, buses } = snapshot;
  const faulty = devices.filter(({ lastFault }) => lastFault !== '');
  const slugOf = (id: number) => known.find((device) => device.id === id)?.slug ?? formatToken(id);
  const rows = [
    ['supervision', `${MARK}: security does not answer`],
    ['emergency stop', stopEngaged ? 'ENGAGED' : 'released'],
    ['writes', holdReason === '' ? 'possible' : `on hold: ${holdReason}`],
    ...devicesByStatus(devices.map(({ status: state }) => nameIn(OverallStatus, state))),
    ...buses.map(({ id, open: isOpen, finding }) => [
      `bus ${id}`,
      `${isOpen ? 'open' : 'CLOSED'}${finding === '' ? '' : `, ${finding}`}`,
    ]),
    ...faulty.map(({ device, lastFault }) => [`fault ${slugOf(device)}`, lastFault]),
  ];
  const json = {
    unsupervised: true,
    stopEngaged,
    holdReason,
    devices: devices.map((state) => ({
      id: state.device,
      token: formatToken(state.device),
      slug: slugOf(state.device),
      power: nameIn(PowerState, state.power),
      status: nameIn(OverallStatus, state.status),
      holds: state.holds,
      lastFault: state.lastFault,
      readings: state.readings.map(({ register, value }) => {
        return { register, value: wordToJson(value) };
      }),
    })),
    buses: buses.map(({ id, kind, open: isOpen, finding }) => {
      return { id, kind, open: isOpen, finding };
    }),
  };
  open.output.data(json, ['what', 'is'], rows);
  sayUnsupervised(open, why);
  return EXIT.ok;
}

function devicesByStatus(statuses: readonly string[]): readonly string[][] {
  const counts = new Map<string, number>();
  for (const status of statuses) counts.set(status, (counts.get(status) ?? 0) + 1);
  return [...counts].map(([status, count]) => [`devices ${status}`, String(count)]);
}

/** `stop` of the whole system at kernel itself; undefined when it cannot be asked. */
export async function stopUnsupervised(
  open: CliSession,
  reason: string,
  why: string,
): Promise<ExitCode | undefined> {
  const kernel = await open.kernel();
  if (!kernel.ok) return undefined;
  const stopped = await kernel.value.stop(reason);
  if (!stopped.ok) {
    open.output.message(`kernel: ${describeFault(stopped.fault)}`);
    return undefined;
  }
  const { ok, message, unsafe, safe, durationMs } = stopped.value;
  const findings = unsafe.map(({ device, finding }) => `${formatToken(device)} ${finding}`);
  const rows = [['kernel', ok ? 'ok' : 'FAILED', message, findings.join('; '), MARK]];
  const json = {
    unsupervised: true,
    success: ok,
    scope: 'whole system',
    durationMs,
    tracks: [
      {
        track: 'kernel',
        ok,
        message,
        durationMs,
        safe: safe.map((device) => ({ device, token: formatToken(device) })),
        unsafe: unsafe.map(({ device, finding }) => {
          return { device, token: formatToken(device), finding };
        }),
      },
    ],
  };
  open.output.data(json, ['track', 'result', 'message', 'not safe', 'supervision'], rows);
  sayUnsupervised(open, why);
  return ok ? EXIT.ok : EXIT.inDoubt;
}
