// The registry: which bus serves which kind of description, as one list.

import type { Clock } from '#foundation/clock';
import type { BusDescription } from '#model/board';
import type { BusKind, RegisterBus } from '#model/bus';
import type { DeviceDescriptor } from '#model/device';
import { I2cBus, type I2cDescription } from './bus/i2c.ts';
import { KernelI2cAdapter } from './bus/i2c-kernel.ts';
import { SocketI2cAdapter } from './bus/i2c-socket.ts';
import { MemoryBus } from './bus/memory.ts';
import { modbusRtuBus } from './bus/modbus-rtu.ts';
import { modbusTcpBus } from './bus/modbus-tcp.ts';
import { PciBus } from './bus/pci.ts';
import { SysfsBus } from './bus/sysfs.ts';
import { UioBus } from './bus/uio.ts';
import { regionsOf } from './bus/window-region.ts';

type BusMaker<K extends BusKind> = (
  description: Extract<BusDescription, { readonly kind: K }>,
  devices: readonly DeviceDescriptor[],
  clock: Clock,
) => RegisterBus;

const BUS_MAKERS: { readonly [K in BusKind]: BusMaker<K> } = {
  memory: (description, devices) => new MemoryBus(description, regionsOf(devices)),
  pci: (description, devices) => new PciBus(description, regionsOf(devices)),
  uio: (description, devices) => new UioBus(description, regionsOf(devices)),
  sysfs: (description, _devices, clock) => new SysfsBus(description, clock),
  i2c: (description, _devices, clock) => new I2cBus(description, adapterOf(description), clock),
  serial: (description, _devices, clock) => modbusRtuBus(description, clock),
  'modbus-tcp': (description, _devices, clock) => modbusTcpBus(description, clock),
};

/**
 * The bus that a description stands for, made and not yet opened: its `open` may fail and be tried again.
 * Of `devices`, those on other buses are left out.
 */
export function openBus(
  description: BusDescription,
  devices: readonly DeviceDescriptor[],
  clock: Clock,
): RegisterBus {
  const onBus = devices.filter((device) => device.busId === description.id);
  // The table pairs each kind with its maker, which TypeScript cannot follow through an index.
  const make = BUS_MAKERS[description.kind] as BusMaker<BusKind>;
  return make(description, onBus, clock);
}

function adapterOf({ adapter }: I2cDescription): KernelI2cAdapter | SocketI2cAdapter {
  return 'socket' in adapter ? new SocketI2cAdapter(adapter.socket) : new KernelI2cAdapter(adapter);
}
