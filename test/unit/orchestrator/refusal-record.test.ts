// Refusals that come faster than anybody could read them: counted, told together, and in nobody's way.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MessageType } from '#link/link';
import type { AuditEntry } from '#model/audit-entry';
import type { Origin } from '#model/principal';
import { EmergencyPriority } from '#model/stop';
import { codeOf, FORBIDDEN, must, PUMP } from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB, ORIGIN } from './agent-bench.ts';

const FLOOD = 3_000;
/** What one subject, and all strangers together, may have on record at once. */
const EACH = 512;
const STRANGERS = 2_048;
const STOP = { reason: 'smoke', priority: EmergencyPriority.HIGH, devices: [], groups: [] };

let bench: AgentBench;
let alice: string;

beforeEach(async () => {
  bench = await AgentBench.open();
  alice = await bench.signIn(ALICE);
});
afterEach(() => bench.close());

function since(sequence: number): readonly AuditEntry[] {
  return bench.audit.read(sequence + 1, 2 * FLOOD);
}

/** As a compromised interface would: notices that nobody answers, as fast as the ring takes them. */
async function reportMany(sessionId: string | null, peerOf: (index: number) => string) {
  for (let index = 0; index < FLOOD; index += 1) {
    const origin: Origin = { transport: 'rest', peer: peerOf(index) };
    const body = { sessionId, origin, code: 'CLEARANCE_TOO_LOW', finding: 'no', devices: [] };
    bench.interfaceLink.notify(MessageType.EVENT, 'port.report-refusal', body);
    if (index % 200 === 199) await bench.kernelBench.clock.advance(1);
  }
}
const address = (index: number) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}:80`;

describe('refusals that interface reports', () => {
  it('leave one entry each while there are as many as people make', async () => {
    const before = bench.audit.lastSequence;
    for (let index = 0; index < 100; index += 1)
      bench.orchestrator.reportRefusal(alice, ORIGIN, 'CLEARANCE_TOO_LOW', `${index}`, [PUMP]);
    await bench.kernelBench.clock.advance(1);
    const ours = since(before).filter(
      ({ actor, event }) => actor === 'alice' && event === 'OPERATION_REFUSED',
    );
    expect(ours.map(({ result }) => result)).toEqual(
      Array.from({ length: 100 }, (_, index) => `CLEARANCE_TOO_LOW: ${index}`),
    );
  });

  it('fill the record from one session no further than its budget, and are counted', async () => {
    const before = bench.audit.lastSequence;
    await reportMany(alice, () => ORIGIN.peer);
    const entries = since(before).filter(({ event }) => event === 'OPERATION_REFUSED');
    expect(entries.length).toBeGreaterThanOrEqual(EACH);
    expect(entries.length).toBeLessThan(EACH + 10);
    await bench.kernelBench.clock.advance(10_000);
    const told = since(before).find(
      ({ actor, event }) => actor === 'security' && event === 'OPERATION_REFUSED',
    );
    expect(told).toMatchObject({
      result: expect.stringMatching(
        / refusals within 10 s have no entry of their own: \d+ of alice$/,
      ),
      details: { code: 'RATE_LIMITED', refusals: FLOOD - entries.length },
    });
  });

  it('fill it no further from ever other addresses, and keep no place for each of them', async () => {
    const before = bench.audit.lastSequence;
    await reportMany(null, address);
    const entries = since(before).filter(({ event }) => event === 'OPERATION_REFUSED');
    expect(entries.length).toBeLessThan(STRANGERS + 10);
    await bench.kernelBench.clock.advance(10_000);
    expect(JSON.stringify(bench.lastEntry())).toContain(`"refusals":${FLOOD - entries.length}`);
    expect(bench.lastEntry()?.result.length).toBeLessThan(512);
  });

  it('keep out neither what another person is refused, nor an operation, nor the stop and its entry', async () => {
    await reportMany(null, address);
    await reportMany(alice, () => ORIGIN.peer);
    const bob = await bench.signIn(BOB);
    const before = bench.audit.lastSequence;
    bench.orchestrator.reportRefusal(bob, ORIGIN, 'CLEARANCE_TOO_LOW', 'of bob', [PUMP]);
    expect(must(await bench.operate(bob, bench.write(PUMP, { DATA: 1n }))).effect).toBe(
      'committed',
    );
    must(await bench.settle(bench.orchestrator.stop(null, STOP, ORIGIN)));
    await bench.kernelBench.clock.advance(1);
    expect(since(before).map(({ event, actor }) => [event, actor])).toEqual([
      ['OPERATION_REFUSED', 'bob'],
      ['OPERATION_COMPLETED', 'bob'],
      ['EMERGENCY_STOP', expect.stringContaining('without a session')],
    ]);
  });

  it('lock whoever probes a quarantined device also when the entry is only counted', async () => {
    await reportMany(alice, () => ORIGIN.peer);
    bench.orchestrator.reportRefusal(alice, ORIGIN, 'DEVICE_QUARANTINED', 'no', [FORBIDDEN]);
    await bench.kernelBench.clock.advance(1);
    expect(codeOf(bench.security.principals.session(alice))).toBe('ACCOUNT_LOCKED');
  });

  it('that the disk does not take are told once it takes them again', async () => {
    const full =
      'CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, "full"); END';
    bench.store.database.exec(full.replaceAll('"', "'"));
    await reportMany(alice, () => ORIGIN.peer);
    await bench.kernelBench.clock.advance(15_000);
    bench.store.database.exec('DROP TRIGGER full');
    await bench.kernelBench.clock.advance(10_000);
    expect(bench.lastEntry()).toMatchObject({
      actor: 'security',
      details: { code: 'RATE_LIMITED' },
    });
  });
});

it('worthless credentials from ever other addresses fill the record no further', async () => {
  const before = bench.audit.lastSequence;
  for (let index = 0; index < FLOOD; index += 1) {
    const origin: Origin = { transport: 'rest', peer: address(index) };
    await bench.orchestrator.authenticate({ kind: 'token', token: `guess-${index}` }, origin);
    if (index % 200 === 199) await bench.kernelBench.clock.advance(1);
  }
  const failed = since(before).filter(({ event }) => event === 'AUTHENTICATION_FAILED');
  expect(failed.length).toBeGreaterThanOrEqual(EACH);
  expect(failed.length).toBeLessThan(STRANGERS + 10);
});

it('administration asked for without a session fills the record no further', async () => {
  const before = bench.audit.lastSequence;
  const deadline = bench.kernelBench.deadline(600_000);
  const request = { handle: 'h' };
  for (let first = 0; first < FLOOD; first += 200) {
    const asked = Array.from({ length: 200 }, (_, index) => {
      const origin: Origin = { transport: 'rest', peer: address(first + index) };
      return bench.orchestrator.administer(null, 'revokeSession', request, origin, deadline);
    });
    for (const answer of await bench.settle(Promise.all(asked))) expect(answer.ok).toBe(false);
  }
  expect(since(before).length).toBeLessThan(STRANGERS + 100);
});
