// Real audit chains for tests: a database in a directory of its own, written by the chain itself.

import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '#foundation/clock';
import { DurableStore } from '#foundation/durable-store';
import type { SignedCheckpoint } from '#model/audit-checkpoint';
import { type AuditEntry, type AuditRecord, blankRecord } from '#model/audit-entry';
import { AuditChain, type AuditChainParts } from '#tracks/security/audit/audit-chain';
import { exportPage } from '#tracks/security/audit/export-page';
import { must } from '../../../../support/kernel-bench.ts';

export function newKey(): KeyObject {
  return generateKeyPairSync('ed25519').privateKey;
}

export class ChainBench {
  readonly directory = mkdtempSync(join(tmpdir(), 'dsmil-chain-'));
  readonly file = join(this.directory, 'agent.db');
  readonly segments = join(this.directory, 'audit-segments');
  readonly tamperFile = join(this.directory, 'audit-tampered.json');
  readonly checkpoints: SignedCheckpoint[] = [];
  readonly appended: AuditEntry[] = [];
  readonly key: KeyObject;
  readonly options: Partial<AuditChainParts>;
  store!: DurableStore;
  chain!: AuditChain;

  constructor(options: Partial<AuditChainParts> = {}) {
    this.key = options.checkpointKey ?? newKey();
    this.options = options;
    this.open();
  }

  get publicKey(): KeyObject {
    return createPublicKey(this.key);
  }

  /** As the security process does, also after a restart. */
  open(options: Partial<AuditChainParts> = {}): void {
    this.store = new DurableStore(this.file);
    this.chain = new AuditChain({
      store: this.store,
      clock: systemClock,
      bootId: 'boot-1',
      clockQuality: () => 'synchronized',
      checkpointKey: this.key,
      board: 'test board',
      segmentDirectory: this.segments,
      tamperFile: this.tamperFile,
      onAppended: (entry) => this.appended.push(entry),
      onCheckpoint: (checkpoint) => this.checkpoints.push(checkpoint),
      ...this.options,
      ...options,
    });
  }

  restart(options: Partial<AuditChainParts> = {}): void {
    this.store.close();
    this.open(options);
  }

  async append(count: number, text = 'entry'): Promise<void> {
    const all = Array.from({ length: count }, (_, index) =>
      this.chain.append(recordOf(text, index)),
    );
    for (const outcome of await Promise.all(all)) must(outcome);
  }

  /** The whole chain as an administrator gets it, signed at its end. */
  async export(from = 1, limit = 1_000): Promise<readonly string[]> {
    must(await this.chain.checkpoint());
    const lines: string[] = [];
    for (let next = from; next !== 0; ) {
      const page = exportPage(this.chain, next, limit);
      lines.push(...page.lines);
      next = page.next;
    }
    return lines;
  }

  /** As somebody with the file in hand would. */
  tamper(sql: string): void {
    const other = new DatabaseSync(this.file);
    other.exec(sql);
    other.close();
  }

  close(): void {
    this.store.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export function recordOf(text: string, index: number): AuditRecord {
  return {
    ...blankRecord('OPERATION_COMPLETED', 'alice'),
    origin: { transport: 'grpc', peer: '127.0.0.1:1' },
    devices: [0, 83],
    operationId: `operation-${index}`,
    operation: 'WRITE',
    risk: 'LOW',
    reason: `${text} ${index}: café "über" \u{1F600}`,
    result: 'committed',
    tracks: [{ track: 'kernel', ok: true, durationMs: 1.5 }],
    details: { value: 0xffff_ffff_ffff_ffffn, sequence: 7 },
  };
}

export function bytesOf(lines: readonly string[]): Buffer {
  return Buffer.from(lines.map((line) => `${line}\n`).join(''));
}
