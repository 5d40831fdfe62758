// Carries out what conflicts were answered with: the answers of one device one after another.

import type { LinearId } from '#model/device';
import type { Conflict } from '#model/unified-state';

/** What answers do; each says whether it was done, and is asked again while the conflict stands if it was not. */
export interface ConflictActions {
  readonly quarantine: (device: LinearId, reason: string) => Promise<boolean>;
  readonly stop: (device: LinearId, reason: string) => Promise<boolean>;
  readonly inhibit: (device: LinearId, reason: string) => Promise<boolean>;
  /** Every hold that one side knows counts on both. */
  readonly agreeOnHolds: () => Promise<boolean>;
  readonly account: (device: LinearId, changeCount: number) => Promise<boolean>;
  /** Panels get the whole picture again. */
  readonly sendPicture: () => Promise<boolean>;
}

export class ConflictExecutor {
  readonly #actions: ConflictActions;
  readonly #onError: (error: unknown, where: string) => void;
  readonly #chains = new Map<LinearId, Promise<boolean>>();

  constructor(actions: ConflictActions, onError: (error: unknown, where: string) => void) {
    this.#actions = actions;
    this.#onError = onError;
  }

  /** True when it was done; never rejects. */
  carryOut(conflict: Conflict, changeCount: number): Promise<boolean> {
    const { device, id } = conflict;
    const before = this.#chains.get(device) ?? Promise.resolve(true);
    const chain = before
      .then(() => this.#act(conflict, changeCount))
      .catch((error: unknown) => {
        this.#onError(error, `conflict ${id}`);
        return false;
      })
      .finally(() => {
        if (this.#chains.get(device) === chain) this.#chains.delete(device);
      });
    this.#chains.set(device, chain);
    return chain;
  }

  async #act(conflict: Conflict, changeCount: number): Promise<boolean> {
    const { id, rule, device, answer, finding } = conflict;
    const actions = this.#actions;
    const reason = `conflict ${id}: ${finding}`;
    switch (answer) {
      case 'QUARANTINE':
        return actions.quarantine(device, reason);
      case 'STOP':
        return actions.stop(device, reason);
      case 'INHIBIT':
        return rule === 'HOLD_DISAGREES' ? actions.agreeOnHolds() : actions.inhibit(device, reason);
      case 'SHOW_FAULT':
      case 'SHOW_STALE':
        return actions.sendPicture();
      case 'ACCEPT':
        return rule === 'CHANGED_WITHOUT_OPERATION' ? actions.account(device, changeCount) : true;
      // A review stands on record and raises the risk; an open conflict has nothing to carry out.
      case 'REVIEW':
      case null:
        return true;
    }
  }
}
