// Fills the audit chain with refusals, by an identity and without one, and looks at what grew and whether the chain holds.

import type { AuditEntry } from '#model/audit-entry';
import type { Attack, Ground } from './attack.ts';
import type { Attacker } from './attacker.ts';
import { refusedWith } from './signs.ts';

const REFUSED = 400;
const WORTHLESS = 200;
const AT_ONCE = 4;
/** What the agent may write beside one entry for a refusal: incidents, locks, the end of a session. */
const BESIDE_MAX = 20;
/** Failed sign-ins from one address that are worth an entry before the address has to wait, as threat detection knows them. */
const WORTHLESS_RECORDED_MAX = 40;

export const logFlooding: Attack = {
  scenario: 'log-flooding',
  async run(ground: Ground) {
    const { signs, observer, progress, exercise } = ground;
    const insiders = Array.from({ length: AT_ONCE }, (_, index) => ground.attacker(index));
    const stranger = ground.attacker(AT_ONCE);
    signs.began();
    progress(`sending ${REFUSED} requests that the account may not make`);
    await Promise.all(
      insiders.map((insider) =>
        flood(insider, REFUSED / AT_ONCE, () => ({ path: 'audit?from=1&limit=1' })),
      ),
    );
    progress(`sending ${WORTHLESS} tokens that are worth nothing`);
    await flood(stranger, WORTHLESS, (index) => ({
      path: 'auth/me',
      token: `worthless-${exercise.id}-${index}`,
      fresh: index % 50 === 0 ? (true as const) : undefined,
    }));
    const looked = await signs.look([
      { what: 'refusals of the account', matches: refusedWith('CLEARANCE_TOO_LOW') },
      {
        what: 'worthless tokens',
        matches: ({ event }) => event === 'AUTHENTICATION_FAILED',
      },
      { what: 'an incident', matches: ({ event }) => event === 'INCIDENT_OPENED' },
    ]);
    const ours = looked.entries.filter((entry) => signs.isOurs(entry));
    const failed = ours.filter(({ event }) => event === 'AUTHENTICATION_FAILED').length;
    const chain = await observer.chain();
    const bounded = ours.length <= REFUSED + WORTHLESS_RECORDED_MAX + BESIDE_MAX;
    const sane = failed <= WORTHLESS_RECORDED_MAX;
    const { entries } = looked;
    return {
      detected: looked.all,
      evidence: [...looked.evidence, ...(await signs.incidentSentences())],
      responseMs: signs.responseMs,
      contained: bounded && sane && chain.intact,
      containment: [
        `${REFUSED + WORTHLESS} requests left ${ours.length} entries of ${bytesOf(ours)} bytes (the chain grew by ${entries.length})`,
        `of ${WORTHLESS} worthless tokens ${failed} left an entry before the address had to wait; each refusal of an identity leaves one, so that its rate limit is what bounds those`,
        `the chain is ${chain.intact ? 'intact' : 'BROKEN'}: ${chain.finding}`,
      ].join('; '),
    };
  },
};

interface Flooding {
  readonly path: string;
  readonly token?: string;
  readonly fresh?: true | undefined;
}

async function flood(
  attacker: Attacker,
  count: number,
  callOf: (index: number) => Flooding,
): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    const { fresh, ...call } = callOf(index);
    await attacker.call(fresh === true ? { ...call, fresh } : call);
  }
}

function bytesOf(entries: readonly AuditEntry[]): number {
  return entries.reduce((sum, entry) => sum + Buffer.byteLength(JSON.stringify(entry)), 0);
}
