// Builds what seals the secrets in security's store, and changes its key while the agent runs.
// Invariants: a new key is durable before anything is sealed with it, everything is sealed anew in one transaction with the
// entry that says so, and a key goes only when no row names it any more: what is under way loses nothing.

import { randomBytes } from 'node:crypto';
import type { DurableStore } from '#foundation/durable-store';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AuditRecord } from '#model/audit-entry';
import type { NewPublicKey } from '#tracks/security/certificates/key-desk';
import { keysNamed, openSealedTables, reseal } from '#tracks/security/identity/sealed-tables';
import {
  SEALING_KEY_BYTES,
  type SealingKey,
  Seals,
  sealingKeyOf,
} from '#tracks/security/identity/seals';
import type { AdministrationCaller, RecordAct } from '#tracks/security/ports';

/** Keys on disk or given to the process; `SealingKeyStore` is one. */
export interface SealingMaterial {
  open(): {
    readonly current: SealingKey | null;
    readonly others: readonly SealingKey[];
    readonly finding: string;
  };
  newKey(): Outcome<SealingKey>;
  settle(named: ReadonlySet<string>): void;
}

export interface SealingParts {
  readonly store: DurableStore;
  readonly sealing?: SealingMaterial | undefined;
  readonly record: RecordAct;
  readonly onNote: (detail: object, message: string) => void;
}

export interface ComposedSealing {
  readonly seals: Seals;
  /** Why nothing can be sealed; empty where it can. */
  readonly finding: string;
  rotate(caller: AdministrationCaller, more: Partial<AuditRecord>): Promise<Outcome<NewPublicKey>>;
}

export function openSealing({ store, sealing, record, onNote }: SealingParts): ComposedSealing {
  const { database } = store;
  const { current, others, finding } = sealing?.open() ?? ofThisLife();
  const seals = new Seals(current, others);
  openSealedTables(store, seals, onNote);
  sealing?.settle(keysNamed(database));
  return {
    seals,
    finding,
    rotate: async (caller, more) => {
      if (sealing === undefined) {
        const unkept = 'this agent keeps no key on disk';
        return refuse(fault('OPERATION_UNSUPPORTED', { place: 'rotateKey', finding: unkept }));
      }
      const made = sealing.newKey();
      if (!made.ok) return made;
      const { id: keyId } = made.value;
      let takeBack = () => {};
      const entry = await record(
        'KEY_ROTATED',
        caller,
        `secrets in the store are sealed with the key ${keyId} from here on`,
        { operation: 'rotateKey', ...more, details: { ...more.details, keyId } },
        () => {
          takeBack = seals.use(made.value);
          reseal(database, seals);
        },
      );
      const named = keysNamed(database);
      // Others of a group that failed in part may have been sealed with it already.
      if (!entry.ok && !named.has(keyId)) takeBack();
      sealing.settle(named);
      return entry.ok ? succeed({ keyId, publicKeyPem: '' }) : entry;
    },
  };
}

function ofThisLife() {
  return {
    current: sealingKeyOf(randomBytes(SEALING_KEY_BYTES)),
    others: [],
    finding: '',
  };
}
