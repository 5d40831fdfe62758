// What the agent itself says of an exercise, asked as who started it: audit chain, events, incidents, accounts, status.
// Invariants: reads only; on the local socket, so that neither the attack's source address nor its limits touch it.
// Faults: throws with the agent's sentence where it refuses or does not answer.

import { performance } from 'node:perf_hooks';
import { WebSocket } from 'ws';
import type { AuditEntry } from '#model/audit-entry';
import { REST_BASE } from '#model/operation-table';
import type { ExerciseContext } from '#tracks/interface/cli/cli-parts';

export interface SeenIncident {
  readonly id: number;
  readonly subject: { readonly kind: string; readonly id: string };
  readonly level: string;
  readonly score: number;
  readonly finding: string;
  readonly responses: readonly string[];
  readonly changed: string;
}

export interface SeenStatus {
  readonly auditSequence: number;
  readonly stopEngaged: boolean;
  readonly stopTest: {
    readonly ok: boolean;
    readonly at: string;
    readonly durationMs: number;
  } | null;
}

const PAGE = 500;
const ASK_EVERY_MS = 40;
const OPEN_MS = 5_000;

type ObserverContext = Pick<ExerciseContext, 'client' | 'socket' | 'token' | 'signal'>;

export class Observer {
  readonly #context: ObserverContext;
  /** When each audit entry was announced, on this process's monotonic clock. */
  readonly #announcedMs = new Map<number, number>();
  #alerts = 0;
  #events: WebSocket | null = null;
  #firstSequence = 0;

  constructor(context: ObserverContext) {
    this.#context = context;
  }

  /** From here on entries count. */
  async open(): Promise<void> {
    this.#firstSequence = (await this.status()).auditSequence + 1;
    const { socket, token } = this.#context;
    const events = new WebSocket(`ws+unix://${socket}:${REST_BASE}/ws`, {
      ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
      handshakeTimeout: OPEN_MS,
    });
    this.#events = events;
    events.on('error', () => events.terminate());
    events.on('message', (data) => this.#hear(String(data)));
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, OPEN_MS);
      const settle = () => {
        clearTimeout(timer);
        resolve();
      };
      // Without events the times of the entries themselves are taken: less exact, and still the agent's word.
      events.once('close', settle);
      events.once('open', () => {
        const subscription = { types: ['AUDIT_EVENT', 'SECURITY_ALERT'] };
        events.send(JSON.stringify({ type: 'SUBSCRIBE', subscription }), settle);
      });
    });
  }

  close(): void {
    this.#events?.terminate();
  }

  get firstSequence(): number {
    return this.#firstSequence;
  }

  /** Security alerts that were told to people since the beginning. */
  get alerts(): number {
    return this.#alerts;
  }

  async get<T>(path: string): Promise<T> {
    const answer = await this.#context.client.get(`${REST_BASE}/${path}`);
    switch (answer.kind) {
      case 'data':
        return answer.json as T;
      case 'problem':
        throw new Error(`GET ${path}: ${answer.code}: ${answer.detail}`);
      case 'unreachable':
        throw new Error(`GET ${path}: the agent ${answer.finding}`);
    }
  }

  status(): Promise<SeenStatus> {
    return this.get<SeenStatus>('system/status');
  }

  /** The chain from this sequence on, as an export. */
  async export(fromSequence: number): Promise<Buffer> {
    const { client } = this.#context;
    const stream = await client.stream(`${REST_BASE}/audit/export?from=${fromSequence}`);
    if (stream.kind === 'problem') throw new Error(`audit export: ${stream.code}`);
    if (stream.kind === 'unreachable') throw new Error(`audit export: ${stream.finding}`);
    const parts: Buffer[] = [];
    for await (const part of stream.body) parts.push(part);
    return Buffer.concat(parts);
  }

  /** Everything on record since the beginning. */
  async entries(): Promise<readonly AuditEntry[]> {
    const found: AuditEntry[] = [];
    for (;;) {
      const from = this.#firstSequence + found.length;
      const page = await this.get<{ readonly entries: readonly AuditEntry[] }>(
        `audit?from=${from}&limit=${PAGE}`,
      );
      found.push(...page.entries);
      if (page.entries.length < PAGE) return found;
    }
  }

  /** The entries, as soon as `enough` is true of them or the time is over; throws once the exercise is broken off. */
  async entriesOnce(
    enough: (entries: readonly AuditEntry[]) => boolean,
    limitMs: number,
  ): Promise<readonly AuditEntry[]> {
    const untilMs = performance.now() + limitMs;
    for (;;) {
      this.#context.signal.throwIfAborted();
      const entries = await this.entries();
      if (enough(entries) || performance.now() > untilMs) return entries;
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  }

  /** Open incidents about any of these. */
  async incidentsAbout(subjects: readonly string[]): Promise<readonly SeenIncident[]> {
    const { incidents } = await this.get<{
      readonly incidents: readonly (SeenIncident & { readonly closed: string | null })[];
    }>('incidents');
    return incidents.filter(
      ({ subject, closed }) => closed === null && subjects.includes(subject.id),
    );
  }

  async lockedUntil(account: string): Promise<string | null> {
    const { accounts } = await this.get<{
      readonly accounts: readonly { readonly id: string; readonly lockedUntil: string | null }[];
    }>('accounts');
    return accounts.find(({ id }) => id === account)?.lockedUntil ?? null;
  }

  async chain(): Promise<{
    readonly entries: number;
    readonly intact: boolean;
    readonly finding: string;
  }> {
    return this.get('audit/verify');
  }

  /** When people could know of the entry, on this process's monotonic clock. */
  seenAtMs(entry: AuditEntry): number {
    const announced = this.#announcedMs.get(entry.sequence);
    return announced ?? performance.now() - (Date.now() - entry.wallMs);
  }

  #hear(text: string): void {
    const message = JSON.parse(text) as {
      readonly type: string;
      readonly data?: Readonly<Record<string, string>>;
    };
    if (message.type === 'SECURITY_ALERT') this.#alerts += 1;
    const sequence = Number(message.data?.audit_sequence);
    if (message.type !== 'AUDIT_EVENT' || !Number.isSafeInteger(sequence)) return;
    this.#announcedMs.set(sequence, performance.now());
  }
}
