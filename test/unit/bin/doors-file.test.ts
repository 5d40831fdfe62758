// Where interface says it listens: what people at the machine read of it, and that it is whole or absent.

import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readDoors, writeDoors } from '../../../src/bin/doors-file.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-doors-'));
  mkdirSync(join(directory, 'interface'));
});
afterEach(() => rmSync(directory, { recursive: true }));

it('is read as it was written, for its group and nobody else', () => {
  writeDoors(directory, { http: 'https://10.0.0.7:8443', grpc: '10.0.0.7:8444', simulator: null });
  const doors = readDoors(directory);
  expect(doors).toEqual({
    ok: true,
    value: {
      http: { host: '10.0.0.7', port: 8443 },
      grpc: { host: '10.0.0.7', port: 8444 },
      simulator: null,
    },
  });
  const status = statSync(join(directory, 'interface/doors.json'));
  expect(status.mode & 0o007).toBe(0);
  expect(readdirSync(join(directory, 'interface'))).toEqual(['doors.json']);
});

it('replaces what an earlier life wrote', () => {
  for (const port of [1_001, 1_002]) {
    writeDoors(directory, { http: `https://127.0.0.1:${port}`, grpc: '[::1]:9', simulator: '/s' });
  }
  const doors = readDoors(directory);
  expect(doors.ok && doors.value.http.port).toBe(1_002);
  expect(doors.ok && doors.value.grpc.host).toBe('::1');
  expect(doors.ok && doors.value.simulator).toBe('/s');
});

it.each(['0.0.0.0', '[::]', 'localhost'])('%s is tried at the loopback address', (host) => {
  writeDoors(directory, { http: `https://${host}:1`, grpc: `${host}:2`, simulator: null });
  const doors = readDoors(directory);
  expect(doors.ok && [doors.value.http.host, doors.value.grpc.host]).toEqual([
    '127.0.0.1',
    '127.0.0.1',
  ]);
});

it.each(['', '{', 'null', '{"http":"https://nowhere"}', '{"http":7,"grpc":8}'])(
  'holding %j it is a fault and no address',
  (text) => {
    writeFileSync(join(directory, 'interface/doors.json'), text);
    expect(readDoors(directory)).toMatchObject({ ok: false, fault: { code: 'TRACK_UNAVAILABLE' } });
  },
);
