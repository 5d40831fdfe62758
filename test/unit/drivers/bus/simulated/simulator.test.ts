// The real simulator process, touched from outside through each of its mechanisms.

import { existsSync, lstatSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { SerialPort } from 'serialport';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encodeI2cRequest, type I2cResponse, i2cResponseDecoder } from '#drivers/bus/i2c-wire';
import { crc16, encodeRtuFrame as rtuFrame } from '#drivers/bus/modbus-frame';
import { RegisterWindow } from '#drivers/native/windows';
import { type RunningSimulator, startSimulator, until } from './fixture.ts';

let simulator: RunningSimulator;

beforeAll(async () => {
  simulator = await startSimulator();
});
afterAll(async () => {
  await simulator.stop();
});
afterEach(async () => {
  await simulator.control.clear();
  await simulator.control.forget();
});

const at = (path: string): string => join(simulator.directory, path);
const firstLine = (path: string): string =>
  readFileSync(at(path), 'latin1').split('\n', 1)[0] ?? '';
/** As a driver writes: one write(2) at the start of the file, which is not cut. */
const writeAttribute = (path: string, text: string): void =>
  writeFileSync(at(path), text, { flag: 'r+' });

describe('memory', () => {
  let memory: RegisterWindow;
  const BLOCK = 0x1000;
  const read = (offset: number): number => memory.read(offset, 32);

  beforeAll(() => {
    const mapped = RegisterWindow.map({
      place: 'test',
      source: { path: at('memory') },
      offset: 0,
      length: 0xa000,
      access: 'read-write',
    });
    if (!mapped.ok) throw new Error(mapped.fault.finding);
    memory = mapped.value;
  });
  afterAll(() => memory.close());

  it('shows blocks that are alive', () => {
    expect(read(0x04)).toBe(3);
    expect(read(0x3c)).toBe(0xd511);
    expect(read(0x20)).toBeGreaterThanOrEqual(35_000);
    expect(read(0x20)).toBeLessThanOrEqual(55_000);
  });

  it('keeps what is written at every width, and logs it', async () => {
    memory.write(0x08, 32, 0x00ab_cdefn);
    memory.write(0x28, 16, 0xbeefn);
    memory.write(0x30, 64, 0x0123_4567_89ab_cdefn);
    await until(async () => (await simulator.control.log('first-block')).length >= 3, 'the log');
    const log = await simulator.control.log('first-block');
    expect(new Map(log.map((write) => [write.register, write.value]))).toEqual(
      new Map([
        ['CONFIG', '0xABCDEF'],
        ['NARROW', '0xBEEF'],
        ['WIDE', '0x123456789ABCDEF'],
      ]),
    );
    expect(memory.read(0x30, 64)).toBe(0x0123_4567_89ab_cdefn);
    expect(memory.read(0x28, 16)).toBe(0xbeef);
    expect(read(0x08)).toBe(0x00ab_cdef);
  });

  it('clears interrupt bits that are written as ones', async () => {
    await simulator.control.set('first-block', 'INTERRUPT', '0x0f');
    expect(read(0x10)).toBe(0x0f);
    memory.write(0x10, 32, 0x05n);
    await until(() => read(0x10) === 0x0a, 'the interrupt bits to clear');
  });

  it('follows enable, and resets the block by a bit that clears itself', async () => {
    memory.write(BLOCK + 0x08, 32, 0x77n);
    memory.write(BLOCK, 32, 0n);
    await until(() => read(BLOCK + 0x04) === 1, 'STATUS without active');
    memory.write(BLOCK, 32, 3n);
    await until(() => read(BLOCK) === 1 && read(BLOCK + 0x04) === 3, 'the reset');
    expect(read(BLOCK + 0x08)).toBe(0);
  });

  it('puts read-only registers and reserved bits back', async () => {
    memory.write(0x04, 32, 0xffn);
    memory.write(0x08, 32, 0xff00_0001n);
    await until(() => read(0x04) === 3 && read(0x08) === 1, 'the old content');
    const log = await simulator.control.log('first-block');
    expect(log.find((write) => write.register === 'STATUS')?.taken).toBe(false);
  });

  it('shows at once what a sensor is set to, and a read-clears register that is cleared', async () => {
    await simulator.control.set('0', 'THERMAL', '-1500');
    expect(read(0x20)).toBe(0x1_0000_0000 - 1500);
    await simulator.control.set('first-block', 'ERROR', '7');
    expect(read(0x14)).toBe(7);
    await simulator.control.set('first-block', 'ERROR', '0');
    expect(read(0x14)).toBe(0);
  });

  it('takes stuck bits back after every write until they are freed', async () => {
    await simulator.control.fault({
      device: 'first-block',
      register: 'CONFIG',
      kind: 'stuck-bits',
      mask: '0xf',
      value: '0x3',
    });
    memory.write(0x08, 32, 0x4an);
    await until(() => read(0x08) === 0x43, 'the stuck bits');
    await simulator.control.fault({ device: 'first-block', kind: 'restore' });
    expect(read(0x08)).toBe(0x4a);
  });

  it('gives a bus error while the file is cut, and is whole with the old content afterwards', async () => {
    memory.write(0x08, 32, 0x0042n);
    await simulator.control.fault({ bus: 'memory-0', kind: 'truncate' });
    const cut = memory.readWord(0x08, 32);
    expect(!cut.ok && cut.fault.code).toBe('BUS_ERROR_SIGNAL');
    await simulator.control.fault({ bus: 'memory-0', kind: 'restore' });
    expect(read(0x08)).toBe(0x42);
    expect(memory.readWord(0x9000, 32)).toEqual({ ok: true, value: 0x5ac3_a53cn });
  });

  it('survives that somebody else cuts the file and makes it whole again', async () => {
    memory.write(0x08, 32, 0x99n);
    await until(
      async () => (await simulator.control.get('first-block', 'CONFIG')).value === '153',
      'the write',
    );
    const size = lstatSync(at('memory')).size;
    truncateSync(at('memory'), 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    truncateSync(at('memory'), size);
    await until(() => read(0x08) === 0x99, 'the content');
  });

  it('tells of a quarantined window that was touched, and of none before', async () => {
    expect(await simulator.control.canaries()).toMatchObject({
      quarantined: ['forbidden-block'],
      touched: [],
    });
    memory.write(0x9ffc, 32, 1n);
    expect((await simulator.control.canaries()).touched).toEqual(['forbidden-block']);
  });
});

describe('sysfs', () => {
  const FAN = 'sys/class/hwmon/hwmon0';

  it('is laid out as the kernel does, with links from class to device', () => {
    expect(firstLine(`${FAN}/name`)).toBe('testfan');
    expect(lstatSync(at(FAN)).isSymbolicLink()).toBe(true);
    expect(existsSync(at(`${FAN}/device/hwmon/hwmon0/pwm1`))).toBe(true);
    expect(firstLine('sys/class/thermal/thermal_zone0/type')).toBe('soc');
    expect(firstLine('sys/class/leds/green:status/brightness')).toBe('128');
    expect(firstLine('sys/class/power_supply/BAT0/status')).toBe('Discharging');
    expect(firstLine('sys/class/power_supply/BAT0/capacity')).toBe('87');
  });

  it('takes a written value, in the first line whatever stood there, and logs it', async () => {
    writeAttribute(`${FAN}/pwm1`, '200\n');
    await until(
      async () => (await simulator.control.get('test-fan', 'duty')).value === '200',
      'the duty',
    );
    writeAttribute(`${FAN}/pwm1`, '5\n');
    await until(
      async () => (await simulator.control.get('test-fan', 'duty')).value === '5',
      'the duty',
    );
    await until(() => /^5\n+$/.test(readFileSync(at(`${FAN}/pwm1`), 'latin1')), 'the padding');
    const log = await simulator.control.log('test-fan');
    expect(log.map((write) => write.value)).toEqual(['0xC8', '0x5']);
  });

  it('shows at once what a sensor is set to, also below zero', async () => {
    await simulator.control.set('test-fan', 'temperature', '-5250');
    expect(firstLine(`${FAN}/temp1_input`)).toBe('-5250');
    await simulator.control.set('test-zone', 'temp', '45000');
    expect(firstLine('sys/class/thermal/thermal_zone0/temp')).toBe('45000');
  });

  it('puts a read-only attribute and nonsense back', async () => {
    await simulator.control.set('test-fan', 'temperature', '40000');
    writeAttribute(`${FAN}/temp1_input`, '1\n');
    await until(() => firstLine(`${FAN}/temp1_input`) === '40000', 'the temperature');
    await simulator.control.set('test-fan', 'duty', '77');
    writeAttribute(`${FAN}/pwm1`, 'loud\n');
    await until(() => firstLine(`${FAN}/pwm1`) === '77', 'the duty');
  });

  it('fails with a real EIO, is absent, or shows garbage, until restored', async () => {
    const path = `${FAN}/temp1_input`;
    await simulator.control.set('test-fan', 'temperature', '41000');
    const fault = (kind: string) =>
      simulator.control.fault({ device: 'test-fan', register: 'temperature', kind });
    await fault('eio');
    expect(() => readFileSync(at(path))).toThrow(/EIO/);
    expect(firstLine(`${FAN}/pwm1`)).toMatch(/^\d+$/);
    await fault('restore');
    expect(firstLine(path)).toBe('41000');
    await fault('absent');
    expect(() => readFileSync(at(path))).toThrow(/ENOENT/);
    await fault('restore');
    expect(firstLine(path)).toBe('41000');
    await fault('garbage');
    expect(firstLine(path)).not.toMatch(/^-?\d+$/);
    await simulator.control.clear();
    expect(firstLine(path)).toBe('41000');
  });
});

describe('i2c', () => {
  let socket: Socket;
  let id = 0;
  const answers = new Map<number, I2cResponse>();

  beforeAll(async () => {
    const decoder = i2cResponseDecoder();
    socket = connect(at('i2c.sock'));
    socket.on('data', (chunk) => {
      for (const answer of decoder.push(chunk).messages) answers.set(answer.id, answer);
    });
    await new Promise((resolve) => socket.once('connect', resolve));
  });
  afterAll(() => socket.destroy());

  async function transfer(chip: number, write: number[], readLength: number) {
    const request = ++id;
    socket.write(
      encodeI2cRequest({ id: request, chip, write: Uint8Array.from(write), readLength }),
    );
    await until(() => answers.has(request), 'an answer');
    const { status, bytes } = answers.get(request) as I2cResponse;
    return status === 'ok' ? [...bytes] : status;
  }

  it('answers in each protocol of the profile, in its byte order', async () => {
    await transfer(0x50, [0x01, 0x7e], 0);
    await transfer(0x50, [0x02, 0x34, 0x12], 0);
    await transfer(0x50, [0x03, 0x12, 0x34], 0);
    await transfer(0x50, [0x10, 1, 2, 3, 4], 0);
    const value = async (register: string) =>
      (await simulator.control.get('test-chip', register)).hex;
    expect(await value('MODE')).toBe('0x7E');
    expect(await value('LEVEL')).toBe('0x1234');
    expect(await value('LIMIT')).toBe('0x1234');
    expect(await value('SERIAL')).toBe('0x01020304');
    expect(await transfer(0x50, [0x02], 2)).toEqual([0x34, 0x12]);
    expect(await transfer(0x50, [0x10], 4)).toEqual([1, 2, 3, 4]);
    const log = await simulator.control.log('test-chip');
    expect(log.map((write) => write.register)).toEqual(['MODE', 'LEVEL', 'LIMIT', 'SERIAL']);
  });

  it('does not acknowledge absent chips, unknown commands or writes of a wrong length', async () => {
    await simulator.control.set('test-chip', 'LEVEL', '0x5555');
    expect(await transfer(0x51, [0x01], 1)).toBe('nack');
    expect(await transfer(0x50, [0x99], 1)).toBe('nack');
    expect(await transfer(0x50, [0x02, 0x11], 0)).toBe('nack');
    expect((await simulator.control.get('test-chip', 'LEVEL')).hex).toBe('0x5555');
  });

  it('misbehaves as often as told and then works again', async () => {
    const fault = (kind: string, count: number) =>
      simulator.control.fault({ bus: 'i2c-0', kind, count });
    await fault('nack', 1);
    await fault('arbitration', 1);
    await fault('stuck', 1);
    expect(await transfer(0x50, [0x01], 1)).toBe('nack');
    expect(await transfer(0x50, [0x01], 1)).toBe('arbitration-lost');
    expect(await transfer(0x50, [0x01], 1)).toBe('timeout');
    expect(await transfer(0x50, [0x01], 1)).toHaveLength(1);
  });

  it('closes a connection that talks nonsense and serves the others', async () => {
    const other = connect(at('i2c.sock'));
    const closed = new Promise((resolve) => other.once('close', resolve));
    other.write(Buffer.from([1, 1]));
    await closed;
    expect(await transfer(0x50, [0x01], 1)).toHaveLength(1);
  });
});

describe('serial', () => {
  let port: SerialPort;
  let heard = Buffer.alloc(0);

  const open = async (): Promise<void> => {
    port = new SerialPort({ path: at('serial-0'), baudRate: 115_200, autoOpen: false });
    port.on('data', (chunk: Buffer) => {
      heard = Buffer.concat([heard, chunk]);
    });
    port.on('error', () => undefined);
    await new Promise<void>((resolve, reject) =>
      port.open((error) => (error === null ? resolve() : reject(error))),
    );
  };
  const close = (): Promise<void> =>
    new Promise((resolve) => (port.isOpen ? port.close(() => resolve()) : resolve()));
  beforeAll(open);
  afterAll(close);

  /** The answer's PDU in hexadecimal; the frame must be whole and its CRC good. */
  async function ask(pdu: number[], unit = 17, answerUnit = unit): Promise<string> {
    heard = Buffer.alloc(0);
    port.write(rtuFrame(unit, Uint8Array.from(pdu)));
    await until(() => heard.length >= 5 && crc16(heard) === 0, 'a whole answer');
    expect(heard.readUInt8(0)).toBe(answerUnit);
    return heard.subarray(1, -2).toString('hex');
  }

  /** Nothing comes for a while; then the line still works. */
  async function askSilence(bytes: Uint8Array): Promise<void> {
    heard = Buffer.alloc(0);
    port.write(bytes);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(heard).toHaveLength(0);
    expect(await ask([3, 0, 1, 0, 1])).toBe('03020003');
  }

  it('has the CRC of the specification', () => {
    // Serial Line Protocol 1.02 appendix B: 02 07 is followed by 41 12.
    expect(rtuFrame(2, Uint8Array.of(7)).toString('hex')).toBe('02074112');
  });

  it('reads and writes registers, wide ones with the high word first, and coils', async () => {
    expect(await ask([6, 0, 2, 0x01, 0xf4])).toBe('06000201f4');
    expect(await ask([3, 0, 2, 0, 1])).toBe('030201f4');
    expect(await ask([16, 0, 4, 0, 2, 4, 0x12, 0x34, 0x56, 0x78])).toBe('1000040002');
    expect((await simulator.control.get('test-unit', 'COUNT')).hex).toBe('0x12345678');
    expect(await ask([3, 0, 4, 0, 2])).toBe('030412345678');
    expect(await ask([5, 0, 7, 0xff, 0])).toBe('050007ff00');
    expect(await ask([1, 0, 7, 0, 1])).toBe('010101');
    expect(await ask([15, 0, 7, 0, 1, 1, 0])).toBe('0f00070001');
    expect(await ask([1, 0, 7, 0, 1])).toBe('010100');
    await simulator.control.set('test-unit', 'INPUT', '12000');
    expect(await ask([4, 0, 0, 0, 1])).toBe('04022ee0');
  });

  it('lets the self-clearing bit clear and the status follow', async () => {
    expect(await ask([6, 0, 0, 0, 3])).toBe('0600000003');
    expect(await ask([3, 0, 0, 0, 2])).toBe('030400010003');
  });

  it('refuses with the exceptions of the specification and changes nothing', async () => {
    await simulator.control.forget();
    expect(await ask([3, 0, 9, 0, 1])).toBe('8302');
    expect(await ask([6, 0, 1, 0, 1])).toBe('8602');
    expect(await ask([3, 0, 0, 0, 126])).toBe('8303');
    expect(await ask([6, 0, 2, 0x0b, 0xb9])).toBe('8603');
    expect(await ask([5, 0, 7, 0x12, 0])).toBe('8503');
    expect(await ask([43, 14, 1, 0])).toBe('ab01');
    expect(await simulator.control.log('test-unit')).toEqual([]);
  });

  it('stays silent for other units, broadcasts and broken frames, and finds the next request', async () => {
    await askSilence(rtuFrame(18, Uint8Array.of(3, 0, 1, 0, 1)));
    await askSilence(rtuFrame(0, Uint8Array.of(6, 0, 2, 0, 1)));
    const broken = rtuFrame(17, Uint8Array.of(3, 0, 1, 0, 1));
    broken.writeUInt8(broken.readUInt8(6) ^ 1, 6);
    await askSilence(broken);
    await askSilence(rtuFrame(17, Uint8Array.of(3, 0, 1, 0, 1)).subarray(0, 5));
  });

  it('answers a request that comes in pieces', async () => {
    const frame = rtuFrame(17, Uint8Array.of(3, 0, 1, 0, 1));
    heard = Buffer.alloc(0);
    port.write(frame.subarray(0, 3));
    await new Promise((resolve) => setTimeout(resolve, 3));
    port.write(frame.subarray(3));
    await until(() => heard.length === 7, 'the answer');
  });

  it('answers late, wrongly, from another unit, with an exception, or not at all, as told', async () => {
    const fault = (kind: string, more: object = {}) =>
      simulator.control.fault({ device: 'test-unit', kind, count: 1, ...more });
    await fault('late', { ms: 150 });
    const startMs = performance.now();
    expect(await ask([3, 0, 1, 0, 1])).toBe('03020003');
    expect(performance.now() - startMs).toBeGreaterThan(140);
    await fault('exception', { code: 6 });
    expect(await ask([3, 0, 1, 0, 1])).toBe('8306');
    await fault('wrong-unit');
    expect(await ask([3, 0, 1, 0, 1], 17, 18)).toBe('03020003');
    await fault('silent');
    await askSilence(rtuFrame(17, Uint8Array.of(3, 0, 1, 0, 1)));
    await fault('bad-crc');
    heard = Buffer.alloc(0);
    port.write(rtuFrame(17, Uint8Array.of(3, 0, 1, 0, 1)));
    await until(() => heard.length === 7, 'the broken answer');
    expect(crc16(heard)).not.toBe(0);
  });

  it('vanishes with its name and comes back as a new terminal under it', async () => {
    const hungUp = new Promise((resolve) => port.once('close', resolve));
    await simulator.control.fault({ bus: 'serial-0', kind: 'vanish' });
    expect(existsSync(at('serial-0'))).toBe(false);
    await hungUp;
    await simulator.control.fault({ bus: 'serial-0', kind: 'return' });
    await open();
    expect(await ask([3, 0, 1, 0, 1])).toBe('03020003');
  });

  it('keeps answering after the agent closed the terminal and opened it again', async () => {
    await close();
    await new Promise((resolve) => setTimeout(resolve, 30));
    await open();
    expect(await ask([3, 0, 1, 0, 1])).toBe('03020003');
  });
});

describe('the control socket', () => {
  const refusal = async (line: string): Promise<string> => {
    const answer = JSON.parse(await simulator.control.line(line)) as { ok: boolean; error: string };
    expect(answer.ok).toBe(false);
    return answer.error;
  };

  it('says what is wrong with a bad request and changes nothing', async () => {
    expect(await refusal('{"do"')).toBe('the line is no JSON');
    expect(await refusal('[]')).toBe('a request is one JSON object');
    expect(await refusal('{"do":"dance"}')).toContain('do: "dance" is unknown');
    expect(await refusal('{"do":"get","device":"nobody","register":"X"}')).toContain(
      'device: "nobody"',
    );
    expect(await refusal('{"do":"get","device":"0x800C","register":"X"}')).toContain(
      'device: "0x800C"',
    );
    expect(await refusal('{"do":"get","device":"test-fan","register":"X"}')).toContain(
      'it has duty',
    );
    expect(await refusal('{"do":"set","device":"test-fan","register":"duty","value":"256"}')).toBe(
      'value: 256 does not fit 8 bits',
    );
    expect(await refusal('{"do":"set","device":"9","register":"CONTROL","value":"1"}')).toContain(
      'quarantined',
    );
    expect(await refusal('{"do":"fault","kind":"nack"}')).toBe('name either a device or a bus');
    expect(await refusal('{"do":"fault","bus":"serial-0","kind":"nack"}')).toContain(
      'fault of i2c',
    );
    expect(await refusal('{"do":"fault","bus":"serial-0","kind":"late"}')).toContain('ms: nothing');
    expect(await refusal('{"do":"fault","bus":"i2c-0","kind":"nack","count":0}')).toContain(
      'count: 0',
    );
    expect(await refusal('{"do":"fault","device":"test-unit","kind":"vanish"}')).toContain(
      'whole bus',
    );
    expect(await refusal('{"do":"fault","bus":"sysfs-0","kind":"eio"}')).toContain(
      'needs a device',
    );
    expect(await refusal('{"do":"fault","bus":"i2c-0","kind":"melt"}')).toContain('none of late');
    expect((await simulator.control.ask({ do: 'faults' })).faults).toEqual([]);
    expect(await simulator.control.log()).toEqual([]);
  });

  it('closes a connection whose line never ends, and gives ids back', async () => {
    const endless = connect(at('control.sock'));
    const closed = new Promise((resolve) => endless.once('close', resolve));
    endless.on('data', () => undefined);
    endless.write('x'.repeat(100_000));
    await closed;
    expect(JSON.parse(await simulator.control.line('{"do":"ping","id":7}'))).toMatchObject({
      id: 7,
      ok: true,
      devices: 9,
    });
  });

  it('lets a timed fault end by itself', async () => {
    await simulator.control.fault({ device: 'test-light', kind: 'absent', durationMs: 50 });
    const path = 'sys/class/leds/green:status/brightness';
    await until(() => existsSync(at(path)), 'the attribute');
    expect((await simulator.control.ask({ do: 'faults' })).faults).toEqual([]);
  });
});
