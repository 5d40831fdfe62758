// Tries to get round the second person: approving its own plan, approvals that are none, a replay, another digest.
// What only somebody inside the machine could try, a forged authorization in kernel's ring, has no door on the network.

import type { Attack, Ground } from './attack.ts';
import type { Attacker } from './attacker.ts';
import { INCIDENT, refusedWith } from './signs.ts';

const REASON = 'a drill of the chaos exercise';
const REFUSALS = ['CLEARANCE_TOO_LOW', 'NOT_PERMITTED', 'APPROVAL_INVALID', 'APPROVAL_NEEDED'];
const REPLAYS_MAX = 3;
/** So often that it is no mistake any more, on any board. */
const ROUNDS = 3;

export const authorizationBypass: Attack = {
  scenario: 'authorization-bypass',
  async run(ground: Ground) {
    const { signs, progress, exercise } = ground;
    const attacker = ground.attacker(0);
    const granted: string[] = [];
    const device = await harmlessDevice(ground);
    signs.began();
    progress('planning what takes two people, and approving it alone');
    const own = await ownPlan(attacker, device);
    const digests = [
      ...own.digests.map((digest) => ({ digest, what: 'its own plan' })),
      ...own.digests.map((digest) => ({ digest, what: 'its own plan once more' })),
      ...(await pastApprovals(ground)).map((digest) => ({ digest, what: 'a plan of the past' })),
      { digest: 'f'.repeat(64), what: 'a plan that nobody made' },
      { digest: '0'.repeat(64), what: 'a plan of zeros' },
    ];
    for (const { digest, what } of digests) {
      const body = { planDigest: digest };
      const { status } = await attacker.call({ method: 'POST', path: 'approvals', body });
      if (status === 200) granted.push(`approved ${what}`);
    }
    progress('operating without confirmation, justification or a second person');
    const attempts = Array.from({ length: ROUNDS }, () => operations(device)).flat();
    for (const { what, body } of attempts) {
      const { status } = await attacker.call({ method: 'POST', path: 'operations', body });
      if (status === 200) granted.push(what);
    }
    for (const id of own.operations) {
      const path = `operations/${encodeURIComponent(id)}/operate`;
      const body = { confirmedRisk: 'SAFE' };
      const { status } = await attacker.call({ method: 'POST', path, body });
      if (status === 200) granted.push('performed a plan that was refused');
    }
    const looked = await signs.look([
      {
        what: 'approvals that were refused',
        matches: ({ event }) => event === 'APPROVAL_REFUSED',
      },
      {
        what: 'operations that were refused',
        matches: (entry) => entry.event === 'OPERATION_REFUSED' || refusedWith(...REFUSALS)(entry),
      },
      INCIDENT,
    ]);
    const done = looked.entries.filter(
      ({ event, actor, operation }) =>
        actor === exercise.account &&
        (event === 'APPROVAL_GRANTED' || (event === 'OPERATION_COMPLETED' && operation !== 'READ')),
    );
    ground.limits.devicesChanged = done.length;
    return {
      detected: looked.all,
      evidence: [...looked.evidence, ...(await signs.incidentSentences())],
      responseMs: signs.responseMs,
      contained: granted.length === 0 && done.length === 0,
      containment:
        granted.length === 0
          ? `${digests.length} approvals and ${attempts.length + own.operations.length} operations were refused; the audit chain has ${done.length} changes by the account; kernel has no door on the network`
          : `GRANTED: ${granted.join(', ')}`,
    };
  },
};

/** The first one that is below HIGH risk and not quarantined. */
async function harmlessDevice(ground: Ground): Promise<string> {
  const { devices } = await ground.observer.get<{
    readonly devices: readonly {
      readonly token: string;
      readonly baseRisk: string;
      readonly quarantined: boolean;
    }[];
  }>('devices');
  const found = devices.find(
    ({ baseRisk, quarantined }) => !quarantined && ['SAFE', 'LOW', 'MODERATE'].includes(baseRisk),
  );
  if (found === undefined) throw new Error('the board has no device below HIGH risk');
  return found.token;
}

/** Plans of operations that take two people, as far as the agent makes them for this account. */
async function ownPlan(attacker: Attacker, device: string) {
  const digests: string[] = [];
  const ids: string[] = [];
  for (const operation of ['RESET', 'ACTIVATE']) {
    for (const dryRun of [true, false]) {
      const body = { operation, device, justification: REASON, confirmedRisk: 'CRITICAL', dryRun };
      const { json } = await attacker.call({ method: 'POST', path: 'operations', body });
      const problem = json as { readonly operation?: unknown };
      const receipt = (problem.operation ?? json) as {
        readonly planDigest?: string;
        readonly operationId?: string;
      };
      if (/^[0-9a-f]{64}$/.test(receipt.planDigest ?? '')) digests.push(receipt.planDigest ?? '');
      if (typeof receipt.operationId === 'string') ids.push(receipt.operationId);
    }
  }
  return { digests: [...new Set(digests)], operations: ids };
}

/** Approvals that were good once, as somebody who read the chain would know them. */
async function pastApprovals({ observer }: Ground): Promise<readonly string[]> {
  const from = Math.max(1, observer.firstSequence - 1_000);
  const { entries } = await observer.get<{
    readonly entries: readonly { readonly event: string; readonly planDigest: string }[];
  }>(`audit?from=${from}&limit=1000`);
  return entries
    .filter(({ event }) => event === 'APPROVAL_GRANTED')
    .map(({ planDigest }) => planDigest)
    .slice(-REPLAYS_MAX);
}

function operations(device: string): readonly { readonly what: string; readonly body: unknown }[] {
  const registers = [{ name: 'CONFIG', value: 1 }];
  const write = { operation: 'WRITE', device, registers };
  const reset = { operation: 'RESET', device };
  return [
    { what: 'a write without a word', body: write },
    {
      what: 'a write with too low a risk',
      body: { ...write, justification: REASON, confirmedRisk: 'SAFE' },
    },
    { what: 'a reset without confirmation', body: { ...reset, justification: REASON } },
    {
      what: 'a reset without a second person',
      body: { ...reset, justification: REASON, confirmedRisk: 'CRITICAL' },
    },
    {
      what: 'an operation with a forged authorization',
      body: { ...reset, authorization: 'AAAA', signature: 'AAAA' },
    },
    {
      what: 'a transaction of it and another',
      body: { operation: 'WRITE', targets: [{ device, registers }], confirmedRisk: 'LOW' },
    },
  ];
}
