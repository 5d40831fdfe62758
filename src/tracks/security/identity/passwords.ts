// Passwords as they are kept: argon2id with its parameters beside each hash, worked out beside the event loop.
// Invariants: one hash at a time, a bounded queue of those that wait; a sign-in of an account that nobody has costs the same
// work; the parameters are kept with each hash, so that they can be raised and old ones are replaced at the next sign-in.
// Why argon2id: `crypto.argon2` is in the pinned Node (stability 1.2, release candidate, since 24.7); m = 19 MiB, t = 2, p = 1
// are OWASP's smallest and took 45 to 70 ms on the machine this was made on; scrypt of the same strength (N = 2^16, r = 8)
// took 260 ms and 64 MiB, N = 2^15 still 117 ms.
// Faults: BUSY when too many wait.

import { argon2, randomBytes } from 'node:crypto';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { normalPassword } from './password-rules.ts';
import { sameDigest } from './secrets.ts';

export interface HashCost {
  readonly memoryKib: number;
  readonly passes: number;
  readonly lanes: number;
}

/** cheatsheetseries.owasp.org, Password Storage. */
export const HASH_COST: HashCost = { memoryKib: 19_456, passes: 2, lanes: 1 };
const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** Each holds its memory while it works, and the appliance has little; the others wait. */
const WAITING_MAX = 16;
/** What a hash in the store may ask for: a damaged row must not take all memory. */
const MEMORY_KIB_MAX = 262_144;
const PASSES_MAX = 16;
const LANES_MAX = 8;

export interface Verdict {
  readonly right: boolean;
  /** Made with other parameters than now: to be replaced while the password is at hand. */
  readonly outdated: boolean;
}

export class Passwords {
  readonly #cost: HashCost;
  #last: Promise<unknown> = Promise.resolve();
  #underWay = 0;

  constructor(cost: HashCost = HASH_COST) {
    this.#cost = cost;
  }

  get underWay(): number {
    return this.#underWay;
  }

  /** In the PHC string format: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`. */
  hash(password: string): Promise<Outcome<string>> {
    const salt = randomBytes(SALT_BYTES);
    return this.#inTurn(async () =>
      encoded(this.#cost, salt, await digest(password, salt, this.#cost)),
    );
  }

  /** `kept` is null for who has no password: the answer is no, after the same work. */
  verify(password: string, kept: string | null): Promise<Outcome<Verdict>> {
    const parsed = kept === null ? null : decoded(kept);
    const salt = parsed?.salt ?? randomBytes(SALT_BYTES);
    const cost = parsed?.cost ?? this.#cost;
    return this.#inTurn(async () => {
      const worked = await digest(password, salt, cost);
      const right = sameDigest(worked, parsed?.hash ?? randomBytes(HASH_BYTES));
      const { memoryKib, passes, lanes } = this.#cost;
      const same = cost.memoryKib === memoryKib && cost.passes === passes && cost.lanes === lanes;
      return { right: right && parsed !== null, outdated: !same };
    });
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<Outcome<T>> {
    if (this.#underWay > WAITING_MAX) {
      const finding = `${this.#underWay} passwords are being checked`;
      return refuse(fault('BUSY', { place: 'sign-in', finding }));
    }
    this.#underWay += 1;
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    try {
      return succeed(await turn);
    } finally {
      this.#underWay -= 1;
    }
  }
}

function digest(password: string, salt: Uint8Array, cost: HashCost): Promise<Uint8Array> {
  const parameters = {
    message: normalPassword(password),
    nonce: salt,
    parallelism: cost.lanes,
    tagLength: HASH_BYTES,
    memory: cost.memoryKib,
    passes: cost.passes,
  };
  return new Promise((resolve, reject) => {
    argon2('argon2id', parameters, (error, hash) => {
      if (error === null || error === undefined) resolve(hash);
      else reject(error);
    });
  });
}

function encoded(cost: HashCost, salt: Uint8Array, hash: Uint8Array): string {
  const { memoryKib, passes, lanes } = cost;
  return `$argon2id$v=19$m=${memoryKib},t=${passes},p=${lanes}$${base64(salt)}$${base64(hash)}`;
}

/** Null for what was not written here: it opens nothing. */
function decoded(
  kept: string,
): { readonly cost: HashCost; readonly salt: Buffer; readonly hash: Buffer } | null {
  const match =
    /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$([\w+/-]+)\$([\w+/-]+)$/.exec(kept);
  if (match === null) return null;
  const [memoryKib = 0, passes = 0, lanes = 0] = match.slice(1, 4).map(Number);
  const salt = Buffer.from(match[4] ?? '', 'base64');
  const hash = Buffer.from(match[5] ?? '', 'base64');
  const possible =
    memoryKib >= 8 * lanes &&
    memoryKib <= MEMORY_KIB_MAX &&
    passes >= 1 &&
    passes <= PASSES_MAX &&
    lanes >= 1 &&
    lanes <= LANES_MAX &&
    salt.length >= 8 &&
    hash.length === HASH_BYTES;
  return possible ? { cost: { memoryKib, passes, lanes }, salt, hash } : null;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replace(/=+$/, '');
}
