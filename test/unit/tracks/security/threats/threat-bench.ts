// Threat detection on a real store and chain under a clock that is told to move, with accounts and what is done by itself on view.

import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VirtualClock } from '#foundation/clock';
import { DurableStore } from '#foundation/durable-store';
import {
  type AuditEntry,
  type AuditEventName,
  type AuditRecord,
  blankRecord,
} from '#model/audit-entry';
import { type DeviceDescriptor, type LinearId, permanentlyQuarantined } from '#model/device';
import type { Incident } from '#model/incident';
import type { Origin } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { DEFAULT_THREATS, type ThreatPolicy } from '#model/safety-policy';
import { AuditChain } from '#tracks/security/audit/audit-chain';
import { IncidentResponses } from '#tracks/security/threats/incident-responses';
import { ThreatMonitor } from '#tracks/security/threats/threat-monitor';
import { memoryDevice, must } from '../../../../support/kernel-bench.ts';

export const ALICE = 'alice';
export const BOB = 'bob';
export const WINDOW_MS = DEFAULT_THREATS.windowSeconds * 1_000;
export const BUCKET_MS = WINDOW_MS / 20;
export const FROM: Origin = { transport: 'rest', peer: '192.0.2.7:40312' };
const KEY = generateKeyPairSync('ed25519').privateKey;

export interface ThreatBenchOptions {
  readonly policy?: ThreatPolicy;
  readonly directory?: string;
  readonly clock?: VirtualClock;
  readonly bootId?: string;
}

export class ThreatBench {
  readonly directory: string;
  readonly clock: VirtualClock;
  readonly store: DurableStore;
  readonly chain: AuditChain;
  readonly monitor: ThreatMonitor;
  readonly accounts = new Set([ALICE, BOB, 'carol', 'dave', 'erin']);
  readonly administrators = new Set(['root-1', 'root-2', 'root-3']);
  readonly locked = new Map<string, string>();
  readonly stopped: (readonly LinearId[])[] = [];
  readonly told: string[] = [];
  readonly errors: unknown[] = [];
  clockQuality: AuditEntry['clockQuality'] = 'synchronized';
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;

  constructor({
    policy = DEFAULT_THREATS,
    directory,
    clock,
    bootId = 'boot-1',
  }: ThreatBenchOptions = {}) {
    this.directory = directory ?? mkdtempSync(join(tmpdir(), 'dsmil-threats-'));
    this.clock = clock ?? new VirtualClock();
    this.store = new DurableStore(join(this.directory, 'agent.db'));
    const board = [0, 1, 2, 9, 40, 41].map((id) => memoryDevice(id, `device-${id}`, RiskLevel.LOW));
    this.devices = new Map(board.map((device) => [device.id, device]));
    this.chain = this.#chain(bootId, (entry) => this.monitor.observe(entry));
    this.monitor = new ThreatMonitor({
      clock: this.clock,
      bootId,
      policy,
      store: this.store,
      audit: this.chain,
      responses: new IncidentResponses({
        devices: this.devices,
        isQuarantined: ({ id }) => id === 9,
        lockAccount: (account, reason) => this.locked.set(account, reason),
        administrators: () => [...this.administrators].filter((one) => !this.locked.has(one)),
        stop: async (devices) => {
          this.stopped.push(devices);
          return 'stopped';
        },
      }),
      isAccount: (name) => this.accounts.has(name) || this.administrators.has(name),
      forbidden: permanentlyQuarantined,
      onIncident: ({ id, level }, change) => this.told.push(`${id} ${level} ${change}`),
      onError: (error) => this.errors.push(error),
    });
  }

  /** On the same disk, and nobody looks at what is appended to it. */
  unwatchedChain(): AuditChain {
    return this.#chain('boot-1', () => undefined);
  }

  #chain(bootId: string, onAppended: (entry: AuditEntry) => void): AuditChain {
    return new AuditChain({
      store: this.store,
      clock: this.clock,
      bootId,
      clockQuality: () => this.clockQuality,
      checkpointKey: KEY,
      onAppended,
    });
  }

  /** Another process on the same disk: after a restart, or after a reboot with another clock and boot. */
  reopened(options: ThreatBenchOptions = {}): ThreatBench {
    this.store.close();
    return new ThreatBench({ directory: this.directory, clock: this.clock, ...options });
  }

  close(): void {
    this.store.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async add(event: AuditEventName, actor: string, more: Partial<AuditRecord> = {}) {
    return must(await this.chain.append({ ...blankRecord(event, actor), origin: FROM, ...more }));
  }

  refused(actor: string, code: string, devices: readonly LinearId[] = [40]) {
    return this.add('OPERATION_REFUSED', actor, { devices, details: { code } });
  }

  done(actor: string, operation = 'WRITE', devices: readonly LinearId[] = [40], risk = 'LOW') {
    return this.add('OPERATION_COMPLETED', actor, { operation, devices, risk });
  }

  async times(count: number, act: () => Promise<unknown>): Promise<void> {
    for (let turn = 0; turn < count; turn++) await act();
  }

  of(id: string, kind: Incident['subject']['kind'] = 'person') {
    return this.monitor.incidents
      .list(1_000)
      .find(({ subject }) => subject.kind === kind && subject.id === id);
  }

  report(id: string, kind: Incident['subject']['kind'] = 'person') {
    return this.monitor.report({ kind, id });
  }

  /** Alice has worked as she always does, on devices 0 and 1 at nine in the morning, for four days. */
  async learn(): Promise<void> {
    const { clock } = this;
    for (let day = 0; day < 4; day++) {
      for (let turn = 0; turn < 60; turn++) await this.done(ALICE, 'WRITE', [turn % 2]);
      await clock.advance(86_400_000);
    }
  }
}
