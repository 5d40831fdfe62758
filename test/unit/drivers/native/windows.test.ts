import { spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  PAGE_BYTES,
  RegisterWindow,
  WindowBatch,
  type WindowRequest,
} from '../../../../drivers/native/windows.ts';

const FILE_BYTES = 4 * PAGE_BYTES;
const WIDTHS = [8, 16, 32, 64] as const;

let directory: string;
let path: string;
let opened: RegisterWindow[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'windows-'));
  path = join(directory, 'registers');
  writeFileSync(path, Buffer.alloc(FILE_BYTES));
  opened = [];
});

afterEach(() => {
  for (const window of opened) window.close();
  rmSync(directory, { recursive: true });
});

function request(changes: Partial<WindowRequest> = {}): WindowRequest {
  const source = { path };
  return { place: 'rig', source, offset: 0, length: FILE_BYTES, access: 'read-write', ...changes };
}

function map(changes: Partial<WindowRequest> = {}): RegisterWindow {
  const mapped = RegisterWindow.map(request(changes));
  if (!mapped.ok) throw new Error(JSON.stringify(mapped.fault));
  opened.push(mapped.value);
  return mapped.value;
}

function faultOf(outcome: { ok: boolean; fault?: { code: string } }): string {
  return outcome.ok ? 'none' : (outcome.fault?.code ?? 'none');
}

describe('a register window', () => {
  it('reads and writes each width exactly, little-endian, and leaves the neighbours alone', () => {
    const window = map();
    for (const widthBits of WIDTHS) {
      writeFileSync(path, Buffer.alloc(FILE_BYTES, 0xee));
      const word = 0x8877_6655_4433_2211n & ((1n << BigInt(widthBits)) - 1n);
      expect(window.writeWord(64, widthBits, word)).toEqual({ ok: true, value: undefined });
      const expected = Buffer.alloc(FILE_BYTES, 0xee);
      for (let byte = 0; byte < widthBits / 8; byte++) expected[64 + byte] = 0x11 * (byte + 1);
      expect(readFileSync(path).equals(expected)).toBe(true);
      expect(window.readWord(64, widthBits)).toEqual({ ok: true, value: word });
    }
  });

  it('reads the top bit of a register as an unsigned word', () => {
    writeFileSync(path, Buffer.alloc(FILE_BYTES, 0xff));
    const window = map();
    expect(WIDTHS.map((width) => window.read(8, width))).toEqual([
      0xff,
      0xffff,
      0xffff_ffff,
      0xffff_ffff_ffff_ffffn,
    ]);
  });

  it('starts anywhere in a page and ends exactly where it was told', () => {
    writeFileSync(
      path,
      Buffer.from(Array.from({ length: FILE_BYTES }, (_, index) => index & 0xff)),
    );
    const window = map({ offset: PAGE_BYTES + 40, length: 12 });
    expect(window.read(0, 8)).toBe(40);
    expect(window.read(11, 8)).toBe(51);
    expect(faultOf(window.readWord(12, 8))).toBe('WINDOW_EXCEEDED');
    expect(faultOf(window.readWord(8, 64))).toBe('WINDOW_EXCEEDED');
  });

  it('refuses a misaligned access and one outside, whatever number names the place', () => {
    const window = map({ length: 64 });
    for (const offset of [1, 2, 3, 62, 0.5]) {
      expect(faultOf(window.readWord(offset, 32))).toMatch(/MISALIGNED|EXCEEDED/);
    }
    expect(faultOf(window.readWord(2, 32))).toBe('WINDOW_MISALIGNED');
    for (const offset of [-4, 64, 2 ** 32, 2 ** 53, -(2 ** 32), Infinity, NaN]) {
      expect(faultOf(window.readWord(offset, 32))).toBe('WINDOW_EXCEEDED');
      expect(faultOf(window.writeWord(offset, 32, 1n))).toBe('WINDOW_EXCEEDED');
    }
    expect(readFileSync(path).every((byte) => byte === 0)).toBe(true);
  });

  it('refuses a word that does not fit and writes nothing', () => {
    const window = map();
    for (const width of WIDTHS) {
      for (const word of [1n << BigInt(width), -1n]) {
        expect(faultOf(window.writeWord(0, width, word))).toBe('VALUE_TOO_WIDE');
      }
    }
    expect(readFileSync(path).every((byte) => byte === 0)).toBe(true);
  });

  it('refuses a write when it is mapped read-only', () => {
    const window = map({ access: 'read-only' });
    expect(faultOf(window.writeWord(0, 32, 1n))).toBe('REGISTER_READ_ONLY');
    expect(window.readWord(0, 32)).toEqual({ ok: true, value: 0n });
    const batch = new WindowBatch([{ window, offset: 0, widthBits: 32 }]);
    expect(batch.write(Uint32Array.of(1))?.index).toBe(0);
    expect(readFileSync(path).every((byte) => byte === 0)).toBe(true);
  });

  it('refuses once closed, also when its place was given to another window', () => {
    const window = map();
    const batch = new WindowBatch([{ window, offset: 0, widthBits: 32 }]);
    window.close();
    window.close();
    for (let count = 0; count < 5000; count++) map({ length: 64 }).close();
    const survivor = map({ length: 64 });
    expect(faultOf(window.readWord(0, 32))).toBe('BUS_ABSENT');
    expect(faultOf(window.writeWord(0, 32, 1n))).toBe('BUS_ABSENT');
    expect(batch.current()).toBe(false);
    expect(batch.read(new Uint32Array(1))).toEqual({ index: 0, code: -1 });
    expect(survivor.readWord(0, 32).ok).toBe(true);
  });

  it('keeps the file open by itself, so the descriptor it was mapped from may be closed', () => {
    const fd = openSync(path, 'r+');
    const window = map({ source: { fd } });
    closeSync(fd);
    expect(window.writeWord(16, 32, 7n).ok).toBe(true);
    expect(readFileSync(path).readUInt32LE(16)).toBe(7);
  });

  it('refuses what cannot be mapped, and says what it is', () => {
    const codeOf = (changes: Partial<WindowRequest>) =>
      faultOf(RegisterWindow.map(request(changes)));
    expect(codeOf({ source: { path: join(directory, 'nothing') } })).toBe('BUS_ABSENT');
    expect(codeOf({ source: { path: directory } })).toBe('BUS_ABSENT');
    expect(codeOf({ source: { path: '/dev/null' } })).toBe('BUS_ABSENT');
    expect(codeOf({ source: { fd: 9999 } })).toBe('BUS_IO');
    for (const length of [0, -1, NaN, 2 ** 32 + 1]) {
      expect(codeOf({ length })).toBe('WINDOW_EXCEEDED');
    }
    expect(codeOf({ offset: -PAGE_BYTES })).toBe('WINDOW_EXCEEDED');
    const beyond = RegisterWindow.map(request({ offset: PAGE_BYTES }));
    expect(beyond.ok || beyond.fault.finding).toContain(
      `ends ${PAGE_BYTES} bytes beyond a file of ${FILE_BYTES} bytes`,
    );
  });
});

describe('a file truncated while mapped', () => {
  it('gives a fault for each access to what is gone, and the rest still works', () => {
    const window = map();
    truncateSync(path, PAGE_BYTES);
    for (let times = 0; times < 3; times++) {
      for (const width of WIDTHS) {
        const read = window.readWord(PAGE_BYTES, width);
        const written = window.writeWord(PAGE_BYTES, width, 1n);
        expect(faultOf(read)).toBe('BUS_ERROR_SIGNAL');
        expect(written.ok || written.fault).toMatchObject({
          code: 'BUS_ERROR_SIGNAL',
          metal: 'unknown',
        });
      }
      expect(window.writeWord(0, 32, BigInt(times)).ok).toBe(true);
      expect(window.read(0, 32)).toBe(times);
    }
    truncateSync(path, FILE_BYTES);
    expect(window.read(PAGE_BYTES, 32)).toBe(0);
  });

  it('stops a batch at the register that does not answer, with those before it done', () => {
    const window = map();
    for (let index = 0; index < 8; index++) window.write(PAGE_BYTES - 16 + index * 4, 32, 100n);
    const offsets = Array.from({ length: 8 }, (_, index) => PAGE_BYTES - 16 + index * 4);
    const batch = new WindowBatch(
      offsets.map((offset) => ({ window, offset, widthBits: 32 as const })),
    );
    truncateSync(path, PAGE_BYTES);
    const words = new Uint32Array(8);
    expect(batch.read(words)).toEqual({ index: 4, code: -5 });
    expect([...words]).toEqual([100, 100, 100, 100, 0, 0, 0, 0]);
    expect(batch.write(new Uint32Array(8).fill(9))).toEqual({ index: 4, code: -5 });
    expect(readFileSync(path).readUInt32LE(PAGE_BYTES - 4)).toBe(9);
  });

  it('is survived by a worker thread too, and by the process after the worker has ended', async () => {
    const module = join(import.meta.dirname, '../../../../drivers/native/windows.ts');
    const worker = new Worker(
      `const { parentPort, workerData } = require('node:worker_threads');
       const { truncateSync } = require('node:fs');
       import(workerData.module).then(({ RegisterWindow }) => {
         const mapped = RegisterWindow.map({ place: 'worker', source: { path: workerData.path },
           offset: 0, length: workerData.length, access: 'read-write' });
         truncateSync(workerData.path, 0);
         parentPort.postMessage(mapped.value.readWord(0, 32).fault.code);
       });`,
      { eval: true, workerData: { module, path, length: FILE_BYTES } },
    );
    const found = await new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    await worker.terminate();
    expect(found).toBe('BUS_ERROR_SIGNAL');
    writeFileSync(path, Buffer.alloc(FILE_BYTES));
    const window = map();
    truncateSync(path, 0);
    expect(faultOf(window.readWord(0, 32))).toBe('BUS_ERROR_SIGNAL');
  });

  it('does not hide a bus error elsewhere: the process still ends by SIGBUS', () => {
    const program = `
      import { RegisterWindow } from ${JSON.stringify(join(import.meta.dirname, '../../../../drivers/native/windows.ts'))};
      const mapped = RegisterWindow.map({ place: 'x', source: { path: ${JSON.stringify(path)} },
        offset: 0, length: 64, access: 'read-write' });
      if (!mapped.ok) process.exit(3);
      process.kill(process.pid, 'SIGBUS');
      setTimeout(() => process.exit(4), 5000);`;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', program]);
    expect(child.signal).toBe('SIGBUS');
  });
});

describe('two processes that map one file', () => {
  it('see what the other one writes', () => {
    const window = map();
    window.write(128, 32, 0x1234_5678n);
    const program = `
      import { RegisterWindow } from ${JSON.stringify(join(import.meta.dirname, '../../../../drivers/native/windows.ts'))};
      const mapped = RegisterWindow.map({ place: 'x', source: { path: ${JSON.stringify(path)} },
        offset: 128, length: 8, access: 'read-write' });
      if (!mapped.ok) process.exit(3);
      process.exit(mapped.value.writeWord(4, 32, BigInt(mapped.value.read(0, 32)) + 1n).ok ? 0 : 4);`;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', program]);
    expect({ status: child.status, stderr: `${child.stderr}` }).toMatchObject({ status: 0 });
    expect(window.read(132, 32)).toBe(0x1234_5679);
  });
});

describe('a batch', () => {
  // Single registers and rows of neighbours, which a batch puts together.
  const cells = fc
    .array(
      fc.record({
        window: fc.nat({ max: 2 }),
        widthBits: fc.constantFrom(...WIDTHS),
        slot: fc.nat({ max: 40 }),
        neighbours: fc.nat({ max: 8 }),
      }),
      { maxLength: 30 },
    )
    .map((choices) =>
      choices.flatMap(({ window, widthBits, slot, neighbours }) =>
        Array.from({ length: neighbours + 1 }, (_, index) => ({
          window,
          widthBits,
          slot: slot + index,
        })),
      ),
    );

  function windows(): RegisterWindow[] {
    const places = [
      { offset: 0, length: 400 },
      { offset: 512, length: 400 },
      { offset: PAGE_BYTES + 8, length: 400 },
    ];
    return places.map((place) => map(place));
  }

  it('reads the same as single reads in any order and width', () => {
    writeFileSync(
      path,
      Buffer.from(Array.from({ length: FILE_BYTES }, (_, index) => (index * 7 + 3) & 0xff)),
    );
    const mapped = windows();
    fc.assert(
      fc.property(cells, (choices) => {
        const entries = choices.flatMap(({ window, widthBits, slot }) => {
          const chosen = mapped[window];
          return chosen === undefined
            ? []
            : [{ window: chosen, offset: (slot * widthBits) / 8, widthBits }];
        });
        const batch = new WindowBatch(entries);
        const words = new BigUint64Array(entries.length);
        expect(batch.read(words)).toBeUndefined();
        const single = entries.map((cell) => BigInt(cell.window.read(cell.offset, cell.widthBits)));
        expect([...words]).toEqual(single);
        const narrow = new WindowBatch(entries.filter((cell) => cell.widthBits < 64));
        const numbers = new Uint32Array(narrow.count);
        expect(narrow.read(numbers)).toBeUndefined();
        expect([...numbers]).toEqual(
          narrow.cells.map((cell) => cell.window.read(cell.offset, cell.widthBits)),
        );
      }),
      { numRuns: 100 },
    );
  });

  it('writes the same bytes as single writes in the same order', () => {
    const mapped = windows();
    fc.assert(
      fc.property(cells, fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (choices, seed) => {
        const entries = choices.flatMap(({ window, widthBits, slot }) => {
          const chosen = mapped[window];
          return chosen === undefined
            ? []
            : [{ window: chosen, offset: (slot * widthBits) / 8, widthBits }];
        });
        const words = BigUint64Array.from(entries, (cell, index) =>
          BigInt.asUintN(cell.widthBits, seed + BigInt(index) * 0x9e37_79b9_7f4a_7c15n),
        );
        writeFileSync(path, Buffer.alloc(FILE_BYTES));
        entries.forEach((cell, index) => {
          cell.window.write(cell.offset, cell.widthBits, words[index] ?? 0n);
        });
        const expected = readFileSync(path);
        writeFileSync(path, Buffer.alloc(FILE_BYTES));
        expect(new WindowBatch(entries).write(words)).toBeUndefined();
        expect(readFileSync(path).equals(expected)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it('stops at the first entry that may not be accessed, names it, and goes on behind it', () => {
    const window = map({ length: 64 });
    window.write(60, 32, 5n);
    const batch = new WindowBatch([
      { window, offset: 60, widthBits: 32 },
      { window, offset: 64, widthBits: 32 },
      { window, offset: 61, widthBits: 16 },
      { window, offset: 2 ** 32 + 60, widthBits: 32 },
      { window, offset: -4, widthBits: 32 },
      { window, offset: 60, widthBits: 32 },
    ]);
    const words = new Uint32Array(6);
    expect(batch.read(words)).toEqual({ index: 1, code: -2 });
    expect(batch.read(words, 2)).toEqual({ index: 2, code: -3 });
    expect(batch.read(words, 3)).toMatchObject({ index: 3 });
    expect(batch.read(words, 4)).toMatchObject({ index: 4 });
    expect(batch.read(words, 5)).toBeUndefined();
    expect([...words]).toEqual([5, 0, 0, 0, 0, 5]);
  });

  it('stops inside a row of neighbours where the window ends, and starts inside one', () => {
    const window = map({ length: 64 });
    for (let index = 0; index < 16; index++) window.write(index * 4, 32, BigInt(index + 1));
    const offsets = Array.from({ length: 8 }, (_, index) => 48 + index * 4);
    const batch = new WindowBatch(
      offsets.map((offset) => ({ window, offset, widthBits: 32 as const })),
    );
    const words = new Uint32Array(8);
    expect(batch.read(words, 2)).toEqual({ index: 4, code: -2 });
    expect([...words]).toEqual([0, 0, 15, 16, 0, 0, 0, 0]);
    expect(batch.read(words, 6)).toEqual({ index: 6, code: -2 });
    expect(batch.write(words.fill(99))).toEqual({ index: 4, code: -2 });
    expect(window.read(60, 32)).toBe(16);
    const whole = new WindowBatch(batch.cells.slice(0, 4));
    expect(whole.write(words, 3)).toBeUndefined();
    expect([48, 52, 56, 60].map((offset) => window.read(offset, 32))).toEqual([13, 14, 15, 99]);
  });

  it('writes nothing at all when one of its words or entries is refused', () => {
    const window = map({ length: 64 });
    const wide = new WindowBatch([
      { window, offset: 0, widthBits: 8 },
      { window, offset: 4, widthBits: 8 },
    ]);
    expect(wide.write(Uint32Array.of(1, 256))).toEqual({ index: 1, code: -6 });
    expect(wide.write(Uint32Array.of(1))).toEqual({ index: 0, code: -8 });
    expect(wide.read(Uint32Array.of(1))).toEqual({ index: 0, code: -8 });
    const outside = new WindowBatch([
      { window, offset: 0, widthBits: 64 },
      { window, offset: 60, widthBits: 64 },
    ]);
    expect(outside.write(BigUint64Array.of(1n, 2n))).toEqual({ index: 1, code: -2 });
    expect(outside.read(new Uint32Array(2))).toEqual({ index: 0, code: -7 });
    expect(readFileSync(path).every((byte) => byte === 0)).toBe(true);
  });
});
