// Every state of a transaction times every set of processes that can die there: afterwards both devices hold the new
// values, or both the old ones, or both are held in doubt; it is on record which; and the agent works again.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TRANSACTION_STATES, type TransactionState } from '#model/transaction';
import { Agent } from '../support/agent.ts';
import {
  alive,
  auditOf,
  heldBy,
  lastSequence,
  type ProcessName,
  resetStop,
  verdict,
  withSimulator,
} from './watch.ts';

const VICTIMS: readonly (readonly ProcessName[])[] = [
  ['kernel'],
  ['security'],
  ['kernel', 'security'],
  ['kernel', 'security', 'interface'],
];
/** What may become of it; where nobody may have asked kernel nothing may stand, and what kernel has done does. */
const POSSIBLE: Readonly<Record<TransactionState, readonly Fate[]>> = {
  PREPARING: ['old'],
  PREPARED: ['old'],
  DECIDED: ['old'],
  COMMITTING: ['old', 'new', 'held'],
  COMMITTED: ['new'],
  RECORDED: ['new'],
};
type Fate = 'old' | 'new' | 'held';

/** So slow that a process dies between the write to the one device and the write to the other. */
const LATE_MS = 120;
const SPARE = '0x8000';

function profile(bus: 'memory' | 'modbus', place: string): string {
  return `format: 1
id: plain-${bus}
version: 1.0.0
description: One configuration word.
bus: ${bus}
registers:
  - { name: CONFIG, ${place}, width: 32, access: rw, description: Configuration word. }
observe:
  registers: [CONFIG]
  power:
    - { when: [{ register: CONFIG, minimum: 0 }], state: "ON" }
  status:
    - { when: [{ register: CONFIG, minimum: 0 }], state: OPERATIONAL }
`;
}

interface Row {
  readonly name: string;
  readonly state: TransactionState;
  readonly victims: readonly ProcessName[];
  /** A device in a memory window and one on a serial line, which no other row uses. */
  readonly memory: string;
  readonly serial: string;
  readonly value: number;
}

/** The nth device from a group on, twelve to a group. */
function tokenAt(group: number, number: number): string {
  const token = 0x8000 + (group + Math.floor(number / 12)) * 0x10 + (number % 12);
  return `0x${token.toString(16)}`;
}

const ROWS: readonly Row[] = TRANSACTION_STATES.flatMap((state, at) =>
  VICTIMS.map((victims, by): Row => {
    const number = at * VICTIMS.length + by;
    return {
      name: `${state} ${victims.join('+')}`,
      state,
      victims,
      memory: tokenAt(3, number),
      serial: tokenAt(5, number),
      value: 0x1000 + number,
    };
  }),
);

function board(): string {
  const device = (token: string, bus: string, kind: string, at: string) =>
    `  - { token: ${token}, name: "Block ${token}", bus: ${bus}, profile: plain-${kind}, at: { ${at} }, risk: LOW }\n`;
  const window = (number: number) =>
    `window: 0x${(0x6000_0000 + number * 0x1000).toString(16)}, length: 0x1000`;
  const devices = ROWS.map(({ memory, serial }, number) => {
    const line = `serial-${number % 2}`;
    const unit = `unit: ${Math.floor(number / 2) + 1}, base: 0`;
    return (
      device(memory, 'memory', 'memory', window(number + 1)) + device(serial, line, 'modbus', unit)
    );
  });
  const line = (id: string) =>
    `  - { id: ${id}, kind: serial, path: "\${SIMULATOR}/${id}", baudRate: 115200, dataBits: 8, parity: none, stopBits: 1 }\n`;
  return `format: 1
name: kill-table
groups: [A, B, C, D, E, F, G]
buses:
  - { id: memory, kind: memory, path: "\${SIMULATOR}/memory", origin: 0x60000000 }
${line('serial-0')}${line('serial-1')}
devices:
${device(SPARE, 'memory', 'memory', window(0))}${devices.join('')}`;
}

let agent: Agent;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-kill-'));
  const file = (name: string, text: string) => writeFileSync(join(directory, name), text);
  file('board.yaml', board());
  file('plain-memory.yaml', profile('memory', 'offset: 0'));
  file('plain-modbus.yaml', profile('modbus', 'table: holding, address: 0'));
  agent = await Agent.start(['--board', join(directory, 'board.yaml')], {
    environment: { DSMIL_FAILPOINTS: 'on' },
  });
  agent.keepConnections();
  await works(1);
});
afterAll(async () => {
  await agent?.stop();
  rmSync(directory, { recursive: true, force: true });
});

function write(operationId: string | undefined, targets: Readonly<Record<string, number>>) {
  return agent.rest(0, 'POST', 'operations', {
    ...(operationId === undefined ? {} : { operationId }),
    operation: 'WRITE',
    targets: Object.entries(targets).map(([device, value]) => ({
      device,
      registers: [{ name: 'CONFIG', value: `0x${value.toString(16)}` }],
    })),
    justification: 'a transaction that is interrupted',
    confirmedRisk: 'CRITICAL',
  });
}

/** Until a write goes through; a stop that kernel made because security came back late is reset by two people. */
async function works(value: number): Promise<void> {
  let last = '';
  await agent
    .waitUntil(
      'operations to work',
      async () => {
        last = await write(undefined, { [SPARE]: value }).then(verdict, String);
        if (last.endsWith('EMERGENCY_STOPPED')) await resetStop(agent).catch(() => []);
        return last === 'ok';
      },
      60_000,
    )
    .catch((error: unknown) => {
      throw new Error(`${String(error)}\nlast answer: ${last}`);
    });
}

async function held(row: Row): Promise<readonly string[]> {
  return [await heldBy(agent, row.memory, 'CONFIG'), await heldBy(agent, row.serial, 'CONFIG')];
}

/** Ends the victims the moment security reaches the state, and lets whoever is left go on. */
async function killAt(row: Row, operationId: string): Promise<void> {
  const { runDirectory, pids } = agent.ready;
  const wanted = join(runDirectory, 'failpoint');
  const reached = join(runDirectory, 'failpoint-reached');
  rmSync(reached, { force: true });
  writeFileSync(wanted, `${row.state} ${operationId}`);
  const answer = write(operationId, { [row.memory]: row.value, [row.serial]: row.value });
  const early = answer.then(
    (given) => `answered early: ${given.text}`,
    (error: unknown) => String(error),
  );
  try {
    await agent
      .waitUntil(`state ${row.state}`, () => existsSync(reached))
      .catch(async (error) => {
        const given = await Promise.race([early, Promise.resolve('no answer')]);
        throw new Error(`${String(error)}\n${given}`);
      });
    if (row.state === 'COMMITTING') {
      // Not before kernel is at it: the first device has the new value, the second one does not answer yet.
      await agent.waitUntil('the first write', async () => {
        return (await heldBy(agent, row.memory, 'CONFIG')) === hex(row.value);
      });
    }
    for (const victim of row.victims) process.kill(pids[victim], 'SIGKILL');
  } finally {
    rmSync(wanted, { force: true });
  }
  await agent.waitUntil(`${row.victims.join(', ')} to come back`, () => {
    const now = agent.ready.pids;
    return row.victims.every((victim) => now[victim] !== pids[victim] && alive(now[victim]));
  });
}

function hex(value: number): string {
  return `0x${value.toString(16).toUpperCase().padStart(8, '0')}`;
}

interface Status {
  readonly holds?: readonly { readonly device: number | string; readonly kind: string }[];
}

describe('a transaction over two devices on two buses, when processes are killed', () => {
  it.each(ROWS)('at $name: all of it stands, or nothing, or it is held in doubt', async (row) => {
    const operationId = row.name.toLowerCase().replace(/[^a-z]/g, '-');
    const sequence = await lastSequence(agent);
    const old = await held(row);
    const fresh = [hex(row.value), hex(row.value)];
    expect(old).not.toEqual(fresh);
    if (row.state === 'COMMITTING') {
      await withSimulator(agent, (control) =>
        control.fault({ device: row.serial, kind: 'late', ms: LATE_MS }),
      );
    }
    await killAt(row, operationId);
    await withSimulator(agent, (control) => control.clear());
    await works(row.value);
    const now = await held(row);
    const { holds = [] } = (await agent.rest(0, 'GET', 'system/status')).body as Status;
    const inDoubt = holds.filter(({ kind }) => kind === 'in-doubt');
    const fate = fateOf(now, old, fresh, inDoubt.length);
    expect(POSSIBLE[row.state], `${fate}: ${old} became ${now}`).toContain(fate);
    const entries = (await auditOf(agent, sequence + 1)).filter(
      (entry) => (entry as unknown as { operationId: string }).operationId === operationId,
    );
    const results = entries.map(({ event, result }) => `${event} ${result}`);
    const undecided = row.state === 'PREPARING' || row.state === 'PREPARED';
    // Nothing was decided and nothing was done, and whoever could have written so is gone.
    if (undecided && row.victims.includes('security')) {
      expect(results).toEqual([]);
      return;
    }
    const told = { old: /rolled-back|none/, new: /committed/, held: /in-doubt/ }[fate as Fate];
    expect(results.length, results.join('\n')).toBeGreaterThan(0);
    for (const result of results) expect(result).toMatch(told);
    // Kernel died between the two devices: the new one found half a transaction and undid it.
    if (row.state === 'COMMITTING' && row.victims.includes('kernel')) {
      expect(results.join()).toContain('1 of 2 registers had been written');
    }
    if (row.victims.includes('security') && row.state !== 'RECORDED') {
      expect(results.join()).toContain('TRANSACTION_RECOVERED');
    }
  });

  it('leaves nothing open, and an audit chain that is whole', async () => {
    expect((await agent.rest(0, 'GET', 'audit/verify')).body).toMatchObject({ intact: true });
    expect((await agent.rest(0, 'GET', 'system/status')).body).toMatchObject({ state: 'READY' });
  });
});

function fateOf(
  now: readonly string[],
  old: readonly string[],
  fresh: readonly string[],
  inDoubt: number,
): Fate | 'half' {
  if (inDoubt === 2) return 'held';
  if (inDoubt > 0) return 'half';
  if (now.join() === fresh.join()) return 'new';
  return now.join() === old.join() ? 'old' : 'half';
}
