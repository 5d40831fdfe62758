// Whom kernel must not touch, kept over its restarts in a real file.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeviceHold } from '#model/hold';
import { QuarantineFile } from '../../../src/bin/quarantine-file.ts';

let directory: string;
let path: string;
const errors: unknown[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-quarantine-'));
  path = join(directory, 'quarantine.json');
  errors.length = 0;
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const file = () => new QuarantineFile(path, (error) => errors.push(error));
const HOLD: DeviceHold = { device: 7, kind: 'quarantined', reason: 'looked odd', sinceWallMs: 5 };

describe('the quarantine file', () => {
  it('is recalled by the next process as it was remembered, and leaves nothing else behind', () => {
    expect(file().recall()).toEqual([]);
    file().remember([HOLD, { ...HOLD, device: 9 }]);
    file().remember([HOLD]);
    expect(file().recall()).toEqual([HOLD]);
    expect(readdirSync(directory)).toEqual(['quarantine.json']);
    expect(errors).toEqual([]);
  });

  it.each([
    ['no JSON', '{'],
    ['no list', '{"device":7}'],
    [
      'other kinds, devices that cannot be, half a hold',
      JSON.stringify([
        { ...HOLD, kind: 'stopped' },
        { ...HOLD, device: 84 },
        { ...HOLD, device: 0x8000 },
        { device: 7, kind: 'quarantined' },
        null,
      ]),
    ],
  ])('holds nobody when it is %s', (_what, text) => {
    writeFileSync(path, text);
    expect(file().recall()).toEqual([]);
  });

  it('says when it cannot be kept, and kernel goes on', () => {
    const lost = new QuarantineFile(join(directory, 'gone', 'x'), (error) => errors.push(error));
    lost.remember([HOLD]);
    expect(errors).toHaveLength(1);
  });
});
