import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mapRefusal, type Refusal } from '../../../../drivers/native/map-refusal.ts';

const ROOT_CAPABILITIES = 'CapEff:\t000001ffffffffff\n';
const IOMEM = [
  '00001000-0009fbff : System RAM',
  'c0000000-febfffff : PCI Bus 0000:00',
  '  feb00000-feb0ffff : 0000:00:04.0',
  '    feb00000-feb0000f : i6300ESB timer',
  '',
].join('\n');

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'refusal-'));
});

afterEach(() => rmSync(directory, { recursive: true }));

function explain(
  machine: { readonly lockdown?: string; readonly iomem?: string; readonly status?: string },
  refusal: Partial<Refusal> & { readonly errno: string },
) {
  const evidence = { lockdown: '', iomem: '', status: '' };
  for (const name of ['lockdown', 'iomem', 'status'] as const) {
    evidence[name] = join(directory, name);
    const text = machine[name];
    if (text !== undefined) writeFileSync(evidence[name], text);
  }
  const error = Object.assign(new Error(`${refusal.errno} at /dev/mem`), { code: refusal.errno });
  return mapRefusal({ place: 'fan', step: 'map', error, ...refusal }, evidence);
}

describe('a refused mapping', () => {
  const open = { lockdown: '[none] integrity confidentiality\n', status: ROOT_CAPABILITIES };

  it('is laid to kernel lockdown when that is on', () => {
    const machine = { ...open, lockdown: 'none [integrity] confidentiality\n' };
    const found = explain(machine, { errno: 'EPERM', step: 'open' });
    expect(found.code).toBe('BUS_PERMISSION');
    expect(found.finding).toBe('kernel lockdown (integrity) keeps register windows closed');
  });

  it('is laid to the missing capability of the process', () => {
    const machine = { ...open, status: 'CapEff:\t0000000000000000\n' };
    expect(explain(machine, { errno: 'EPERM', step: 'open' }).finding).toContain('CAP_SYS_RAWIO');
  });

  it('is laid to STRICT_DEVMEM for system memory, and names the driver that owns a range', () => {
    const machine = { ...open, iomem: IOMEM };
    const memory = explain(machine, { errno: 'EPERM', range: { address: 0x2000, length: 4096 } });
    expect(memory.finding).toContain('STRICT_DEVMEM');
    const claimed = explain(machine, {
      errno: 'EPERM',
      range: { address: 0xfeb00000, length: 4096 },
    });
    expect(claimed.finding).toBe('i6300ESB timer owns the range (IO_STRICT_DEVMEM)');
  });

  it('of a PCI BAR with EINVAL is laid to the driver that claimed it', () => {
    const range = { address: 0xfeb00000, length: 16 };
    const found = explain({ iomem: IOMEM }, { errno: 'EINVAL', step: 'map-bar', range });
    expect(found.code).toBe('BUS_PERMISSION');
    expect(found.finding).toBe('i6300ESB timer owns the range');
    expect(explain({}, { errno: 'EINVAL', range }).code).toBe('BUS_IO');
  });

  it('is explained as far as possible when the machine tells nothing', () => {
    const found = explain({}, { errno: 'EPERM', range: { address: 0xfeb00000, length: 16 } });
    expect(found.finding).toContain('STRICT_DEVMEM, or a kernel driver');
  });

  it('keeps paths and addresses out of what goes over the network', () => {
    const machine = { ...open, iomem: IOMEM };
    for (const errno of ['EPERM', 'ENOENT', 'EACCES', 'EINVAL', 'EBUSY', 'ENODEV', 'EWEIRD']) {
      const { finding, consequence, internal } = explain(machine, {
        errno,
        range: { address: 0xfeb00000, length: 16 },
      });
      expect(`${finding} ${consequence}`).not.toMatch(/0x|feb0|\/dev/);
      expect(internal).toContain('0xfeb00000');
    }
  });
});
