// The gRPC server while it closes: a call that runs is let end, and what does not end is cut.

import { afterEach, expect, it } from 'vitest';
import { OperationCoordinationRequest } from '#contract/communication';
import { type Clock, systemClock } from '#foundation/clock';
import { makeTestAuthority } from '../../../../support/certificates.ts';
import { InterfaceBench } from '../../../../support/interface-bench.ts';

let bench: InterfaceBench;
let open: () => void;

/** Waits for ever: however slow the machine is, what ends has time to end. */
const PATIENT: Clock = { ...systemClock, sleep: () => new Promise(() => undefined) };

async function start(clock: Clock): Promise<void> {
  bench = await InterfaceBench.start(await makeTestAuthority(), { clock });
  bench.orchestrator.gate = new Promise((resolve) => {
    open = resolve;
  });
}
afterEach(() => bench.close());

/** Begins one operation that waits in security, and says when it is there; `ended` gets its result or status. */
async function begin(ended: (how: string) => void): Promise<void> {
  const message = OperationCoordinationRequest.fromPartial({ deviceId: 0, operationType: 1 });
  const client = bench.communication();
  client.coordinateOperation(message, bench.metadata(), (error, response) =>
    ended(error === null ? `result ${response.result}` : `status ${error.code}`),
  );
  await expect.poll(() => bench.orchestrator.intents.length, { timeout: 15_000 }).toBe(1);
}

it('answers a call that was running when it began to close', async () => {
  await start(PATIENT);
  let ended: (how: string) => void = () => undefined;
  const answered = new Promise<string>((resolve) => {
    ended = resolve;
  });
  await begin(ended);
  const closing = bench.grpc.close();
  open();
  expect(await answered).toBe('result 1');
  // And goes with the last connection, long before anybody is cut.
  await closing;
});

it('cuts a call that does not end', async () => {
  await start(systemClock);
  let ended: (how: string) => void = () => undefined;
  const cut = new Promise<string>((resolve) => {
    ended = resolve;
  });
  await begin(ended);
  await bench.grpc.close();
  expect(await cut).toMatch(/^status (1|14)$/);
  await expect.poll(() => bench.service.gate.open, { timeout: 15_000 }).toBe(0);
  open();
});
