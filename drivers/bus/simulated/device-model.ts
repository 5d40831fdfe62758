// One simulated device: its registers, what a write makes it do, and how it drifts; no file, socket or timer.
// Invariants: a quarantined device holds canary words and never behaves; every access to it is counted.

import type { Clock } from '#foundation/clock';
import type { DeviceDescriptor, PlacedRegister } from '#model/device';
import { type Word, widthMask } from '#model/register';
import {
  type Behaviour,
  behavioursOf,
  CONTROL_ENABLE,
  powerOnOf,
  STATUS_ACTIVE,
} from './behaviour.ts';
import type { Random } from './random.ts';
import { RegisterFile, type StuckBits } from './register-file.ts';
import type { WriteLog } from './write-log.ts';

/** Fills quarantined windows; 32 bits, repeated to the width of the access. */
export const CANARY_WORD = 0x5ac3_a53cn;

export class DeviceModel {
  readonly device: DeviceDescriptor;
  readonly #clock: Clock;
  readonly #log: WriteLog;
  readonly #file: RegisterFile;
  readonly #behaviours: readonly Behaviour[];
  readonly #held = new Set<string>();
  readonly #control: string | undefined;
  readonly #status: string | undefined;
  #touches = 0;

  constructor(device: DeviceDescriptor, clock: Clock, log: WriteLog, random: Random) {
    this.device = device;
    this.#clock = clock;
    this.#log = log;
    const specs = device.registers.map((placed) => placed.spec);
    const powerOn = device.quarantined ? canaries(device) : powerOnOf(device, random);
    this.#file = new RegisterFile(specs, powerOn);
    this.#behaviours = device.quarantined ? [] : behavioursOf(device, random);
    const named = (name: string): string | undefined =>
      specs.find((spec) => spec.name.toUpperCase() === name)?.name;
    this.#control = named('CONTROL');
    this.#status = named('STATUS');
  }

  /** Reads and writes over the wire that a quarantined device has seen; must stay 0. */
  get touches(): number {
    return this.#touches;
  }

  register(name: string): PlacedRegister | undefined {
    return this.device.registers.find((placed) => placed.spec.name === name);
  }

  /** As the bus reads, side effects included. */
  read(name: string): Word {
    if (this.device.quarantined) this.#touches += 1;
    return this.#file.read(name);
  }

  /** As the bus writes; logged, even when the device ignores it. */
  write(name: string, word: Word): void {
    if (this.device.quarantined) this.#touches += 1;
    const effect = this.#file.write(name, word);
    this.#log.add({
      atMs: this.#clock.nowMs(),
      device: this.device.slug,
      register: name,
      value: word,
      taken: effect.taken,
    });
    if (this.device.quarantined) return;
    if (effect.strobes !== 0n || this.#orders(name, word)) this.#reset();
    if (name === this.#control) this.#followEnable();
  }

  /** What the register holds, without side effects. */
  peek(name: string): Word {
    return this.#file.peek(name);
  }

  /** What a reader of shared memory or of a file finds: as `peek`, but a write-only register shows zeros. */
  shown(name: string): Word {
    return this.#file.shown(name);
  }

  /** A person turns the knob of the world outside: the register stays there until `release`. */
  hold(name: string, word: Word): void {
    this.#file.poke(name, word);
    this.#held.add(name);
  }

  /** Lets every held register drift again. */
  release(): void {
    this.#held.clear();
  }

  stick(name: string, stuck: StuckBits | null): void {
    this.#file.stick(name, stuck);
  }

  tick(elapsedMs: number): void {
    for (const behave of this.#behaviours)
      behave(this.#file, elapsedMs, (name) => this.#held.has(name));
  }

  /** True for a write that the profile gives as the device's reset, beside self-clearing bits. */
  #orders(name: string, word: Word): boolean {
    const writes = this.device.behaviour.operations.reset ?? [];
    return writes.some(
      (write) =>
        write.register === name && write.value !== 0n && (word & write.mask) === write.value,
    );
  }

  /** Power-on contents, but CONTROL stands as it was written: a reset turns nothing on. */
  #reset(): void {
    const control = this.#control === undefined ? undefined : this.#file.peek(this.#control);
    this.#file.reset();
    this.#held.clear();
    if (this.#control === undefined || control === undefined) return;
    this.#file.write(this.#control, control);
    this.#followEnable();
  }

  #followEnable(): void {
    if (this.#control === undefined || this.#status === undefined) return;
    const enabled = (this.#file.peek(this.#control) & CONTROL_ENABLE) !== 0n;
    const status = this.#file.peek(this.#status) & ~STATUS_ACTIVE;
    this.#file.poke(this.#status, enabled ? status | STATUS_ACTIVE : status);
  }
}

function canaries(device: DeviceDescriptor): ReadonlyMap<string, Word> {
  const wide = (CANARY_WORD << 32n) | CANARY_WORD;
  return new Map(
    device.registers.map(({ spec }) => [spec.name, wide & widthMask(spec.widthBits)] as const),
  );
}
