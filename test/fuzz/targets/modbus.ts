// Modbus answers, damaged, from a real peer: on a pseudo-terminal and on a TCP connection. What is taken for an answer
// must stand in the bytes that came, whole, with its CRC or header; the request after it gets its own answer or a fault.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ModbusBus } from '#drivers/bus/modbus-bus';
import { encodeRequest, functionOf, type ModbusRequest } from '#drivers/bus/modbus-frame';
import { modbusRtuBus } from '#drivers/bus/modbus-rtu';
import { modbusTcpBus } from '#drivers/bus/modbus-tcp';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { Cell, Location } from '#model/bus';
import type { WidthBits } from '#model/register';
import { ModbusUnits, RtuPeer, TcpPeer, TtyPair, withCrc } from '../../support/modbus-peer.ts';
import { damageBytes } from '../byte-mutators.ts';
import type { FuzzBench, FuzzTarget } from '../fuzz.ts';
import type { FuzzRandom } from '../random.ts';
import { type Complaint, judgeOutcome } from '../verdict.ts';

type Table = Extract<Location, { kind: 'modbus' }>['table'];

const UNIT = 1;
const ACCESS_MS = 40;
const CALL_MS = 4_000;
const FIRST_ADDRESS = 10;
const SECOND_ADDRESS = 20;
const SECOND_VALUE = 0xbeefn;

interface Access {
  readonly request: ModbusRequest;
  readonly cell: Cell;
  /** To be written; read where there is none. */
  readonly word?: bigint;
}

function cellAt(address: number, widthBits: WidthBits, table: Table): Cell {
  const location = { kind: 'modbus', unit: UNIT, table, address } as const;
  return { device: 73, place: `engine.r${address}`, widthBits, location };
}

const at = { unit: UNIT, address: FIRST_ADDRESS } as const;
const ACCESSES: readonly Access[] = [
  {
    request: { kind: 'read', ...at, table: 'holding', count: 1 },
    cell: cellAt(FIRST_ADDRESS, 16, 'holding'),
  },
  {
    request: { kind: 'read', ...at, table: 'holding', count: 4 },
    cell: cellAt(FIRST_ADDRESS, 64, 'holding'),
  },
  {
    request: { kind: 'read', ...at, table: 'input', count: 2 },
    cell: cellAt(FIRST_ADDRESS, 32, 'input'),
  },
  {
    request: { kind: 'read', ...at, table: 'coil', count: 1 },
    cell: cellAt(FIRST_ADDRESS, 8, 'coil'),
  },
  {
    request: { kind: 'write-registers', ...at, values: [7] },
    cell: cellAt(FIRST_ADDRESS, 16, 'holding'),
    word: 7n,
  },
  {
    request: { kind: 'write-registers', ...at, values: [1, 2] },
    cell: cellAt(FIRST_ADDRESS, 32, 'holding'),
    word: 0x0001_0002n,
  },
  {
    request: { kind: 'write-coil', ...at, on: 1 },
    cell: cellAt(FIRST_ADDRESS, 8, 'coil'),
    word: 1n,
  },
];
const SECOND: Access = {
  request: { kind: 'read', unit: UNIT, address: SECOND_ADDRESS, table: 'holding', count: 1 },
  cell: cellAt(SECOND_ADDRESS, 16, 'holding'),
};

function newUnits(): ModbusUnits {
  const units = new ModbusUnits([UNIT, 2]);
  const registers = units.registers.get(UNIT);
  registers?.set([0x1234, 0x5678, 0x9abc, 0xdef0], FIRST_ADDRESS);
  registers?.set([Number(SECOND_VALUE)], SECOND_ADDRESS);
  units.coils[FIRST_ADDRESS] = 1;
  return units;
}

/** The PDU of an answer that says this; written by hand, so that it shares no mistake with the driver. */
function saying({ request, word }: Access, value: bigint): Buffer {
  const code = functionOf(request);
  if (word !== undefined || request.kind !== 'read') return encodeRequest(request).subarray(0, 5);
  const bits = request.table === 'coil' || request.table === 'discrete';
  const length = bits ? 1 : request.count * 2;
  const data = Buffer.alloc(length);
  for (let index = 0; index < length; index++) {
    data[index] = Number((value >> BigInt(8 * (length - 1 - index))) & 0xffn);
  }
  return Buffer.concat([Buffer.from([code, length]), data]);
}

interface Wire {
  readonly name: string;
  readonly frame: (pdu: Buffer, transaction: number) => Buffer;
  /** Puts the check right again, so that more than it is tried. */
  readonly mend: (bytes: Buffer) => Buffer;
}

const RTU: Wire = {
  name: 'modbus-rtu',
  frame: (pdu) => withCrc(Buffer.concat([Buffer.from([UNIT]), pdu])),
  mend: (bytes) => withCrc(bytes.subarray(0, Math.max(0, bytes.length - 2))),
};

const TCP: Wire = {
  name: 'modbus-tcp',
  frame: (pdu, transaction) => {
    const head = Buffer.from([0, 0, 0, 0, 0, 0, UNIT]);
    head.writeUInt16BE(transaction, 0);
    head.writeUInt16BE(pdu.length + 1, 4);
    return Buffer.concat([head, pdu]);
  },
  mend: (bytes) => {
    const mended = Buffer.from(bytes);
    if (mended.length >= 6) mended.writeUInt16BE(mended.length - 6, 4);
    return mended;
  },
};

/** Whether such an answer stands anywhere in what came. A coil's other seven bits may be anything. */
function stands(wire: Wire, bytes: Buffer, access: Access, value: bigint, number: number): boolean {
  const { request } = access;
  const isBit =
    request.kind === 'read' && (request.table === 'coil' || request.table === 'discrete');
  const values = isBit
    ? Array.from({ length: 128 }, (_, high) => (BigInt(high) << 1n) | value)
    : [value];
  return values.some((one) => bytes.includes(wire.frame(saying(access, one), number)));
}

async function perform(bus: ModbusBus, { cell, word }: Access): Promise<Outcome<bigint>> {
  const deadline = Deadline.after(systemClock, CALL_MS);
  if (word === undefined) return bus.read(cell, deadline);
  const written = await bus.write(cell, word, deadline);
  return written.ok ? { ok: true, value: word } : written;
}

function judge(
  wire: Wire,
  bytes: Buffer,
  access: Access,
  first: Outcome<bigint>,
  second: Outcome<bigint>,
): Complaint {
  const complaint = judgeOutcome(first) ?? judgeOutcome(second);
  if (complaint !== null) return complaint;
  if (first.ok && !stands(wire, bytes, access, first.value, 1)) {
    return `took ${first.value} from an answer that does not hold`;
  }
  if (second.ok && second.value !== SECOND_VALUE && !stands(wire, bytes, SECOND, second.value, 2)) {
    return `took ${second.value} for the answer of another request`;
  }
  return null;
}

/** Which access, then the bytes of its answer. */
function corpusOf(wire: Wire): readonly Buffer[] {
  return ACCESSES.map(({ request }, index) => {
    const pdu = newUnits().answer(UNIT, encodeRequest(request)) ?? Buffer.alloc(0);
    return Buffer.concat([Buffer.from([index]), wire.frame(pdu, 1)]);
  });
}

function mutateWith(wire: Wire, corpus: readonly Buffer[]) {
  const frames = corpus.map((input) => input.subarray(1));
  const dictionary = [
    wire.frame(Buffer.from([0x83, 2]), 1),
    wire.frame(Buffer.from([0x83, 2]), 2),
    wire.frame(saying(SECOND, 0xdeadn), 1),
    wire.frame(saying(SECOND, 0xdeadn), 0),
  ];
  return (input: Buffer, random: FuzzRandom): Buffer => {
    const damaged = damageBytes(input.subarray(1), { random, corpus: frames, dictionary });
    const mended = random.once(2) ? wire.mend(damaged) : damaged;
    return Buffer.concat([input.subarray(0, 1), mended.subarray(0, 2_000)]);
  };
}

const accessOf = (input: Buffer) => ACCESSES[(input[0] ?? 0) % ACCESSES.length] ?? SECOND;

async function exchange(
  wire: Wire,
  bus: ModbusBus,
  units: ModbusUnits,
  input: Buffer,
): Promise<Complaint> {
  const bytes = input.subarray(1);
  units.tricks.push((_, send) => send(bytes));
  const access = accessOf(input);
  const first = await perform(bus, access);
  const second = await perform(bus, SECOND);
  return judge(wire, bytes, access, first, second);
}

/** A bench that never got through to its peer would find nothing. */
function mustHold(outcome: Outcome<bigint>): void {
  if (!outcome.ok || outcome.value !== SECOND_VALUE) throw new Error('the peer does not answer');
}

export const modbusTcp: FuzzTarget = {
  name: TCP.name,
  runs: 150,
  open: async (): Promise<FuzzBench> => {
    const corpus = corpusOf(TCP);
    let units = newUnits();
    // The connection is the agent's each time, and so are its transactions from 1 on.
    const withBus = async <T>(use: (bus: ModbusBus) => Promise<T>, accessTimeoutMs: number) => {
      units = newUnits();
      const peer = new TcpPeer(units);
      const port = await peer.listen();
      const bus = modbusTcpBus(
        { id: 'tcp-0', kind: 'modbus-tcp', host: '127.0.0.1', port, accessTimeoutMs },
        systemClock,
        { reconnectIntervalMs: 1 },
      );
      try {
        await bus.open(Deadline.after(systemClock, CALL_MS));
        return await use(bus);
      } finally {
        await bus.close();
        await peer.close();
      }
    };
    mustHold(await withBus((bus) => perform(bus, SECOND), CALL_MS));
    return {
      corpus,
      mutate: mutateWith(TCP, corpus),
      check: (input) => withBus((bus) => exchange(TCP, bus, units, input), ACCESS_MS),
      close: () => Promise.resolve(),
    };
  },
};

export const modbusRtu: FuzzTarget = {
  name: RTU.name,
  runs: 30,
  open: async (): Promise<FuzzBench> => {
    const corpus = corpusOf(RTU);
    const directory = mkdtempSync(join(tmpdir(), 'fuzz-rtu-'));
    const pair = new TtyPair(directory);
    await pair.appear();
    let peer = new RtuPeer(newUnits());
    const withBus = async <T>(
      use: (bus: ModbusBus, units: ModbusUnits) => Promise<T>,
      accessTimeoutMs: number,
    ) => {
      const units = newUnits();
      peer = new RtuPeer(units);
      await peer.serve(pair.far);
      const bus = modbusRtuBus(
        {
          id: 'serial-0',
          kind: 'serial',
          path: pair.near,
          baudRate: 115_200,
          dataBits: 8,
          parity: 'none',
          stopBits: 1,
          accessTimeoutMs,
        },
        systemClock,
      );
      try {
        await bus.open(Deadline.after(systemClock, CALL_MS));
        return await use(bus, units);
      } finally {
        await bus.close();
        await peer.close();
      }
    };
    mustHold(await withBus((bus) => perform(bus, SECOND), CALL_MS));
    return {
      corpus,
      mutate: mutateWith(RTU, corpus),
      check: (input) => withBus((bus, units) => exchange(RTU, bus, units, input), ACCESS_MS),
      close: async () => {
        await pair.vanish();
        rmSync(directory, { recursive: true });
      },
    };
  },
};
