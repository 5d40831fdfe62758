// Taking charge of kernel: settle, hand over the holds, allow writes; and nothing of it counts for a kernel that is gone.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { refuse } from '#foundation/outcome';
import { Supervision, type SupervisionParts } from '#orchestrator/supervision';
import { OFFSET, PUMP, VALVE } from '../../support/kernel-bench.ts';
import { AgentBench, gone } from './agent-bench.ts';

let bench: AgentBench;

beforeEach(async () => {
  bench = await AgentBench.open();
  bench.tolerated = [];
});
afterEach(() => bench.close());

const HOLD = { device: PUMP, kind: 'in-doubt', reason: 'a test', sinceWallMs: 1 } as const;

function supervision(changes: Partial<SupervisionParts> = {}): Supervision {
  return new Supervision({
    clock: bench.kernelBench.clock,
    kernel: bench.line,
    holds: bench.security.holds,
    settle: async () => true,
    stopStands: () => false,
    engageStop: () => undefined,
    onError: () => undefined,
    ...changes,
  });
}

const held = () => bench.kernelBench.interlock.holdReason;

describe('security that takes charge', () => {
  it('hands its holds to a kernel that has forgotten them, and takes those that only kernel has', async () => {
    await bench.settle(bench.security.holds.add([HOLD]));
    const own = { ...HOLD, device: VALVE };
    bench.kernelBench.interlock.add(own);
    bench.kernelBench.poke(PUMP, OFFSET.DATA, 7);
    bench.kernelBench.interlock.hold('kernel has just started');
    const taking = supervision();
    await bench.settle(taking.take());
    expect(taking.inCharge).toBe(true);
    expect(held()).toBeNull();
    expect(bench.kernelBench.interlock.has(PUMP, 'in-doubt')).toBe(true);
    // What is in doubt belongs into its safe state.
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(0x5afe);
    expect(bench.security.holds.all()).toEqual([HOLD, own]);
  });

  it('engages a stop that stands before it settles anything', async () => {
    const order: string[] = [];
    const taking = supervision({
      stopStands: () => true,
      engageStop: () => order.push('stop'),
      settle: async () => order.push('settle') > 0,
    });
    await bench.settle(taking.take());
    expect(order).toEqual(['stop', 'settle']);
  });

  it('names whom not to touch before it engages the stop', async () => {
    await bench.settle(bench.security.holds.add([{ ...HOLD, kind: 'quarantined' }]));
    const order: string[] = [];
    const { supervise } = bench.line;
    bench.line.supervise = (asked, deadline) => {
      order.push(`${asked.writes} ${asked.holds.map((hold) => hold.kind).join()}`);
      return supervise(asked, deadline);
    };
    const taking = supervision({ stopStands: () => true, engageStop: () => order.push('stop') });
    await bench.settle(taking.take());
    expect(order).toEqual(['hold quarantined', 'stop', 'allow quarantined']);
  });

  it('is not in charge while a transaction is open, while kernel refuses, or after an error', async () => {
    bench.kernelBench.interlock.hold('kernel has just started');
    const unsettled = supervision({ settle: async () => false });
    await bench.settle(unsettled.take());
    const failing = supervision({ settle: () => Promise.reject(new Error('no')) });
    await bench.settle(failing.take());
    const { supervise } = bench.line;
    bench.line.supervise = async () => refuse(gone('kernel'));
    const refused = supervision();
    await bench.settle(refused.take());
    bench.line.supervise = supervise;
    expect([unsettled.inCharge, failing.inCharge, refused.inCharge]).toEqual([false, false, false]);
    expect(held()).toBe('kernel has just started');
  });

  it('is not in charge of a kernel that was lost on the way', async () => {
    const taking = supervision({
      settle: async () => {
        taking.lost();
        return true;
      },
    });
    await bench.settle(taking.take());
    expect(taking.inCharge).toBe(false);
  });

  it('takes charge again of a kernel that called meanwhile', async () => {
    let settled = 0;
    const taking = supervision({
      settle: async () => {
        settled += 1;
        if (settled === 1) {
          taking.lost();
          void taking.take();
        }
        return true;
      },
    });
    await bench.settle(taking.take());
    expect(taking.inCharge).toBe(false);
    await bench.kernelBench.clock.advance(200);
    expect([settled, taking.inCharge]).toEqual([2, true]);
  });

  it('tells kernel of new holds only while it is in charge', async () => {
    const taking = supervision();
    await bench.settle(bench.security.holds.add([HOLD]));
    expect(await bench.settle(taking.refresh())).toBe(false);
    expect(bench.kernelBench.interlock.has(PUMP, 'in-doubt')).toBe(false);
    await bench.settle(taking.take());
    await bench.settle(bench.security.holds.add([{ ...HOLD, device: VALVE }]));
    expect(await bench.settle(taking.refresh())).toBe(true);
    expect(bench.kernelBench.interlock.has(VALVE, 'in-doubt')).toBe(true);
  });
});
