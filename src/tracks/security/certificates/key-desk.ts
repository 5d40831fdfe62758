// Keys replaced while the agent runs: the one kernel checks authorizations with, the one of audit checkpoints, and the one that
// secrets in the store are sealed with.
// Invariants: two administrators; the new public key is on record before anything is signed with it; a private key is
// neither answered nor written to any entry.
// Faults: those of `SecondAdministrator`, and of whoever has to take the new key: the old one then stays in use.

import type { Canonical } from '#foundation/canonical';
import { type Outcome, succeed } from '#foundation/outcome';
import type { AdministrationAnswer, AdministrationRequest } from '#model/administration';
import type { AuditRecord } from '#model/audit-entry';
import type { AuthorizationKeys } from '#model/authorization';
import type { AuthorizationSigner } from '../authorization.ts';
import type { SecondAdministrator } from '../identity/second-administrator.ts';
import type { AdministrationCaller, AdministrationHandlers, RecordAct } from '../ports.ts';

export interface NewPublicKey {
  readonly keyId: string;
  readonly publicKeyPem: string;
}

export interface KeyDeskParts {
  readonly signer: AuthorizationSigner;
  /** Kernel trusts these from now on, or it is not there and hears of them when it comes. */
  readonly offer: (keys: AuthorizationKeys) => Promise<Outcome<void>>;
  /** Replaces the key of audit checkpoints, with its entry `KEY_ROTATED` for this caller. */
  readonly rotateCheckpointKey: (
    caller: AdministrationCaller,
    more: Partial<AuditRecord>,
  ) => Promise<Outcome<NewPublicKey>>;
  /** Id of the key in use. */
  readonly checkpointKeyId: () => string;
  /** Seals everything anew, with its entry `KEY_ROTATED` for this caller; there is no public key to answer. */
  readonly rotateSealingKey: (
    caller: AdministrationCaller,
    more: Partial<AuditRecord>,
  ) => Promise<Outcome<NewPublicKey>>;
  readonly sealingKeyId: () => string;
  readonly second: SecondAdministrator;
  readonly record: RecordAct;
}

export class KeyDesk {
  readonly #parts: KeyDeskParts;

  constructor(parts: KeyDeskParts) {
    this.#parts = parts;
  }

  handlers(): Pick<AdministrationHandlers, 'rotateKey'> {
    return { rotateKey: (caller, request) => this.#rotate(caller, request) };
  }

  async #rotate(
    caller: AdministrationCaller,
    request: AdministrationRequest<'rotateKey'>,
  ): Promise<Outcome<AdministrationAnswer<'rotateKey'>>> {
    const { second } = this.#parts;
    const { key, reason } = request;
    const current = this.#currentId(key);
    const what = `to replace the ${key} key ${current}`;
    const subject = { request, basis: current, what, details: { key, keyId: current } };
    const asked = await second.ask(caller, 'rotateKey', subject, ({ by, digest }) => {
      const details: Record<string, Canonical> = { key, before: current, proposedBy: by };
      const more = { reason, planDigest: digest, details };
      return this.#replace(key, caller, more);
    });
    if (!asked.ok) return asked;
    if (!asked.value.done) return succeed({ ...asked.value, publicKeyPem: '' });
    const { keyId, publicKeyPem } = asked.value.value;
    const message = `the ${key} key ${current} was replaced by ${keyId}`;
    return succeed({ done: true, message, publicKeyPem });
  }

  #currentId(key: AdministrationRequest<'rotateKey'>['key']): string {
    const { signer, checkpointKeyId, sealingKeyId } = this.#parts;
    switch (key) {
      case 'authorization':
        return signer.keys().keys[0]?.keyId ?? '';
      case 'checkpoint':
        return checkpointKeyId();
      case 'sealing':
        return sealingKeyId();
    }
  }

  #replace(
    key: AdministrationRequest<'rotateKey'>['key'],
    caller: AdministrationCaller,
    more: Partial<AuditRecord>,
  ): Promise<Outcome<NewPublicKey>> {
    switch (key) {
      case 'authorization':
        return this.#rotateAuthorization(caller, more);
      case 'checkpoint':
        return this.#parts.rotateCheckpointKey(caller, more);
      case 'sealing':
        return this.#parts.rotateSealingKey(caller, more);
    }
  }

  #rotateAuthorization(
    caller: AdministrationCaller,
    more: Partial<AuditRecord>,
  ): Promise<Outcome<NewPublicKey>> {
    const { signer, offer, record } = this.#parts;
    return signer.rotate(offer, (keyId) => {
      const result = `authorizations are signed with the key ${keyId} from now on`;
      return record('KEY_ROTATED', caller, result, {
        ...more,
        details: { ...more.details, keyId },
      });
    });
  }
}
