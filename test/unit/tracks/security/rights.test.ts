// What may I do, what is missing, and who could: the same answers that the rules give when it comes to it.

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { AccountRecord, Right } from '#model/account';
import type { AdministrationRequest } from '#model/administration';
import { baseRiskOf } from '#model/base-risk';
import { callRefusal } from '#model/call-rule';
import { type DeviceDescriptor, permanentlyQuarantined } from '#model/device';
import { OperationType } from '#model/operation';
import { OPERATION_TABLE, type OperationKey } from '#model/operation-table';
import { CLEARANCE_NAMES, ClearanceLevel, COMPARTMENTS } from '#model/principal';
import { RiskLevel, raiseRisk, worseRisk } from '#model/risk';
import { decideAccess } from '#tracks/security/access-table';
import { principalOf } from '#tracks/security/identity/account-book';
import { RightsDesk } from '#tracks/security/rights';
import {
  codeOf,
  FORBIDDEN,
  HEATER,
  memoryDevice,
  must,
  PUMP,
  VALVE,
} from '../../../support/kernel-bench.ts';
import { DeskBench } from './identity/desk-bench.ts';
import { recordOf } from './identity/records.ts';
import { intentFor } from './people.ts';

type Question = Partial<AdministrationRequest<'rights'>>;
const NOTHING = { operations: [], devices: [], type: OperationType.UNKNOWN } as const;

describe('over random accounts and devices', () => {
  const NOW = 1_000;
  const IDS = [0, 1, 2, 5, 9] as const;
  const compartments = fc.subarray([...COMPARTMENTS].slice(0, 2));
  const rights = {
    clearance: fc.constantFrom(...CLEARANCE_NAMES),
    compartments,
    devices: fc.option(fc.subarray([...IDS])),
    enabled: fc.boolean(),
    underReview: fc.boolean(),
    validFromWallMs: fc.constantFrom(null, NOW, NOW + 1),
    validUntilWallMs: fc.constantFrom(null, NOW, NOW + 1),
    administrator: fc.boolean(),
  };
  const people = fc
    .array(fc.record(rights), { minLength: 1, maxLength: 6 })
    .map((all) => all.map((one, index) => recordOf(`person-${index}`, one)));
  const board = fc
    .tuple(
      ...IDS.map((id) =>
        fc
          .record({
            baseRisk: fc.constantFrom(
              RiskLevel.SAFE,
              RiskLevel.LOW,
              RiskLevel.MODERATE,
              RiskLevel.HIGH,
            ),
            clearanceMinimum: fc.constantFrom(...Object.values(ClearanceLevel)),
            compartments,
          })
          .map(
            (device): DeviceDescriptor => ({
              ...memoryDevice(id, `device-${id}`, device.baseRisk),
              ...device,
            }),
          ),
      ),
    )
    .map((devices) => new Map(devices.map((device) => [device.id, device])));
  const types = Object.values(OperationType).filter((type) => type !== OperationType.UNKNOWN);
  const scene = fc.record({
    people,
    board,
    asked: fc.shuffledSubarray([...IDS], { minLength: 1, maxLength: 3 }),
    type: fc.constantFrom(...types),
    locked: fc.subarray(['person-0', 'person-1', 'person-2']),
    troubled: fc.subarray([...IDS]),
  });
  type Scene = typeof scene extends fc.Arbitrary<infer T> ? T : never;

  async function answered({ people: all, board: devices, asked, type, locked, troubled }: Scene) {
    const desk = new RightsDesk({
      accounts: { account: (id) => all.find((one) => one.id === id), all: () => all },
      devices,
      isQuarantined: ({ id }) => id === 5,
      incidentOn: ({ id }) => troubled.some((one) => one === id),
      underReview: () => false,
      locked: (account) => locked.includes(account),
      wallMs: () => NOW,
      combine: (assessments) => assessments.map(({ level }) => level).reduce(worseRisk),
    });
    const [asker] = all;
    if (asker === undefined) throw new Error('nobody asks');
    const outcome = await desk.handlers().rights(
      {
        session: {
          id: 'session',
          principal: principalOf(asker),
          administrator: asker.administrator,
          way: 'password',
          scope: null,
          expiresAtWallMs: 0,
        },
        credential: 'credential',
        origin: { transport: 'rest', peer: '' },
        deadline: Deadline.after(new VirtualClock(), 1_000),
      },
      { operations: ['operate'], devices: asked, type },
    );
    const right = must(outcome).rights[0];
    if (right === undefined) throw new Error('no answer about the devices');
    return { right, asker };
  }

  /** The risk that this account would meet, from the decisions' own words. */
  function riskFor(
    record: AccountRecord,
    { board: devices, asked, type, troubled }: Scene,
  ): RiskLevel {
    const all = asked.flatMap((id) => devices.get(id) ?? []);
    if (all.some(({ id }) => id === 5)) return RiskLevel.QUARANTINED;
    const kernel = all
      .map(({ baseRisk }) => baseRiskOf(type, baseRisk, all.length))
      .reduce(worseRisk);
    const forceful = type === OperationType.RESET || type === OperationType.ACTIVATE;
    const high = forceful && all.some(({ baseRisk }) => baseRisk === RiskLevel.HIGH);
    let security: RiskLevel = high ? RiskLevel.HIGH : RiskLevel.SAFE;
    if (record.underReview) security = raiseRisk(security, 1);
    if (asked.some((id) => troubled.includes(id))) security = raiseRisk(security, 2);
    return worseRisk(kernel, security);
  }

  function couldDo(record: AccountRecord, at: Scene): boolean {
    const { administrator } = record;
    const principal = principalOf(record);
    const stop = at.type === OperationType.EMERGENCY_STOP;
    const door: OperationKey = stop ? 'stop' : 'operate';
    const risk = riskFor(record, at);
    const decided = decideAccess({
      principal,
      // All of conduct is done: what fails is clearance, compartments and devices alone.
      intent: intentFor(at.type, { confirmedRisk: RiskLevel.QUARANTINED, dryRun: stop }),
      devices: at.asked.flatMap((id) => at.board.get(id) ?? []),
      risk,
      isQuarantined: ({ id }) => id === 5,
    });
    return callRefusal(door, { principal, administrator, scope: null }) === null && decided.ok;
  }

  it('may exactly what would not fail on clearance, compartments and devices; who could, the same', async () => {
    await fc.assert(
      fc.asyncProperty(scene, async (at) => {
        const { right, asker } = await answered(at);
        expect(right.permitted).toBe(couldDo(asker, at));
        expect(right.missing.length === 0).toBe(right.permitted);
        const usable = at.people.filter(
          ({ id, enabled, validFromWallMs, validUntilWallMs }) =>
            enabled &&
            !at.locked.includes(id) &&
            (validFromWallMs ?? 0) <= NOW &&
            (validUntilWallMs ?? NOW + 1) > NOW,
        );
        const able = usable.filter((record) => couldDo(record, at)).map(({ id }) => id);
        expect(right.who).toEqual(right.permitted ? [] : able);
      }),
      { numRuns: 1_000 },
    );
  });

  it('names nobody for a quarantined device, and nothing that anybody could do about it', async () => {
    await fc.assert(
      fc.asyncProperty(scene, async (at) => {
        fc.pre(at.asked.some((id) => id === 5 || permanentlyQuarantined(id)));
        const { right } = await answered(at);
        expect(right).toMatchObject({ permitted: false, who: [], conduct: [] });
        expect(right.missing[0]).toContain('is quarantined');
      }),
    );
  });
});

describe('asked through the whole track', () => {
  let bench: DeskBench;
  let alice: string;
  let erin: string;

  beforeEach(async () => {
    bench = await DeskBench.open();
    alice = await bench.local('alice');
    erin = await bench.local('erin');
  });
  afterEach(() => bench.close());

  async function rights(session: string, question: Question): Promise<readonly Right[]> {
    return must(await bench.ask(session, 'rights', { ...NOTHING, ...question })).rights;
  }
  const device = async (session: string, type: OperationType, ...devices: number[]) =>
    (await rights(session, { operations: ['me'], devices, type }))[0];

  it('everybody hears of every row of the table, as the rule for calls has it', async () => {
    for (const session of [alice, erin]) {
      const all = await rights(session, {});
      expect(all.map(({ operation }) => operation)).toEqual(Object.keys(OPERATION_TABLE));
      const found = must(bench.agent.security.principals.session(session));
      for (const { operation, permitted } of all) {
        const refused = callRefusal(operation as OperationKey, found);
        expect([operation, permitted]).toEqual([operation, refused === null]);
      }
    }
  });

  it('a type means nothing without devices: the whole table, or the rows that were named', async () => {
    expect(await rights(erin, { type: OperationType.READ })).toEqual(await rights(erin, {}));
    const [status, ...none] = await rights(erin, {
      operations: ['status'],
      type: OperationType.READ,
    });
    expect([status?.operation, none]).toEqual(['status', []]);
  });

  it('says what is missing for a row and who has it', async () => {
    await bench.change('dora', { enabled: false });
    bench.agent.security.principals.lockAccount('bob', 'probed a quarantined device');
    expect(await rights(erin, { operations: ['accounts', 'audit', 'publishEvent'] })).toEqual([
      {
        operation: 'accounts',
        permitted: false,
        missing: ['accounts: needs an administrator, erin is none'],
        who: ['alice', 'robot'],
        conduct: [],
      },
      {
        operation: 'audit',
        permitted: false,
        missing: ['audit: needs the clearance SECRET'],
        who: ['alice', 'machine', 'robot'],
        conduct: [],
      },
      {
        operation: 'publishEvent',
        permitted: false,
        missing: ['publishEvent: is not open to any client'],
        who: [],
        conduct: [],
      },
    ]);
  });

  it('says that a scope is in the way, and what would be behind it', async () => {
    const session = await bench.byToken('erin', ['rights']);
    const [right] = await rights(session, { operations: ['accounts'] });
    expect(right?.missing).toEqual([
      'accounts: is outside the scope of the token that erin signed in with',
      'accounts: needs an administrator, erin is none',
    ]);
    const [own] = await rights(session, { operations: ['devices'] });
    // Signed in another way, the same person could.
    expect(own?.who).toContain('erin');
  });

  it('says for which rows a second administrator is needed', async () => {
    const [create, status] = await rights(alice, { operations: ['createAccount', 'status'] });
    expect(create).toMatchObject({ permitted: true, missing: [] });
    expect(create?.conduct[0]).toContain('a second administrator has to ask for exactly the same');
    expect(status?.conduct).toEqual([]);
  });

  it('names every condition that an operation on devices fails, at the risk known without a plan', async () => {
    await bench.change('erin', { devices: [PUMP] });
    const right = await device(erin, OperationType.WRITE, PUMP, HEATER);
    expect(right).toEqual({
      operation: 'WRITE',
      permitted: false,
      missing: [
        'heater: erin may not operate this device',
        'pump, heater: WRITE at risk HIGH needs SECRET, erin has RESTRICTED',
      ],
      who: ['alice', 'bob', 'dora', 'machine', 'robot'],
      conduct: [
        'say why, in 10 to 512 characters',
        'have the risk of the plan shown and confirm it, at least as HIGH',
        'have a second person approve the exact plan: the risk is HIGH',
        'without a plan the risk is HIGH; the registers of the plan, what they hold and how it is asked for may raise it, and with it what is needed',
      ],
    });
  });

  it('agrees with what the agent does then', async () => {
    await bench.change('erin', { devices: null, clearance: 'CONFIDENTIAL' });
    const { kernelBench } = bench.agent;
    for (const [on, code] of [
      [PUMP, 'no fault'],
      [VALVE, 'CLEARANCE_TOO_LOW'],
    ] as const) {
      const right = await device(erin, OperationType.WRITE, on);
      expect([on, right?.permitted]).toEqual([on, code === 'no fault']);
      const intent = bench.agent.write(on, { DATA: 7n }, { operationId: kernelBench.newId() });
      const receipt = must(await bench.agent.operate(erin, intent));
      expect([on, receipt.fault?.code ?? 'no fault']).toEqual([on, code]);
    }
  });

  it('knows what raises the risk of a person and of a device', async () => {
    await bench.change('erin', { devices: null, clearance: 'RESTRICTED', underReview: true });
    const [calm, reviewed] = [
      await device(alice, OperationType.READ, HEATER),
      await device(erin, OperationType.READ, HEATER),
    ];
    expect(calm?.conduct.at(-1)).toContain('without a plan the risk is LOW');
    expect(reviewed?.conduct.at(-1)).toContain('without a plan the risk is LOW');
    bench.agent.security.threats.probed(HEATER, 'mallory');
    expect((await device(alice, OperationType.READ, HEATER))?.conduct.at(-1)).toContain(
      'risk is MODERATE',
    );
    expect(await device(erin, OperationType.READ, HEATER)).toMatchObject({
      permitted: false,
      missing: ['heater: READ at risk HIGH needs SECRET, erin has RESTRICTED'],
    });
  });

  it('lets everybody stop, and nobody near a quarantined device', async () => {
    expect(await device(erin, OperationType.EMERGENCY_STOP, PUMP)).toEqual({
      operation: 'EMERGENCY_STOP',
      permitted: true,
      missing: [],
      who: [],
      conduct: [],
    });
    expect(await device(alice, OperationType.READ, FORBIDDEN)).toEqual({
      operation: 'READ',
      permitted: false,
      missing: [
        'forbidden: READ refused: device 0x8009 is quarantined',
        'forbidden: READ at risk QUARANTINED is open to nobody',
      ],
      who: [],
      conduct: [],
    });
  });

  it('a token for one way of reading may read', async () => {
    const session = await bench.byToken('alice', ['rights', 'readRegisters']);
    expect(await device(session, OperationType.READ, PUMP)).toMatchObject({ permitted: true });
    expect((await device(session, OperationType.WRITE, PUMP))?.missing).toEqual([
      'operate: is outside the scope of the token that alice signed in with',
    ]);
  });

  it.each<[string, Question, string]>([
    ['a row that is none', { operations: ['devices', 'everything'] }, 'REQUEST_MALFORMED'],
    ['a row that every object has', { operations: ['toString'] }, 'REQUEST_MALFORMED'],
    ['devices without a type', { devices: [PUMP] }, 'REQUEST_MALFORMED'],
    ['a device that is not there', { devices: [50], type: OperationType.READ }, 'DEVICE_UNKNOWN'],
  ])('%s is refused', async (_, question, code) => {
    expect(codeOf(await bench.ask(erin, 'rights', { ...NOTHING, ...question }))).toBe(code);
  });

  it('asks nothing of the record: looking is no act', async () => {
    const before = bench.agent.entries().length;
    await rights(erin, {});
    await device(erin, OperationType.READ, FORBIDDEN);
    expect(bench.agent.entries()).toHaveLength(before);
  });
});
