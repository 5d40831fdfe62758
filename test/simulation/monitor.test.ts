// The judge of the simulation under test: each broken promise that it is there for is noticed and named.

import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { Deadline } from '#foundation/deadline';
import type { Cell } from '#model/bus';
import { type LinearId, registerOf } from '#model/device';
import { type Meddled, simulate } from './simulation.ts';

const VALVE = 0;
const FORBIDDEN = 9;
const QUIET = { seed: 3, durationMs: 600, chaos: 'none' } as const;

async function invariantsBrokenBy(meddle: (agent: Meddled) => void) {
  const { violations } = await simulate({ ...QUIET, meddle });
  return violations.map(({ invariant }) => invariant);
}

function cellOf({ bench }: Meddled, device: LinearId, register: string): Cell {
  const descriptor = bench.board.devices.find(({ id }) => id === device);
  const placed = descriptor === undefined ? undefined : registerOf(descriptor, register);
  if (descriptor === undefined || placed === undefined) throw new Error('not on the bench board');
  const { spec, location } = placed;
  const place = `${descriptor.slug}.${register}`;
  return { device, place, widthBits: spec.widthBits, location };
}

/** Past every check of kernel, straight to the bus. */
function writeAnyway(agent: Meddled, device: LinearId, register: string, word: bigint): void {
  const bus = agent.bench.kernel?.queues.get('memory')?.bus;
  const deadline = Deadline.after(agent.clock, 100);
  void bus?.write(cellOf(agent, device, register), word, deadline);
}

describe('the judge of the simulation', () => {
  it('finds nothing where nobody meddles', async () => {
    expect(await invariantsBrokenBy(() => undefined)).toEqual([]);
  });

  it('notices a write that no plan holds', async () => {
    expect(await invariantsBrokenBy((agent) => writeAnyway(agent, VALVE, 'CONFIG', 77n))).toContain(
      'I2',
    );
  });

  it('notices a write after a stop', async () => {
    const broken = await invariantsBrokenBy((agent) => {
      agent.bench.latch.engage('interface');
      writeAnyway(agent, VALVE, 'CONFIG', 77n);
    });
    expect(broken).toContain('I1');
  });

  it('notices a device that leaves its safe values to themselves', async () => {
    const broken = await invariantsBrokenBy((agent) => {
      agent.bench.kernel?.interlock.hold('nobody may write');
      // As a kernel that does not hear the bell: the latch is engaged and no device is driven.
      agent.bench.latch.deafen();
      writeAnyway(agent, VALVE, 'CONTROL', 0n);
      agent.bench.latch.engage('interface');
    });
    expect(broken).toContain('I5');
  });

  it('notices that a quarantined device is read', async () => {
    const broken = await invariantsBrokenBy((agent) => {
      const bus = agent.bench.kernel?.queues.get('memory')?.bus;
      void bus?.read(cellOf(agent, FORBIDDEN, 'STATUS'), Deadline.after(agent.clock, 100));
    });
    expect(broken).toContain('I6');
  });

  it('notices that the record was changed', async () => {
    const changed = await invariantsBrokenBy(({ database }) => {
      const file = new DatabaseSync(database);
      file.exec(
        `UPDATE audit SET body = replace(body, '"actor":"', '"actor":"not ') WHERE sequence = 2`,
      );
      file.close();
    });
    expect(changed).toContain('I4');
  });

  it('notices what is thrown where nobody catches it', async () => {
    const broken = await invariantsBrokenBy(() => {
      void Promise.reject(new Error('nobody waits for this'));
    });
    expect(broken).toContain('I8');
  });
});
