// An intrusion in stages, as one account: looking around, asking for more than it may, and at last for a quarantined device.
// Invariants: the quarantined device is asked for once; the metal never hears of it, which is looked up where it can be.

import { join } from 'node:path';
import { ControlClient } from '#drivers/bus/simulated/control-client';
import type { Attack, Ground } from './attack.ts';
import type { Attacker } from './attacker.ts';
import { refusedWith } from './signs.ts';

const LOOKS = [
  'health',
  'openapi.json',
  'auth/me',
  'system/status',
  'devices',
  'conflicts',
  'approvals',
];
const GUESSED_PATHS = ['/admin', '/.git/config', '/api/v2/devices', '/api/v1/debug', '/metrics'];
/** Enough that threat detection opens an incident before the last stage. */
const BEYOND_RIGHTS = 18;
const BEYOND = [
  'accounts',
  'certificates',
  'audit?from=1&limit=1',
  'incidents',
  'audit/verify',
  'chaos',
];

interface Probed {
  readonly token: string;
  readonly status: number;
  readonly code: string;
}

export const stagedIntrusion: Attack = {
  scenario: 'staged-intrusion',
  async run(ground: Ground) {
    const { signs, progress, exercise, observer } = ground;
    const attacker = ground.attacker(0);
    signs.began();
    progress('stage 1: looking around');
    for (const path of [...LOOKS, ...GUESSED_PATHS]) await attacker.call({ path });
    progress('stage 2: asking for more than it may');
    for (let index = 0; index < BEYOND_RIGHTS; index += 1) {
      await attacker.call({ path: BEYOND[index % BEYOND.length] ?? 'accounts' });
    }
    const early = await signs.look([
      {
        what: 'requests beyond the rights of the account',
        matches: refusedWith('CLEARANCE_TOO_LOW', 'NOT_PERMITTED'),
      },
      {
        what: 'an incident about the account',
        matches: ({ event }) => event === 'INCIDENT_OPENED',
      },
    ]);
    progress('stage 3: asking for a quarantined device');
    const probe = await probeQuarantined(ground, attacker);
    const late = await signs.look([
      {
        what: 'the probe of a quarantined device',
        matches: ({ event }) => event === 'QUARANTINE_PROBE',
      },
      {
        what: 'the incident that escalates',
        matches: ({ event }) => event === 'INCIDENT_ESCALATED',
      },
      { what: 'the lock of the account', matches: ({ event }) => event === 'ACCOUNT_LOCKED' },
    ]);
    progress('trying what is still open');
    const again = await ground.attacker(1).call({ path: 'auth/me', fresh: true });
    const same = await attacker.call({ path: 'devices' });
    const incidents = await signs.incidents();
    const worst = incidents.find(({ subject }) => subject.id === exercise.account);
    const metal = await metalOf(ground);
    const out = again.code === 'ACCOUNT_LOCKED' && same.status >= 400;
    const until = await observer.lockedUntil(exercise.account);
    return {
      detected: early.all && late.all && worst?.level === 'CRITICAL',
      evidence: [
        ...early.evidence,
        ...late.evidence,
        ...(await signs.incidentSentences()),
        ...(worst?.responses.map((response) => `done by itself: ${response}`) ?? []),
      ],
      responseMs: signs.responseMs,
      contained: probe.status >= 400 && out && metal.untouched,
      containment: [
        `reading ${probe.token} was answered ${probe.status} ${probe.code}`,
        `a new connection with the token is answered ${again.status} ${again.code}, the old one ${same.status} ${same.code}`,
        `locked until ${until ?? 'no time'}`,
        metal.sentence,
      ].join('; '),
    };
  },
};

async function probeQuarantined(ground: Ground, attacker: Attacker): Promise<Probed> {
  const { devices } = await ground.observer.get<{
    readonly devices: readonly { readonly token: string; readonly quarantined: boolean }[];
  }>('devices');
  const target = devices.find(({ quarantined }) => quarantined);
  if (target === undefined) throw new Error('the board has no quarantined device');
  const body = { operation: 'READ', device: target.token };
  const { status, code } = await attacker.call({ method: 'POST', path: 'operations', body });
  return { token: target.token, status, code };
}

/** The simulator's own word on its canaries; a real board has none that could be asked. */
async function metalOf({ doors, limits }: Ground) {
  if (doors.simulator === null) {
    return { untouched: true, sentence: 'real hardware has no canaries to ask' };
  }
  limits.spend();
  const control = await ControlClient.connect(join(doors.simulator, 'control.sock'));
  try {
    const { touched, quarantined } = await control.canaries();
    return {
      untouched: touched.length === 0,
      sentence: `${touched.length} of ${quarantined.length} quarantined devices were touched`,
    };
  } finally {
    control.close();
  }
}
