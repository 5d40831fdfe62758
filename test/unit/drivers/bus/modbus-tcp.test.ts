// Modbus TCP over a loopback connection, against a peer that misbehaves on request.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ModbusBus } from '#drivers/bus/modbus-bus';
import { modbusTcpBus } from '#drivers/bus/modbus-tcp';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { Cell } from '#model/bus';
import { ModbusUnits, TcpPeer, until } from '../../../support/modbus-peer.ts';

let peer: TcpPeer;
let units: ModbusUnits;
let bus: ModbusBus;
let port = 0;
const soon = () => Deadline.after(systemClock, 8_000);
const ACCESS_MS = 200;

beforeEach(async () => {
  units = new ModbusUnits([1, 2]);
  peer = new TcpPeer(units);
  port = await peer.listen();
  bus = modbusTcpBus(
    { id: 'tcp-0', kind: 'modbus-tcp', host: '127.0.0.1', port, accessTimeoutMs: ACCESS_MS },
    systemClock,
    { reconnectIntervalMs: 20 },
  );
});
afterEach(async () => {
  await bus.close();
  await peer.close();
});

function cell(address: number, unit = 1): Cell {
  return {
    device: 1,
    place: 'gate.r',
    widthBits: 16,
    location: { kind: 'modbus', unit, table: 'holding', address },
  };
}

function faultOf(outcome: Outcome<unknown>) {
  if (outcome.ok) throw new Error(`expected a fault, got ${String(outcome.value)}`);
  return outcome.fault;
}

describe('Modbus TCP', () => {
  test('writes and reads registers on one connection, adjacent ones in one request', async () => {
    expect((await bus.open(soon())).ok).toBe(true);
    for (let at = 0; at < 4; at++) await bus.write(cell(at), BigInt(at * 1000), soon());
    const outcomes = await bus.readMany(
      [0, 1, 2, 3].map((at) => cell(at)),
      soon(),
    );
    expect(outcomes.map((outcome) => outcome.ok && outcome.value)).toEqual([
      0n,
      1000n,
      2000n,
      3000n,
    ]);
    expect(units.requests).toHaveLength(5);
    expect(peer.connections).toBe(1);
  });

  test('a late answer is known by its transaction id and thrown away', async () => {
    const registers = units.registers.get(1);
    registers?.set([111, 222]);
    units.tricks.push((usual, send) => setTimeout(() => send(usual), ACCESS_MS + 50));
    expect(faultOf(await bus.read(cell(0), soon())).code).toBe('BUS_TIMEOUT');
    units.tricks.push((usual, send) => setTimeout(() => send(usual), 120));
    expect(await bus.read(cell(1), soon())).toEqual({ ok: true, value: 222n });
    expect(bus.counters()).toMatchObject({ timeouts: 1, strayAnswers: 1 });
  });

  test('an answer from another unit or of another length is corrupt, not a value', async () => {
    units.tricks.push(
      (usual, send) => {
        const foreign = Buffer.from(usual);
        foreign[6] = 2;
        send(foreign);
      },
      (usual, send) => {
        const longer = Buffer.concat([usual, Buffer.from([0, 0])]);
        longer.writeUInt16BE(longer.length - 6, 4);
        longer[8] = 4;
        send(longer);
      },
    );
    expect(faultOf(await bus.read(cell(0), soon())).finding).toBe(
      'the answer does not fit: it came from unit 2, not 1',
    );
    expect(faultOf(await bus.read(cell(0), soon())).finding).toBe(
      'the answer does not fit: it carries 4 bytes, not 2',
    );
  });

  test('a stream that is not Modbus is closed and opened again', async () => {
    units.tricks.push((_usual, send) => send(Buffer.from('HTTP/1.1 400 Bad Request\r\n')));
    const fault = faultOf(await bus.write(cell(0), 1n, soon()));
    expect(fault).toMatchObject({ code: 'BUS_CORRUPT', metal: 'unknown' });
    await expect.poll(async () => (await bus.read(cell(0), soon())).ok).toBe(true);
    expect(peer.connections).toBe(2);
  });

  test('an answer in single bytes is one answer', async () => {
    units.registers.get(1)?.set([42]);
    units.tricks.push((usual, send) => {
      usual.forEach((byte, at) => {
        setTimeout(() => send(Buffer.from([byte])), at * 3);
      });
    });
    expect(await bus.read(cell(0), soon())).toEqual({ ok: true, value: 42n });
  });

  test('a connection that ends during a write leaves the metal unknown, and is made again', async () => {
    units.tricks.push(() => peer.hangUp());
    const fault = faultOf(await bus.write(cell(0), 1n, soon()));
    expect(fault).toMatchObject({ code: 'BUS_STALE', metal: 'unknown' });
    await expect.poll(async () => (await bus.read(cell(0), soon())).ok).toBe(true);
  });

  test('a peer that falls silent twice gets a new connection', async () => {
    units.tricks.push(
      () => {},
      () => {},
    );
    for (let turn = 0; turn < 2; turn++)
      expect(faultOf(await bus.read(cell(0), soon())).code).toBe('BUS_TIMEOUT');
    await expect.poll(async () => (await bus.read(cell(0), soon())).ok).toBe(true);
    expect(peer.connections).toBe(2);
  });

  test('an absent server is a fault at once, and is found when it comes back', async () => {
    expect((await bus.read(cell(0), soon())).ok).toBe(true);
    await peer.close();
    await expect.poll(async () => faultOf(await bus.read(cell(0), soon())).code).toBe('BUS_ABSENT');
    peer = new TcpPeer(units);
    await peer.listen(port);
    await expect.poll(async () => (await bus.read(cell(0), soon())).ok).toBe(true);
    await until(() => peer.connections === 1);
  });
});
