// Modbus TCP on one connection: one request in flight, answers matched by transaction id.
//
// Invariants: an answer counts only with the id, unit, function and length of the request in flight; a stream whose
// frames cannot be followed is closed and opened again.
// Faults: BUS_TIMEOUT, BUS_CORRUPT, BUS_STALE when the connection ends during a request, BUS_ABSENT without one.

import { createConnection, type Socket } from 'node:net';
import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { describeError } from '#foundation/fault';
import type { BusDescription } from '#model/board';
import { BusTally } from './counter.ts';
import { ModbusBus } from './modbus-bus.ts';
import {
  decodeAnswer,
  encodeRequest,
  encodeTcpFrame,
  findTcpFrame,
  type ModbusRequest,
} from './modbus-frame.ts';
import {
  type Exchange,
  type ExchangeFailure,
  exchangeFailed,
  type ModbusTransport,
} from './modbus-transport.ts';

export type ModbusTcpDescription = Extract<BusDescription, { readonly kind: 'modbus-tcp' }>;

export interface ModbusTcpOptions {
  /** Least time between two attempts of an access to connect again. */
  readonly reconnectIntervalMs?: number;
}

export function modbusTcpBus(
  description: ModbusTcpDescription,
  clock: Clock,
  options: ModbusTcpOptions = {},
): ModbusBus {
  const tally = new BusTally();
  return new ModbusBus(
    description,
    new TcpConnection(description, clock, tally, options),
    tally,
    clock,
  );
}

interface Waiter {
  readonly request: ModbusRequest;
  readonly transaction: number;
  readonly settle: (exchange: Exchange) => void;
}

const RECONNECT_INTERVAL_MS = 500;
/** A peer that vanished without a word keeps the connection half open: unanswered requests are its only sign. */
const TIMEOUTS_BEFORE_RECONNECT = 2;

class TcpConnection implements ModbusTransport {
  readonly #description: ModbusTcpDescription;
  readonly #clock: Clock;
  readonly #tally: BusTally;
  readonly #reconnectIntervalMs: number;
  #socket: Socket | undefined;
  #connectNotBeforeMs = 0;
  #received: Buffer = Buffer.alloc(0);
  #lastTransaction = 0;
  #timeoutsInARow = 0;
  #waiter: Waiter | undefined;

  constructor(
    description: ModbusTcpDescription,
    clock: Clock,
    tally: BusTally,
    options: ModbusTcpOptions,
  ) {
    this.#description = description;
    this.#clock = clock;
    this.#tally = tally;
    this.#reconnectIntervalMs = options.reconnectIntervalMs ?? RECONNECT_INTERVAL_MS;
  }

  async open(deadline: Deadline): Promise<ExchangeFailure | null> {
    await this.close();
    return this.#connect(deadline);
  }

  async exchange(request: ModbusRequest, deadline: Deadline): Promise<Exchange> {
    const blocked = await this.#reconnect(deadline);
    if (blocked !== null) return blocked;
    const socket = this.#socket;
    if (socket === undefined) return exchangeFailed('BUS_STALE', 'the connection ended', 'nothing');
    if (deadline.expired()) {
      return exchangeFailed(
        'BUS_TIMEOUT',
        'the deadline passed before the request was sent',
        'nothing',
      );
    }
    this.#lastTransaction = (this.#lastTransaction + 1) & 0xffff;
    const transaction = this.#lastTransaction;
    const limit = deadline.within(this.#description.accessTimeoutMs);
    return new Promise((resolve) => {
      const cancel = this.#clock.after(limit.remainingMs(), () => this.#giveUp(request));
      this.#waiter = {
        request,
        transaction,
        settle: (exchange) => {
          cancel();
          this.#waiter = undefined;
          resolve(exchange);
        },
      };
      socket.write(encodeTcpFrame(transaction, request.unit, encodeRequest(request)));
    });
  }

  async close(): Promise<void> {
    this.#lose('closed');
  }

  async #reconnect(deadline: Deadline): Promise<ExchangeFailure | null> {
    if (this.#socket !== undefined) return null;
    if (this.#clock.nowMs() < this.#connectNotBeforeMs) {
      return exchangeFailed('BUS_ABSENT', 'there is no connection', 'nothing');
    }
    return this.#connect(deadline);
  }

  #connect(deadline: Deadline): Promise<ExchangeFailure | null> {
    this.#connectNotBeforeMs = this.#clock.nowMs() + this.#reconnectIntervalMs;
    const { host, port } = this.#description;
    const socket = createConnection({ host, port, noDelay: true, keepAlive: true });
    return new Promise((resolve) => {
      const cancel = this.#clock.after(deadline.remainingMs(), () => {
        socket.destroy();
        resolve(exchangeFailed('BUS_TIMEOUT', 'the connection was not made in time', 'nothing'));
      });
      socket.on('connect', () => {
        cancel();
        this.#socket = socket;
        this.#received = Buffer.alloc(0);
        this.#timeoutsInARow = 0;
        resolve(null);
      });
      socket.on('data', (chunk) => this.#take(socket, chunk));
      socket.on('error', (error) => {
        cancel();
        resolve(
          exchangeFailed(
            'BUS_ABSENT',
            'the server cannot be reached',
            'nothing',
            describeError(error),
          ),
        );
        if (this.#socket === socket) this.#lose(describeError(error));
      });
      socket.on('close', () => {
        if (this.#socket === socket) this.#lose('closed by the server');
      });
    });
  }

  #giveUp(request: ModbusRequest): void {
    this.#tally.add('resynchronizations');
    this.#timeoutsInARow += 1;
    const waiter = this.#waiter;
    const finding = `unit ${request.unit} did not answer`;
    waiter?.settle(exchangeFailed('BUS_TIMEOUT', finding, 'request'));
    if (this.#timeoutsInARow >= TIMEOUTS_BEFORE_RECONNECT)
      this.#lose('too many requests without answer');
  }

  #take(socket: Socket, chunk: Buffer): void {
    if (socket !== this.#socket) return;
    this.#received = Buffer.concat([this.#received, chunk]);
    for (;;) {
      const found = findTcpFrame(this.#received);
      if (found.kind === 'incomplete') return;
      if (found.kind === 'bad') {
        this.#tally.add('resynchronizations');
        this.#waiter?.settle(exchangeFailed('BUS_CORRUPT', found.finding, 'request'));
        this.#lose(found.finding);
        return;
      }
      this.#received = this.#received.subarray(found.length);
      this.#frame(found.transaction, found.unit, found.pdu);
    }
  }

  #frame(transaction: number, unit: number, pdu: Uint8Array): void {
    const waiter = this.#waiter;
    if (waiter === undefined || waiter.transaction !== transaction) {
      this.#tally.add('strayAnswers');
      return;
    }
    this.#timeoutsInARow = 0;
    const answer = decodeAnswer(waiter.request, unit, pdu);
    if (answer.kind === 'mismatch') {
      waiter.settle(
        exchangeFailed('BUS_CORRUPT', `the answer does not fit: ${answer.finding}`, 'request'),
      );
    } else waiter.settle(answer);
  }

  #lose(internal: string): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#received = Buffer.alloc(0);
    socket?.destroy();
    this.#waiter?.settle(
      exchangeFailed('BUS_STALE', 'the connection ended during the request', 'request', internal),
    );
  }
}
