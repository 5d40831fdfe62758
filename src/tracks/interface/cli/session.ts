// One run of the command line: the client, the output, and how answers become exit codes.

import type { DeviceJson, ReceiptJson } from '#contract/json-answer';
import { describeFault, type Fault } from '#foundation/fault';
import { FAULT_CATALOGUE } from '#foundation/fault-catalogue';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import { REST_BASE } from '#model/operation-table';
import type { AgentAnswer, AgentClient } from './agent-client.ts';
import {
  type KnownDevice,
  numberedDevice,
  quarantineFault,
  slugDevice,
} from './device-argument.ts';
import { EXIT, type ExitCode, exitCodeOf } from './exit-code.ts';
import type { Output } from './output.ts';

export class CliSession {
  readonly client: AgentClient;
  readonly output: Output;

  constructor(client: AgentClient, output: Output) {
    this.client = client;
    this.output = output;
  }

  /** Prints a good answer with `show`; says what became of any other. */
  async show(answer: Promise<AgentAnswer>, show: (json: unknown) => void): Promise<ExitCode> {
    const given = await answer;
    if (given.kind !== 'data') return this.failed(given);
    show(given.json);
    return EXIT.ok;
  }

  failed(answer: Exclude<AgentAnswer, { readonly kind: 'data' }>): ExitCode {
    if (answer.kind === 'unreachable') {
      this.output.message(`agent: ${answer.finding}; nothing is known about the devices`);
      return EXIT.unreachable;
    }
    this.output.message(`${answer.code}: ${answer.detail}\n${answer.action}`);
    const operation = (answer.json as { readonly operation?: ReceiptJson }).operation;
    if (operation !== undefined) this.explainReceipt(operation);
    return operation?.effect === 'in-doubt' ? EXIT.inDoubt : exitCodeOf(answer.code);
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
    lines.push(`risk ${receipt.risk}${receipt.reasons.map((reason) => `\n  ${reason}`).join('')}`);
    for (const needed of receipt.approvalsNeeded ?? []) lines.push(`needed: ${needed}`);
    if (receipt.planDigest !== '') lines.push(`plan ${receipt.planDigest}`);
    if (receipt.auditSequence > 0) lines.push(`audit entry ${receipt.auditSequence}`);
    this.output.message(lines.join('\n'));
  }

  /** The device meant; a quarantined one is refused here, and nothing has been sent to it. */
  async device(argument: string): Promise<Outcome<LinearId> | ExitCode> {
    const numbered = numberedDevice(argument);
    if (numbered !== undefined && !numbered.ok) return numbered;
    if (numbered?.ok === true) {
      const refused = quarantineFault(numbered.value, []);
      if (refused !== null) return refuse(refused);
    }
    const answer = await this.client.get(`${REST_BASE}/devices`);
    if (answer.kind !== 'data') return this.failed(answer);
    const { devices } = answer.json as { readonly devices: readonly DeviceJson[] };
    const known: readonly KnownDevice[] = devices;
    const id = numbered ?? slugDevice(argument, known);
    if (!id.ok) return id;
    const refused = quarantineFault(id.value, known);
    return refused === null ? succeed(id.value) : refuse(refused);
  }
}
