// All simulated devices of a board with their shared time, write log and fault plan; mechanisms make it touchable.
// Invariants: no file, socket or process here, so that a virtual clock and a seed replay a run exactly.

import type { Cancel, Clock } from '#foundation/clock';
import type { Board, BusDescription } from '#model/board';
import { type LinearId, linearIdOf } from '#model/device';
import type { Word } from '#model/register';
import { DeviceModel } from './device-model.ts';
import { FaultPlan, type FaultTarget, type StateFault } from './fault-plan.ts';
import { seededRandom } from './random.ts';
import type { StuckBits } from './register-file.ts';
import { WriteLog } from './write-log.ts';

const LOG_CAPACITY = 10_000;
/** Sensors move once a second: visible to a person, nearly free for the processor. */
const TICK_MS = 1_000;

export interface HardwareOptions {
  readonly board: Board;
  readonly clock: Clock;
  readonly seed: number;
}

/** Told when the contents of a device may differ from what a mechanism shows. */
export type ModelListener = (model: DeviceModel) => void;

export class SimulatedHardware {
  readonly board: Board;
  readonly clock: Clock;
  readonly log = new WriteLog(LOG_CAPACITY);
  readonly faults: FaultPlan;
  readonly models: ReadonlyMap<LinearId, DeviceModel>;
  readonly #listeners = new Map<string, ModelListener[]>();
  #cancelTick: Cancel = () => undefined;
  #tickedMs: number;

  constructor(options: HardwareOptions) {
    this.board = options.board;
    this.clock = options.clock;
    this.faults = new FaultPlan(options.clock);
    this.#tickedMs = options.clock.nowMs();
    this.models = new Map(
      options.board.devices.map((device) => {
        const random = seededRandom(options.seed * 1_000 + device.id);
        return [device.id, new DeviceModel(device, options.clock, this.log, random)] as const;
      }),
    );
    this.faults.listen({
      apply: (target, fault) => this.#stick(target, fault),
      undo: (target, fault) => this.#unstick(target, fault),
    });
  }

  /** Sensors begin to drift. */
  start(): void {
    this.#tickedMs = this.clock.nowMs();
    this.#scheduleTick();
  }

  stop(): void {
    this.#cancelTick();
  }

  bus(id: string): BusDescription | undefined {
    return this.board.buses.find((bus) => bus.id === id);
  }

  on(busId: string): readonly DeviceModel[] {
    return [...this.models.values()].filter((model) => model.device.busId === busId);
  }

  /** By slug, linear id or token (`70`, `0x805A`, `led-controller`). */
  find(name: string): DeviceModel | undefined {
    const number = Number(name);
    const id = name.trim() === '' ? undefined : linearIdOf(number);
    if (id !== undefined) return this.models.get(id);
    return [...this.models.values()].find((model) => model.device.slug === name);
  }

  /** Calls back after anything but the bus itself changed a device of this bus. */
  listen(busId: string, listener: ModelListener): void {
    const listeners = this.#listeners.get(busId) ?? [];
    listeners.push(listener);
    this.#listeners.set(busId, listeners);
  }

  /** Changes what a sensor reads, whatever the register's access. */
  set(model: DeviceModel, register: string, word: Word): void {
    model.hold(register, word);
    this.#changed(model);
  }

  /** Ends every fault and lets every held sensor move again; returns the number of faults ended. */
  clear(): number {
    const ended = this.faults.clear();
    for (const model of this.models.values()) model.release();
    return ended;
  }

  #scheduleTick(): void {
    this.#cancelTick = this.clock.after(TICK_MS, () => {
      const nowMs = this.clock.nowMs();
      const elapsedMs = nowMs - this.#tickedMs;
      this.#tickedMs = nowMs;
      for (const model of this.models.values()) {
        model.tick(elapsedMs);
        this.#changed(model);
      }
      this.#scheduleTick();
    });
  }

  #changed(model: DeviceModel): void {
    for (const listener of this.#listeners.get(model.device.busId) ?? []) listener(model);
  }

  #stick(target: FaultTarget, fault: StateFault): void {
    if (fault.kind === 'stuck-bits') this.#applyStuck(target, fault);
  }

  #unstick(target: FaultTarget, fault: StateFault): void {
    if (fault.kind === 'stuck-bits') this.#applyStuck(target, null);
  }

  #applyStuck(target: FaultTarget, stuck: StuckBits | null): void {
    const model = target.device === null ? undefined : this.find(target.device);
    if (model === undefined || target.register === null) return;
    model.stick(target.register, stuck);
    this.#changed(model);
  }
}
