// Whose word still counts when it is used: people whose rights, credential or account were taken since they gave it.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AccountRecord } from '#model/account';
import type { Principal } from '#model/principal';
import { EmergencyPriority } from '#model/stop';
import { codeOf, FAN, HEATER, must, OFFSET, PUMP } from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB, ORIGIN } from './agent-bench.ts';

let bench: AgentBench;
let alice: string;
let bob: string;

beforeEach(async () => {
  bench = await AgentBench.open();
  alice = await bench.signIn(ALICE);
  bob = await bench.signIn(BOB);
});
afterEach(() => bench.close());

async function change(id: string, changes: Partial<AccountRecord>): Promise<void> {
  const record = bench.security.accounts.account(id);
  if (record === undefined) throw new Error(`no account ${id}`);
  await bench.settle(bench.security.accounts.save({ ...record, ...changes }));
}

async function revokeTokens(account: string): Promise<void> {
  const { tokens } = bench.security;
  for (const token of tokens.goodOf(account))
    await bench.settle(tokens.save(tokens.revoked(token)));
}

/** Each takes from the person what its word stood on. */
const WITHDRAWALS: readonly (readonly [string, (id: string, session: string) => unknown])[] = [
  ['the account is disabled', (id) => change(id, { enabled: false })],
  ['its clearance is lowered', (id) => change(id, { clearance: 'RESTRICTED' })],
  ['the device is taken from it', (id) => change(id, { devices: [FAN] })],
  ['the token is revoked', (id) => revokeTokens(id)],
  ['threat detection locks it', (id) => bench.security.principals.lockAccount(id, 'a test')],
  [
    'an administrator ends its session',
    (_, session) => {
      const handle = bench.security.principals.handleOf(session);
      bench.security.principals.endSessions((live) => live.handle === handle, 'a test');
    },
  ],
  ['its session is locked', (_, session) => bench.security.principals.lock(session, 'a test')],
];
const HARMLESS = [
  ['the connection is over', (session: string) => bench.security.principals.end(session)],
  ['it has signed out', (session: string) => bench.security.principals.signOut(session)],
] as const;

describe('an approval', () => {
  const heat = () => bench.write(HEATER, { DATA: 3n });
  async function approved(): Promise<void> {
    const asked = must(await bench.operate(alice, heat()));
    const deadline = bench.kernelBench.deadline();
    must(await bench.settle(bench.orchestrator.approve(bob, asked.planDigest, ORIGIN, deadline)));
  }

  it.each(WITHDRAWALS)('counts no more once %s, and nothing is written', async (_, withdraw) => {
    await approved();
    await withdraw('bob', bob);
    const receipt = must(await bench.operate(alice, heat()));
    expect(receipt).toMatchObject({ effect: 'none', fault: { code: 'APPROVAL_VOID' } });
    expect(receipt.fault?.finding).toMatch(/^bob approved the plan, and /);
    expect(bench.kernelBench.peek(HEATER, OFFSET.DATA)).toBe(0);
    expect(must(await bench.operate(alice, heat())).fault?.code).toBe('APPROVAL_NEEDED');
  });

  it.each(HARMLESS)('counts also when %s', async (_, leave) => {
    await approved();
    leave(bob);
    expect(must(await bench.operate(alice, heat())).effect).toBe('committed');
  });

  it('is not given by who loses the right while the plan is made afresh', async () => {
    const asked = must(await bench.operate(alice, heat()));
    const { plan } = bench.line;
    bench.line.plan = async (intent, deadline) => {
      await change('bob', { enabled: false });
      return plan(intent, deadline);
    };
    const deadline = bench.kernelBench.deadline();
    const outcome = await bench.settle(
      bench.orchestrator.approve(bob, asked.planDigest, ORIGIN, deadline),
    );
    expect(codeOf(outcome)).toBe('NOT_AUTHENTICATED');
    expect(bench.security.track.approvals.open()).toMatchObject([{ approvedBy: '' }]);
    expect(bench.lastEntry()).toMatchObject({ event: 'APPROVAL_REFUSED', actor: 'bob' });
  });

  it('given twice in the same moment is one, and the other is refused on record', async () => {
    const asked = must(await bench.operate(alice, heat()));
    const again = await bench.signIn(BOB);
    const deadline = bench.kernelBench.deadline();
    const outcomes = await bench.settle(
      Promise.all(
        [bob, again].map((session) =>
          bench.orchestrator.approve(session, asked.planDigest, ORIGIN, deadline),
        ),
      ),
    );
    expect(outcomes.map(codeOf).sort()).toEqual(['APPROVAL_INVALID', 'no fault']);
    const events = bench.entries().map(({ event }) => event);
    expect(events.filter((event) => event.startsWith('APPROVAL_')).sort()).toEqual([
      'APPROVAL_GRANTED',
      'APPROVAL_REFUSED',
    ]);
    expect(must(await bench.operate(alice, heat())).effect).toBe('committed');
  });
});

describe('an operation', () => {
  const fill = () => bench.write(PUMP, { DATA: 7n });
  /** Withdraws while kernel does this part for alice. */
  function during(part: 'plan' | 'prepare', withdraw: () => unknown): void {
    if (part === 'plan') {
      const { plan } = bench.line;
      bench.line.plan = async (intent, deadline) => {
        const planned = await plan(intent, deadline);
        await withdraw();
        return planned;
      };
      return;
    }
    const { prepare } = bench.line;
    bench.line.prepare = async (request, deadline) => {
      const promised = await prepare(request, deadline);
      await withdraw();
      return promised;
    };
  }

  for (const part of ['plan', 'prepare'] as const) {
    it.each(WITHDRAWALS)(
      `writes nothing when %s while kernel is asked to ${part}`,
      async (_, withdraw) => {
        during(part, () => withdraw('alice', alice));
        const receipt = must(await bench.operate(alice, fill()));
        expect(receipt).toMatchObject({ state: 'FAILED', effect: 'none' });
        expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(0);
        const ofIt = ({ operationId }: { readonly operationId: string }) =>
          operationId === receipt.operationId;
        expect(bench.entries().filter(ofIt)).toMatchObject([
          { actor: 'alice', event: 'OPERATION_REFUSED', result: expect.stringMatching(/^none: /) },
        ]);
        expect(bench.journal.open()).toEqual([]);
      },
    );

    it.each(HARMLESS)(`goes on when %s while kernel is asked to ${part}`, async (_, leave) => {
      during(part, () => leave(alice));
      expect(must(await bench.operate(alice, fill())).effect).toBe('committed');
    });
  }

  it('writes nothing when its device is quarantined while kernel is asked to prepare', async () => {
    during('prepare', () => bench.security.holdDesk.quarantine(BOB, PUMP, 'looked strange to me'));
    const receipt = must(await bench.operate(alice, fill()));
    expect(receipt).toMatchObject({ effect: 'none', fault: { code: 'DEVICE_QUARANTINED' } });
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(0x5afe);
  });
});

describe('the first of two people', () => {
  const REASON = 'looked at it on site';
  const WHOLE = { reason: 'smoke', priority: EmergencyPriority.IMMEDIATE, devices: [], groups: [] };
  const reset = (session: string) =>
    bench.settle(bench.orchestrator.resetStop(session, REASON, ORIGIN));
  const release = (session: string) =>
    bench.settle(
      bench.orchestrator.releaseDevice(session, PUMP, REASON, ORIGIN, bench.kernelBench.deadline()),
    );
  // The device is none of the reset's business.
  const ofPeople = WITHDRAWALS.filter(([what]) => !what.startsWith('the device'));

  it.each(ofPeople)('to ask for a reset counts no more once %s', async (_, withdraw) => {
    await bench.settle(bench.stops.stop(WHOLE, 'interface', 'alice'));
    must(await reset(alice));
    await withdraw('alice', alice);
    expect(must(await reset(bob))).toMatchObject({
      released: false,
      message: expect.stringMatching(/^alice had asked for the reset and /),
    });
    expect(bench.kernelBench.latch.engaged()).toBe(true);
    const third: Principal = { ...ALICE, id: 'carol' };
    expect(must(await bench.settle(bench.stops.requestReset(third))).released).toBe(true);
  });

  it.each(WITHDRAWALS)(
    'to ask for the end of a quarantine counts no more once %s',
    async (_, withdraw) => {
      must(await bench.settle(bench.security.holdDesk.quarantine(ALICE, PUMP, REASON)));
      must(await release(alice));
      await withdraw('alice', alice);
      expect(must(await release(bob))).toMatchObject({
        released: false,
        message: expect.stringMatching(/^alice had asked for the release and /),
      });
      expect(bench.kernelBench.interlock.has(PUMP, 'quarantined')).toBe(true);
    },
  );

  it.each(HARMLESS)('counts also when %s', async (_, leave) => {
    must(await bench.settle(bench.security.holdDesk.quarantine(ALICE, PUMP, REASON)));
    must(await release(alice));
    await bench.settle(bench.stops.stop(WHOLE, 'interface', 'alice'));
    must(await reset(alice));
    leave(alice);
    expect(must(await reset(bob)).released).toBe(true);
    expect(must(await release(bob)).released).toBe(true);
  });

  it('is not the second one by a credential that has changed hands', async () => {
    await bench.settle(bench.stops.stop(WHOLE, 'interface', 'alice'));
    const proof = { credential: 'one badge', holder: null };
    must(await bench.settle(bench.stops.requestReset(ALICE, proof)));
    expect(codeOf(await bench.settle(bench.stops.requestReset(BOB, proof)))).toBe('RESET_REFUSED');
    expect(bench.kernelBench.latch.engaged()).toBe(true);
  });
});
