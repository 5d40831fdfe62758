import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeviceDescriptor } from '#model/device';
import { OperationType } from '#model/operation';
import { ClearanceLevel } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { DEFAULT_POLICY, type SafetyPolicy } from '#model/safety-policy';
import {
  AttentionLevel,
  DisplayState,
  type InterfaceDeviceState,
  OverallStatus,
  PowerState,
  SecurityStatus,
} from '#model/snapshot';
import { EmergencyPriority } from '#model/stop';
import { SyncTrigger, type UnifiedDeviceState } from '#model/unified-state';
import {
  BENCH_DEVICES,
  FAN,
  FORBIDDEN,
  must,
  OFFSET,
  PUMP,
  VALVE,
} from '../../support/kernel-bench.ts';
import { kernelDevice, kernelSnapshot } from '../../support/unified-states.ts';
import { AgentBench, ALICE, BOB, ORIGIN, person } from './agent-bench.ts';

let bench: AgentBench;
let told: UnifiedDeviceState[][];

async function open(policy: Partial<SafetyPolicy> = {}, devices = BENCH_DEVICES): Promise<void> {
  bench = await AgentBench.open({ policy: { ...DEFAULT_POLICY, ...policy }, devices });
  told = [];
  sync().onChange((states) => told.push([...states]));
  await synchronize();
}

beforeEach(() => open());
afterEach(() => bench.close());

const sync = () => bench.security.sync;
const pass = (ms: number) => bench.kernelBench.clock.advance(ms);

async function synchronize(...devices: number[]): Promise<readonly UnifiedDeviceState[]> {
  const deadline = bench.kernelBench.deadline();
  return must(await bench.settle(sync().synchronize(devices, SyncTrigger.MANUAL, deadline)));
}

function state(device: number): UnifiedDeviceState {
  const found = sync()
    .states()
    .find((one) => one.device === device);
  if (found === undefined) throw new Error(`no state of device ${device}`);
  return found;
}

/** What panels say of every device from now on. */
function show(display: DisplayState, version = 1): void {
  bench.interface.devices = BENCH_DEVICES.map(({ id }): InterfaceDeviceState => {
    return {
      device: id,
      version,
      monitored: true,
      display,
      activeSessions: 1,
      lastInteractionWallMs: 0,
      notificationsPending: false,
      attention: AttentionLevel.NONE,
    };
  });
}

const rules = () =>
  sync()
    .conflicts()
    .map(({ rule, device, answer, resolvedBy }) => ({
      rule,
      device,
      answer,
      resolvedBy,
    }));
const audited = (event: string) => bench.entries().filter((entry) => entry.event === event);

describe('the unified state', () => {
  it('holds what each track says of a device, and what follows from all three', async () => {
    show(DisplayState.NORMAL);
    const [pump] = await synchronize(PUMP);
    expect(pump).toMatchObject({
      device: PUMP,
      kernel: { power: PowerState.ON, status: OverallStatus.OPERATIONAL },
      security: {
        status: SecurityStatus.NORMAL,
        accessAuthorized: true,
        requiredClearance: ClearanceLevel.RESTRICTED,
        auditEnabled: true,
      },
      interface: { display: DisplayState.NORMAL, monitored: true },
      currentRisk: RiskLevel.LOW,
      overall: OverallStatus.OPERATIONAL,
      emergencyStopApplied: false,
      trigger: SyncTrigger.MANUAL,
      conflictsDetected: 0,
      openConflicts: [],
      staleTracks: [],
    });
    expect(pump?.displayOverride).toBeUndefined();
  });

  it('has every device of the board, also one in quarantine that nobody looks at', async () => {
    const states = await synchronize();
    expect(states.map((one) => one.device)).toEqual(BENCH_DEVICES.map(({ id }) => id));
    expect(state(FORBIDDEN)).toMatchObject({
      overall: OverallStatus.QUARANTINED,
      currentRisk: RiskLevel.QUARANTINED,
      kernel: { power: PowerState.LOCKED, lastAccessMs: 0 },
    });
  });

  it('tells listeners of the devices that changed, and of no others', async () => {
    await pass(2_000);
    told.length = 0;
    bench.kernelBench.poke(VALVE, OFFSET.STATUS, 0x40);
    await synchronize();
    expect(told.flat().map((one) => one.device)).toEqual([VALVE]);
    told.length = 0;
    await synchronize();
    await pass(6_000);
    expect(told).toEqual([]);
  });

  it('is asked for again by itself, in the period of the policy', async () => {
    const before = state(PUMP).lastSyncWallMs;
    await pass(DEFAULT_POLICY.sync.periodMs + 100);
    expect(state(PUMP)).toMatchObject({ trigger: SyncTrigger.PERIODIC });
    expect(state(PUMP).lastSyncWallMs).toBeGreaterThan(before);
  });

  it('follows an operation without waiting for the period', async () => {
    await pass(1_000);
    const before = state(PUMP).security.auditSequence;
    const session = await bench.signIn(ALICE);
    must(await bench.operate(session, bench.write(PUMP, { DATA: 5n })));
    await pass(600);
    expect(state(PUMP)).toMatchObject({ trigger: SyncTrigger.OPERATION_COMPLETED });
    expect(state(PUMP).security.auditSequence).toBeGreaterThan(before);
  });

  it('counts a refused request as a failed attempt on its device', async () => {
    const session = await bench.signIn(ALICE);
    must(await bench.operate(session, bench.write(PUMP, { DATA: 5n }, { justification: '' })));
    const refused = await bench.operate(
      session,
      bench.write(VALVE, { DATA: 5n }, { justification: '' }),
    );
    expect(must(refused).fault?.code).toBe('JUSTIFICATION_NEEDED');
    await pass(600);
    expect(state(VALVE).security).toMatchObject({ failedAccessAttempts: 1 });
  });
});

describe('versions', () => {
  const seen = (life: string, version: number, changes: object = {}) =>
    kernelSnapshot({
      life,
      devices: [kernelDevice(PUMP, { version, lastAccessMs: 1_000, holds: [], ...changes })],
    });

  it('let an older word of kernel pass by', () => {
    sync().takeKernel(seen('other', 10, { power: PowerState.STANDBY }));
    sync().takeKernel(seen('other', 9, { power: PowerState.OFF }));
    expect(state(PUMP).kernel).toMatchObject({ version: 10, power: PowerState.STANDBY });
  });

  it('begin again with a new life of kernel', () => {
    sync().takeKernel(seen('second', 10, { power: PowerState.STANDBY }));
    sync().takeKernel(seen('third', 1, { power: PowerState.OFF }));
    expect(state(PUMP).kernel).toMatchObject({ version: 1, power: PowerState.OFF });
    sync().takeKernel(seen('second', 11, { power: PowerState.ON }));
    expect(state(PUMP).kernel.power).toBe(PowerState.OFF);
  });

  it('notice a new life even where its version is the same number', () => {
    sync().takeKernel(seen('second', 10, { power: PowerState.STANDBY }));
    told.length = 0;
    sync().takeKernel(seen('third', 10, { power: PowerState.OFF }));
    const last = told.flat().findLast((one) => one.device === PUMP);
    expect(last?.kernel.power).toBe(PowerState.OFF);
  });

  it('do not depend on the wall clock', async () => {
    bench.kernelBench.clock.jumpWall(-86_400_000);
    sync().takeKernel(seen('second', 1, { power: PowerState.STANDBY }));
    bench.kernelBench.clock.jumpWall(172_800_000);
    sync().takeKernel(seen('second', 2, { power: PowerState.OFF }));
    expect(state(PUMP).kernel.power).toBe(PowerState.OFF);
    expect(
      sync()
        .conflicts()
        .filter(({ rule }) => rule === 'CURRENT_WHILE_STALE'),
    ).toEqual([]);
  });
});

describe('a register that changed without an operation', () => {
  const turnKnob = async (value: number) => {
    bench.kernelBench.poke(PUMP, OFFSET.CONTROL, value);
    await synchronize(PUMP);
    await pass(500);
  };

  it('puts the device under review, and raises the risk of what is asked of it', async () => {
    const intent = bench.write(PUMP, { DATA: 5n }, { dryRun: true });
    const before = await bench.run(intent);
    await turnKnob(1);
    expect(rules()).toEqual([
      {
        rule: 'CHANGED_WITHOUT_OPERATION',
        device: PUMP,
        answer: 'REVIEW',
        resolvedBy: 'CONSERVATIVE',
      },
    ]);
    expect(state(PUMP)).toMatchObject({
      security: { status: SecurityStatus.UNDER_REVIEW },
      currentRisk: RiskLevel.MODERATE,
      conflictsDetected: 1,
    });
    const after = await bench.run({ ...intent, operationId: 'again' });
    expect(before.reasons.join()).not.toMatch(/under review/);
    expect(after.reasons.join()).toMatch(/under review: pump: raised one level/);
    expect(audited('CONFLICT_OPENED')).toHaveLength(1);
    expect(audited('CONFLICT_RESOLVED')).toMatchObject([
      { devices: [PUMP], decision: 'REVIEW', details: { method: 'CONSERVATIVE' } },
    ]);
  });

  it('is one matter, however often the same knob is turned', async () => {
    await turnKnob(1);
    await turnKnob(0x11);
    await pass(20_000);
    await turnKnob(0x21);
    expect(sync().conflicts()).toHaveLength(1);
  });

  it('is accounted for by a person with SECRET, and a later change is a new matter', async () => {
    await turnKnob(1);
    const [conflict] = sync().conflicts();
    const id = conflict?.id ?? 0;
    const reason = 'the operator turned the knob';
    const clerk = person('reader', ClearanceLevel.CONFIDENTIAL);
    const refused = await bench.settle(sync().resolve(clerk, id, 'ACCEPT', reason));
    expect(refused.ok || refused.fault.code).toBe('CLEARANCE_TOO_LOW');
    must(await bench.settle(sync().resolve(ALICE, id, 'ACCEPT', reason, ORIGIN)));
    await pass(1_000);
    await synchronize(PUMP);
    expect(state(PUMP)).toMatchObject({
      kernel: { unexplained: '' },
      security: { status: SecurityStatus.NORMAL },
      currentRisk: RiskLevel.LOW,
    });
    await pass(20_000);
    await turnKnob(0);
    expect(sync().conflicts()).toHaveLength(2);
  });

  it('waits for a person where the policy says so, until its deadline', async () => {
    await bench.close();
    const entry = { rule: 'CHANGED_WITHOUT_OPERATION', method: 'USER_MEDIATED' } as const;
    const more = { devices: [PUMP], deadlineSeconds: 60, authority: [] };
    await open({ conflicts: [{ ...entry, ...more }] });
    await turnKnob(1);
    expect(state(PUMP).openConflicts).toHaveLength(1);
    expect(sync().openConflicts).toBe(1);
    expect(state(PUMP).security.status).toBe(SecurityStatus.NORMAL);
    bench.kernelBench.clock.jumpWall(-3_600_000);
    await pass(60_000);
    expect(rules()).toMatchObject([{ answer: 'REVIEW', resolvedBy: 'deadline' }]);
    expect(sync().openConflicts).toBe(0);
    expect(state(PUMP).security.status).toBe(SecurityStatus.UNDER_REVIEW);
  });

  it('can be answered with an inhibition that a person has to lift', async () => {
    await turnKnob(1);
    const [conflict] = sync().conflicts();
    const reason = 'nobody knows who did that';
    must(await bench.settle(sync().resolve(BOB, conflict?.id ?? 0, 'INHIBIT', reason)));
    await pass(1_000);
    expect(bench.security.holds.has(PUMP, 'in-doubt')).toBe(true);
    expect(bench.kernelBench.interlock.has(PUMP, 'in-doubt')).toBe(true);
    const unknown = await bench.settle(sync().resolve(BOB, 99, 'ACCEPT', reason));
    expect(unknown.ok || unknown.fault.code).toBe('CONFLICT_UNKNOWN');
  });
});

describe('a fault that panels show as normal', () => {
  async function fail(): Promise<void> {
    for (const register of ['fan.MODE', 'fan.LEVEL']) {
      bench.kernelBench.peer.misbehaviours.set(register, 'nack');
    }
    await synchronize(FAN);
    expect(state(FAN).overall).toBe(OverallStatus.FAULT);
  }

  it('is shown as a fault until it is over, once propagation cannot explain it', async () => {
    show(DisplayState.NORMAL);
    await synchronize();
    await fail();
    await pass(1_500);
    expect(rules()).toEqual([]);
    await pass(1_000);
    expect(rules()).toEqual([
      { rule: 'NORMAL_WHILE_FAULT', device: FAN, answer: 'SHOW_FAULT', resolvedBy: 'CONSERVATIVE' },
    ]);
    expect(state(FAN).displayOverride).toBe(DisplayState.CRITICAL);
    // Panels show what they were told: that is no reason to take it back.
    show(DisplayState.CRITICAL, 2);
    await pass(6_000);
    expect(state(FAN).displayOverride).toBe(DisplayState.CRITICAL);
    bench.kernelBench.peer.misbehaviours.clear();
    await synchronize(FAN);
    expect(state(FAN).displayOverride).toBeUndefined();
  });

  it('is no conflict where the panels find out by themselves', async () => {
    show(DisplayState.NORMAL);
    await synchronize();
    await fail();
    await pass(1_500);
    show(DisplayState.CRITICAL, 2);
    await pass(10_000);
    expect(rules()).toEqual([]);
  });
});

describe('holds', () => {
  const hold = (device: number, kind: 'quarantined' | 'in-doubt') => ({
    device,
    kind,
    reason: 'for the test',
    sinceWallMs: 1,
  });

  it('on record that kernel does not enforce are handed to it', async () => {
    await bench.settle(bench.security.holds.add([hold(PUMP, 'in-doubt')]));
    sync().note(SyncTrigger.STATE_CHANGE_EVENT);
    await pass(10_000);
    expect(bench.kernelBench.interlock.has(PUMP, 'in-doubt')).toBe(true);
    expect(rules()).toEqual([
      { rule: 'HOLD_DISAGREES', device: PUMP, answer: 'INHIBIT', resolvedBy: 'CONSERVATIVE' },
    ]);
  });

  it('that kernel alone knows come on record', async () => {
    bench.kernelBench.interlock.add(hold(PUMP, 'in-doubt'));
    await pass(15_000);
    expect(bench.security.holds.has(PUMP, 'in-doubt')).toBe(true);
  });

  it('that reach kernel in time are no conflict', async () => {
    const session = await bench.signIn(ALICE);
    const deadline = bench.kernelBench.deadline();
    const asked = bench.orchestrator.quarantineDevice(
      session,
      PUMP,
      'leaks under pressure',
      ORIGIN,
    );
    must(await bench.settle(asked));
    expect(deadline.expired()).toBe(false);
    await pass(20_000);
    expect(rules()).toEqual([]);
    expect(state(PUMP)).toMatchObject({
      overall: OverallStatus.QUARANTINED,
      currentRisk: RiskLevel.QUARANTINED,
    });
  });

  it('of a quarantine that kernel lacks while the device is on are enforced, and people are alerted', async () => {
    await bench.settle(bench.security.holds.add([hold(PUMP, 'quarantined')]));
    sync().note(SyncTrigger.STATE_CHANGE_EVENT);
    await pass(10_000);
    expect(bench.kernelBench.interlock.has(PUMP, 'quarantined')).toBe(true);
    expect(rules()).toContainEqual({
      rule: 'ACTIVE_WHILE_QUARANTINED',
      device: PUMP,
      answer: 'QUARANTINE',
      resolvedBy: 'CONSERVATIVE',
    });
    const alert = bench.events.find((event) => event.data.rule === 'ACTIVE_WHILE_QUARANTINED');
    expect(alert?.data).toMatchObject({ devices: '0x8000', conflict_state: 'open' });
  });
});

describe('a stop that a device does not obey', () => {
  /** On while bit 1 of STATUS is set, whatever is written to CONTROL. */
  const stubborn: readonly DeviceDescriptor[] = BENCH_DEVICES.map((device) =>
    device.id !== PUMP
      ? device
      : {
          ...device,
          behaviour: {
            ...device.behaviour,
            observe: {
              ...device.behaviour.observe,
              power: [
                {
                  when: [{ register: 'STATUS', mask: 2n, minimum: 2n, maximum: 2n }],
                  state: PowerState.ON,
                },
                { when: [], state: PowerState.OFF },
              ],
            },
          },
        },
  );

  it('is found when its time for obeying is over, and the device is stopped by an order of its own', async () => {
    await bench.close();
    await open({}, stubborn);
    bench.kernelBench.poke(PUMP, OFFSET.STATUS, 2);
    await synchronize();
    expect(state(PUMP).kernel.power).toBe(PowerState.ON);
    const request = { reason: 'smoke', priority: EmergencyPriority.HIGH, devices: [], groups: [] };
    await bench.settle(bench.stops.stop(request, 'interface', 'alice'));
    for (let second = 0; second < 12; second++) {
      await pass(1_000);
      await synchronize();
    }
    expect(state(PUMP)).toMatchObject({
      overall: OverallStatus.EMERGENCY_STOPPED,
      emergencyStopApplied: true,
    });
    expect(rules()).toContainEqual({
      rule: 'RUNNING_WHILE_STOPPED',
      device: PUMP,
      answer: 'STOP',
      resolvedBy: 'CONSERVATIVE',
    });
    expect(bench.stops.causes.some((cause) => cause.devices.includes(PUMP))).toBe(true);
    await pass(60_000);
    expect(rules().filter(({ rule }) => rule === 'RUNNING_WHILE_STOPPED')).toHaveLength(1);
    expect(rules().filter(({ device }) => device !== PUMP)).toEqual([]);
  });
});

describe('a track that is away', () => {
  it('makes its part stale, and panels that do not notice are told', async () => {
    show(DisplayState.NORMAL);
    await synchronize();
    bench.lose('kernel');
    expect(state(PUMP)).toMatchObject({
      staleTracks: ['kernel'],
      overall: OverallStatus.DEGRADED,
      currentRisk: RiskLevel.MODERATE,
    });
    await pass(6_000);
    expect(rules()).toEqual([]);
    await pass(10_000);
    expect(state(PUMP).displayOverride).toBe(DisplayState.STALE);
    expect(rules()).toContainEqual({
      rule: 'CURRENT_WHILE_STALE',
      device: PUMP,
      answer: 'SHOW_STALE',
      resolvedBy: 'CONSERVATIVE',
    });
  });

  it('of interface, leaves kernel and security unified', async () => {
    bench.lose('interface');
    const [pump] = await synchronize(PUMP);
    expect(pump).toMatchObject({ staleTracks: ['interface'], kernel: { power: PowerState.ON } });
  });

  it('that does not answer holds up nobody for longer than its limit', async () => {
    bench.interface.answers = 'never';
    const [pump] = await synchronize(PUMP);
    expect(pump).toMatchObject({ kernel: { power: PowerState.ON }, device: PUMP });
  });
});

it('keeps the history of a device: status, holds, operations and conflicts', async () => {
  const session = await bench.signIn(ALICE);
  must(await bench.operate(session, bench.intent(OperationType.WRITE, PUMP, { DATA: 7n })));
  // After an operation the first look is taken as it comes.
  await synchronize(PUMP);
  bench.kernelBench.poke(PUMP, OFFSET.CONTROL, 1);
  await synchronize(PUMP);
  const request = {
    reason: 'smoke',
    priority: EmergencyPriority.HIGH,
    devices: [PUMP],
    groups: [],
  };
  await bench.settle(bench.stops.stop(request, 'interface', 'alice'));
  await synchronize(PUMP);
  await pass(3_000);
  const lines = sync().history(PUMP, 100);
  expect(lines.map(({ what }) => what)).toEqual(
    expect.arrayContaining(['status', 'holds', 'operation', 'conflict', 'security status']),
  );
  expect(lines.find(({ what }) => what === 'operation')).toMatchObject({ to: 'committed' });
  expect(lines.map(({ wallMs }) => wallMs)).toEqual(
    lines.map(({ wallMs }) => wallMs).sort((left, right) => right - left),
  );
});
