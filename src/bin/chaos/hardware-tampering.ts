// Turns a register behind the agent's back, through the simulator's control socket, and puts it back whatever happens.
// On real hardware there is no such socket, and this attack does not run.

import { join } from 'node:path';
import { ControlClient } from '#drivers/bus/simulated/control-client';
import type { AuditEntry } from '#model/audit-entry';
import type { Attack, Ground } from './attack.ts';

interface SeenDevice {
  readonly id: number;
  readonly token: string;
  readonly slug: string;
  readonly baseRisk: string;
  readonly quarantined: boolean;
  readonly status: string;
  readonly holds?: readonly string[];
  readonly profile: string;
}

interface SeenConflict {
  readonly token: string;
  readonly rule: string;
  readonly finding: string;
  readonly method: string;
  /** Null while it waits for a person. */
  readonly answer: string | null;
}

const RULE = 'CHANGED_WITHOUT_OPERATION';
const REGISTER = 'CONFIG';
/** Polling, the grace time of the rule and a busy machine. */
const PATIENCE_MS = 15_000;
/** A bit that the standard block keeps and that no other bit depends on. */
const TURNED_BIT = 1n << 6n;

export const hardwareTampering: Attack = {
  scenario: 'hardware-tampering',
  async run(ground: Ground) {
    const { doors, observer, signs, progress, limits } = ground;
    if (doors.simulator === null)
      throw new Error('the board is real hardware, and stays untouched');
    const device = await chooseDevice(ground);
    limits.spend();
    const control = await ControlClient.connect(join(doors.simulator, 'control.sock'));
    let before: bigint | null = null;
    try {
      limits.spend();
      before = BigInt((await control.get(device.slug, REGISTER)).hex);
      const turned = before ^ TURNED_BIT;
      progress(`turning ${REGISTER} of ${device.slug} from ${hex(before)} to ${hex(turned)}`);
      signs.began();
      limits.spend();
      limits.devicesChanged = 1;
      await control.set(device.slug, REGISTER, hex(turned));
      const mine = (entry: AuditEntry) =>
        entry.event === 'CONFLICT_OPENED' &&
        entry.details.rule === RULE &&
        entry.devices.includes(device.id);
      const entries = await observer.entriesOnce((all) => all.some(mine), PATIENCE_MS);
      const found = entries.filter(mine);
      for (const entry of found) signs.note(entry);
      progress(found.length > 0 ? 'noticed' : 'NOT noticed');
      const { conflicts } = await observer.get<{ readonly conflicts: readonly SeenConflict[] }>(
        'conflicts',
      );
      const conflict = conflicts.find(({ token, rule }) => token === device.token && rule === RULE);
      const answered = whatFollows(conflict);
      const after = await attackerWrites(ground, device);
      const canaries = await control.canaries();
      limits.spend();
      return {
        detected: found.length > 0 && conflict !== undefined,
        evidence: [
          ...found.map(({ sequence, event }) => `${event} is on record, sequence ${sequence}`),
          conflict === undefined
            ? 'NO conflict is listed'
            : `conflict of ${device.token}: ${conflict.finding}`,
          ...(await signs.incidentSentences()),
        ],
        responseMs: signs.responseMs,
        contained: answered !== null && after.refused && canaries.touched.length === 0,
        containment: [
          answered ?? 'NOTHING follows for the device',
          after.sentence,
          `quarantined devices touched: ${canaries.touched.length}`,
        ].join('; '),
      };
    } finally {
      if (before !== null) await control.set(device.slug, REGISTER, hex(before));
      control.close();
    }
  },
};

/** A device of the standard block, so that the register is there and is looked at. */
async function chooseDevice({ observer }: Ground): Promise<SeenDevice> {
  const { devices } = await observer.get<{ readonly devices: readonly SeenDevice[] }>('devices');
  const found = devices.find(
    ({ quarantined, baseRisk, profile }) =>
      !quarantined && ['SAFE', 'LOW'].includes(baseRisk) && profile === 'standard-block',
  );
  if (found === undefined) throw new Error('the board has no standard block below HIGH risk');
  return found;
}

/** What the account of the exercise can still do to the device. */
async function attackerWrites(ground: Ground, device: SeenDevice) {
  const attacker = ground.attacker(0);
  const { status, code } = await attacker.call({
    method: 'POST',
    path: 'operations',
    body: { operation: 'WRITE', device: device.token, registers: [{ name: REGISTER, value: 1 }] },
  });
  return {
    refused: status >= 400,
    sentence: `a write by the account is answered ${status} ${code}`,
  };
}

/** What the agent does about the device by itself or asks of people; null for nothing. */
function whatFollows(conflict: SeenConflict | undefined): string | null {
  if (conflict === undefined) return null;
  const { answer, method } = conflict;
  return answer === null
    ? `the device waits for the answer of a person (${method})`
    : `the device was answered ${answer} (${method}), and approvals given before are void`;
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
