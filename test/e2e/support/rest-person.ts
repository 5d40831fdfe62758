// One person on one kept REST connection: by token over TLS, by client certificate, or at the local socket.

import { readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as TlsAgent } from 'node:https';
import type { ProblemJson, ReceiptJson } from '#contract/json-answer';
import type { ReadyFile } from '../../support/agent.ts';
import { type HttpAnswer, httpCall } from '../../support/http-client.ts';

/** Index of a demonstration person, or the technician whom the local socket vouches for. */
export type Who = 0 | 1 | 'technician' | 'nobody';

export interface RestOperation {
  readonly operation: string;
  readonly device?: number | string;
  readonly registers?: readonly { readonly name: string; readonly value?: string | number }[];
  readonly [member: string]: unknown;
}

export interface OperationAnswer {
  readonly status: number;
  /** Empty when the operation was carried out. */
  readonly code: string;
  readonly problem: ProblemJson | null;
  /** Of the operation, carried out or not; null when the request never became one. */
  readonly receipt: ReceiptJson | null;
}

export class RestPerson {
  readonly #ready: ReadyFile;
  readonly #who: Who;
  readonly #agent: HttpAgent;
  readonly #headers: Readonly<Record<string, string>>;

  /** `from` is the loopback address to call from: limits are kept for each address. */
  constructor(
    ready: ReadyFile,
    who: Who,
    certificate: 'token' | 'certificate' = 'token',
    from = '127.0.0.1',
  ) {
    this.#ready = ready;
    this.#who = who;
    const keep = { keepAlive: true, maxSockets: 1, localAddress: from } as const;
    const person = typeof who === 'number' ? ready.people[who] : undefined;
    const own =
      certificate === 'certificate' && person !== undefined
        ? { cert: readFileSync(person.certificate), key: readFileSync(person.key) }
        : {};
    this.#agent =
      who === 'technician'
        ? new HttpAgent({ keepAlive: true, maxSockets: 1 })
        : new TlsAgent({ ...keep, ...own, ca: readFileSync(ready.ca) });
    this.#headers =
      certificate === 'token' && person !== undefined
        ? { authorization: `Bearer ${person.token}` }
        : {};
  }

  call(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<HttpAnswer> {
    const url = new URL(this.#ready.http);
    const where =
      this.#who === 'technician'
        ? { socketPath: this.#ready.socket }
        : { host: url.hostname, port: Number(url.port), servername: '' };
    return httpCall({
      ...where,
      agent: this.#agent,
      method,
      path: path.startsWith('/') ? path : `/api/v1/${path}`,
      headers: { ...this.#headers, ...headers },
      ...(body === undefined ? {} : { body }),
    });
  }

  /** GET that has to succeed. */
  async get(path: string): Promise<HttpAnswer['json']> {
    const answer = await this.call('GET', path);
    if (answer.status !== 200) throw new Error(`GET ${path}: ${answer.status} ${answer.text}`);
    return answer.json;
  }

  async operate(operation: RestOperation): Promise<OperationAnswer> {
    return answerOf(await this.call('POST', 'operations', operation));
  }

  read(device: number | string, ...names: readonly string[]): Promise<OperationAnswer> {
    return this.operate({ operation: 'READ', device, registers: names.map((name) => ({ name })) });
  }

  async approve(planDigest: string): Promise<HttpAnswer> {
    return this.call('POST', 'approvals', { planDigest });
  }

  /** Ends the connection, and with it the session. */
  close(): void {
    this.#agent.destroy();
  }
}

function answerOf(answer: HttpAnswer): OperationAnswer {
  if (answer.status === 200)
    return { status: 200, code: '', problem: null, receipt: answer.json as ReceiptJson };
  const problem = answer.json as ProblemJson & { readonly operation?: ReceiptJson };
  const { status } = answer;
  return { status, code: problem.code, problem, receipt: problem.operation ?? null };
}

export const JUSTIFICATION = 'planned check of every register';

/** Whatever the risk asks for: shown by a dry run, justified, confirmed, and approved by the second person. */
export async function operateAtAnyRisk(
  asker: RestPerson,
  approver: RestPerson,
  operation: RestOperation,
): Promise<OperationAnswer> {
  const justified = { ...operation, justification: JUSTIFICATION };
  const shown = await asker.operate({ ...justified, dryRun: true });
  if (shown.receipt === null || shown.code !== '') return shown;
  const confirmed = { ...justified, confirmedRisk: shown.receipt.risk };
  if (shown.receipt.approvalsNeeded === undefined) return asker.operate(confirmed);
  const asked = await asker.operate(confirmed);
  if (asked.code !== 'APPROVAL_NEEDED') return asked;
  const approved = await approver.approve(asked.receipt?.planDigest ?? '');
  if (approved.status !== 200) throw new Error(`approval: ${approved.status} ${approved.text}`);
  return asker.operate(confirmed);
}

/** After the reset of a stop: activates those of the devices that wait for it, at whatever risk that is. */
export async function activateAgain(
  asker: RestPerson,
  approver: RestPerson,
  devices: readonly string[],
): Promise<void> {
  const { holds } = await asker.get('system/status');
  const waiting = (holds as readonly { readonly token: string; readonly kind: string }[])
    .filter(({ kind }) => kind === 'deactivated')
    .map(({ token }) => token);
  for (const device of devices.filter((token) => waiting.includes(token))) {
    const done = await operateAtAnyRisk(asker, approver, { operation: 'ACTIVATE', device });
    if (done.receipt?.effect !== 'committed')
      throw new Error(`${device} was not activated: ${done.code} ${done.problem?.detail}`);
  }
}
