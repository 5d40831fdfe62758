// One run of the command line: the client, the output, and how answers become exit codes.

import type { DeviceJson, ReceiptJson } from '#contract/json-answer';
import { describeFault, type Fault } from '#foundation/fault';
import { FAULT_CATALOGUE } from '#foundation/fault-catalogue';
import type { Outcome } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import { REST_BASE } from '#model/operation-table';
import { type AgentAnswer, AgentClient } from './agent-client.ts';
import { AgentRoute } from './agent-route.ts';
import type { CliParts, UnsupervisedKernel } from './cli-parts.ts';
import {
  type KnownDevice,
  numberedDevice,
  quarantineFault,
  slugDevice,
} from './device-argument.ts';
import { EXIT, type ExitCode, exitCodeOf } from './exit-code.ts';
import { Output, type OutputFormat, tableText } from './output.ts';
import { planTables } from './plan-tables.ts';

type NoData = Exclude<AgentAnswer, { readonly kind: 'data' }>;

export type FoundDevice =
  | { readonly kind: 'device'; readonly id: LinearId }
  /** Refused by the command line itself: nothing was sent. */
  | { readonly kind: 'refused'; readonly fault: Fault }
  /** Nobody said which devices there are. */
  | { readonly kind: 'failed'; readonly answer: NoData };

/** `record`: what is known of a device, and its holds; nothing is asked of the device itself. */
export type DeviceUse = 'touch' | 'record';

export interface SessionOptions {
  readonly parts: CliParts;
  readonly socket: string;
  readonly token: string | undefined;
  readonly format: OutputFormat;
}

export class CliSession {
  readonly client: AgentClient;
  readonly output: Output;
  readonly #route: AgentRoute;

  constructor({ parts, socket, token, format }: SessionOptions) {
    this.output = new Output(parts, format);
    const onMessage = (text: string) => this.output.message(text);
    this.#route = new AgentRoute({ socket, token, parts, onMessage });
    this.client = new AgentClient(this.#route, token);
  }

  get runDirectory(): string {
    return this.#route.runDirectory;
  }

  close(): Promise<void> {
    return this.#route.close();
  }

  /** Kernel at its own console. */
  kernel(): Promise<Outcome<UnsupervisedKernel>> {
    return this.#route.kernel();
  }

  /** Prints a good answer with `show`; says what became of any other. */
  async show(answer: Promise<AgentAnswer>, show: (json: unknown) => void): Promise<ExitCode> {
    const given = await answer;
    if (given.kind !== 'data') return this.failed(given);
    show(given.json);
    return EXIT.ok;
  }

  failed(answer: NoData): ExitCode {
    if (answer.kind === 'unreachable') {
      this.output.message(`agent: ${answer.finding}; nothing is known about the devices`);
      return EXIT.unreachable;
    }
    this.output.message(`${answer.code}: ${answer.detail}\n${answer.action}`);
    const operation = (answer.json as { readonly operation?: ReceiptJson }).operation;
    if (operation !== undefined) this.explainReceipt(operation);
    if (operation?.preview !== undefined) {
      const tables = planTables(operation).map(({ head, rows }) => tableText(head, rows));
      this.output.message(`\n${tables.join('\n')}`.trimEnd());
    }
    return operation?.effect === 'in-doubt' ? EXIT.inDoubt : exitCodeOf(answer.code);
  }

  /** What needs two people: done, or one more person has to ask. */
  progress(json: unknown): ExitCode {
    const { released, message } = json as { readonly released: boolean; readonly message: string };
    this.output.data(json, ['released', 'message'], [[released ? 'yes' : 'no', message]]);
    return released ? EXIT.ok : EXIT.needsPeople;
  }

  fault(found: Fault): ExitCode {
    this.output.message(
      `${found.code}: ${describeFault(found)}\n${FAULT_CATALOGUE[found.code].action}`,
    );
    return exitCodeOf(found.code);
  }

  /** What a person wants to know beside the data: plan, risk, effect, who is still needed. */
  explainReceipt(receipt: ReceiptJson): void {
    const lines = [`operation ${receipt.operationId}: ${receipt.state}, effect ${receipt.effect}`];
    // A plan shows it in a table of its own.
    const reasons = receipt.preview === undefined ? receipt.reasons : [];
    lines.push(`risk ${receipt.risk}${reasons.map((reason) => `\n  ${reason}`).join('')}`);
    for (const needed of receipt.approvalsNeeded ?? []) lines.push(`needed: ${needed}`);
    if (receipt.planDigest !== '') lines.push(`plan ${receipt.planDigest}`);
    if (receipt.auditSequence > 0) lines.push(`audit entry ${receipt.auditSequence}`);
    this.output.message(lines.join('\n'));
  }

  /** The device meant; where it is to be touched, a quarantined one is refused here, and nothing has been sent to it. */
  async device(argument: string, use: DeviceUse): Promise<FoundDevice> {
    const early = deviceAmong(argument, [], use);
    if (early.kind === 'refused' && early.fault.code !== 'DEVICE_UNKNOWN') return early;
    const answer = await this.client.get(`${REST_BASE}/devices`);
    if (answer.kind !== 'data') return { kind: 'failed', answer };
    const { devices } = answer.json as { readonly devices: readonly DeviceJson[] };
    return deviceAmong(argument, devices, use);
  }

  /** Acts on the device meant, or says why not. */
  async withDevice(
    argument: string,
    use: DeviceUse,
    act: (id: LinearId) => Promise<ExitCode>,
  ): Promise<ExitCode> {
    const found = await this.device(argument, use);
    switch (found.kind) {
      case 'device':
        return act(found.id);
      case 'refused':
        return this.fault(found.fault);
      case 'failed':
        return this.failed(found.answer);
    }
  }
}

/** By token, linear id or name; quarantine is looked up in the list and in the registry of those that never leave it. */
export function deviceAmong(
  argument: string,
  devices: readonly KnownDevice[],
  use: DeviceUse,
): Exclude<FoundDevice, { readonly kind: 'failed' }> {
  const id = numberedDevice(argument) ?? slugDevice(argument, devices);
  if (!id.ok) return { kind: 'refused', fault: id.fault };
  const refused = use === 'touch' ? quarantineFault(id.value, devices) : null;
  return refused === null ? { kind: 'device', id: id.value } : { kind: 'refused', fault: refused };
}
