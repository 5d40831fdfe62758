// The whole agent under Debian's kernel on a board of real parts: a coordinated read and write on each bus.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  CoordinationResult,
  EffectOutcome,
  type OperationCoordinationResponse,
} from '#contract/generated/dsmil/communication/v1/communication';
import { barAddress, EDU, IVSHMEM, opened, read, until, write } from './access.ts';
import { AgentSession, type Write } from './agent-session.ts';
import { BARE_CHIP, bindChip, EEPROM, I801, i2cBus, JC42, LM75, on, STUB } from './chips.ts';
import { check, inGuest, mark } from './report.ts';
import { bindUio, eduBus } from './windows.ts';

const BOARD = fileURLToPath(new URL('./board.yaml', import.meta.url));
const BOARD_HERE = '/run/board.yaml';
const [CARD, CARD_WINDOW, SHARED, BOARD_TEMPERATURE] = [0x8000, 0x8001, 0x8002, 0x8003] as const;
const [MEMORY_TEMPERATURE, MODULE, BARE, LINE] = [0x8004, 0x8005, 0x8006, 0x8007] as const;

/** What a technician would have done before: kernel drivers bound, the board file with this machine's address. */
async function prepareParts(): Promise<void> {
  const stub = await opened(i2cBus(STUB));
  const set = (chip: number, command: number, word: bigint): Promise<void> =>
    write(stub, on(chip, command, 'word-swapped', 16), word);
  await set(LM75, 0, 0x1980n);
  await set(LM75, 3, 0x5000n);
  await set(BARE_CHIP, 0, 0x1e00n);
  await set(JC42, 0, 0x00ffn);
  await set(JC42, 5, 0x0190n);
  await set(JC42, 6, 0x104an);
  await set(JC42, 7, 0x0200n);
  await bindChip('lm75', LM75, 'hwmon');
  await bindChip('jc42', JC42, 'hwmon');
  await stub.close();
  const smbus = await opened(i2cBus(I801));
  await write(smbus, on(EEPROM, 2, 'byte', 8), 0x3cn);
  await smbus.close();
  bindUio('hilscher', IVSHMEM);
  await until('a UIO device', () => (existsSync('/sys/class/uio/uio0/name') ? true : undefined));
  const edu = await opened(eduBus());
  await edu.close();
  const address = `0x${barAddress(EDU.vendor, EDU.device, 0).toString(16)}`;
  writeFileSync(BOARD_HERE, readFileSync(BOARD, 'utf8').replace('0xfe800000', address));
}

function wordOf(response: OperationCoordinationResponse, register: string): bigint {
  const said = `result ${response.result}: ${response.errorMessage}`;
  assert.equal(response.result, CoordinationResult.COORDINATION_SUCCESS, said);
  const reading = response.readings.find((one) => one.register === register);
  assert.ok(
    reading?.value !== undefined,
    `no value of ${register}: ${reading?.fault?.code ?? 'no reading'}`,
  );
  return reading.value;
}

async function writes(agent: AgentSession, ...asked: readonly Write[]): Promise<string> {
  const response = await agent.write(...asked);
  const said = `result ${response.result}: ${response.errorMessage} ${response.reasons}`;
  assert.equal(response.result, CoordinationResult.COORDINATION_SUCCESS, said);
  assert.equal(response.effect, EffectOutcome.EFFECT_COMMITTED);
  assert.ok(response.auditSequence > 0n, 'no audit entry');
  for (const { device, register, value } of asked) {
    assert.equal(wordOf(await agent.read(device, register), register), value);
  }
  return `${asked.length} written, read back, audit entry ${response.auditSequence}`;
}

async function readsFrom(
  agent: AgentSession,
  device: number,
  register: string,
  word: bigint,
): Promise<string> {
  assert.equal(wordOf(await agent.read(device, register), register), word);
  return `${register} is 0x${word.toString(16)}`;
}

async function checkBuses(agent: AgentSession): Promise<void> {
  await check('the agent reads and writes edu through its PCI BAR', async () => {
    await readsFrom(agent, CARD, 'identification', 0x0100_00edn);
    return writes(agent, { device: CARD, register: 'dma_destination', value: 0x1234_5678n });
  });
  await check('the agent reads and writes the same edu through /dev/mem', async () => {
    await readsFrom(agent, CARD_WINDOW, 'identification', 0x0100_00edn);
    const detail = await writes(agent, { device: CARD_WINDOW, register: 'dma_count', value: 64n });
    await readsFrom(agent, CARD, 'dma_count', 64n);
    return detail;
  });
  await check('the agent reads and writes memory shared with the host through UIO', () =>
    writes(agent, { device: SHARED, register: 'word_0', value: 0xfeed_beefn }),
  );
  await check('the agent reads a temperature and writes a limit of the lm75 driver', async () => {
    await readsFrom(agent, BOARD_TEMPERATURE, 'temperature', 25_500n);
    return writes(agent, {
      device: BOARD_TEMPERATURE,
      register: 'overtemperature',
      value: 70_000n,
    });
  });
  await check('the agent reads a temperature and writes a limit of the jc42 driver', async () => {
    await readsFrom(agent, MEMORY_TEMPERATURE, 'temperature', 25_000n);
    return writes(agent, { device: MEMORY_TEMPERATURE, register: 'critical', value: 95_000n });
  });
  await check('the agent reads and writes an SMBus EEPROM behind i2c-i801', async () => {
    await readsFrom(agent, MODULE, 'byte_02', 0x3cn);
    return writes(agent, { device: MODULE, register: 'byte_05', value: 0x5an });
  });
  await check('the agent reads and writes a bare chip through raw I2C', async () => {
    await readsFrom(agent, BARE, 'temperature', 0x1e00n);
    return writes(agent, { device: BARE, register: 'overtemperature', value: 0x3c00n });
  });
  await check('the agent reads and writes a Modbus peer on the second serial port', async () => {
    await readsFrom(agent, LINE, 'holding_3', 0x0303n);
    return writes(agent, { device: LINE, register: 'holding_5', value: 0xbeefn });
  });
  await check('one transaction writes on three buses', () =>
    writes(
      agent,
      { device: SHARED, register: 'word_1', value: 0x600d_cafen },
      { device: MODULE, register: 'byte_06', value: 0xa5n },
      { device: LINE, register: 'holding_6', value: 0xcafen },
    ),
  );
}

async function checkCommandLine(agent: AgentSession): Promise<void> {
  await check('dsmil reads a register of edu at the local console', () => {
    const { exit, text } = agent.dsmil('device', 'read', 'card', 'identification');
    assert.equal(exit, 0, text);
    assert.match(text, /10000ed/i);
    return text.trim().split('\n').at(-1) ?? '';
  });
  await check('dsmil writes a register of shared memory at the local console', async () => {
    const reason = ['--reason', 'written by the hardware test'];
    const run = agent.dsmil('device', 'write', 'shared-memory', 'word_2=0x0badf00d', ...reason);
    assert.equal(run.exit, 0, run.text);
    return readsFrom(agent, SHARED, 'word_2', 0x0bad_f00dn);
  });
  await check('dsmil stops the system, and nothing is written after it', async () => {
    const { exit, text } = agent.dsmil('stop', '--reason', 'end of the hardware test');
    assert.equal(exit, 0, text);
    const before = await readDirectly();
    const response = await agent.write({ device: CARD, register: 'dma_destination', value: 1n });
    assert.equal(response.result, CoordinationResult.COORDINATION_EMERGENCY_STOPPED);
    assert.equal(await readDirectly(), before);
    return text.trim().split('\n').at(-1) ?? '';
  });
}

/** The register as the metal has it, past the agent. */
async function readDirectly(): Promise<bigint> {
  const edu = await opened(eduBus());
  const word = await read(edu, { ...DMA_DESTINATION });
  await edu.close();
  return word;
}

const DMA_DESTINATION = {
  device: 0,
  place: 'edu.dma_destination',
  widthBits: 32,
  location: { kind: 'memory', address: 0x88 },
} as const;

await inGuest(async () => {
  mark('node');
  await prepareParts();
  let agent: AgentSession | undefined;
  await check('the agent starts on a board of real parts', async () => {
    agent = await AgentSession.start(BOARD_HERE);
    return `board ${BOARD_HERE}`;
  });
  if (agent === undefined) return;
  await checkBuses(agent);
  await checkCommandLine(agent);
  mark('stopping');
  await agent.stop();
  mark('done');
});
