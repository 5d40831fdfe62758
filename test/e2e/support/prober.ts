// A machine account that tests may get locked: whoever unlocks it has to stay unlocked, two administrators at that.

import type { ReadyFile } from '../../support/agent.ts';
import { Ceremony } from './ceremony.ts';
import { GrpcPerson } from './grpc-person.ts';
import { RestPerson } from './rest-person.ts';
import { eventually } from './scene.ts';

export class Prober {
  readonly id: string;
  readonly token: string;
  readonly #ready: ReadyFile;
  readonly #ceremony: Ceremony;
  readonly #administrator: RestPerson;

  private constructor(ready: ReadyFile, ceremony: Ceremony, id: string, token: string) {
    this.id = id;
    this.token = token;
    this.#ready = ready;
    this.#ceremony = ceremony;
    this.#administrator = new RestPerson(ready, 0);
  }

  /** Made by both administrators, with a clearance by which nothing is refused. */
  static async open(ready: ReadyFile, id = 'prober'): Promise<Prober> {
    const ceremony = new Ceremony(ready);
    const token = await ceremony.holder(id, { kind: 'machine', clearance: 'TOP_SECRET' });
    return new Prober(ready, ceremony, id, token);
  }

  /** On a connection of its own. */
  rest(from?: string): RestPerson {
    const self = { id: this.id, clearance: '', token: this.token, certificate: '', key: '' };
    return new RestPerson({ ...this.#ready, people: [self] }, 0, 'token', from);
  }

  /** On a channel of its own. */
  grpc(): GrpcPerson {
    return new GrpcPerson(this.#ready, { by: 'token', token: this.token });
  }

  /** Why the account is locked, once it is. */
  async locked(account = this.id): Promise<string> {
    return eventually(`the lock of ${account}`, async () => {
      const because = await this.#lockOf(account);
      return because === '' ? undefined : because;
    });
  }

  /** Waits for the lock, for one that comes later would stand, then lifts it by two administrators. */
  async unlock(account = this.id): Promise<void> {
    await this.locked(account);
    await this.#ceremony.unlock(account);
  }

  async #lockOf(account: string): Promise<string> {
    const { accounts } = await this.#administrator.get('accounts');
    const shown = accounts as readonly { readonly id: string; readonly lockedBecause: string }[];
    const found = shown.find(({ id }) => id === account);
    if (found === undefined) throw new Error(`no account ${account}`);
    return found.lockedBecause;
  }

  close(): void {
    this.#administrator.close();
    this.#ceremony.close();
  }
}
