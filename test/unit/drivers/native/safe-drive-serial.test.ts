// The program on a serial line: a Modbus server that shares no code with it, written, read back, and misbehaving.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ModbusUnits, RtuPeer, TtyPair, withCrc } from '../../../support/modbus-peer.ts';
import {
  compileWatched,
  type Drove,
  planHead,
  planText,
  SAFE_DRIVE,
  safeDrive,
} from '../../../support/safe-drive.ts';

const UNIT = 17;
/** Far longer than an answer takes on a busy machine. */
const PATIENT_MS = 2_000;

let scratch: string;
let program = SAFE_DRIVE;
let directory: string;
let pair: TtyPair;
let units: ModbusUnits;
let peer: RtuPeer;

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'drive-watched-'));
  const watched = join(scratch, 'program');
  if (compileWatched('program', watched)) program = watched;
}, 120_000);
afterAll(() => rmSync(scratch, { recursive: true }));

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'drive-line-'));
  pair = new TtyPair(directory);
  await pair.appear();
  units = new ModbusUnits([UNIT]);
  peer = new RtuPeer(units);
  await peer.serve(pair.far);
});
afterEach(async () => {
  await peer.close();
  await pair.vanish();
  rmSync(directory, { recursive: true });
});

interface Line {
  readonly device?: string;
  readonly unit?: number;
  readonly fields: string;
}

function drive(steps: readonly Line[], timeoutMs = PATIENT_MS): Promise<Drove> {
  writeFileSync(join(directory, 'window'), Buffer.alloc(64, 0xff));
  const path = join(directory, 'plan');
  const lines = steps.map(
    ({ device = '8010', unit = UNIT, fields }) =>
      `step ${device} pump.run 0 ${timeoutMs} 0 ${unit} ${fields}`,
  );
  const text = planText([
    ...[planHead(), `bus 0 serial 115200 8 n 1 ${pair.near}`],
    ...[`bus 1 window 0 ${directory}/window`, 'stage 0', ...lines],
    'step 8000 a.b 1 100 0 - 16 32 00000000 ffffffff 00000000',
  ]);
  writeFileSync(path, text, { mode: 0o600 });
  return safeDrive([path], program);
}

const COIL = { fields: 'coil 2 8 00 01 00' };
const register = (address: number, word: string, mask = 'ffff') => ({
  fields: `holding ${address} 16 ${word} ${mask} ${word}`,
});
const line = (drove: Drove, device: string) =>
  drove.stderr.split('\n').find((text) => text.startsWith(`0x${device} `)) ?? '';

describe('a serial line', { timeout: 60_000 }, () => {
  it('is written by functions 5, 6 and 16 and read back by 1 and 3', async () => {
    units.coils[2] = 1;
    const drove = await drive([
      ...[COIL, register(5, '0102')],
      { fields: 'holding 6 32 01020304 ffffffff 01020304' },
      { fields: 'holding 10 64 0102030405060708 ffffffffffffffff 0102030405060708' },
      { fields: 'holding 20 8 7f ff 7f' },
    ]);
    expect([drove.status, line(drove, '8010')]).toEqual([
      0,
      '0x8010 safe: pump.run: wrote 0x00, read back 0x00 (of 0x1); ' +
        'pump.run: wrote 0x0102, read back 0x0102; ' +
        'pump.run: wrote 0x01020304, read back 0x01020304; ' +
        'pump.run: wrote 0x0102030405060708, read back 0x0102030405060708; ' +
        'pump.run: wrote 0x7F, read back 0x7F',
    ]);
    expect(units.requests).toEqual([
      ...['17:0500020000', '17:0600050102', '17:10000600020401020304'],
      ...['17:10000a0004080102030405060708', '17:060014007f'],
      ...['17:0100020001', '17:0300050001', '17:0300060002', '17:03000a0004', '17:0300140001'],
    ]);
    const registers = units.registers.get(UNIT);
    expect([...(registers?.subarray(5, 8) ?? [])]).toEqual([0x0102, 0x0102, 0x0304]);
    expect(units.coils[2]).toBe(0);
  });

  it('is not read where a value cannot be read back', async () => {
    const drove = await drive([{ fields: 'holding 5 16 0102 0000 0000' }]);
    expect([drove.status, line(drove, '8010')]).toEqual([
      0,
      '0x8010 safe: pump.run: wrote 0x0102, which cannot be read back',
    ]);
    expect(units.requests).toEqual(['17:0600050102']);
  });

  it('compares under the mask alone', async () => {
    const keep = (usual: Buffer, send: (bytes: Buffer) => void) => send(usual);
    // The unit sets a bit of its own between the write and the reading.
    units.tricks.push((usual, send) => {
      units.registers.get(UNIT)?.fill(0x8102, 5, 6);
      keep(usual, send);
    });
    const drove = await drive([{ fields: 'holding 5 16 0102 0fff 0102' }]);
    expect([drove.status, line(drove, '8010')]).toEqual([
      0,
      '0x8010 safe: pump.run: wrote 0x0102, read back 0x8102 (of 0xFFF)',
    ]);
  });

  it('is not safe when a unit acknowledges and holds something else', async () => {
    const stuck = (usual: Buffer, send: (bytes: Buffer) => void) => {
      units.registers.get(UNIT)?.fill(0x0777, 5, 6);
      send(usual);
    };
    // Written and read in each of two turns.
    units.tricks.push(stuck, stuck, stuck, stuck);
    const drove = await drive([register(5, '0000')]);
    expect([drove.status, line(drove, '8010')]).toEqual([
      1,
      '0x8010 NOT KNOWN TO BE SAFE: pump.run: differs: wrote 0x0000, read back 0x0777',
    ]);
    expect(units.requests.filter((request) => request.startsWith('17:06'))).toHaveLength(2);
  });

  it('takes no answer of another unit, of another request, or with a wrong check for its own', async () => {
    const reading = (unit: number, word: string) =>
      withCrc(Buffer.from([unit, 3, 2, ...Buffer.from(word, 'hex')]));
    const wrong = reading(UNIT, '0000');
    wrong.writeUInt8(1, 4);
    units.tricks.push(
      // With the acknowledgment comes what looks like the reading of a safe value.
      (usual, send) => {
        units.registers.get(UNIT)?.fill(0x0777, 5, 6);
        send(Buffer.concat([usual, reading(UNIT, '0000')]));
      },
      (usual, send) =>
        send(Buffer.concat([Buffer.from([0]), reading(UNIT + 1, '0000'), wrong, usual])),
      // The second turn.
      (usual, send) => {
        units.registers.get(UNIT)?.fill(0x0777, 5, 6);
        send(Buffer.concat([withCrc(Buffer.from([UNIT, 6, 0, 6, 0, 0])), usual]));
      },
    );
    const drove = await drive([register(5, '0000')]);
    expect(line(drove, '8010')).toBe(
      '0x8010 NOT KNOWN TO BE SAFE: pump.run: differs: wrote 0x0000, read back 0x0777',
    );
  });

  it('is not safe when the unit refuses', async () => {
    units.holes.add(5);
    const drove = await drive([register(5, '0000'), register(6, '0000')]);
    expect([drove.status, line(drove, '8010')]).toEqual([
      1,
      '0x8010 NOT KNOWN TO BE SAFE: ' +
        'pump.run: writing 0x0000 failed: the unit refused with exception 2; ' +
        'pump.run: wrote 0x0000, read back 0x0000',
    ]);
  });

  it('is not safe when the unit takes the write and refuses to be read', async () => {
    const refusal = withCrc(Buffer.from([UNIT, 0x83, 4]));
    const usual = (bytes: Buffer, send: (bytes: Buffer) => void) => send(bytes);
    const refuses = (_: Buffer, send: (bytes: Buffer) => void) => send(refusal);
    units.tricks.push(usual, refuses, usual, refuses);
    const drove = await drive([register(5, '0000')]);
    expect([drove.status, line(drove, '8010')]).toEqual([
      1,
      '0x8010 NOT KNOWN TO BE SAFE: ' +
        'pump.run: wrote 0x0000, not read back: the unit refused with exception 4',
    ]);
  });

  it('that stays silent keeps nobody waiting beyond its time, and the others are safe', async () => {
    await peer.close();
    const drove = await drive([register(5, '0000')], 150);
    expect([drove.status, line(drove, '8010'), line(drove, '8000')]).toEqual([
      1,
      '0x8010 NOT KNOWN TO BE SAFE: pump.run: writing 0x0000 failed: no answer: Connection timed out',
      '0x8000 safe: a.b: wrote 0x00000000, read back 0x00000000',
    ]);
    expect(drove.ms).toBeGreaterThan(290);
    expect(readFileSync(join(directory, 'window')).readUInt32LE(16)).toBe(0);
  });

  it('with many silent units still drives the one behind them', async () => {
    units.registers.get(UNIT)?.fill(0x0777, 5, 6);
    // Each of them would wait for its whole time on each of its registers: 3 x 8 x 2 s.
    const silent = Array.from({ length: 24 }, (_, index) => ({
      device: `802${Math.floor(index / 8)}`,
      unit: 30 + Math.floor(index / 8),
      ...register(index, '0000'),
    }));
    const drove = await drive([...silent, register(5, '0000')]);
    expect(drove.status).toBe(3);
    expect(line(drove, '8010')).toBe('0x8010 safe: pump.run: wrote 0x0000, read back 0x0000');
    expect(units.registers.get(UNIT)?.[5]).toBe(0);
  });
});
