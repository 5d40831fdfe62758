// What befalls the agent: killed tracks at chosen or random moments, broken devices, parted and slow links, clock jumps.
// Invariants: everything follows from the seed; `heal` takes every trouble away and starts what is dead.

import {
  type FaultTarget,
  type HardwareFault,
  isAccessFault,
  misplaced,
} from '#drivers/bus/simulated/fault-plan';
import type { SimulatedHardware } from '#drivers/bus/simulated/hardware';
import type { Random } from '#drivers/bus/simulated/random';
import type { VirtualClock } from '#foundation/clock';
import { decodeBody } from '#link/codec';
import type { BusKind } from '#model/bus';
import type { DeviceDescriptor } from '#model/device';
import { writesOf } from '#model/plan';
import { widthMask, writable } from '#model/register';
import type { CommitRequest } from '#model/track';
import { TRACKS, type TrackName } from '#model/track-name';
import type { Bench } from '../../src/bin/bench/agent.ts';
import type { Monitor, MonitorHooks } from './monitor.ts';
import type { Trace } from './trace.ts';

/** Share of the commits in which a register does not take its value. */
const SABOTAGE = 0.08;

/** A moment that a kill waits for. */
type Moment =
  | { readonly at: 'sent' | 'received'; readonly track: TrackName; readonly method: string }
  | { readonly at: 'answer'; readonly method: string }
  | { readonly at: 'flush'; readonly edge: 'before' | 'after' }
  | { readonly at: 'metal'; readonly edge: 'before' | 'after' };

interface Armed {
  readonly moment: Moment;
  readonly victims: readonly TrackName[];
  /** Occurrences to let pass. */
  skip: number;
}

/** The states of a transaction as moments on the line between security and kernel, and on disk. */
const MOMENTS: readonly Moment[] = [
  { at: 'sent', track: 'security', method: 'track.prepare' },
  { at: 'received', track: 'kernel', method: 'track.prepare' },
  { at: 'answer', method: 'track.prepare' },
  { at: 'flush', edge: 'before' },
  { at: 'flush', edge: 'after' },
  { at: 'sent', track: 'security', method: 'track.commit' },
  { at: 'received', track: 'kernel', method: 'track.commit' },
  { at: 'metal', edge: 'before' },
  { at: 'metal', edge: 'after' },
  { at: 'metal', edge: 'after' },
  { at: 'answer', method: 'track.commit' },
  { at: 'received', track: 'kernel', method: 'track.recover' },
  { at: 'answer', method: 'track.recover' },
  { at: 'received', track: 'kernel', method: 'track.supervise' },
  { at: 'received', track: 'kernel', method: 'track.stop' },
  { at: 'received', track: 'kernel', method: 'track.release-stop' },
  { at: 'answer', method: 'track.release-stop' },
  { at: 'answer', method: 'track.lift' },
];

const VICTIMS: readonly (readonly TrackName[])[] = [
  ['security'],
  ['kernel'],
  ['kernel', 'security'],
  TRACKS,
];

export interface ChaosParts {
  readonly bench: Bench;
  readonly clock: VirtualClock;
  readonly hardware: SimulatedHardware;
  readonly monitor: Monitor;
  readonly random: Random;
  readonly trace: Trace;
  /** Chooses the first kill, so that many seeds in a row go through all moments and victims. */
  readonly seed: number;
}

export class Chaos implements MonitorHooks {
  readonly #parts: ChaosParts;
  readonly #restarting = new Set<TrackName>();
  /** Requests by their number, so that an answer can be named. */
  readonly #asked = new Map<number, string>();
  #armed: Armed | null = null;
  #hasArmed = false;
  #ended = false;
  #latencyMs = 0.1;
  #jitterMs = 0;

  constructor(parts: ChaosParts) {
    this.#parts = parts;
  }

  /** For every message on a link. */
  latencyMs(): number {
    return this.#latencyMs + this.#jitterMs * this.#parts.random.next();
  }

  start(): void {
    void this.#repeat(400, 2_500, () => this.#arm());
    void this.#repeat(200, 1_000, () => this.#breakHardware());
    void this.#repeat(800, 4_000, () => this.#disturb());
    void this.#repeat(1_000, 5_000, () => this.#part());
    void this.#repeat(1_000, 4_000, () => this.#changeLatency());
    void this.#repeat(2_000, 8_000, () => this.#jumpWall());
    void this.#repeat(2_000, 9_000, () => this.#fillDisk());
  }

  async #repeat(waitMsMin: number, waitMsMax: number, act: () => void): Promise<void> {
    const { clock, random } = this.#parts;
    while (!this.#ended) {
      await clock.sleep(random.between(waitMsMin, waitMsMax));
      if (!this.#ended) act();
    }
  }

  /** No more trouble; everything that is broken is mended and everything dead started. */
  heal(): void {
    const { hardware, bench } = this.#parts;
    this.#ended = true;
    this.#armed = null;
    this.#latencyMs = 0.1;
    this.#jitterMs = 0;
    hardware.clear();
    bench.limitDisk('plenty');
    for (const cable of [bench.kernelCable, bench.interfaceCable]) if (cable.parted) cable.mend();
    for (const track of TRACKS) this.#start(track);
  }

  // --- Kills ---------------------------------------------------------------------------------------

  #arm(): void {
    const { random, seed } = this.#parts;
    const first = !this.#hasArmed;
    this.#hasArmed = true;
    if (first) {
      const victims = VICTIMS[Math.floor(seed / MOMENTS.length) % VICTIMS.length];
      this.#killAt(MOMENTS[seed % MOMENTS.length], victims ?? TRACKS);
      return;
    }
    const victims = this.#victims();
    if (random.next() < 0.25) this.#kill(victims, 'at random');
    else this.#killAt(MOMENTS[random.between(0, MOMENTS.length - 1)], victims);
  }

  #killAt(moment: Moment | undefined, victims: readonly TrackName[]): void {
    const { random, trace, clock } = this.#parts;
    if (moment === undefined) return;
    const armed: Armed = { moment, victims, skip: random.between(0, 2) };
    this.#armed = armed;
    trace.add('chaos', `will kill ${victims.join(' and ')} at ${describe(moment)}`);
    // A moment that does not come must not keep the others from coming.
    clock.after(2_500, () => {
      if (this.#armed === armed) this.#armed = null;
    });
  }

  #victims(): readonly TrackName[] {
    const at = this.#parts.random.next();
    if (at < 0.35) return ['kernel'];
    if (at < 0.75) return ['security'];
    if (at < 0.8) return ['interface'];
    return at < 0.92 ? ['kernel', 'security'] : TRACKS;
  }

  #happens(matches: (moment: Moment) => boolean): void {
    const armed = this.#armed;
    if (armed === null || !matches(armed.moment)) return;
    if (armed.skip > 0) {
      armed.skip -= 1;
      return;
    }
    this.#armed = null;
    this.#parts.monitor.count(`killed at ${describe(armed.moment)}`);
    this.#kill(armed.victims, `at ${describe(armed.moment)}`);
  }

  #kill(victims: readonly TrackName[], when: string): void {
    const { bench, monitor, random, clock, trace } = this.#parts;
    for (const track of victims) {
      if (!bench.alive(track)) continue;
      const tailMs = random.next() < 0.5 ? 0 : 12;
      trace.add('chaos', `kill ${track} ${when}, ${tailMs} ms on the wire`);
      bench.crash(track, tailMs);
      if (track === 'kernel') monitor.kernelDied();
      monitor.count(`killed ${track}`);
      // Longer than what is on the wire: an old write never meets the next life.
      const longMs = random.next() < 0.15 ? 4_000 : 400;
      clock.after(random.between(20, longMs), () => this.#start(track));
    }
  }

  #start(track: TrackName): void {
    const { bench, monitor, trace } = this.#parts;
    if (bench.alive(track) || this.#restarting.has(track)) return;
    trace.add('chaos', `start ${track}`);
    if (track === 'security') this.#asked.clear();
    void bench.start(track);
    if (track === 'kernel') monitor.kernelStarted();
  }

  onSent(from: TrackName, message: Parameters<MonitorHooks['onSent']>[1]): void {
    if (from === 'security' && message.kind === 'request')
      this.#asked.set(message.correlation, message.method);
    this.#happens(
      (moment) => moment.at === 'sent' && moment.track === from && moment.method === message.method,
    );
  }

  onReceived(to: TrackName, message: Parameters<MonitorHooks['onReceived']>[1]): void {
    if (message.method === 'track.commit' && to === 'kernel') this.#sabotage(message.text);
    const isAnswer = message.kind === 'answer' || message.kind === 'fault';
    if (isAnswer && to === 'security') {
      const method = this.#asked.get(message.correlation);
      this.#happens((moment) => moment.at === 'answer' && moment.method === method);
      return;
    }
    this.#happens(
      (moment) =>
        moment.at === 'received' && moment.track === to && moment.method === message.method,
    );
  }

  onFlush(edge: 'before' | 'after'): void {
    this.#happens((moment) => moment.at === 'flush' && moment.edge === edge);
  }

  onMetalWrite(edge: 'before' | 'after'): void {
    this.#happens((moment) => moment.at === 'metal' && moment.edge === edge);
  }

  // --- Hardware ------------------------------------------------------------------------------------

  #devices(): readonly DeviceDescriptor[] {
    return this.#parts.hardware.board.devices.filter((device) => !device.quarantined);
  }

  #breakHardware(): void {
    const { random, hardware, monitor, trace } = this.#parts;
    const device = this.#pick(this.#devices());
    const fault = this.#faultFor(device.busKind);
    const durationMs = random.between(50, 1_500);
    const target = this.#targetOf(device, fault);
    const limits = isAccessFault(fault)
      ? { count: random.between(1, 4), durationMs }
      : { count: null, durationMs };
    const wrong = misplaced(target, fault, limits);
    if (wrong !== null) throw new Error(wrong);
    hardware.faults.inject(target, fault, limits);
    if (target.register !== null) monitor.stuck(device.id, target.register, durationMs);
    monitor.busFault(device.busId, durationMs);
    monitor.count(`fault ${fault.kind}`);
    trace.add('chaos', `${fault.kind} on ${target.device ?? target.busId} for ${durationMs} ms`);
  }

  /** Makes a plan fail on its way: one of its registers does not take the value. */
  #sabotage(text: string): void {
    const { random, monitor, hardware, trace, clock, bench } = this.#parts;
    if (random.next() > SABOTAGE) return;
    const body = decodeBody(text);
    const request = body.ok ? (body.value as CommitRequest) : null;
    const operation = monitor.ledger.operations.get(request?.operationId ?? '');
    const writes = operation === undefined ? [] : writesOf(operation.plan);
    if (writes.length === 0) return;
    if (random.next() < 0.15) {
      monitor.count('stop during a commit');
      clock.after(random.between(0, 30), () => bench.latch.engage('interface'));
      return;
    }
    const step = this.#pick(writes);
    const model = hardware.models.get(step.device);
    if (model === undefined) return;
    const mask = 1n << BigInt(random.between(0, 7));
    const value = mask & ~step.value;
    const durationMs = random.between(5, 60);
    const { busId, busKind, slug } = model.device;
    const target = { busId, busKind, device: slug, register: step.register };
    const fault = { kind: 'stuck-bits', mask, value } as const;
    hardware.faults.inject(target, fault, { count: null, durationMs });
    monitor.stuck(step.device, step.register, durationMs);
    monitor.count('plan sabotaged');
    trace.add('chaos', `${slug}.${step.register} sticks for ${durationMs} ms`);
  }

  #faultFor(kind: BusKind): HardwareFault {
    const { random } = this.#parts;
    const mask = 1n << BigInt(random.between(0, 7));
    const stuck: HardwareFault = {
      kind: 'stuck-bits',
      mask,
      value: random.next() < 0.5 ? mask : 0n,
    };
    const faults: Readonly<Record<string, readonly HardwareFault[]>> = {
      serial: [
        { kind: 'late', ms: random.between(5, 60) },
        { kind: 'bad-crc' },
        { kind: 'silent' },
        { kind: 'wrong-unit' },
        { kind: 'exception', code: 4 },
        { kind: 'vanish' },
        stuck,
      ],
      i2c: [{ kind: 'nack' }, { kind: 'stuck' }, { kind: 'arbitration' }, stuck],
      sysfs: [{ kind: 'eio' }, { kind: 'absent' }, { kind: 'garbage' }, stuck],
      memory: [{ kind: 'truncate', sizeBytes: 0 }, stuck, stuck, stuck],
    };
    return this.#pick(faults[kind] ?? [stuck]);
  }

  #targetOf(device: DeviceDescriptor, fault: HardwareFault): FaultTarget {
    const { busId, busKind } = device;
    const whole = fault.kind === 'vanish' || fault.kind === 'truncate';
    const registers = device.registers.filter((placed) => writable(placed.spec));
    const register = fault.kind === 'stuck-bits' ? this.#pick(registers).spec.name : null;
    return { busId, busKind, device: whole ? null : device.slug, register };
  }

  /** Somebody turns a knob, or the device changes its mind. */
  #disturb(): void {
    const { random, hardware, monitor, trace } = this.#parts;
    const device = this.#pick(this.#devices());
    const { spec } = this.#pick(device.registers);
    const model = hardware.models.get(device.id);
    if (model === undefined) return;
    const word = BigInt(random.between(0, 255)) & widthMask(spec.widthBits) & ~spec.reservedMask;
    hardware.set(model, spec.name, word);
    model.release();
    monitor.disturbed(device.id, spec.name);
    monitor.count('value changed behind our back');
    trace.add('chaos', `${device.slug}.${spec.name} becomes ${word}`);
  }

  // --- Links and clocks ----------------------------------------------------------------------------

  #part(): void {
    const { random, bench, clock, trace, monitor } = this.#parts;
    const cable = random.next() < 0.6 ? bench.kernelCable : bench.interfaceCable;
    if (cable.parted) return;
    const forMs = random.between(10, random.next() < 0.2 ? 3_000 : 400);
    trace.add('chaos', `a link parts for ${forMs} ms`);
    monitor.count('link parted');
    cable.part();
    clock.after(forMs, () => {
      if (cable.parted) cable.mend();
    });
  }

  #changeLatency(): void {
    const { random, trace } = this.#parts;
    const slow = random.next() < 0.3;
    this.#latencyMs = slow ? random.between(5, 60) : 0.1;
    this.#jitterMs = random.next() < 0.5 ? 0 : slow ? 40 : 2;
    trace.add('chaos', `links take ${this.#latencyMs} to ${this.#latencyMs + this.#jitterMs} ms`);
  }

  #fillDisk(): void {
    const { random, bench, clock, trace, monitor } = this.#parts;
    const forMs = random.between(50, 900);
    trace.add('chaos', `the disk is full for ${forMs} ms`);
    monitor.count('disk full');
    bench.limitDisk('none');
    // A security process that starts meanwhile finds room again.
    clock.after(forMs, () => bench.limitDisk('plenty'));
  }

  #jumpWall(): void {
    const { random, clock, monitor } = this.#parts;
    clock.jumpWall(random.between(-7_200_000, 3_600_000));
    monitor.count('wall clock jumped');
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[this.#parts.random.between(0, items.length - 1)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
}

function describe(moment: Moment): string {
  switch (moment.at) {
    case 'sent':
      return `${moment.method} sent`;
    case 'received':
      return `${moment.method} received`;
    case 'answer':
      return `answer to ${moment.method}`;
    case 'flush':
      return `${moment.edge} a flush`;
    case 'metal':
      return `${moment.edge} a register write`;
  }
}
