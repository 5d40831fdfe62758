// Kernel's own console: looks, reads and stops while security is away, and remembers who did so until security knows.
// Invariants: reads only, and only while nobody supervises; never a register whose reading has an effect, never a device
// in quarantine; what was done is kept until security has it on record.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import {
  ACCESSES_MAX,
  CONSOLE_REGISTERS_MAX,
  type ConsoleReading,
  type ConsoleReadRequest,
  type ConsoleStatus,
  type KernelConsolePort,
  type UnsupervisedAccess,
  type UnsupervisedReport,
} from '#link/kernel-console';
import { formatToken, type LinearId, permanentlyQuarantined } from '#model/device';
import { type RegisterSpec, readable } from '#model/register';
import { EmergencyPriority, type StopReceipt } from '#model/stop';
import { Priority } from '#tracks/kernel/bus-queue';
import type { DeviceAccess } from '#tracks/kernel/device-access';
import type { Interlock } from '#tracks/kernel/interlock';
import type { KernelDeviceTrack } from '#tracks/kernel/track';

export interface KernelConsoleParts {
  readonly clock: Clock;
  readonly track: KernelDeviceTrack;
  readonly access: DeviceAccess;
  readonly interlock: Interlock;
  readonly life: string;
  /** True while security answers. */
  readonly supervised: () => boolean;
}

const READ_LIMIT_MS = 4_000;
const DETAIL_LENGTH_MAX = 8_192;
/** Accesses of one report, which has to fit into one message. */
const REPORTED_MAX = 16;

export class KernelConsole {
  readonly #parts: KernelConsoleParts;
  #accesses: UnsupervisedAccess[] = [];
  #forgotten = 0;
  #number = 0;

  constructor(parts: KernelConsoleParts) {
    this.#parts = parts;
  }

  /** The console as one peer sees it; `peer` is what the operating system says of it. */
  portOf(peer: string): KernelConsolePort {
    return {
      status: async () => {
        this.#note(peer, 'status', [], '');
        return succeed(this.#status());
      },
      read: (request, deadline) => this.#read(peer, request, deadline),
      stop: (reason) => this.#stop(peer, reason),
    };
  }

  /** What security has not been told of, the oldest first; null when there is nothing. */
  report(): UnsupervisedReport | null {
    if (this.#accesses.length === 0 && this.#forgotten === 0) return null;
    const { life } = this.#parts;
    return { life, accesses: this.#accesses.slice(0, REPORTED_MAX), forgotten: this.#forgotten };
  }

  /** Security has this report on record. */
  reported(report: UnsupervisedReport): void {
    const known = new Map(report.accesses.map((access) => [access.number, access.count]));
    // One that went on meanwhile is told again, with its new count.
    this.#accesses = this.#accesses.filter(({ number, count }) => known.get(number) !== count);
    this.#forgotten -= report.forgotten;
  }

  #status(): ConsoleStatus {
    const { track, access, interlock, supervised } = this.#parts;
    const devices = [...access.devices.values()].map(({ id, slug }) => {
      return { id, slug, quarantined: this.#quarantined(id) };
    });
    return {
      unsupervised: !supervised(),
      holdReason: interlock.holdReason ?? '',
      devices,
      snapshot: track.memory.whole(),
    };
  }

  async #read(
    peer: string,
    request: ConsoleReadRequest,
    deadline: Deadline,
  ): Promise<Outcome<readonly ConsoleReading[]>> {
    const { access, supervised } = this.#parts;
    const { device } = request;
    const place = access.devices.get(device)?.slug ?? `device ${device}`;
    if (supervised()) {
      const finding = 'security answers and supervises; ask it instead';
      return refuse(fault('UNSUPERVISED', { place: `kernel console, ${place}`, finding }));
    }
    if (!access.devices.has(device)) {
      return refuse(fault('DEVICE_UNKNOWN', { place, finding: 'not on this board' }));
    }
    const specs = this.#quarantined(device) ? refuse(quarantined(device)) : this.#choose(request);
    const asked = request.registers.join(' ');
    this.#note(peer, 'read', [device], specs.ok ? asked : `${asked} refused: ${specs.fault.code}`);
    if (!specs.ok) return specs;
    const references = specs.value.map(({ name, widthBits }) => {
      return { device, register: name, widthBits };
    });
    const limit = deadline.within(READ_LIMIT_MS);
    const words = await access.readMany(references, limit, Priority.OBSERVE);
    return succeed(
      references.map((reference, index): ConsoleReading => {
        const word = words[index];
        if (word === undefined) return reference;
        return word.ok
          ? { ...reference, value: word.value }
          : { ...reference, fault: withoutInternal(word.fault) };
      }),
    );
  }

  /** The registers asked for, or all that may be read; one that may not refuses the whole. */
  #choose({ device, registers }: ConsoleReadRequest): Outcome<readonly RegisterSpec[]> {
    const { access } = this.#parts;
    if (registers.length === 0) {
      const all = access.pointsOf(device).map(({ spec }) => spec);
      return succeed(all.filter((spec) => harmless(spec)).slice(0, CONSOLE_REGISTERS_MAX));
    }
    const specs: RegisterSpec[] = [];
    for (const register of new Set(registers)) {
      const place = access.placeOf({ device, register, widthBits: 32 });
      const spec = access.point(device, register)?.spec;
      if (spec === undefined) {
        return refuse(fault('REGISTER_UNKNOWN', { place, finding: 'no such register' }));
      }
      if (!readable(spec)) {
        return refuse(fault('REGISTER_WRITE_ONLY', { place, finding: 'can only be written' }));
      }
      if (!harmless(spec)) {
        const finding = 'reading it changes the device, which nobody supervises now';
        return refuse(fault('UNSUPERVISED', { place, finding }));
      }
      specs.push(spec);
    }
    return succeed(specs);
  }

  async #stop(peer: string, reason: string): Promise<Outcome<StopReceipt>> {
    const { clock, track } = this.#parts;
    this.#note(peer, 'stop', [], reason);
    return track.stop({
      cause: {
        id: 0,
        devices: [],
        source: 'kernel',
        reason: `${reason} (kernel console, ${peer})`,
        priority: EmergencyPriority.IMMEDIATE,
        triggeredBy: 'local-console',
        wallMs: clock.wallMs(),
      },
    });
  }

  #quarantined(device: LinearId): boolean {
    const listed = this.#parts.access.devices.get(device)?.quarantined === true;
    return (
      permanentlyQuarantined(device) || listed || this.#parts.interlock.has(device, 'quarantined')
    );
  }

  #note(
    peer: string,
    what: UnsupervisedAccess['what'],
    devices: readonly LinearId[],
    said: string,
  ): void {
    const detail = said.slice(0, DETAIL_LENGTH_MAX);
    if (this.#parts.supervised() && what !== 'stop') return;
    const wallMs = this.#parts.clock.wallMs();
    const last = this.#accesses.at(-1);
    const again =
      last?.peer === peer &&
      last.what === what &&
      last.detail === detail &&
      last.devices.join() === devices.join();
    if (last !== undefined && again) {
      const more = { ...last, lastWallMs: wallMs, count: last.count + 1 };
      this.#accesses[this.#accesses.length - 1] = more;
      return;
    }
    // The first accesses say who came; what goes beyond the bound is only counted.
    if (this.#accesses.length >= ACCESSES_MAX) {
      this.#forgotten += 1;
      return;
    }
    this.#number += 1;
    const times = { firstWallMs: wallMs, lastWallMs: wallMs, count: 1 };
    this.#accesses.push({ number: this.#number, ...times, peer, what, devices, detail });
  }
}

/** Reading it has no effect on the device. */
function harmless(spec: RegisterSpec): boolean {
  return readable(spec) && !spec.precious && spec.access !== 'rc';
}

function quarantined(device: LinearId): Fault {
  const place = `device ${formatToken(device)}`;
  return fault('DEVICE_QUARANTINED', { place, finding: 'is in quarantine' });
}

function withoutInternal({ internal: _internal, ...rest }: Fault): Fault {
  return rest;
}
