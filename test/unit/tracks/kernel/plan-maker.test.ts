// Plans with their guards, and dry runs: what is read, what is refused, what is shown, and that nothing is written.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HoldKind } from '#model/hold';
import {
  type Intent,
  NO_REQUIREMENTS,
  OperationType,
  type SafetyRequirements,
} from '#model/operation';
import type { RegisterPlan } from '#model/plan';
import type { Word } from '#model/register';
import { GUARDED_DEVICES, THERMAL_OFFSET } from '../../../support/guarded-devices.ts';
import {
  codeOf,
  FAN,
  FORBIDDEN,
  KernelBench,
  must,
  OFFSET,
  PUMP,
  requests,
  VALVE,
} from '../../../support/kernel-bench.ts';

const { READ, WRITE, RESET, EMERGENCY_STOP } = OperationType;
let bench: KernelBench;
let before: Buffer;

beforeEach(async () => {
  bench = await KernelBench.open({ devices: GUARDED_DEVICES });
  bench.poke(PUMP, THERMAL_OFFSET, 40_000);
  bench.peer.words.set('fan.HEAT', 30n);
  before = bench.bytes();
});
// No plan, shown or real, writes anything.
afterEach(async () => {
  expect(bench.peer.written()).toEqual([]);
  await bench.close();
});

type Writes = Readonly<Record<string, Word | undefined>>;

function wish(
  requirements: Partial<SafetyRequirements>,
  device: number,
  registers: Writes,
  changes: Partial<Intent> = {},
): Intent {
  return bench.intent(WRITE, device, registers, {
    requirements: { ...NO_REQUIREMENTS, ...requirements },
    ...changes,
  });
}

const make = (intent: Intent) => bench.run(bench.track.plan(intent, bench.deadline()));
const dryRun = (intent: Intent) => make({ ...intent, dryRun: true });

function hold(device: number, kind: HoldKind) {
  bench.interlock.add({ device, kind, reason: 'left so', sinceWallMs: 0 });
}

function shown(plan: RegisterPlan) {
  return plan.preview?.map(({ register, value, fault }) => [register, value ?? fault?.code]);
}

describe('a plan under thermal monitoring', () => {
  const thermal = { thermalMonitoringRequired: true };

  it('names the thermometer and the limit of every device, reads included, in what everyone signs', async () => {
    const plain = must(await make(wish({}, PUMP, { DATA: 1n })));
    const intent = wish(thermal, PUMP, { DATA: 1n });
    const both = {
      ...intent,
      targets: [...intent.targets, { device: FAN, registers: requests({ LEVEL: 1n }) }],
    };
    const plan = must(await make(both));
    expect(plan.guards).toEqual({
      thermal: [
        { device: PUMP, register: 'THERMAL', widthBits: 32, maximum: 85_000 },
        { device: FAN, register: 'HEAT', widthBits: 16, maximum: 60 },
      ],
      unchanged: [],
    });
    const alone = must(await make(intent));
    expect(alone.digest).not.toBe(plain.digest);
    const read = must(
      await make({ ...intent, type: READ, targets: [{ device: FAN, registers: [] }] }),
    );
    expect(read.guards.thermal).toHaveLength(1);
  });

  it('is refused when a device has no thermometer, which it names', async () => {
    const intent = wish(thermal, PUMP, { DATA: 1n });
    const both = {
      ...intent,
      targets: [...intent.targets, { device: VALVE, registers: requests({ DATA: 1n }) }],
    };
    const refused = await make(both);
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'REQUIREMENT_UNMET',
      place: 'valve',
      finding: 'thermal_monitoring_required, and the profile names no thermometer',
      metal: 'untouched',
    });
  });

  it('takes longer at worst: every thermometer once before each step', async () => {
    const plain = must(await make(wish({}, PUMP, { DATA: 1n, CONFIG: 2n })));
    const watched = must(await make(wish(thermal, PUMP, { DATA: 1n, CONFIG: 2n })));
    expect(watched.worstCaseMs).toBe(plain.worstCaseMs + 2 * 50);
  });
});

describe('a plan under memory protection', () => {
  const memory = { memoryProtectionRequired: true };

  it('protects what only a write of ours should change and nothing that reading would disturb', async () => {
    const plan = must(await make(wish(memory, FAN, { LEVEL: 1n })));
    expect(plan.guards.unchanged.map(({ register }) => register)).toEqual(['MODE', 'TRIM']);
    const onPump = must(await make(wish(memory, PUMP, { DATA: 1n, CONFIG: 2n })));
    expect(onPump.guards.unchanged.map(({ register }) => register)).toEqual([
      'CONTROL',
      'SETPOINT',
    ]);
  });

  it('has nothing to protect where all is written, or nothing is', async () => {
    const all = must(await make(wish(memory, FAN, { MODE: 0n, LEVEL: 1n, TRIM: 2n })));
    expect(all.guards.unchanged).toEqual([]);
    const read = { ...wish(memory, FAN, {}), type: READ };
    expect(must(await make(read)).guards.unchanged).toEqual([]);
  });
});

describe('a plan that has to have a way back', () => {
  const rollback = { rollbackCapabilityRequired: true };

  it.each([
    [
      'KEY',
      PUMP,
      { DATA: 1n, KEY: 2n },
      'step 2 of 2 (write 0x00000002) cannot be undone: the register cannot be read',
    ],
    [
      'PENDING',
      PUMP,
      { PENDING: 1n },
      'step 1 of 1 (write 0x00000001) cannot be undone: a written one clears its bit',
    ],
    [
      'CONTROL',
      PUMP,
      { CONTROL: 2n },
      'step 1 of 1 (write 0x00000002) cannot be undone: the device acts',
    ],
    [
      'QUEUE',
      FAN,
      { QUEUE: 1n },
      'step 1 of 1 (write 0x0001) cannot be undone: reading the register has a side effect',
    ],
  ] as const)(
    'is refused for a step without one: %s',
    async (register, device, writes, finding) => {
      const refused = await make(wish(rollback, device, writes));
      expect(!refused.ok && refused.fault).toMatchObject({ code: 'REQUIREMENT_UNMET' });
      expect(!refused.ok && refused.fault.place.endsWith(`.${register}`)).toBe(true);
      expect(!refused.ok && refused.fault.finding).toContain(
        `rollback_capability_required, and ${finding}`,
      );
    },
  );

  it('is made where every write can be undone, and a reset is refused', async () => {
    expect((await make(wish(rollback, PUMP, { DATA: 1n, CONFIG: 2n }))).ok).toBe(true);
    const reset = { ...wish(rollback, PUMP, {}), type: RESET };
    expect(codeOf(await make(reset))).toBe('REQUIREMENT_UNMET');
  });

  it('is refused in a dry run when what a register holds cannot be read now', async () => {
    bench.peer.misbehaviours.set('fan.LEVEL', 'nack');
    expect((await make(wish(rollback, FAN, { LEVEL: 1n }))).ok).toBe(true);
    const refused = await dryRun(wish(rollback, FAN, { LEVEL: 1n }));
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'REQUIREMENT_UNMET',
      place: 'fan.LEVEL',
      finding:
        'rollback_capability_required, and step 1 of 1 (write 0x0001) cannot be undone: what it holds cannot be read: the chip did not acknowledge',
    });
  });
});

describe('a dry run', () => {
  afterEach(() => expect(bench.bytes().equals(before)).toBe(true));

  it('reads what the written registers hold, each once, and gives the digest of the real plan', async () => {
    bench.peer.words.set('fan.LEVEL', 7n).set('fan.MODE', 3n);
    const intent = wish({}, FAN, { LEVEL: 1n, MODE: 2n });
    const plan = must(await dryRun(intent));
    expect(shown(plan)).toEqual([
      ['LEVEL', 7n],
      ['MODE', 3n],
    ]);
    expect(bench.peer.accesses.map(({ kind, place }) => `${kind} ${place}`)).toEqual([
      'read fan.LEVEL',
      'read fan.MODE',
    ]);
    const real = must(await make(intent));
    expect([real.digest, real.basis, real.preview]).toEqual([plan.digest, plan.basis, undefined]);
    expect(bench.peer.accesses).toHaveLength(2);
  });

  it('never reads what reading would change', async () => {
    bench.peer.words.set('fan.ALARM', 5n);
    const plan = must(await dryRun(wish({}, FAN, { QUEUE: 1n, FIRE: 2n, ALARM: 4n })));
    expect(shown(plan)).toEqual([['ALARM', 5n]]);
    expect(bench.peer.accesses.map(({ place }) => place)).toEqual(['fan.ALARM']);
  });

  it('reads nothing for a plan that writes nothing', async () => {
    const plan = must(await dryRun({ ...wish({}, FAN, { CAUSE: undefined }), type: READ }));
    expect(plan.preview).toEqual([]);
    expect(bench.peer.accesses).toEqual([]);
  });

  it('shows the others when one register cannot be read', async () => {
    bench.peer.misbehaviours.set('fan.LEVEL', 'nack');
    bench.peer.words.set('fan.MODE', 3n);
    const plan = must(await dryRun(wish({}, FAN, { LEVEL: 1n, MODE: 2n })));
    expect(shown(plan)).toEqual([
      ['LEVEL', 'BUS_NO_ANSWER'],
      ['MODE', 3n],
    ]);
  });

  it.each([
    ['beyond a limit', { SETPOINT: 101n }, 'VALUE_OUT_OF_LIMITS'],
    ['into reserved bits', { CONFIG: 0x0100_0000n }, 'RESERVED_BITS'],
  ] as const)('refuses a write %s as the real one would', async (_, writes, code) => {
    expect(codeOf(await dryRun(wish({}, PUMP, writes)))).toBe(code);
  });

  it('refuses a step that is too large from what the register holds, with the fault of prepare', async () => {
    const intent = wish({}, PUMP, { SETPOINT: 61n });
    const refused = await dryRun(intent);
    const plan = must(await make(intent));
    const authorization = bench.signer.grant(intent.operationId, plan.digest, ['alice']);
    const request = { operationId: intent.operationId, planDigest: plan.digest, authorization };
    const prepared = await bench.run(bench.track.prepare(request, bench.deadline()));
    expect(codeOf(refused)).toBe('STEP_TOO_LARGE');
    expect(refused).toEqual(prepared);
    expect((await dryRun(wish({}, PUMP, { SETPOINT: 60n }))).ok).toBe(true);
  });

  it('refuses above the temperature limit, as prepare would', async () => {
    bench.peer.words.set('fan.HEAT', 61n);
    const thermal = { thermalMonitoringRequired: true };
    expect(codeOf(await dryRun(wish(thermal, FAN, { LEVEL: 1n })))).toBe('THERMAL_LIMIT');
    expect((await make(wish(thermal, FAN, { LEVEL: 1n }))).ok).toBe(true);
  });

  it('shows the plan during a stop, and touches no device that is quarantined then', async () => {
    bench.securityLatch.engage();
    hold(FAN, 'quarantined');
    bench.peer.accesses.length = 0;
    const intent = wish({}, PUMP, { DATA: 1n });
    expect(shown(must(await dryRun(intent)))).toEqual([['DATA', 0n]]);
    const both = {
      ...intent,
      targets: [...intent.targets, { device: FAN, registers: requests({ LEVEL: 1n }) }],
    };
    expect(codeOf(await dryRun(both))).toBe('DEVICE_QUARANTINED');
    expect(bench.peer.accesses).toEqual([]);
    expect(codeOf(await make(intent))).toBe('EMERGENCY_STOPPED');
  });

  it.each([
    ['in-doubt', 'DEVICE_INHIBITED'],
    ['deactivated', 'DEVICE_DEACTIVATED'],
  ] as const)('is refused for a device that is %s, as the real one', async (kind, code) => {
    hold(PUMP, kind);
    expect(codeOf(await dryRun(wish({}, PUMP, { DATA: 1n })))).toBe(code);
  });
});

describe('the state that an approval is bound to', () => {
  it('moves when a dry run finds a register changed without an operation of ours', async () => {
    const intent = wish({}, PUMP, { CONFIG: 1n });
    const first = must(await dryRun(intent));
    expect(must(await dryRun(intent)).basis).toBe(first.basis);
    bench.poke(PUMP, OFFSET.CONFIG, 0x99);
    const second = must(await dryRun(intent));
    expect(second.basis).not.toBe(first.basis);
    expect(second.digest).toBe(first.digest);
    expect(bench.track.memory.state(PUMP).unexplained).toBe('CONFIG 0x00000000 to 0x00000099');
  });

  it('is not fooled by a word that was read before an operation of ours and arrived after it', async () => {
    bench.peer.words.set('fan.LEVEL', 1n);
    const intent = wish({}, FAN, { LEVEL: 5n });
    must(await dryRun(intent));
    const { memory } = bench.track;
    bench.peer.onAccess = () => {
      bench.peer.onAccess = () => undefined;
      memory.operationBegins([FAN]);
      bench.peer.words.set('fan.LEVEL', 9n);
      memory.operationEnds([FAN], [{ device: FAN, register: 'LEVEL', value: 5n }]);
    };
    must(await dryRun(intent));
    expect(memory.state(FAN).unexplained).toBe('');
  });
});

describe('a dry run of an emergency stop', () => {
  afterEach(() => expect(bench.bytes().equals(before)).toBe(true));
  const stopOf = (...devices: readonly number[]): Intent => ({
    ...bench.intent(EMERGENCY_STOP, PUMP),
    targets: devices.map((device) => ({ device, registers: [] })),
    dryRun: true,
  });
  const writes = (plan: RegisterPlan) =>
    plan.steps.map(
      (step) => `${step.device}.${step.register}=${step.kind === 'write' ? step.value : ''}`,
    );

  it('shows the safe values of all devices that have some, mapped ones first, in safe order', async () => {
    bench.peer.words.set('fan.MODE', 3n);
    const plan = must(await make(stopOf()));
    expect(writes(plan)).toEqual([
      `${PUMP}.DATA=${0x5afe}`,
      `${PUMP}.CONTROL=0`,
      `${VALVE}.DATA=${0x5afe}`,
      `${VALVE}.CONTROL=0`,
      `${FAN}.MODE=0`,
    ]);
    expect(shown(plan)?.at(-1)).toEqual(['MODE', 3n]);
  });

  it('shows those of the named devices, whatever keeps operations from them', async () => {
    hold(FAN, 'in-doubt');
    hold(FAN, 'deactivated');
    bench.interlock.hold('security is lost');
    bench.securityLatch.engage();
    expect(writes(must(await make(stopOf(FAN))))).toEqual([`${FAN}.MODE=0`]);
  });

  it('refuses a quarantined device by name, and leaves it out of all', async () => {
    expect(codeOf(await make(stopOf(PUMP, FORBIDDEN)))).toBe('DEVICE_QUARANTINED');
    hold(FAN, 'quarantined');
    expect(codeOf(await make(stopOf(FAN)))).toBe('DEVICE_QUARANTINED');
    expect(must(await make(stopOf())).steps.some((step) => step.device === FAN)).toBe(false);
    expect(bench.peer.accesses).toEqual([]);
  });

  it('is refused for real, and its plan can never be committed', async () => {
    expect(codeOf(await make({ ...stopOf(PUMP), dryRun: false }))).toBe('OPERATION_UNSUPPORTED');
    expect(codeOf(await make({ ...stopOf(), dryRun: false }))).toBe('REQUEST_MALFORMED');
    const { digest } = must(await make(stopOf(PUMP)));
    const operationId = bench.newId();
    const authorization = bench.signer.grant(operationId, digest, ['alice']);
    const prepared = await bench.track.prepare(
      { operationId, planDigest: digest, authorization },
      bench.deadline(),
    );
    expect(codeOf(prepared)).toBe('PLAN_UNKNOWN');
  });

  it('takes no registers', async () => {
    const named = { ...bench.intent(EMERGENCY_STOP, PUMP, { DATA: 1n }), dryRun: true };
    expect(codeOf(await make(named))).toBe('REQUEST_MALFORMED');
  });
});
