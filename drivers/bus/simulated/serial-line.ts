// One simulated serial line: a pseudo-terminal under a stable name, with Modbus RTU units answering behind it.
// Invariants: the line is half duplex, one answer at a time in order of the requests; it keeps its own descriptor
// on the terminal's other end, or a read would give EIO whenever the agent has closed it (pty(7)).
// Faults: `vanish` hangs the terminal up and removes the name; undoing it makes a new terminal under that name.

import { closeSync, rmSync, symlinkSync, write } from 'node:fs';
import { ReadStream } from 'node:tty';
import { encodeRtuFrame } from '#drivers/bus/modbus-frame';
import { openPseudoTerminal } from '#drivers/native/host';
import type { Cancel, Clock } from '#foundation/clock';
import { FaultError } from '#foundation/fault';
import type { AccessFault, FaultPlan } from './fault-plan.ts';
import type { Mechanism } from './mechanism.ts';
import { exceptionPdu, type ModbusSlaves } from './modbus-slaves.ts';
import { RtuFramer, type RtuRequest } from './rtu-framer.ts';

/** Silence that ends a frame of unknown length; far above t3.5 because the two processes share processors. */
const SILENCE_MS = 20;

interface Terminal {
  readonly fd: number;
  readonly peerFd: number;
  readonly stream: ReadStream;
}

export class SerialLine implements Mechanism {
  readonly #busId: string;
  readonly #path: string;
  readonly #slaves: ModbusSlaves;
  readonly #faults: FaultPlan;
  readonly #clock: Clock;
  #framer = new RtuFramer();
  #terminal: Terminal | null = null;
  #cancelSilence: Cancel = () => undefined;

  constructor(busId: string, path: string, slaves: ModbusSlaves, faults: FaultPlan, clock: Clock) {
    this.#busId = busId;
    this.#path = path;
    this.#slaves = slaves;
    this.#faults = faults;
    this.#clock = clock;
    faults.listen({
      apply: (target, fault) => {
        if (target.busId === busId && fault.kind === 'vanish') this.#unplug();
      },
      undo: (target, fault) => {
        if (target.busId === busId && fault.kind === 'vanish') this.#plug();
      },
    });
  }

  async open(): Promise<void> {
    this.#plug();
  }

  flush(): void {}

  touched(): readonly string[] {
    return [];
  }

  async close(): Promise<void> {
    this.#unplug();
  }

  #plug(): void {
    if (this.#terminal !== null) return;
    const opened = openPseudoTerminal();
    if (!opened.ok) throw new FaultError(opened.fault);
    const { fd, peerFd, path } = opened.value;
    const stream = new ReadStream(fd);
    this.#framer = new RtuFramer();
    stream.on('data', (chunk: Buffer) => this.#hear(chunk));
    stream.on('error', () => stream.destroy());
    this.#terminal = { fd, peerFd, stream };
    rmSync(this.#path, { force: true });
    symlinkSync(path, this.#path);
  }

  #unplug(): void {
    this.#cancelSilence();
    rmSync(this.#path, { force: true });
    const terminal = this.#terminal;
    this.#terminal = null;
    if (terminal === null) return;
    terminal.stream.destroy();
    closeSync(terminal.peerFd);
  }

  #hear(chunk: Buffer): void {
    this.#cancelSilence();
    for (const request of this.#framer.push(chunk)) this.#serve(request);
    if (!this.#framer.pending) return;
    this.#cancelSilence = this.#clock.after(SILENCE_MS, () => {
      const request = this.#framer.silence();
      if (request !== null) this.#serve(request);
    });
  }

  #serve(request: RtuRequest): void {
    const device = this.#slaves.deviceAt(request.unit);
    if (device === null) return;
    const spoiled = this.#faults.spoil(this.#busId, device);
    if (spoiled?.kind === 'silent') return;
    const pdu =
      spoiled?.kind === 'exception'
        ? exceptionPdu(request.pdu[0] ?? 0, spoiled.code)
        : this.#slaves.answer(request.unit, request.pdu);
    if (pdu === null) return;
    const frame = spoilFrame(request.unit, pdu, spoiled);
    const terminal = this.#terminal;
    const delayMs = spoiled?.kind === 'late' ? spoiled.ms : 0;
    if (delayMs === 0) this.#send(terminal, frame);
    else this.#clock.after(delayMs, () => this.#send(terminal, frame));
  }

  /** An answer for a terminal that has been unplugged meanwhile is lost, as on the wire. */
  #send(terminal: Terminal | null, frame: Buffer): void {
    if (terminal === null || terminal !== this.#terminal) return;
    write(terminal.fd, frame, () => undefined);
  }
}

function spoilFrame(unit: number, pdu: Uint8Array, spoiled: AccessFault | null): Buffer {
  if (spoiled?.kind === 'wrong-unit') return encodeRtuFrame(unit === 247 ? 1 : unit + 1, pdu);
  const frame = encodeRtuFrame(unit, pdu);
  if (spoiled?.kind === 'bad-crc')
    frame.writeUInt8(frame.readUInt8(frame.length - 1) ^ 0x5a, frame.length - 1);
  return frame;
}
