// One run of the command line: the client, the output, and how answers become exit codes.

import type { DeviceJson, ReceiptJson } from '#contract/json-answer';
import { describeFault, type Fault, fault } from '#foundation/fault';
import { FAULT_CATALOGUE } from '#foundation/fault-catalogue';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import { REST_BASE } from '#model/operation-table';
import { type AgentAnswer, AgentClient } from './agent-client.ts';
import { AgentRoute } from './agent-route.ts';
import type { CliParts, UnsupervisedKernel } from './cli-parts.ts';
import { commandText, impersonal } from './command-text.ts';
import {
  type KnownDevice,
  numberedDevice,
  quarantineFault,
  slugDevice,
} from './device-argument.ts';
import { EXIT, type ExitCode, exitCodeOf } from './exit-code.ts';
import { Output, type OutputFormat, tableText } from './output.ts';
import { planTables } from './plan-tables.ts';
import { Prompt } from './prompt.ts';
import { type KeptSignIn, SignInFile } from './sign-in-file.ts';

type NoData = Exclude<AgentAnswer, { readonly kind: 'data' }>;

export type FoundDevice =
  | { readonly kind: 'device'; readonly id: LinearId }
  /** Refused by the command line itself: nothing was sent. */
  | { readonly kind: 'refused'; readonly fault: Fault }
  /** Nobody said which devices there are. */
  | { readonly kind: 'failed'; readonly answer: NoData };

/** `record`: what is known of a device, and its holds; nothing is asked of the device itself. */
export type DeviceUse = 'touch' | 'record';

/** As whom the command line acts; a sign-in that is no good any more never becomes the local user by itself. */
type Identity =
  | { readonly kind: 'local' }
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'signed-in'; readonly signIn: KeptSignIn }
  | { readonly kind: 'unusable'; readonly fault: Fault };

export interface SessionOptions {
  readonly parts: CliParts;
  readonly socket: string;
  readonly token: string | undefined;
  readonly format: OutputFormat;
  /** What was typed after `dsmil`. */
  readonly argv: readonly string[];
}

export class CliSession {
  readonly client: AgentClient;
  readonly output: Output;
  readonly prompt: Prompt;
  readonly socket: string;
  readonly signInFile: SignInFile;
  readonly #identity: Identity;
  readonly #route: AgentRoute;
  /** Whoever proves who it is needs no word about signing in. */
  readonly #signingIn: boolean;
  /** What the second administrator has to type. */
  #secondCommand: readonly string[];

  constructor({ parts, socket, token, format, argv }: SessionOptions) {
    this.socket = socket;
    this.output = new Output(parts, format);
    this.prompt = new Prompt(parts.keyboard, parts.stderr);
    this.signInFile = new SignInFile(parts.environment.XDG_RUNTIME_DIR, socket);
    this.#identity = identityOf(token, this.signInFile);
    this.#secondCommand = impersonal(argv);
    this.#signingIn = SIGN_IN_VERBS.includes(this.#secondCommand[0] ?? '');
    const onMessage = (text: string) => this.output.message(text);
    const withoutToken = withoutTokenHint(this.#identity);
    this.#route = new AgentRoute({
      socket,
      parts,
      onMessage,
      ...(withoutToken === undefined ? {} : { withoutToken }),
    });
    this.client = new AgentClient(this.#route, () => tokenOf(this.#identity));
  }

  /** `unusable`: somebody signed in here, and the sign-in is over or was changed. */
  get actsAs(): Identity['kind'] {
    return this.#identity.kind;
  }

  get runDirectory(): string {
    return this.#route.runDirectory;
  }

  close(): Promise<void> {
    this.prompt.close();
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
    const signsIn = answer.code === 'NOT_AUTHENTICATED' && this.#signingIn;
    this.output.message(`${answer.code}: ${answer.detail}${signsIn ? '' : `\n${answer.action}`}`);
    if (answer.code === 'SECOND_ADMINISTRATOR_NEEDED') this.saySecondCommand();
    const identity = this.#identity;
    if (answer.code === 'NOT_AUTHENTICATED' && identity.kind === 'signed-in') {
      this.output.message(`the sign-in of ${identity.signIn.account} is over: ${SIGN_IN_AGAIN}`);
    }
    if (answer.code === 'NOT_AUTHENTICATED' && identity.kind === 'local' && !this.#signingIn) {
      this.output.message(WHO_IS_NOBODY);
    }
    if (answer.code === 'ACCOUNT_LOCKED' && identity.kind === 'signed-in') {
      this.output.message('once it is unlocked: `dsmil logout`, then sign in again');
    }
    const operation = (answer.json as { readonly operation?: ReceiptJson }).operation;
    if (operation !== undefined) this.explainReceipt(operation);
    const next = operation === undefined ? [] : this.#nextCommands(answer.code, operation);
    if (next.length > 0) this.output.message(next.join('\n'));
    if (operation?.preview !== undefined) {
      const tables = planTables(operation).map(({ head, rows }) => tableText(head, rows));
      this.output.message(`\n${tables.join('\n')}`.trimEnd());
    }
    return operation?.effect === 'in-doubt' ? EXIT.inDoubt : exitCodeOf(answer.code);
  }

  /** What people type to have a refused operation performed after all. */
  #nextCommands(code: string, receipt: ReceiptJson): readonly string[] {
    const asked = this.#secondCommand;
    if (code === 'CONFIRMATION_NEEDED') {
      const at = asked.indexOf('--confirm');
      const before = at < 0 ? asked : [...asked.slice(0, at), ...asked.slice(at + 2)];
      const command = commandText([...before, '--confirm', receipt.risk]);
      return ['whoever accepts this risk types:', `  ${command}`];
    }
    if (code !== 'APPROVAL_NEEDED' || receipt.planDigest === '') return [];
    return [
      'the second person signs in (dsmil login), looks at `dsmil approvals`, and types:',
      `  ${commandText(['approve', receipt.planDigest])}`,
      'then type here again:',
      `  ${commandText(asked)}`,
    ];
  }

  /** What needs two people: done, or one more person has to ask. */
  progress(json: unknown): ExitCode {
    const { released, message } = json as { readonly released: boolean; readonly message: string };
    this.output.data(json, ['released', 'message'], [[released ? 'yes' : 'no', message]]);
    return released ? EXIT.ok : EXIT.needsPeople;
  }

  /** Where the second administrator has to type something else than was typed here. */
  setSecondCommand(argv: readonly string[]): void {
    this.#secondCommand = argv;
  }

  /** The sentence that makes two people one change: the second one has to ask for exactly the same. */
  saySecondCommand(): void {
    this.output.message(
      `the second administrator signs in (dsmil login) and types exactly:\n  ${commandText(this.#secondCommand)}`,
    );
  }

  /** A change that takes one or two administrators; `show` prints what it gave when it is done. */
  change(json: unknown, show: () => void): ExitCode {
    const { done, message } = json as { readonly done: boolean; readonly message: string };
    if (done) {
      show();
      if (message !== '') this.output.message(message);
      return EXIT.ok;
    }
    this.output.data(json, ['done', 'message'], [['no', message]]);
    this.saySecondCommand();
    return EXIT.needsPeople;
  }

  /** What made sessions end; `what` says what else became of it. */
  ended(json: unknown, what?: string): ExitCode {
    const { sessionsEnded } = json as { readonly sessionsEnded: number };
    this.output.data(json, ['sessions ended'], [[String(sessionsEnded)]]);
    if (what !== undefined) this.output.message(what);
    return EXIT.ok;
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

  /** The devices meant, in the order given; or the exit code, when one of them is none and has been said. */
  async devices(given: readonly string[], use: DeviceUse): Promise<readonly LinearId[] | ExitCode> {
    const ids: LinearId[] = [];
    for (const argument of given) {
      const found = await this.device(argument, use);
      if (found.kind === 'refused') return this.fault(found.fault);
      if (found.kind === 'failed') return this.failed(found.answer);
      ids.push(found.id);
    }
    return ids;
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

const SIGN_IN_VERBS: readonly string[] = ['login', 'enrol', 'password'];
const WHO_IS_NOBODY =
  'nobody is signed in here: `dsmil login ACCOUNT`; on a new appliance root begins with `dsmil setup`';

const SIGN_IN_AGAIN =
  'sign in with `dsmil login`, or `dsmil logout` to be the user of this machine';

function identityOf(token: string | undefined, file: SignInFile): Identity {
  if (token !== undefined) return { kind: 'token', token };
  const kept = file.read();
  if (!kept.ok) return { kind: 'unusable', fault: kept.fault };
  if (kept.value === null) return { kind: 'local' };
  const { account, expiresAt } = kept.value;
  if (new Date(expiresAt).getTime() > Date.now()) return { kind: 'signed-in', signIn: kept.value };
  const finding = `ended at ${expiresAt}`;
  const place = `sign-in of ${account}`;
  const consequence = `nothing was sent; ${SIGN_IN_AGAIN}`;
  return { kind: 'unusable', fault: fault('NOT_AUTHENTICATED', { place, finding, consequence }) };
}

function tokenOf(identity: Identity): Outcome<string | undefined> {
  switch (identity.kind) {
    case 'local':
      return succeed(undefined);
    case 'token':
      return succeed(identity.token);
    case 'signed-in':
      return succeed(identity.signIn.token);
    case 'unusable':
      return refuse(identity.fault);
  }
}

function withoutTokenHint(identity: Identity): string | undefined {
  switch (identity.kind) {
    case 'local':
      return undefined;
    case 'token':
      return 'leave the token out';
    case 'signed-in':
    case 'unusable':
      return 'sign out first with `dsmil logout`';
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
