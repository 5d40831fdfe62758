// The kernel track on a small board: mapped registers in a real file, slow ones behind a RegisterPeer, a real stop latch.

import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryBus } from '#drivers/bus/memory';
import { createRegisterDriver } from '#drivers/device/register-driver';
import { VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeFault } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import { SharedStopLatch } from '#link/stop-latch';
import type { DeviceDescriptor, LinearId, PlacedRegister } from '#model/device';
import { permanentlyQuarantined, tokenOf } from '#model/device';
import { type Intent, NO_REQUIREMENTS, OperationType } from '#model/operation';
import type { RegisterPlan, RegisterStep, WriteStep } from '#model/plan';
import { planOf } from '#model/plan';
import { type RegisterSpec, type Word, widthMask } from '#model/register';
import { RiskLevel } from '#model/risk';
import { OverallStatus, PowerState } from '#model/snapshot';
import { EmergencyPriority, type StopCause, type StopReceipt } from '#model/stop';
import { BusQueue } from '#tracks/kernel/bus-queue';
import { DeviceAccess } from '#tracks/kernel/device-access';
import { Interlock } from '#tracks/kernel/interlock';
import { KernelDeviceTrack, type KernelTrackParts } from '#tracks/kernel/track';
import { AuthorizationSigner } from '#tracks/security/authorization';
import { RegisterPeer } from './register-peer.ts';

export const MEMORY_ORIGIN = 0x6000_0000;
const WINDOW_BYTES = 0x1000;
const FILE_BYTES = 0x1_0000;

/** A plain 32-bit read-write register, with what a test wants different. */
export function registerSpec(name: string, changes: Partial<RegisterSpec> = {}): RegisterSpec {
  return {
    name,
    widthBits: 32,
    access: 'rw',
    volatile: false,
    precious: false,
    signed: false,
    unit: '',
    scale: 1,
    description: name,
    fields: [],
    limits: null,
    maxStep: null,
    reservedMask: 0n,
    readBackMask: widthMask(changes.widthBits ?? 32),
    selfClearingMask: 0n,
    settleUs: 0,
    safeValue: null,
    safeOrder: 0,
    riskFloor: RiskLevel.SAFE,
    ...changes,
  };
}

export const OFFSET = {
  CONTROL: 0x00,
  STATUS: 0x04,
  CONFIG: 0x08,
  DATA: 0x0c,
  PENDING: 0x10,
  ERROR: 0x14,
  SETPOINT: 0x18,
  KEY: 0x1c,
} as const;

const MEMORY_SPECS: readonly RegisterSpec[] = [
  registerSpec('CONTROL', { safeValue: 0n, safeOrder: 2, selfClearingMask: 0x2n }),
  registerSpec('STATUS', { access: 'ro' }),
  registerSpec('CONFIG', { reservedMask: 0xff00_0000n, readBackMask: 0x00ff_ffffn }),
  registerSpec('DATA', { safeValue: 0x5afen, safeOrder: 1 }),
  registerSpec('PENDING', { access: 'w1c', readBackMask: 0n }),
  registerSpec('ERROR', { access: 'rc', precious: true }),
  registerSpec('SETPOINT', {
    signed: true,
    unit: 'rpm',
    limits: { minimum: -100n, maximum: 100n },
    maxStep: 60n,
  }),
  registerSpec('KEY', { access: 'wo', readBackMask: 0n }),
];

const SLOW_SPECS: readonly RegisterSpec[] = [
  registerSpec('MODE', { widthBits: 16, safeValue: 0n, safeOrder: 1 }),
  registerSpec('LEVEL', { widthBits: 16 }),
  registerSpec('FIRE', { widthBits: 16, access: 'wo', readBackMask: 0n }),
];

interface DeviceChoice {
  readonly id: LinearId;
  readonly slug: string;
  readonly baseRisk?: RiskLevel;
  readonly busId: string;
  readonly registers: readonly PlacedRegister[];
  readonly quarantined?: boolean;
}

export function deviceOf(choice: DeviceChoice): DeviceDescriptor {
  const { id, slug, busId, registers } = choice;
  const memory = busId.startsWith('memory');
  return {
    id,
    token: tokenOf(id),
    name: slug,
    slug,
    group: Math.floor(id / 12),
    index: id % 12,
    groupName: 'bench',
    busKind: memory ? 'memory' : 'i2c',
    busId,
    profile: 'bench',
    baseRisk: choice.baseRisk ?? RiskLevel.LOW,
    quarantined: choice.quarantined ?? false,
    clearanceMinimum: 0,
    compartments: [],
    registers,
    ...(memory ? { window: { address: windowOf(id), length: WINDOW_BYTES } } : {}),
    behaviour: {
      identify: [],
      observe: {
        registers: memory ? ['CONTROL', 'STATUS'] : ['MODE', 'LEVEL'],
        power: [{ when: [], state: PowerState.ON }],
        status: [{ when: [], state: OverallStatus.OPERATIONAL }],
      },
      operations: {
        reset: memory ? [{ register: 'CONTROL', mask: 0x2n, value: 0x2n }] : null,
        activate: memory ? [{ register: 'CONTROL', mask: 0x1n, value: 0x1n }] : null,
        deactivate: memory ? [{ register: 'CONTROL', mask: 0x1n, value: 0n }] : null,
        configure: memory ? ['CONFIG'] : ['LEVEL'],
      },
    },
  };
}

function windowOf(id: LinearId): number {
  return MEMORY_ORIGIN + id * WINDOW_BYTES;
}

export function memoryDevice(
  id: LinearId,
  slug: string,
  baseRisk: RiskLevel,
  quarantined: 'quarantined' | 'free' = 'free',
): DeviceDescriptor {
  const registers = MEMORY_SPECS.map((spec): PlacedRegister => {
    const offset = OFFSET[spec.name as keyof typeof OFFSET];
    return { spec, location: { kind: 'memory', address: windowOf(id) + offset } };
  });
  return deviceOf({
    id,
    slug,
    baseRisk,
    busId: 'memory-0',
    registers,
    quarantined: quarantined === 'quarantined',
  });
}

function slowDevice(id: LinearId, slug: string): DeviceDescriptor {
  const registers = SLOW_SPECS.map((spec, command): PlacedRegister => {
    return { spec, location: { kind: 'i2c', chip: 0x40 + id, command, protocol: 'word' } };
  });
  return deviceOf({ id, slug, busId: 'i2c-0', registers });
}

/** pump LOW, valve MODERATE and heater HIGH in memory; fan and lamp slow; forbidden carries token 0x8009. */
export const PUMP = 0;
export const VALVE = 1;
export const HEATER = 2;
export const FAN = 3;
export const LAMP = 4;
export const FORBIDDEN = 9;
export const BENCH_DEVICES: readonly DeviceDescriptor[] = [
  memoryDevice(PUMP, 'pump', RiskLevel.LOW),
  memoryDevice(VALVE, 'valve', RiskLevel.MODERATE),
  memoryDevice(HEATER, 'heater', RiskLevel.HIGH),
  slowDevice(FAN, 'fan'),
  slowDevice(LAMP, 'lamp'),
  memoryDevice(FORBIDDEN, 'forbidden', RiskLevel.LOW, 'quarantined'),
];

export const LIMITS = { waitingMax: 8, failuresMax: 3, coolDownMs: 2_000, accessTimeoutMs: 50 };

export interface BenchOptions {
  readonly stopInputs?: NonNullable<KernelTrackParts['stopInputs']>;
  readonly devices?: readonly DeviceDescriptor[];
}

export class KernelBench {
  readonly clock = new VirtualClock();
  readonly directory = mkdtempSync(join(tmpdir(), 'dsmil-bench-'));
  readonly file = join(this.directory, 'registers');
  readonly latch: SharedStopLatch;
  /** The same latch as the security process sees it. */
  readonly securityLatch: SharedStopLatch;
  readonly interlock: Interlock;
  readonly memory: MemoryBus;
  readonly peer: RegisterPeer;
  readonly queues: ReadonlyMap<string, BusQueue>;
  readonly access: DeviceAccess;
  readonly signer: AuthorizationSigner;
  readonly track: KernelDeviceTrack;
  readonly devices: readonly DeviceDescriptor[];
  readonly stops: { readonly cause: StopCause | null; readonly receipt: StopReceipt }[] = [];
  #operations = 0;

  private constructor(options: BenchOptions) {
    this.devices = options.devices ?? BENCH_DEVICES;
    const fd = openSync(this.file, 'w+');
    ftruncateSync(fd, FILE_BYTES);
    closeSync(fd);
    this.latch = new SharedStopLatch({ directory: this.directory, self: 'kernel' });
    this.latch.release();
    this.securityLatch = new SharedStopLatch({ directory: this.directory, self: 'security' });
    this.interlock = new Interlock(this.latch);
    this.memory = new MemoryBus(
      {
        id: 'memory-0',
        kind: 'memory',
        path: this.file,
        origin: MEMORY_ORIGIN,
        accessTimeoutMs: 50,
      },
      this.devices.flatMap((device) =>
        device.window === undefined
          ? []
          : [{ device: device.id, place: device.slug, ...device.window }],
      ),
    );
    this.peer = new RegisterPeer('i2c-0', this.clock);
    const isQuarantined = (id: LinearId) =>
      permanentlyQuarantined(id) || !this.devices.some((device) => device.id === id);
    this.queues = new Map(
      [this.memory, this.peer].map((bus) => [
        bus.id,
        new BusQueue({
          bus,
          clock: this.clock,
          limits: LIMITS,
          isQuarantined,
          isStopped: (id) => this.interlock.withheld(id),
        }),
      ]),
    );
    this.access = new DeviceAccess(this.devices, this.queues);
    const operated = this.devices.filter((device) => !device.quarantined);
    this.track = new KernelDeviceTrack({
      access: this.access,
      drivers: new Map(operated.map((device) => [device.id, createRegisterDriver(device)])),
      latch: this.latch,
      interlock: this.interlock,
      clock: this.clock,
      life: 'life-1',
      safeStateBudgetMs: 1_000,
      ...(options.stopInputs === undefined ? {} : { stopInputs: options.stopInputs }),
      onStopped: (cause, receipt) => this.stops.push({ cause, receipt }),
    });
    this.latch.onTested(() => this.track.bellTested());
    this.signer = new AuthorizationSigner(this.clock);
    must(this.track.authorizations.trust(this.signer.keys()));
  }

  static async open(options: BenchOptions = {}): Promise<KernelBench> {
    const bench = new KernelBench(options);
    // Time 0 stands for never.
    await bench.clock.advance(1_000);
    for (const queue of bench.queues.values()) {
      must(await queue.open(Deadline.after(bench.clock, 1_000)));
    }
    return bench;
  }

  async close(): Promise<void> {
    await this.memory.close();
    this.latch.close();
    this.securityLatch.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  deadline(afterMs = 10_000): Deadline {
    return Deadline.after(this.clock, afterMs);
  }

  /** Lets virtual time pass until the promise has settled. */
  run<T>(promise: Promise<T>): Promise<T> {
    return settled(this.clock, promise);
  }

  /** Every byte of the metal. */
  bytes(): Buffer {
    return readFileSync(this.file);
  }

  peek(device: LinearId, offset: number): number {
    return this.bytes().readUInt32LE(device * WINDOW_BYTES + offset);
  }

  poke(device: LinearId, offset: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value >>> 0);
    const fd = openSync(this.file, 'r+');
    writeSync(fd, bytes, 0, 4, device * WINDOW_BYTES + offset);
    closeSync(fd);
  }

  newId(): string {
    this.#operations += 1;
    return `operation-${this.#operations}`;
  }

  intent(
    type: OperationType,
    device: LinearId,
    registers: Readonly<Record<string, Word | undefined>> = {},
    changes: Partial<Intent> = {},
  ): Intent {
    return {
      operationId: this.newId(),
      type,
      targets: [{ device, registers: requests(registers) }],
      requirements: NO_REQUIREMENTS,
      justification: '',
      confirmedRisk: RiskLevel.UNKNOWN,
      dryRun: false,
      involved: [],
      ...changes,
    };
  }

  /** Plans, grants, prepares and commits, as security would have it done. */
  async perform(intent: Intent, deadlineMs = 10_000) {
    const deadline = this.deadline(deadlineMs);
    const plan = must(await this.track.plan(intent));
    const { operationId } = intent;
    const authorization = this.signer.grant(operationId, plan.digest, ['alice']);
    const request = { operationId, planDigest: plan.digest, authorization };
    if (plan.steps.some((step) => step.kind === 'write')) {
      must(await this.run(this.track.prepare(request, deadline)));
    }
    const committing = this.track.commit({ ...request, deadlineMs: deadline.atMs }, deadline);
    return must(await this.run(committing));
  }
}

export function requests(registers: Readonly<Record<string, Word | undefined>>) {
  return Object.entries(registers).map(([register, value]) =>
    value === undefined ? { register } : { register, value },
  );
}

export async function settled<T>(clock: VirtualClock, promise: Promise<T>): Promise<T> {
  let done = false;
  const watched = promise.finally(() => {
    done = true;
  });
  watched.catch(() => undefined);
  await clock.advance(0);
  for (let turn = 0; turn < 20_000 && !done; turn++) await clock.advance(1);
  // A password is hashed by another thread, which knows nothing of this clock and may be slow on a busy machine.
  const untilMs = performance.now() + 15_000;
  while (!done && performance.now() < untilMs) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    await clock.advance(0);
  }
  if (!done) throw new Error('20 s of virtual time passed and the promise is still open');
  return watched;
}

export function must<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Error(`${outcome.fault.code} ${describeFault(outcome.fault)}`);
}

/** The code of the fault, or what came instead of one. */
export function codeOf(outcome: Outcome<unknown>): string {
  return outcome.ok ? 'no fault' : outcome.fault.code;
}

/** A write of the whole register with full read-back, with what a test wants different. */
export function writeStep(
  device: LinearId,
  register: string,
  value: Word,
  changes: Partial<WriteStep> = {},
): WriteStep {
  const widthBits = changes.widthBits ?? 32;
  const mask = changes.mask ?? widthMask(widthBits);
  return {
    kind: 'write',
    device,
    register,
    widthBits,
    mask,
    value,
    settleUs: 0,
    expect: { mask, value },
    irreversible: false,
    ...changes,
  };
}

export function planWith(...steps: readonly RegisterStep[]): RegisterPlan {
  return planOf(OperationType.WRITE, steps, 1_000);
}

export const STOP_CAUSE: StopCause = {
  id: 0,
  devices: [],
  source: 'orchestrator',
  reason: 'smoke',
  priority: EmergencyPriority.IMMEDIATE,
  triggeredBy: 'alice',
  wallMs: 0,
};
