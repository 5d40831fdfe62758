// Memory windows in the guest: QEMU's edu through its BAR, /dev/mem and UIO, shared memory through UIO.
// Source: docs/specs/edu and docs/specs/ivshmem-spec of QEMU 7.2.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { MemoryBus } from '#drivers/bus/memory';
import { PciBus } from '#drivers/bus/pci';
import { UioBus } from '#drivers/bus/uio';
import type { WindowBus } from '#drivers/bus/window-bus';
import { systemClock } from '#foundation/clock';
import type { Word } from '#model/register';
import {
  at,
  barAddress,
  EDU,
  got,
  IVSHMEM,
  opened,
  read,
  refused,
  soon,
  until,
  WATCHDOG,
  write,
} from './access.ts';
import { check } from './report.ts';

const PCI_ROOT = '/sys/bus/pci/devices';
const UIO_ROOT = '/sys/class/uio';
const EDU_IDENTIFICATION = 0x0100_00edn;
const IDENTIFICATION = 0x00;
const LIVENESS = 0x04;
const FACTORIAL = 0x08;
const STATUS = 0x20;
const DMA_SOURCE = 0x80;
const EDU_BAR_BYTES = 0x10_0000;

export function eduBus(): PciBus {
  return new PciBus(
    { id: 'edu', kind: 'pci', match: EDU, bar: 0, root: PCI_ROOT, accessTimeoutMs: 50 },
    [{ device: 0, place: 'edu', address: 0, length: EDU_BAR_BYTES }],
  );
}

export function physicalBus(address: number, length: number): MemoryBus {
  return new MemoryBus(
    { id: 'physical', kind: 'memory', path: '/dev/mem', origin: 0, accessTimeoutMs: 50 },
    [{ device: 0, place: 'window', address, length }],
  );
}

export function watchdogBar(): PciBus {
  return new PciBus(
    { id: 'bar', kind: 'pci', match: WATCHDOG, bar: 0, root: PCI_ROOT, accessTimeoutMs: 50 },
    [{ device: 0, place: 'watchdog', address: 0, length: 16 }],
  );
}

async function showsLiveness(bus: WindowBus, base: number, challenge: Word): Promise<string> {
  await write(bus, at(base + LIVENESS), challenge);
  const answer = await read(bus, at(base + LIVENESS));
  assert.equal(answer, challenge ^ 0xffff_ffffn);
  return `0x${challenge.toString(16)} came back as 0x${answer.toString(16)}`;
}

export async function checkWindows(): Promise<void> {
  const edu = eduBus();
  await check('edu shows its identification through its PCI BAR', async () => {
    await opened(edu);
    assert.equal(await read(edu, at(IDENTIFICATION)), EDU_IDENTIFICATION);
    return '0x10000ed';
  });
  await check('edu inverts its liveness register through its PCI BAR', () =>
    showsLiveness(edu, 0, 0xdead_beefn),
  );
  await check('edu computes a factorial through its PCI BAR', async () => {
    await write(edu, at(FACTORIAL), 6n);
    for (let look = 0; ((await read(edu, at(STATUS))) & 1n) === 1n; look++) {
      assert.ok(look < 500, 'edu is still computing after 500 looks');
      await systemClock.sleep(1);
    }
    assert.equal(await read(edu, at(FACTORIAL)), 720n);
    return '6! is 720';
  });
  await check('a 64-bit register of edu is written and read in one access', async () => {
    // edu answers an 8-byte read below 0x80 with all ones, so two 4-byte reads would show the identification.
    assert.equal(await read(edu, at(IDENTIFICATION, 64)), 0xffff_ffff_ffff_ffffn);
    await write(edu, at(DMA_SOURCE, 64), 0x0123_4567_89ab_cdefn);
    assert.equal(await read(edu, at(DMA_SOURCE, 64)), 0x0123_4567_89ab_cdefn);
    await write(edu, at(DMA_SOURCE, 64), 0n);
    return '0x0123456789abcdef kept whole';
  });
  await check('registers of edu are read in one batch, each with its own outcome', async () => {
    const cells = [at(IDENTIFICATION), at(EDU_BAR_BYTES), at(STATUS), at(1)];
    const [identification, beyond, status, misaligned] = await edu.readMany(cells, soon());
    assert.ok(identification && beyond && status && misaligned);
    assert.equal(got(identification), EDU_IDENTIFICATION);
    refused(beyond, 'WINDOW_EXCEEDED');
    got(status);
    refused(misaligned, 'WINDOW_MISALIGNED');
    return 'two words, one beyond the window, one misaligned';
  });
  await check('edu answers through /dev/mem', async () => {
    const base = barAddress(EDU.vendor, EDU.device, 0);
    const physical = await opened(physicalBus(base, 0x1000));
    assert.equal(await read(physical, at(base)), EDU_IDENTIFICATION);
    const detail = await showsLiveness(physical, base, 0x1234_5678n);
    await physical.close();
    return detail;
  });
  await check('system memory through /dev/mem is refused with its reason', async () => {
    const outcome = await physicalBus(0x100_0000, 0x1000).open(soon());
    const { finding } = refused(outcome, 'BUS_PERMISSION');
    assert.match(finding, /system memory.*STRICT_DEVMEM/);
    return finding;
  });
  await check('a PCI function that is not there is an absent bus', async () => {
    const bus = new PciBus(
      {
        id: 'none',
        kind: 'pci',
        match: { vendor: 0xdead, device: 0xbeef },
        bar: 0,
        root: PCI_ROOT,
        accessTimeoutMs: 50,
      },
      [],
    );
    return refused(await bus.open(soon()), 'BUS_ABSENT').finding;
  });
}

/** With iomem=relaxed only: the kernel lets go of ranges that its own drivers own. */
export async function checkRelaxed(): Promise<void> {
  await check('the BAR of a kernel driver is open under iomem=relaxed', async () => {
    const bar = await opened(watchdogBar());
    const word = await read(bar, at(0));
    await bar.close();
    return `first word of i6300esb is 0x${word.toString(16)}`;
  });
}

export async function checkUio(): Promise<void> {
  const shared = new UioBus(
    {
      id: 'shared',
      kind: 'uio',
      match: { name: 'CIF_???' },
      map: 1,
      root: UIO_ROOT,
      accessTimeoutMs: 50,
    },
    [{ device: 0, place: 'shared', address: 0, length: 0x10_0000 }],
  );
  await check('a UIO map of uio_cif is memory shared with the host', async () => {
    // ivshmem has a small BAR 0 and memory in BAR 2, which is all that the driver asks of its card.
    bindUio('hilscher', IVSHMEM);
    await until('a UIO device', () => (existsSync(`${UIO_ROOT}/uio0/name`) ? true : undefined));
    await opened(shared);
    await write(shared, at(0x00, 8), 0x11n);
    await write(shared, at(0x02, 16), 0x3322n);
    await write(shared, at(0x04, 32), 0x7766_5544n);
    await write(shared, at(0x08, 64), 0xffee_ddcc_bbaa_9988n);
    assert.equal(await read(shared, at(0x08, 64)), 0xffee_ddcc_bbaa_9988n);
    assert.equal(await read(shared, at(0x0a, 16)), 0xbbaan);
    await write(shared, at(0xf_fffc), 0x600d_600dn);
    return `${readFileSync(`${UIO_ROOT}/uio0/name`, 'utf8').trim()}, 1 MiB in map 1`;
  });
  await check('an access beyond a UIO map is refused', async () => {
    return refused(await shared.read(at(0x10_0000), soon()), 'WINDOW_EXCEEDED').finding;
  });
  await check('edu answers through a UIO map of uio_pci_generic', async () => {
    bindUio('uio_pci_generic', EDU);
    const bus = new UioBus(
      {
        id: 'edu-uio',
        kind: 'uio',
        match: { name: 'uio_pci_generic' },
        map: 0,
        root: UIO_ROOT,
        accessTimeoutMs: 50,
      },
      [{ device: 0, place: 'edu', address: 0, length: 0x1000 }],
    );
    await until('a second UIO device', () =>
      existsSync(`${UIO_ROOT}/uio1/name`) ? true : undefined,
    );
    await opened(bus);
    assert.equal(await read(bus, at(IDENTIFICATION)), EDU_IDENTIFICATION);
    const detail = await showsLiveness(bus, 0, 0x0f0f_0f0fn);
    await bus.close();
    return detail;
  });
}

export function bindUio(driver: string, ids: { vendor: number; device: number }): void {
  const text = `${ids.vendor.toString(16)} ${ids.device.toString(16)}`;
  writeFileSync(`/sys/bus/pci/drivers/${driver}/new_id`, text);
}
