// Modbus RTU on one serial line: one request at a time, and never a late answer taken for the next one's.
//
// Invariants: at least t3.5 of silence before a request (Serial Line 1.02 section 2.5.1.1); after a time-out or a
// corrupt answer the line is flushed and must be quiet before the next request; while an answer is still owed, a
// request that it could be mistaken for (same unit and function) is held back until the answer came and was thrown
// away, or the late window passed. Length does not count there: an exception answer has none.
// A frame of another unit is thrown away and the wait goes on (section 2.4.1).
// Faults: BUS_TIMEOUT, BUS_CORRUPT, BUS_STALE when the tty goes away during a request, BUS_ABSENT while it is away.

import { SerialPort } from 'serialport';
import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { describeError } from '#foundation/fault';
import type { BusDescription } from '#model/board';
import { BusTally } from './counter.ts';
import { ModbusBus } from './modbus-bus.ts';
import {
  decodeAnswer,
  encodeRequest,
  encodeRtuFrame,
  findRtuAnswer,
  functionOf,
  type ModbusRequest,
} from './modbus-frame.ts';
import { OwedAnswers } from './modbus-owed.ts';
import {
  type Exchange,
  type ExchangeFailure,
  exchangeFailed,
  type ModbusTransport,
} from './modbus-transport.ts';

export type SerialDescription = Extract<BusDescription, { readonly kind: 'serial' }>;

export interface RtuOptions {
  /** How long an answer may come too late; the description's access time when absent. */
  readonly lateWindowMs?: number;
  /** Least time between two attempts of an access to open a line that is away. */
  readonly reopenIntervalMs?: number;
}

export function modbusRtuBus(
  description: SerialDescription,
  clock: Clock,
  options: RtuOptions = {},
): ModbusBus {
  const tally = new BusTally();
  return new ModbusBus(description, new RtuLine(description, clock, tally, options), tally, clock);
}

interface Waiter {
  readonly request: ModbusRequest;
  readonly settle: (exchange: Exchange) => void;
  /** What came and was no answer, for the message when nothing better comes. */
  noise: string | null;
}

const REOPEN_INTERVAL_MS = 500;
/** USB adapters deliver in steps of up to 16 ms (FTDI latency timer), so shorter gaps say nothing. */
const QUIET_MIN_MS = 20;
/** The longest frame is 256 bytes (section 2.5.1); more than this without a frame is a babbling line. */
const RECEIVED_MAX = 1024;
const GAP_ABOVE_19200_MS = 1.75;

class RtuLine implements ModbusTransport {
  readonly #description: SerialDescription;
  readonly #clock: Clock;
  readonly #tally: BusTally;
  readonly #charMs: number;
  readonly #gapMs: number;
  readonly #quietMs: number;
  readonly #reopenIntervalMs: number;
  #port: SerialPort | undefined;
  #reopenNotBeforeMs = 0;
  #received: Buffer = Buffer.alloc(0);
  #lastByteMs = 0;
  #mustResynchronize = false;
  #waiter: Waiter | undefined;
  #cancelSilence: () => void = () => {};
  readonly #owed: OwedAnswers;

  constructor(description: SerialDescription, clock: Clock, tally: BusTally, options: RtuOptions) {
    this.#description = description;
    this.#clock = clock;
    this.#tally = tally;
    const parityBits = description.parity === 'none' ? 0 : 1;
    const bits = 1 + description.dataBits + parityBits + description.stopBits;
    this.#charMs = (1000 * bits) / description.baudRate;
    this.#gapMs = description.baudRate > 19_200 ? GAP_ABOVE_19200_MS : 3.5 * this.#charMs;
    this.#quietMs = Math.max(this.#gapMs, QUIET_MIN_MS);
    this.#owed = new OwedAnswers(clock, options.lateWindowMs ?? description.accessTimeoutMs);
    this.#reopenIntervalMs = options.reopenIntervalMs ?? REOPEN_INTERVAL_MS;
  }

  async open(deadline: Deadline): Promise<ExchangeFailure | null> {
    await this.close();
    return this.#open(deadline);
  }

  async exchange(request: ModbusRequest, deadline: Deadline): Promise<Exchange> {
    const blocked =
      (await this.#reopen(deadline)) ??
      (await this.#resynchronize(deadline)) ??
      (await this.#owed.settled(request, deadline)) ??
      (await this.#keepGap(deadline));
    if (blocked !== null) return blocked;
    const port = this.#port;
    if (port === undefined || !port.isOpen)
      return exchangeFailed('BUS_STALE', 'the serial line went away', 'nothing');
    const frame = encodeRtuFrame(request.unit, encodeRequest(request));
    const answerBytes = request.kind === 'read' ? 5 + request.count * 2 : 8;
    const wireMs = (frame.length + answerBytes) * this.#charMs;
    const limit = deadline.within(this.#description.accessTimeoutMs + wireMs);
    return this.#send(port, request, frame, limit);
  }

  async close(): Promise<void> {
    const port = this.#port;
    this.#lose('the serial line was closed');
    if (port?.isOpen) await new Promise<void>((resolve) => port.close(() => resolve()));
  }

  async #reopen(deadline: Deadline): Promise<ExchangeFailure | null> {
    if (this.#port !== undefined) return null;
    if (this.#clock.nowMs() < this.#reopenNotBeforeMs) {
      return exchangeFailed('BUS_ABSENT', 'the serial line is away', 'nothing');
    }
    return this.#open(deadline);
  }

  /** A new port object for each attempt: an old one would send what was queued on it before it broke. */
  #open(deadline: Deadline): Promise<ExchangeFailure | null> {
    this.#reopenNotBeforeMs = this.#clock.nowMs() + this.#reopenIntervalMs;
    const { path, baudRate, dataBits, parity, stopBits } = this.#description;
    const port = new SerialPort({ path, baudRate, dataBits, parity, stopBits, autoOpen: false });
    port.on('error', (error) => this.#portLost(port, describeError(error)));
    port.on('close', () => this.#portLost(port, 'closed by the system'));
    port.on('data', (chunk: Buffer) => this.#take(port, chunk));
    return new Promise((resolve) => {
      let tooLate = false;
      const cancel = this.#clock.after(deadline.remainingMs(), () => {
        tooLate = true;
        resolve(exchangeFailed('BUS_TIMEOUT', 'the serial line did not open in time', 'nothing'));
      });
      port.open((error) => {
        cancel();
        if (error !== null) resolve(openFailure(error));
        else if (tooLate) port.close(() => {});
        else {
          this.#port = port;
          this.#mustResynchronize = true;
          resolve(null);
        }
      });
    });
  }

  /** Throws away what is on its way, until the line was quiet for long enough. */
  async #resynchronize(deadline: Deadline): Promise<ExchangeFailure | null> {
    const port = this.#port;
    if (!this.#mustResynchronize || port === undefined) return null;
    await new Promise<void>((resolve) => port.flush(() => resolve()));
    const startMs = this.#clock.nowMs();
    for (;;) {
      const quietAtMs = Math.max(this.#lastByteMs, startMs) + this.#quietMs;
      const waitMs = quietAtMs - this.#clock.nowMs();
      if (waitMs <= 0) break;
      if (waitMs > deadline.remainingMs()) {
        return exchangeFailed(
          'BUS_TIMEOUT',
          'the line was not quiet before the deadline',
          'nothing',
        );
      }
      await this.#clock.sleep(waitMs);
    }
    this.#received = Buffer.alloc(0);
    this.#mustResynchronize = false;
    return null;
  }

  async #keepGap(deadline: Deadline): Promise<ExchangeFailure | null> {
    for (;;) {
      const waitMs = this.#lastByteMs + this.#gapMs - this.#clock.nowMs();
      if (deadline.expired()) {
        return exchangeFailed(
          'BUS_TIMEOUT',
          'the deadline passed before the request was sent',
          'nothing',
        );
      }
      if (waitMs <= 0) return null;
      await this.#clock.sleep(waitMs);
    }
  }

  #send(
    port: SerialPort,
    request: ModbusRequest,
    frame: Buffer,
    limit: Deadline,
  ): Promise<Exchange> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(limit.remainingMs(), () => this.#giveUp(request));
      this.#cancelSilence();
      this.#received = Buffer.alloc(0);
      this.#waiter = {
        request,
        noise: null,
        settle: (exchange) => {
          cancel();
          this.#waiter = undefined;
          resolve(exchange);
        },
      };
      port.write(frame, (error) => {
        if (error) this.#portLost(port, describeError(error));
      });
    });
  }

  #giveUp(request: ModbusRequest): void {
    const { noise = null } = this.#waiter ?? {};
    const count = this.#received.length;
    this.#owed.add(request);
    if (count > 0)
      this.#fail('BUS_CORRUPT', `only ${count} bytes of an answer came from unit ${request.unit}`);
    else if (noise !== null)
      this.#fail('BUS_CORRUPT', `no answer from unit ${request.unit}, only noise: ${noise}`);
    else this.#fail('BUS_TIMEOUT', `unit ${request.unit} did not answer`);
  }

  #fail(code: 'BUS_CORRUPT' | 'BUS_TIMEOUT', finding: string): void {
    this.#mustResynchronize = true;
    this.#tally.add('resynchronizations');
    this.#waiter?.settle(exchangeFailed(code, finding, 'request'));
  }

  #take(port: SerialPort, chunk: Buffer): void {
    if (port !== this.#port) return;
    this.#lastByteMs = this.#clock.nowMs();
    this.#cancelSilence();
    this.#received = Buffer.concat([this.#received, chunk]).subarray(-RECEIVED_MAX);
    while (this.#received.length > 0) {
      const found = findRtuAnswer(this.#received);
      if (found.kind !== 'frame') {
        if (found.kind === 'bad' && this.#isOurs()) {
          this.#received = Buffer.alloc(0);
          this.#fail('BUS_CORRUPT', found.finding);
        } else
          this.#cancelSilence = this.#clock.after(this.#quietMs, () => this.#silence(found.kind));
        return;
      }
      this.#received = this.#received.subarray(found.length);
      this.#frame(found.unit, found.pdu);
    }
  }

  #frame(unit: number, pdu: Uint8Array): void {
    const waiter = this.#waiter;
    const answer = waiter && decodeAnswer(waiter.request, unit, pdu);
    if (waiter !== undefined && answer !== undefined && answer.kind !== 'mismatch') {
      waiter.settle(answer);
      return;
    }
    this.#tally.add('strayAnswers');
    this.#owed.arrived(unit, (pdu[0] ?? 0) & 0x7f);
  }

  /** The line fell silent on bytes that are no frame. Half of our own answer may still be followed by the rest. */
  #silence(found: 'incomplete' | 'bad'): void {
    if (found === 'incomplete' && this.#isOurs()) return;
    if (this.#waiter !== undefined) this.#waiter.noise = `${this.#received.length} bytes`;
    this.#received = Buffer.alloc(0);
  }

  #isOurs(): boolean {
    if (this.#waiter === undefined) return false;
    const { request } = this.#waiter;
    const [unit, code] = this.#received;
    return unit === request.unit && (code === undefined || (code & 0x7f) === functionOf(request));
  }

  #portLost(port: SerialPort, internal: string): void {
    if (port === this.#port) this.#lose(internal);
    if (port.isOpen) port.close(() => {});
  }

  #lose(internal: string): void {
    this.#port = undefined;
    this.#received = Buffer.alloc(0);
    this.#cancelSilence();
    this.#waiter?.settle(
      exchangeFailed(
        'BUS_STALE',
        'the serial line went away during the request',
        'request',
        internal,
      ),
    );
  }
}

/** The bindings report open(2) errors as text only. */
function openFailure(error: Error): ExchangeFailure {
  const internal = describeError(error);
  if (/permission denied/i.test(internal)) {
    return exchangeFailed(
      'BUS_PERMISSION',
      'the serial line may not be opened',
      'nothing',
      internal,
    );
  }
  if (/lock port|busy/i.test(internal)) {
    return exchangeFailed(
      'BUS_PERMISSION',
      'another process holds the serial line',
      'nothing',
      internal,
    );
  }
  return exchangeFailed('BUS_ABSENT', 'the serial line is absent', 'nothing', internal);
}
