// Builds the audit chain and what belongs to it: room on disk, witness file, retention, care, and the desk that answers.

import type { KeyObject } from 'node:crypto';
import { dirname, join } from 'node:path';
import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import type { SignedCheckpoint } from '#model/audit-checkpoint';
import type { AuditEntry } from '#model/audit-entry';
import type { AgentEventDraft } from '#model/event';
import { EventType, Severity } from '#model/event';
import type { SafetyPolicy } from '#model/safety-policy';
import { AuditCare } from '#tracks/security/audit/audit-care';
import { AuditChain } from '#tracks/security/audit/audit-chain';
import { type AuditHandlers, auditDesk } from '#tracks/security/audit/audit-desk';
import { DiskRoom } from '#tracks/security/audit/disk-room';
import { Retention } from '#tracks/security/audit/retention';
import { WitnessFile } from '#tracks/security/audit/witness-file';

export interface AuditParts {
  readonly store: DurableStore;
  readonly clock: Clock;
  readonly policy: SafetyPolicy['audit'];
  readonly boardName: string;
  readonly bootId: string;
  readonly clockQuality: () => AuditEntry['clockQuality'];
  readonly checkpointKey: KeyObject;
  /** Others that the chain may name since a change of the key was cut short. */
  readonly otherCheckpointKeys?: readonly KeyObject[];
  /** The database's file; in memory nothing is watched and nothing archived. */
  readonly databaseFile?: string;
  readonly onAppended: (entry: AuditEntry) => void;
  readonly publish: (event: AgentEventDraft) => void;
  readonly onError: (error: unknown, where: string) => void;
  readonly onNote: (detail: object, message: string) => void;
}

export interface ComposedAudit {
  readonly chain: AuditChain;
  readonly care: AuditCare;
  readonly handlers: AuditHandlers;
}

/** Beside the database. */
const SEGMENTS = 'audit-segments';
const TAMPER_FILE = 'audit-tampered.json';

export function composeAudit(parts: AuditParts): ComposedAudit {
  const { store, clock, policy, databaseFile, publish, onNote, onError } = parts;
  const { witnessFile: path } = policy;
  const witness = path === null ? null : new WitnessFile({ path, clock, onNote });
  const directory = databaseFile === undefined ? undefined : dirname(databaseFile);
  const room =
    directory === undefined
      ? null
      : new DiskRoom({
          directory,
          freeBytesMin: policy.freeBytesMin,
          clock,
          onChange: (finding, short) => {
            onNote({}, finding);
            publish(statusEvent(finding, short === 'short' ? Severity.ERROR : Severity.INFO));
          },
        });
  const chain = new AuditChain({
    store,
    clock,
    bootId: parts.bootId,
    clockQuality: parts.clockQuality,
    checkpointKey: parts.checkpointKey,
    ...(parts.otherCheckpointKeys === undefined
      ? {}
      : { otherCheckpointKeys: parts.otherCheckpointKeys }),
    board: parts.boardName,
    ...(directory === undefined
      ? {}
      : {
          segmentDirectory: join(directory, SEGMENTS),
          tamperFile: join(directory, TAMPER_FILE),
        }),
    shortage: () => room?.shortage ?? '',
    witnessFinding: () => witness?.finding ?? '',
    onRefused: () => room?.look(),
    keptElsewhere: async () => (await witness?.newest()) ?? [],
    onAppended: parts.onAppended,
    onCheckpoint: (checkpoint) => {
      witness?.keep(checkpoint);
      publish(checkpointEvent(checkpoint));
    },
  });
  const retention = new Retention({ chain, store, policy: policy.retention });
  const care = new AuditCare({
    chain,
    retention,
    room,
    witness,
    clock,
    policy,
    onError,
    onNote,
    onDamage: (finding) => {
      onNote({}, `the audit chain is damaged: ${finding}`);
      publish(statusEvent(`the audit chain is damaged: ${finding}`, Severity.CRITICAL));
    },
  });
  return { chain, care, handlers: auditDesk(chain, retention) };
}

function statusEvent(finding: string, severity: Severity): AgentEventDraft {
  return {
    type: EventType.SYSTEM_STATUS_CHANGED,
    severity,
    source: 'security',
    data: { finding },
  };
}

/** For panels, and whoever else listens, to be kept away from this machine. */
function checkpointEvent(checkpoint: SignedCheckpoint): AgentEventDraft {
  return {
    type: EventType.AUDIT_ENTRY_CREATED,
    severity: Severity.INFO,
    source: 'security',
    data: {
      audit_sequence: String(checkpoint.sequence),
      event: 'CHECKPOINT',
      actor: 'security',
      result: `the chain is signed through entry ${checkpoint.sequence}`,
      checkpoint: JSON.stringify(checkpoint),
    },
  };
}
