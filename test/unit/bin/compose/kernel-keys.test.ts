// Kernel hears security's keys over their link, and a change of keys fails no operation that is under way.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import { type LoopbackPair, loopbackPair } from '#link/loopback';
import { kernelTrackClient } from '#link/track-client';
import { serveKernelTrack } from '#link/track-server';
import { CoordinationResult, OperationType } from '#model/operation';
import type { KernelTrack } from '#model/track';
import { AuthorizationSigner } from '#tracks/security/authorization';
import { KernelKeys } from '../../../../src/bin/compose/kernel-keys.ts';
import { codeOf, KernelBench, must, PUMP, VALVE } from '../../../support/kernel-bench.ts';
import { AgentBench } from '../../orchestrator/agent-bench.ts';

const recorded = async (): Promise<Outcome<void>> => succeed(undefined);

describe('keys over a link', () => {
  let bench: KernelBench;
  let pair: LoopbackPair;
  let kernel: KernelTrack;
  let signer: AuthorizationSigner;
  let keys: KernelKeys;
  let counter = 0;

  beforeEach(async () => {
    bench = await KernelBench.open();
    const { clock } = bench;
    const onError = (error: unknown) => {
      throw error;
    };
    pair = loopbackPair('security', 'kernel', { clock, latencyMs: 1, onError });
    serveKernelTrack(pair.right, bench.track);
    kernel = kernelTrackClient(pair.left);
    signer = new AuthorizationSigner(clock);
    keys = new KernelKeys({ clock, link: pair.left, kernel, keys: () => signer.keys() });
  });
  afterEach(() => bench.close());

  const soon = () => Deadline.after(bench.clock, 5_000);
  const rotate = () => bench.run(signer.rotate((offered) => keys.offer(offered), recorded));

  async function prepared(value: bigint, device = VALVE) {
    counter += 1;
    const intent = bench.intent(OperationType.WRITE, device, { DATA: value });
    const plan = must(await bench.run(kernel.plan(intent, soon())));
    const operationId = `keys-${counter}`;
    const authorization = signer.grant(operationId, plan.digest, ['alice']);
    const request = { operationId, planDigest: plan.digest, authorization };
    must(await bench.run(kernel.prepare(request, soon())));
    return { ...request, deadlineMs: bench.clock.nowMs() + 5_000 };
  }

  it('are there before the first request that needs them', async () => {
    const request = await prepared(1n);
    expect(must(await bench.run(kernel.commit(request, soon()))).effect).toBe('committed');
  });

  it('may change between the promise of an operation and its writes', async () => {
    const request = await prepared(2n);
    expect((await rotate()).ok).toBe(true);
    const next = await prepared(3n, PUMP);
    expect(next.authorization.keyId).not.toBe(request.authorization.keyId);
    expect(must(await bench.run(kernel.commit(request, soon()))).effect).toBe('committed');
    expect(must(await bench.run(kernel.commit(next, soon()))).effect).toBe('committed');
  });

  it('stay as they are while kernel does not answer, and change when it is gone and hears of them later', async () => {
    const { keyId } = signer.keys().keys[0] ?? { keyId: '' };
    serveSilence();
    const silent = await rotate();
    expect(codeOf(silent)).toBe('DEADLINE_EXCEEDED');
    expect(signer.keys().keys).toMatchObject([{ keyId, untilMs: null }]);
    answerAgain();
    pair.part();
    expect((await rotate()).ok).toBe(true);
    pair.restart();
    await bench.clock.advance(10);
    expect((await bench.run(kernel.commit(await prepared(5n), soon()))).ok).toBe(true);
  });

  it('are told again until kernel has taken them', async () => {
    serveSilence();
    pair.restart();
    await bench.clock.advance(5_000);
    signer = new AuthorizationSigner(bench.clock);
    answerAgain();
    await bench.clock.advance(5_000);
    expect((await bench.run(kernel.commit(await prepared(6n), soon()))).ok).toBe(true);
  });

  let trust: KernelTrack['trust'] | null = null;
  function serveSilence(): void {
    trust = bench.track.trust.bind(bench.track);
    bench.track.trust = () => new Promise(() => undefined);
  }
  function answerAgain(): void {
    if (trust !== null) bench.track.trust = trust as typeof bench.track.trust;
  }
});

it('a stream of operations of the whole agent does not notice that keys change', async () => {
  const agent = await AgentBench.open();
  try {
    const { signer } = agent.kernelBench;
    const used = new Set<string>();
    agent.line.beforeCommit = ({ authorization }) => used.add(authorization.keyId);
    const running: ReturnType<AgentBench['run']>[] = [];
    const rotations: Promise<Outcome<unknown>>[] = [];
    for (let turn = 0; turn < 60; turn++) {
      const device = turn % 2 === 0 ? PUMP : VALVE;
      running.push(agent.run(agent.write(device, { DATA: BigInt(turn) })));
      // In the middle of what is under way, at another point of it each time.
      if (turn % 20 === 10) {
        for (let step = 0; step < turn; step++) await Promise.resolve();
        const kernel = agent.security.kernel;
        const offer: Parameters<AuthorizationSigner['rotate']>[0] = (offered) =>
          kernel.trust(offered, agent.kernelBench.deadline());
        rotations.push(signer.rotate(offer, recorded));
      }
      await running.at(-1);
    }
    const receipts = await Promise.all(running);
    expect(receipts.map(({ result }) => result)).toEqual(
      Array(60).fill(CoordinationResult.SUCCESS),
    );
    expect((await Promise.all(rotations)).map(codeOf)).toEqual(Array(3).fill('no fault'));
    expect(used.size).toBe(4);
  } finally {
    await agent.close();
  }
});
