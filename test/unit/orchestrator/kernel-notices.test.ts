// What kernel says without being asked: taken when every member fits, and otherwise left alone as a whole.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { MessageType } from '#link/link';
import { kernelSnapshotShape } from '#link/message-schema';
import type { KernelSnapshot } from '#model/snapshot';
import type { StopCause, StopReceipt } from '#model/stop';
import { EmergencyPriority } from '#model/stop';
import { must, PUMP } from '../../support/kernel-bench.ts';
import { AgentBench } from './agent-bench.ts';

let bench: AgentBench;
let shown: KernelSnapshot[];

beforeEach(async () => {
  bench = await AgentBench.open();
  bench.tolerated = [];
  shown = [];
  bench.orchestrator.onKernelSnapshot((snapshot) => shown.push(snapshot));
});
afterEach(() => bench.close());

const CAUSE: StopCause = {
  id: 0,
  devices: [PUMP],
  source: 'kernel',
  reason: 'a frame was corrupt',
  priority: EmergencyPriority.IMMEDIATE,
  triggeredBy: 'kernel',
  wallMs: 1,
};
const RECEIPT: StopReceipt = {
  track: 'kernel',
  ok: true,
  message: '1 device at its safe values',
  safe: [PUMP],
  unsafe: [],
  durationMs: 1,
};

async function say(method: 'stopped' | 'snapshot', body: unknown): Promise<void> {
  must(bench.kernelLink.notify(MessageType.STATE_SYNC, method, body));
  await bench.kernelBench.clock.advance(1);
}

it('of a stop is on record when it fits', async () => {
  await say('stopped', { cause: CAUSE, receipt: RECEIPT });
  expect(bench.stops.causes).toMatchObject([{ ...CAUSE, id: 1 }]);
  expect(bench.tolerated).toEqual([]);
});

it.each([
  ['has no devices', { cause: { ...CAUSE, devices: undefined }, receipt: RECEIPT }],
  ['names no cause at all', { receipt: RECEIPT }],
  ['has a receipt without a list', { cause: CAUSE, receipt: { ...RECEIPT, unsafe: 'none' } }],
  ['is nothing', null],
])('of a stop that %s is an error of kernel, and no stop is on record for it', async (_, body) => {
  await say('stopped', body);
  expect(bench.stops.causes).toEqual([]);
  expect(String(bench.tolerated?.[0])).toContain('stopped');
  await say('stopped', { cause: CAUSE, receipt: RECEIPT });
  expect(bench.stops.causes).toHaveLength(1);
  expect(bench.tolerated).toHaveLength(1);
});

it('of the devices reaches panels as far as it fits, with every snapshot that kernel makes', async () => {
  const whole = must(await bench.kernelBench.track.snapshot());
  expect(kernelSnapshotShape(whole)).toBeNull();
  await say('snapshot', whole);
  expect(shown).toHaveLength(1);
  await say('snapshot', { ...whole, devices: [{ device: PUMP }] });
  await say('snapshot', { ...whole, devices: 'many' });
  await say('snapshot', undefined);
  expect(shown).toHaveLength(1);
  expect(bench.tolerated).toHaveLength(3);
});
