// The kernel track end to end: from an intent to bytes on metal, only under authorization, and its stop.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RELEASE_STOP_ACT } from '#model/authorization';
import { OperationType } from '#model/operation';
import { OverallStatus, PowerState } from '#model/snapshot';
import type { CommitRequest } from '#model/track';
import { AuthorizationSigner } from '#tracks/security/authorization';
import {
  codeOf,
  FAN,
  FORBIDDEN,
  HEATER,
  KernelBench,
  LAMP,
  must,
  OFFSET,
  PUMP,
  requests,
  STOP_CAUSE,
  VALVE,
} from '../../../support/kernel-bench.ts';

const { READ, WRITE, RESET, ACTIVATE, CONFIG } = OperationType;
let bench: KernelBench;

beforeEach(async () => {
  bench = await KernelBench.open();
});
afterEach(() => bench.close());

/** A plan with its authorization, not yet prepared. */
async function planned(intent = bench.intent(WRITE, PUMP, { DATA: 5n })): Promise<CommitRequest> {
  const plan = must(await bench.track.plan(intent));
  const { operationId } = intent;
  const authorization = bench.signer.grant(operationId, plan.digest, ['alice']);
  const deadlineMs = bench.deadline().atMs;
  return { operationId, planDigest: plan.digest, authorization, deadlineMs };
}

const prepare = (request: CommitRequest) =>
  bench.run(bench.track.prepare(request, bench.deadline()));
const commit = (request: CommitRequest) => bench.run(bench.track.commit(request, bench.deadline()));

const inhibit = (device: number) =>
  bench.interlock.add({ device, kind: 'in-doubt', reason: 'left in doubt', sinceWallMs: 0 });

describe('an operation', () => {
  it('writes registers of mapped memory and a slow bus in one transaction', async () => {
    const intent = bench.intent(WRITE, PUMP, { DATA: 0x77n });
    const both = {
      ...intent,
      targets: [...intent.targets, { device: FAN, registers: requests({ LEVEL: 0x21n }) }],
    };
    const receipt = await bench.perform(both);
    expect(receipt).toMatchObject({
      effect: 'committed',
      readings: [
        { device: PUMP, register: 'DATA', value: 0x77n, before: 0n },
        { device: FAN, register: 'LEVEL', value: 0x21n, before: 0n },
      ],
    });
    expect(receipt.fault).toBeUndefined();
    expect(bench.peek(PUMP, OFFSET.DATA)).toBe(0x77);
    expect(bench.peer.words.get('fan.LEVEL')).toBe(0x21n);
  });

  it('reads every register that may be read without being named, and no precious one', async () => {
    bench.poke(PUMP, OFFSET.STATUS, 3);
    const receipt = await bench.perform(bench.intent(READ, PUMP));
    expect(receipt.effect).toBe('none');
    expect(receipt.readings.map((reading) => reading.register)).toEqual([
      'CONTROL',
      'STATUS',
      'CONFIG',
      'DATA',
      'PENDING',
      'SETPOINT',
    ]);
    expect(receipt.readings[1]).toEqual({ device: PUMP, register: 'STATUS', value: 3n });
  });

  it('activates through the profile and leaves all other bits as they were', async () => {
    bench.poke(PUMP, OFFSET.CONTROL, 0xf0);
    expect((await bench.perform(bench.intent(ACTIVATE, PUMP))).effect).toBe('committed');
    expect(bench.peek(PUMP, OFFSET.CONTROL)).toBe(0xf1);
  });

  it('whose last write cannot be undone and is not taken leaves the device inhibited at its safe values', async () => {
    // Nothing clears the reset bit of a plain file, so the reset never reads back as done.
    const receipt = await bench.perform(bench.intent(RESET, PUMP));
    expect(receipt).toMatchObject({ effect: 'in-doubt', fault: { code: 'READ_BACK_MISMATCH' } });
    expect(bench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
    expect(bench.peek(PUMP, OFFSET.DATA)).toBe(0x5afe);
    const next = await bench.track.plan(bench.intent(WRITE, PUMP, { DATA: 1n }));
    expect(codeOf(next)).toBe('DEVICE_INHIBITED');
    const state = bench.track.memory.state(PUMP);
    expect(state.inhibited).toBe(true);
    expect((await bench.track.plan(bench.intent(READ, PUMP))).ok).toBe(true);
  });
});

describe('a plan', () => {
  it.each([
    ['a device that is not there', WRITE, 77, { DATA: 1n }, 'DEVICE_UNKNOWN'],
    ['a quarantined device', READ, FORBIDDEN, {}, 'DEVICE_QUARANTINED'],
    ['a register that is not there', WRITE, PUMP, { NOPE: 1n }, 'REGISTER_UNKNOWN'],
    ['a read-only register', WRITE, PUMP, { STATUS: 1n }, 'REGISTER_READ_ONLY'],
    ['a value too wide', WRITE, PUMP, { DATA: 1n << 32n }, 'VALUE_TOO_WIDE'],
    ['a value out of limits', WRITE, PUMP, { SETPOINT: 101n }, 'VALUE_OUT_OF_LIMITS'],
    ['reserved bits', WRITE, PUMP, { CONFIG: 0x0100_0000n }, 'RESERVED_BITS'],
    ['a write without value', WRITE, PUMP, { DATA: undefined }, 'VALUE_MISSING'],
    ['a register that CONFIG may not write', CONFIG, PUMP, { DATA: 1n }, 'OPERATION_UNSUPPORTED'],
    ['an operation the device has not', RESET, FAN, {}, 'OPERATION_UNSUPPORTED'],
  ] as const)('is refused for %s', async (_, type, device, registers, code) => {
    const before = bench.bytes();
    expect(codeOf(await bench.track.plan(bench.intent(type, device, registers)))).toBe(code);
    expect(bench.bytes().equals(before)).toBe(true);
  });

  it('is made during a stop only to be looked at', async () => {
    bench.securityLatch.engage();
    const intent = bench.intent(WRITE, PUMP, { DATA: 1n });
    expect(codeOf(await bench.track.plan(intent))).toBe('EMERGENCY_STOPPED');
    expect((await bench.track.plan({ ...intent, dryRun: true })).ok).toBe(true);
    expect((await bench.track.plan(bench.intent(READ, PUMP))).ok).toBe(true);
  });

  it('bounds its own time by the bus and the settle times', async () => {
    const write = must(await bench.track.plan(bench.intent(WRITE, FAN, { LEVEL: 1n })));
    const read = must(await bench.track.plan(bench.intent(READ, FAN)));
    // Prior, write and three read-backs with a pause of 1 ms between two of them.
    expect(write.worstCaseMs).toBe(5 * 50 + 2);
    expect(read.worstCaseMs).toBe(2 * 50);
  });

  it('is forgotten when five hundred and twelve newer ones came', async () => {
    const first = await planned();
    for (let value = 0n; value < 512n; value++) {
      must(await bench.track.plan(bench.intent(WRITE, VALVE, { DATA: value })));
    }
    expect(codeOf(await prepare(first))).toBe('PLAN_UNKNOWN');
  });
});

describe('nothing is written', () => {
  let before: Buffer;
  beforeEach(() => {
    before = bench.bytes();
  });
  afterEach(() => expect(bench.bytes().equals(before)).toBe(true));

  it('without a preparation', async () => {
    expect(codeOf(await commit(await planned()))).toBe('PLAN_UNKNOWN');
  });

  it('after the preparation was aborted', async () => {
    const request = await planned();
    must(await prepare(request));
    must(await bench.track.abort(request.operationId));
    expect(codeOf(await commit(request))).toBe('PLAN_UNKNOWN');
  });

  it('under an authorization for another plan', async () => {
    const request = await planned();
    const other = await planned(bench.intent(WRITE, VALVE, { DATA: 1n }));
    const forged = { ...request, authorization: other.authorization };
    expect(codeOf(await prepare(forged))).toBe('AUTHORIZATION_INVALID');
    must(await prepare(request));
    expect(codeOf(await commit(forged))).toBe('AUTHORIZATION_INVALID');
  });

  it('under an authorization that somebody else signed', async () => {
    const request = await planned();
    const stranger = new AuthorizationSigner(bench.clock);
    const authorization = stranger.grant(request.operationId, request.planDigest, ['alice']);
    expect(codeOf(await prepare({ ...request, authorization }))).toBe('AUTHORIZATION_INVALID');
    must(await prepare(request));
    expect(codeOf(await commit({ ...request, authorization }))).toBe('AUTHORIZATION_INVALID');
  });

  it('under an authorization that expired after the preparation', async () => {
    const request = await planned();
    must(await prepare(request));
    await bench.clock.advance(30_000);
    expect(codeOf(await commit(request))).toBe('AUTHORIZATION_INVALID');
  });

  it('after security restarted between preparation and commit', async () => {
    const request = await planned();
    must(await prepare(request));
    const restarted = new AuthorizationSigner(bench.clock);
    must(bench.track.authorizations.trust(restarted.keys()));
    expect(codeOf(await commit(request))).toBe('AUTHORIZATION_INVALID');
  });

  it.each([
    ['held', 'INTERLOCK_OPEN', () => bench.interlock.hold('security is lost')],
    ['inhibited', 'DEVICE_INHIBITED', () => inhibit(PUMP)],
    ['stopped', 'EMERGENCY_STOPPED', () => bench.securityLatch.engage()],
  ])('once the device is %s after the preparation', async (_, code, forbid) => {
    const request = await planned();
    must(await prepare(request));
    forbid();
    expect(codeOf(await commit(request))).toBe(code);
  });

  it('by a commit that was refused, which gives the device back', async () => {
    const request = await planned();
    must(await prepare(request));
    bench.interlock.hold('security is lost');
    await commit(request);
    bench.interlock.resume();
    expect((await prepare(await planned())).ok).toBe(true);
  });
});

describe('concurrent operations', () => {
  it('may read the same registers by the same plan', async () => {
    const first = await planned(bench.intent(READ, PUMP, { DATA: undefined }));
    const second = await planned(bench.intent(READ, PUMP, { DATA: undefined }));
    expect(second.planDigest).toBe(first.planDigest);
    expect((await commit(first)).ok).toBe(true);
    expect((await commit(second)).ok).toBe(true);
  });

  it('may not write the same device: the second is refused, and a commit is done once', async () => {
    const first = await planned();
    const second = await planned();
    must(await prepare(first));
    expect(codeOf(await prepare(second))).toBe('DEVICE_BUSY');
    must(await commit(first));
    expect(codeOf(await commit(first))).toBe('AUTHORIZATION_INVALID');
    must(await prepare(second));
    expect(must(await commit(second)).effect).toBe('committed');
  });
});

describe('the stop', () => {
  it('latches at once, drives every device to its safe values and refuses what follows', async () => {
    bench.poke(HEATER, OFFSET.CONTROL, 1);
    bench.peer.words.set('fan.MODE', 1n);
    const stopping = bench.track.stop({ cause: STOP_CAUSE });
    expect(bench.latch.engaged()).toBe(true);
    expect(bench.peek(HEATER, OFFSET.CONTROL)).toBe(0);
    const receipt = must(await bench.run(stopping));
    expect(receipt).toMatchObject({
      track: 'kernel',
      ok: true,
      message: '5 devices at their safe values',
      unsafe: [],
    });
    expect(bench.peer.words.get('fan.MODE')).toBe(0n);
    expect(bench.stops).toEqual([{ cause: STOP_CAUSE, receipt }]);
    const next = await bench.track.plan(bench.intent(WRITE, PUMP, { DATA: 1n }));
    expect(codeOf(next)).toBe('EMERGENCY_STOPPED');
  });

  it('says which devices did not take their safe values', async () => {
    bench.peer.misbehaviours.set('fan.MODE', 'nack');
    const stopping = bench.track.stop({ cause: STOP_CAUSE });
    expect(must(await bench.run(stopping))).toMatchObject({
      ok: false,
      message: '1 devices did not take their safe values',
      unsafe: [{ device: FAN, finding: 'fan.MODE: the chip did not acknowledge' }],
    });
  });

  it('asked for through the latch alone is executed once', async () => {
    bench.poke(PUMP, OFFSET.CONTROL, 1);
    bench.securityLatch.engage();
    await bench.run(bench.track.stopByLatch());
    await bench.run(bench.track.stopByLatch());
    expect(bench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
    expect(bench.stops).toHaveLength(1);
    expect(bench.stops[0]?.cause).toBeNull();
  });

  it('comes after the last write of a plan that it interrupts: the safe values stand', async () => {
    const request = await planned(bench.intent(WRITE, FAN, { MODE: 5n, LEVEL: 6n }));
    must(await prepare(request));
    let stopping: Promise<unknown> = Promise.resolve();
    bench.peer.onAccess = ({ kind }) => {
      if (kind !== 'write') return;
      bench.peer.onAccess = () => undefined;
      stopping = bench.track.stop({ cause: STOP_CAUSE });
    };
    const receipt = must(await commit(request));
    await bench.run(stopping);
    expect(receipt).toMatchObject({ effect: 'stopped', fault: { code: 'STOPPED_MIDWAY' } });
    expect(bench.peer.written()).toEqual(['fan.MODE=5', 'fan.MODE=0', 'lamp.MODE=0']);
    expect(bench.track.memory.state(FAN).inhibited).toBe(false);
  });

  it('of one device leaves the others working', async () => {
    bench.poke(PUMP, OFFSET.CONTROL, 1);
    bench.poke(VALVE, OFFSET.CONTROL, 1);
    must(await bench.run(bench.track.stop({ cause: { ...STOP_CAUSE, devices: [PUMP] } })));
    expect([bench.peek(PUMP, OFFSET.CONTROL), bench.peek(VALVE, OFFSET.CONTROL)]).toEqual([0, 1]);
    expect(bench.latch.engaged()).toBe(false);
    const onPump = await bench.track.plan(bench.intent(WRITE, PUMP, { DATA: 1n }));
    expect(codeOf(onPump)).toBe('EMERGENCY_STOPPED');
    await bench.run(bench.track.memory.observe(PUMP, bench.deadline(100)));
    expect(bench.track.memory.state(PUMP).status).toBe(OverallStatus.EMERGENCY_STOPPED);
    expect((await bench.perform(bench.intent(WRITE, VALVE, { DATA: 1n }))).effect).toBe(
      'committed',
    );
  });

  it('is released only by an authorization of two people for exactly that', async () => {
    must(await bench.run(bench.track.stop({ cause: STOP_CAUSE })));
    const release = (act: string, people: readonly string[]) =>
      bench.track.releaseStop(bench.signer.grant('reset-1', act, people), bench.deadline());
    expect(codeOf(await release('some-plan', ['alice', 'bob']))).toBe('AUTHORIZATION_INVALID');
    expect(codeOf(await release(RELEASE_STOP_ACT, ['alice']))).toBe('RESET_REFUSED');
    expect(codeOf(await release(RELEASE_STOP_ACT, ['alice', 'alice']))).toBe('RESET_REFUSED');
    expect(bench.latch.engaged()).toBe(true);
    expect((await release(RELEASE_STOP_ACT, ['alice', 'bob'])).ok).toBe(true);
    expect(bench.latch.engaged()).toBe(false);
    // Nothing restarts by itself.
    expect(bench.peek(PUMP, OFFSET.DATA)).toBe(0x5afe);
  });

  describe('that is being released', () => {
    const release = (id: string) => {
      const authorization = bench.signer.grant(id, RELEASE_STOP_ACT, ['alice', 'bob']);
      return bench.track.releaseStop(authorization, bench.deadline());
    };
    const told = async (releasing: ReturnType<typeof release>) => {
      const released = await bench.run(releasing);
      return released.ok ? 'released' : `${released.fault.code}: ${released.fault.finding}`;
    };

    it('stays while a device is not at its safe values, which it gets once more', async () => {
      bench.peer.misbehaviours.set('fan.MODE', 'nack');
      bench.peer.words.set('fan.MODE', 9n);
      await bench.run(bench.track.stop({ cause: STOP_CAUSE }));
      expect(await told(release('reset-1'))).toBe(
        'RESET_REFUSED: not at their safe values: fan.MODE: the chip did not acknowledge',
      );
      expect(bench.latch.engaged()).toBe(true);
      bench.peer.misbehaviours.clear();
      expect(await told(release('reset-2'))).toBe('released');
      expect(bench.peer.words.get('fan.MODE')).toBe(0n);
    });

    it('lets devices go in doubt whose bus is absent altogether, and drives them first when it is back', async () => {
      for (const register of ['MODE', 'LEVEL', 'FIRE']) {
        bench.peer.misbehaviours.set(`fan.${register}`, 'absent').set(`lamp.${register}`, 'absent');
      }
      bench.peer.words.set('fan.MODE', 9n);
      await bench.run(bench.track.stop({ cause: STOP_CAUSE }));
      expect(await told(release('reset-1'))).toBe('released');
      expect(bench.interlock.kindsOf(FAN)).toEqual(['in-doubt']);
      expect(bench.interlock.kindsOf(PUMP)).toEqual(['deactivated']);
      bench.peer.misbehaviours.clear();
      bench.poke(PUMP, OFFSET.DATA, 1);
      await bench.run(bench.track.busesOpened(['i2c-0']));
      expect(bench.peer.words.get('fan.MODE')).toBe(0n);
      // Not stopped, and not on that bus.
      expect(bench.peek(PUMP, OFFSET.DATA)).toBe(1);
      bench.peer.words.set('fan.MODE', 9n);
      await bench.run(bench.track.busesOpened(['i2c-0']));
      expect(bench.peer.words.get('fan.MODE')).toBe(9n);
    });

    it('stays when another stop comes through the latch meanwhile', async () => {
      bench.peer.misbehaviours.set('fan.MODE', 'nack');
      await bench.run(bench.track.stop({ cause: STOP_CAUSE }));
      bench.peer.misbehaviours.clear();
      const releasing = release('reset-1');
      bench.securityLatch.engage();
      await bench.track.stopByLatch();
      expect(await told(releasing)).toBe('RESET_REFUSED: a new stop came during the reset');
      expect(bench.latch.engaged()).toBe(true);
    });

    it('stays while devices are still being driven', async () => {
      bench.peer.latencyMs = 20;
      const stopping = bench.track.stop({ cause: STOP_CAUSE });
      expect(await told(release('reset-1'))).toBe(
        'RESET_REFUSED: devices are still being driven to their safe values',
      );
      await bench.run(stopping);
    });
  });

  it('of a device reaches it when its bus comes back, and no other device', async () => {
    for (const register of ['MODE', 'LEVEL', 'FIRE']) {
      bench.peer.misbehaviours.set(`fan.${register}`, 'absent');
    }
    bench.peer.words.set('fan.MODE', 9n).set('lamp.MODE', 9n);
    await bench.run(bench.track.stop({ cause: { ...STOP_CAUSE, devices: [FAN] } }));
    bench.peer.misbehaviours.clear();
    await bench.run(bench.track.busesOpened(['i2c-0']));
    expect([bench.peer.words.get('fan.MODE'), bench.peer.words.get('lamp.MODE')]).toEqual([0n, 9n]);
  });

  it('is never driven into a device that was quarantined at run time', async () => {
    bench.poke(VALVE, OFFSET.CONTROL, 1);
    const hold = { device: VALVE, kind: 'quarantined', reason: 'strange', sinceWallMs: 0 } as const;
    bench.interlock.add(hold);
    const receipt = must(await bench.run(bench.track.stop({ cause: STOP_CAUSE })));
    expect([receipt.ok, receipt.safe.includes(VALVE)]).toEqual([true, false]);
    expect(bench.peek(VALVE, OFFSET.CONTROL)).toBe(1);
  });

  it('at the end of the process is not latched', async () => {
    bench.poke(PUMP, OFFSET.CONTROL, 1);
    await bench.run(bench.track.endSafely());
    expect(bench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
    expect(bench.latch.engaged()).toBe(false);
    expect(bench.track.lastSafeState?.unsafe).toEqual([]);
  });
});

describe('the test of the stop path', () => {
  const test = (limitMs = 1_000) => bench.track.testStop(bench.deadline(limitMs));

  it('is answered when the bell rings after the question, and when it rang just before', async () => {
    const asked = test();
    bench.securityLatch.test();
    expect(must(await bench.run(asked))).toBe('');
    bench.securityLatch.test();
    await bench.clock.advance(10);
    expect(must(await bench.run(test()))).toBe('');
    expect(bench.latch.engaged()).toBe(false);
  });

  it('takes one ring for one question, and none that is old', async () => {
    bench.securityLatch.test();
    await bench.clock.advance(10);
    must(await bench.run(test()));
    expect(codeOf(await bench.run(test()))).toBe('STOP_TEST_FAILED');
    bench.securityLatch.test();
    await bench.clock.advance(1_500);
    expect(codeOf(await bench.run(test(100)))).toBe('STOP_TEST_FAILED');
  });

  it('is refused while the stop is engaged', async () => {
    bench.securityLatch.engage();
    expect(codeOf(await bench.run(test()))).toBe('EMERGENCY_STOPPED');
  });
});

describe('what kernel shows', () => {
  it('is UNKNOWN for a device that nobody has looked at, and QUARANTINED for the quarantined', () => {
    expect(bench.track.memory.state(PUMP)).toMatchObject({
      power: PowerState.UNKNOWN,
      status: OverallStatus.UNKNOWN,
    });
    expect(bench.track.memory.state(FORBIDDEN)).toMatchObject({
      power: PowerState.LOCKED,
      status: OverallStatus.QUARANTINED,
      readings: [],
    });
  });

  it('moves its version only when something that can be seen has changed', async () => {
    const { memory } = bench.track;
    memory.changes();
    const { version } = memory.changes();
    await bench.run(memory.observe(PUMP, bench.deadline(100)));
    expect(memory.changes().devices.map((state) => state.device)).toEqual([PUMP]);
    await bench.clock.advance(1_000);
    await bench.run(memory.observe(PUMP, bench.deadline(100)));
    expect(memory.changes().devices).toEqual([]);
    bench.poke(PUMP, OFFSET.STATUS, 1);
    await bench.run(memory.observe(PUMP, bench.deadline(100)));
    const changed = memory.changes();
    expect(changed.devices[0]?.readings).toContainEqual({ register: 'STATUS', value: 1n });
    expect(changed.version).toBe(version + 2);
  });

  it('counts an operation once for each device, whatever it read', async () => {
    await bench.perform(bench.intent(READ, PUMP));
    await bench.perform(bench.intent(WRITE, PUMP, { DATA: 1n }));
    expect(bench.track.memory.state(PUMP).operationCount).toBe(2);
  });

  it('keeps the last values of a device that fails, with the fault', async () => {
    bench.peer.words.set('fan.MODE', 4n);
    await bench.run(bench.track.memory.observe(FAN, bench.deadline(100)));
    bench.peer.misbehaviours.set('fan.MODE', 'nack').set('fan.LEVEL', 'nack');
    await bench.run(bench.track.memory.observe(FAN, bench.deadline(100)));
    const state = bench.track.memory.state(FAN);
    expect(state.status).toBe(OverallStatus.FAULT);
    expect(state.readings).toContainEqual({ register: 'MODE', value: 4n });
    expect(state.lastFault).toContain('fan.LEVEL: the chip did not acknowledge');
  });

  it('names its buses and whether writes are held', async () => {
    bench.interlock.hold('security is lost');
    const snapshot = must(await bench.track.snapshot());
    expect(snapshot).toMatchObject({ track: 'kernel', held: true, stopEngaged: false });
    expect(snapshot.buses.map((bus) => [bus.id, bus.kind, bus.open])).toEqual([
      ['memory-0', 'memory', true],
      ['i2c-0', 'i2c', true],
    ]);
    expect(snapshot.devices).toHaveLength(6);
  });
});

describe('a device that is held in doubt while an operation is at work on it', () => {
  it('keeps its safe values, and what the operation did elsewhere is undone', async () => {
    must(await bench.run(bench.track.supervise({ holds: [], writes: 'allow', accounted: [] })));
    const intent = bench.intent(WRITE, FAN, { LEVEL: 0x21n, MODE: 5n });
    const targets = [{ device: LAMP, registers: requests({ LEVEL: 0x7n }) }, ...intent.targets];
    const request = await planned({ ...intent, targets });
    must(await prepare(request));
    let holding: Promise<unknown> = Promise.resolve();
    bench.peer.onAccess = ({ kind, place }) => {
      if (kind !== 'write' || place !== 'fan.LEVEL') return;
      bench.peer.onAccess = () => undefined;
      const hold = { device: FAN, kind: 'in-doubt', reason: 'a conflict', sinceWallMs: 1 } as const;
      holding = bench.track.supervise({ holds: [hold], writes: 'allow', accounted: [] });
    };
    const receipt = must(await commit(request));
    await bench.run(holding);
    expect(receipt).toMatchObject({
      effect: 'stopped',
      fault: {
        code: 'STOPPED_MIDWAY',
        finding: expect.stringMatching(
          /^the device was held as in doubt (before|during) this write$/,
        ),
      },
    });
    const ofFan = bench.peer.written().filter((write) => write.startsWith('fan.'));
    expect(ofFan).toEqual(['fan.LEVEL=21', 'fan.MODE=0']);
    expect(bench.peer.words.get('lamp.LEVEL')).toBe(0n);
    expect(bench.interlock.kindsOf(FAN)).toEqual(['in-doubt']);
  });
});

describe('a device in quarantine', () => {
  const order = (device: number, writes: 'hold' | 'allow') => ({
    holds: [{ device, kind: 'quarantined', reason: 'odd', sinceWallMs: 1 } as const],
    writes,
    accounted: [],
  });

  it('is driven to its safe values once, when a supervised kernel hears of it, and never again', async () => {
    must(await bench.run(bench.track.supervise({ holds: [], writes: 'allow', accounted: [] })));
    bench.poke(PUMP, OFFSET.DATA, 7);
    must(await bench.run(bench.track.supervise(order(PUMP, 'allow'))));
    expect(bench.peek(PUMP, OFFSET.DATA)).toBe(0x5afe);
    bench.poke(PUMP, OFFSET.DATA, 8);
    must(await bench.run(bench.track.supervise(order(PUMP, 'allow'))));
    must(await bench.run(bench.track.stop({ cause: STOP_CAUSE })));
    expect(bench.peek(PUMP, OFFSET.DATA)).toBe(8);
    expect(bench.peek(VALVE, OFFSET.DATA)).toBe(0x5afe);
  });

  it('keeps its safe values when an operation is at work on it, and what that did elsewhere is undone', async () => {
    must(await bench.run(bench.track.supervise({ holds: [], writes: 'allow', accounted: [] })));
    const intent = bench.intent(WRITE, FAN, { LEVEL: 0x21n, MODE: 5n });
    const targets = [{ device: LAMP, registers: requests({ LEVEL: 0x7n }) }, ...intent.targets];
    const request = await planned({ ...intent, targets });
    must(await prepare(request));
    let quarantining: Promise<unknown> = Promise.resolve();
    bench.peer.onAccess = ({ kind, place }) => {
      if (kind !== 'write' || place !== 'fan.LEVEL') return;
      bench.peer.onAccess = () => undefined;
      quarantining = bench.track.supervise(order(FAN, 'allow'));
    };
    const receipt = must(await commit(request));
    await bench.run(quarantining);
    const finding = 'the device went into quarantine before this write';
    const fault = { code: 'STOPPED_MIDWAY', finding };
    expect(receipt).toMatchObject({ effect: 'stopped', fault });
    const ofFan = bench.peer.written().filter((write) => write.startsWith('fan.'));
    expect(ofFan).toEqual(['fan.LEVEL=21', 'fan.MODE=0']);
    expect(bench.peer.words.get('lamp.LEVEL')).toBe(0n);
    expect(bench.interlock.has(FAN, 'quarantined')).toBe(true);
  });

  it('is not touched at all by a kernel that starts after it was quarantined', async () => {
    bench.poke(PUMP, OFFSET.DATA, 7);
    must(await bench.run(bench.track.supervise(order(PUMP, 'hold'))));
    expect(bench.track.supervised).toBe(false);
    must(await bench.run(bench.track.supervise(order(PUMP, 'allow'))));
    must(await bench.run(bench.track.stop({ cause: STOP_CAUSE })));
    expect(bench.peek(PUMP, OFFSET.DATA)).toBe(7);
    expect(bench.peek(VALVE, OFFSET.DATA)).toBe(0x5afe);
  });
});
