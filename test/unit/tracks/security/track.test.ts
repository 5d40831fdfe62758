// The security track as the orchestrator sees it: risk from its own board, a vote that depends on the audit chain.

import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { DurableStore } from '#foundation/durable-store';
import { blankRecord } from '#model/audit-entry';
import { OperationType } from '#model/operation';
import { planOf, type RegisterPlan } from '#model/plan';
import { RiskLevel } from '#model/risk';
import { SecurityStatus } from '#model/snapshot';
import { AuditChain } from '#tracks/security/audit/audit-chain';
import { AuthorizationSigner } from '#tracks/security/authorization';
import { SecurityTrack } from '#tracks/security/track';
import { codeOf, memoryDevice, must, STOP_CAUSE } from '../../../support/kernel-bench.ts';
import { intentFor, PERSON } from './people.ts';

const clock = new VirtualClock();
let directory: string;
let store: DurableStore;
let track: SecurityTrack;
/** Devices on which a quarantine of run time is on record. */
const quarantinedNow = new Set<number>();
/** Devices on which a grave incident is open, and those on which a lesser one is. */
const troubled = new Set<number>();
const reviewed = new Set<number>();

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-security-'));
  store = new DurableStore(join(directory, 'agent.db'));
  const audit = new AuditChain({
    store,
    clock,
    bootId: 'boot-1',
    clockQuality: () => 'unsynchronized',
    checkpointKey: generateKeyPairSync('ed25519').privateKey,
    onAppended: () => undefined,
  });
  // The five stay quarantined although this board says that 9 is free.
  const board = [
    memoryDevice(0, 'pump', RiskLevel.LOW),
    memoryDevice(9, 'forbidden', RiskLevel.LOW),
  ];
  const devices = new Map(board.map((device) => [device.id, device]));
  quarantinedNow.clear();
  troubled.clear();
  reviewed.clear();
  track = new SecurityTrack({
    clock,
    devices,
    audit,
    signer: new AuthorizationSigner(clock),
    heldInQuarantine: (device) => quarantinedNow.has(device),
    threats: {
      openOn: (device) => troubled.has(device),
      reviewOn: (device) => reviewed.has(device),
    },
  });
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

const readOf = (device: number): RegisterPlan =>
  planOf(OperationType.READ, [{ kind: 'read', device, register: 'DATA', widthBits: 32 }], 1);

async function levelOf(device: number): Promise<RiskLevel> {
  const intent = intentFor(OperationType.READ);
  return must(await track.assess({ intent, plan: readOf(device), principal: PERSON })).level;
}

it('assesses by the devices of the plan, not by what the intent names', async () => {
  expect(await levelOf(0)).toBe(RiskLevel.SAFE);
  expect(await levelOf(9)).toBe(RiskLevel.QUARANTINED);
});

it('gives QUARANTINED for a device whose quarantine is on record, from then until it is released', async () => {
  quarantinedNow.add(0);
  expect(await levelOf(0)).toBe(RiskLevel.QUARANTINED);
  expect(must(await track.snapshot()).quarantined).toEqual([0, 9]);
  quarantinedNow.clear();
  expect(await levelOf(0)).toBe(RiskLevel.SAFE);
});

it('gives UNKNOWN for a device that is not on its board', async () => {
  expect(await levelOf(5)).toBe(RiskLevel.UNKNOWN);
});

it('raises the risk of a device by one level for a lesser incident, by two for a grave one', async () => {
  reviewed.add(0);
  expect(await levelOf(0)).toBe(RiskLevel.LOW);
  reviewed.clear();
  troubled.add(0);
  expect(await levelOf(0)).toBe(RiskLevel.MODERATE);
  expect(must(await track.snapshot()).devices[0]?.status).toBe(SecurityStatus.ALERT);
});

it('votes no while the audit chain cannot be written, and says so when it is stopped', async () => {
  const authorization = track.signer.grant('operation-1', 'digest', ['alice']);
  const request = { operationId: 'operation-1', planDigest: 'digest', authorization };
  expect((await track.prepare(request)).ok).toBe(true);
  const stop = { cause: STOP_CAUSE };
  expect(must(await track.stop(stop)).ok).toBe(true);
  store.database.exec('DROP TABLE audit');
  store.database.exec('CREATE VIEW audit AS SELECT 1 AS sequence, 2 AS hash WHERE 0');
  const refused = await track.audit.append(blankRecord('AGENT_STARTED', ''));
  expect(codeOf(refused)).toBe('AUDIT_UNAVAILABLE');
  expect(codeOf(await track.prepare(request))).toBe('AUDIT_UNAVAILABLE');
  expect(must(await track.stop(stop))).toMatchObject({ ok: false, track: 'security' });
});

it('shows who is quarantined, and moves its version only when something shown has changed', async () => {
  const first = must(await track.snapshot());
  expect(first).toMatchObject({ track: 'security', quarantined: [9], auditWritable: true });
  expect(must(await track.snapshot()).version).toBe(first.version);
});
