// One running agent for a file of attacks: calls as anybody from anywhere, people with passwords, and the untouched metal.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent as Connections } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ControlClient } from '#drivers/bus/simulated/control-client';
import { RestPerson } from '../../e2e/support/rest-person.ts';
import { pause } from '../../e2e/support/scene.ts';
import { Agent, type AgentOptions } from '../../support/agent.ts';
import { type HttpAnswer, httpCall } from '../../support/http-client.ts';
import { Telephone } from './telephone.ts';

export interface CallOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Loopback address to call from; another one each time unless it is given, for failures are counted for each. */
  readonly from?: string;
  readonly connections?: Connections;
  /** Over the local socket, as the user of this test. */
  readonly local?: boolean;
  readonly certificate?: { readonly cert: string; readonly key: string };
}

export interface Enrolled {
  readonly id: string;
  readonly password: string;
  readonly invitation: string;
  readonly codes: Telephone;
}

/**
 * A policy under which threat detection looks on: it would lock whoever tries a few of these attacks, and here the rule
 * behind it has to hold by itself.
 */
export const LOOKING_ON =
  'threats: { levels: { low: 960, medium: 970, high: 980, critical: 990 } }\n';

/** Everything an account needs to work with harmless devices, and no more. */
export const WORKER = {
  kind: 'person',
  clearance: 'SECRET',
  compartments: ['MAINT', 'SENSORS'],
  devices: null,
} as const;

export class AttackScene {
  readonly agent: Agent;
  /** For files of the test, beside those of the agent. */
  readonly directory: string;
  readonly metal: ControlClient;
  /** The two demonstration people by client certificate, which may make tokens. */
  readonly first: RestPerson;
  readonly second: RestPerson;
  #known: string[] = [];
  #addresses = 0;

  private constructor(agent: Agent, metal: ControlClient, directory: string) {
    this.agent = agent;
    this.directory = directory;
    this.metal = metal;
    this.first = new RestPerson(agent.ready, 0, 'certificate');
    this.second = new RestPerson(agent.ready, 1, 'certificate');
  }

  /** `safety`: the text of a safety policy file of the site. */
  static async open(safety?: string, options: AgentOptions = {}): Promise<AttackScene> {
    const directory = mkdtempSync(join(tmpdir(), 'dsmil-attack-'));
    const policy = join(directory, 'safety.yaml');
    if (safety !== undefined) writeFileSync(policy, safety);
    const agent = await Agent.start(safety === undefined ? [] : ['--safety', policy], options);
    const { simulator } = agent.ready;
    if (simulator === null) throw new Error('the agent runs without its simulator');
    const metal = await ControlClient.connect(simulator.control);
    return new AttackScene(agent, metal, directory);
  }

  async close(): Promise<void> {
    this.first.close();
    this.second.close();
    this.metal.close();
    await this.agent.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** The token of a demonstration person. */
  token(person: 0 | 1): string {
    return this.agent.ready.people[person]?.token ?? '';
  }

  bearer(person: 0 | 1): Record<string, string> {
    return bearer(this.token(person));
  }

  demoCertificate(person: 0 | 1): { readonly cert: string; readonly key: string } {
    const { certificate = '', key = '' } = this.agent.ready.people[person] ?? {};
    return { cert: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') };
  }

  get authority(): Buffer {
    return readFileSync(this.agent.ready.ca);
  }

  /** One request, as nobody unless headers say otherwise. */
  call(method: string, path: string, options: CallOptions = {}): Promise<HttpAnswer> {
    const { body, headers = {}, connections, local = false, certificate } = options;
    const { from = connections === undefined ? this.fresh() : undefined } = options;
    const { http, socket } = this.agent.ready;
    const url = new URL(http);
    const network = {
      host: url.hostname,
      port: Number(url.port),
      servername: '',
      ca: this.authority,
      ...certificate,
      ...(from === undefined ? {} : { localAddress: from }),
    };
    return httpCall({
      ...(local ? { socketPath: socket } : network),
      ...(connections === undefined ? {} : { agent: connections }),
      method,
      path: path.startsWith('/') ? path : `/api/v1/${path}`,
      headers,
      ...(body === undefined ? {} : { body }),
    });
  }

  /** A loopback address that nobody failed from. */
  fresh(): string {
    this.#addresses += 1;
    return `127.0.${100 + Math.floor(this.#addresses / 250)}.${1 + (this.#addresses % 250)}`;
  }

  /** Connections of one client that stay open between calls. */
  connections(): Connections {
    return new Connections({ keepAlive: true, maxSockets: 1 });
  }

  /** What takes two administrators, asked by both; of an invitation each of them is given one half. */
  async both(path: string, body: object): Promise<HttpAnswer['json']> {
    const proposed = await this.first.call('POST', path, body);
    expect([path, proposed.status, proposed.json]).toMatchObject([path, 200, { done: false }]);
    const done = await this.second.call('POST', path, body);
    expect([path, done.status, done.json]).toMatchObject([path, 200, { done: true }]);
    const halves = [proposed.json.invitation, done.json.invitation];
    return {
      ...done.json,
      ...(halves[1] === undefined ? {} : { halves, invitation: halves.join('-') }),
    };
  }

  /** An account that two administrators made; the invitation of its person. */
  async invited(id: string, rights: object = {}): Promise<string> {
    const account = { id, name: id, ...WORKER, ...rights };
    const { invitation } = await this.both('accounts', { account, reason: 'a test of attacks' });
    return String(invitation);
  }

  /** A person with a password and a telephone. */
  async enrolled(id: string, rights: object = {}): Promise<Enrolled> {
    const invitation = await this.invited(id, rights);
    const password = `${id} likes long walks by the sea`;
    const enrolled = await this.call('POST', 'auth/enrol', { body: { invitation, password } });
    expect(enrolled.status, enrolled.text).toBe(200);
    const codes = new Telephone(String(enrolled.json.secret));
    const body = { invitation, code: await codes.next() };
    const confirmed = await this.call('POST', 'auth/enrol/confirm', { body });
    expect(confirmed.status, confirmed.text).toBe(200);
    return { id, password, invitation, codes };
  }

  /** The bearer token of a new sign-in with password and code. */
  async signedIn(who: Enrolled): Promise<string> {
    const { id: account, password, codes } = who;
    const body = { account, password, code: await codes.next(), bearer: true };
    const answer = await this.call('POST', 'auth/login', { body });
    expect(answer.status, answer.text).toBe(200);
    return String(answer.json.token);
  }

  /** The text of a token of this machine, good for these rows. */
  async machineToken(account: string, scope: readonly string[] | null): Promise<string> {
    const body = { account, name: 'for a test of attacks', scope, lifetimeDays: 1 };
    return String((await this.both('tokens', body)).token);
  }

  /** The text of a token that a person makes for itself, signed in with a password. */
  async ownToken(account: string, session: string): Promise<string> {
    const body = { account, name: 'for a test of attacks', scope: null, lifetimeDays: 1 };
    const made = await this.call('POST', 'tokens', { body, headers: bearer(session) });
    expect(made.status, made.text).toBe(200);
    return String(made.json.token);
  }

  // --- The metal -----------------------------------------------------------------------------------

  /** Forgets what the devices have seen so far. */
  async settleMetal(): Promise<void> {
    await pause(30);
    await this.metal.forget();
  }

  /** No device has seen a write since `settleMetal`, no canary was touched, and every process is the one that was started. */
  async untouched(): Promise<void> {
    await pause(30);
    expect(await this.metal.log(undefined, 1_000)).toEqual([]);
    expect((await this.metal.canaries()).touched).toEqual([]);
  }

  /** True while no process ended since this was asked first. */
  get undisturbed(): boolean {
    const pids = Object.values(this.agent.ready.pids).map(String);
    if (this.#known.length === 0) this.#known = pids;
    return this.#known.join() === pids.join();
  }
}

export function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}

/** Status and code, as refusals are compared. */
export function refusalOf(answer: HttpAnswer): readonly [number, string] {
  return [answer.status, String(answer.json?.code ?? '')];
}
