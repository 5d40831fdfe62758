// One operation through kernel, security and interface: what reaches metal, what is refused, what is on record.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  CoordinationResult,
  type Intent,
  NO_REQUIREMENTS,
  type OperationReceipt,
  OperationType,
  type SafetyRequirements,
} from '#model/operation';
import { ClearanceLevel, type Compartment } from '#model/principal';
import { RiskLevel } from '#model/risk';
import {
  codeOf,
  FAN,
  FORBIDDEN,
  HEATER,
  must,
  OFFSET,
  PUMP,
  VALVE,
} from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB, CLERK, gone, MACHINE, ORIGIN, person } from './agent-bench.ts';

const { READ, WRITE, RESET, CONFIG } = OperationType;
let bench: AgentBench;

beforeEach(async () => {
  bench = await AgentBench.open();
});
afterEach(() => bench.close());

describe('an operation that is permitted', () => {
  it('reads, and the reading is on record', async () => {
    bench.kernelBench.poke(PUMP, OFFSET.DATA, 42);
    const receipt = await bench.run(bench.intent(READ, PUMP, { DATA: undefined }), CLERK);
    expect(receipt).toMatchObject({
      state: 'COMPLETED',
      result: CoordinationResult.SUCCESS,
      effect: 'none',
      risk: RiskLevel.SAFE,
      readings: [{ device: PUMP, register: 'DATA', value: 42n }],
      auditSequence: bench.audit.lastSequence,
    });
    expect(bench.lastEntry()?.operationId).toBe(receipt.operationId);
    expect(bench.lastEntry()).toMatchObject({
      event: 'OPERATION_COMPLETED',
      actor: 'clerk',
      origin: { transport: 'grpc', peer: '127.0.0.1:4000' },
      devices: [PUMP],
      operation: 'READ',
      planDigest: receipt.planDigest,
      decision: 'granted to clerk',
    });
  });

  it('writes, reads back, and the values before and after are on record', async () => {
    bench.kernelBench.poke(PUMP, OFFSET.DATA, 1);
    const intent = bench.write(PUMP, { DATA: 0xffn });
    const receipt = await bench.run(intent);
    expect(receipt).toMatchObject({
      result: CoordinationResult.SUCCESS,
      effect: 'committed',
      readings: [{ register: 'DATA', value: 0xffn, before: 1n }],
    });
    expect(receipt.tracks.map((track) => [track.track, track.ok])).toEqual([
      ['kernel', true],
      ['security', true],
      ['interface', true],
    ]);
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(0xff);
    expect(bench.lastEntry()).toMatchObject({
      result: 'committed',
      reason: 'routine maintenance',
      details: {
        registers: [{ device: PUMP, register: 'DATA', value: '0xff', before: '0x1' }],
        requested: [{ device: PUMP, registers: [{ register: 'DATA', value: '0xff' }] }],
      },
    });
    expect(bench.journal.open()).toEqual([]);
    expect((await bench.audit.verify()).intact).toBe(true);
  });

  it('is only shown by a dry run: the transactions, the risk, who else is needed, and nothing is touched', async () => {
    const before = bench.kernelBench.bytes();
    const entries = bench.audit.lastSequence;
    const intent = bench.write(
      HEATER,
      { DATA: 5n },
      { dryRun: true, confirmedRisk: RiskLevel.UNKNOWN },
    );
    const receipt = await bench.run(intent);
    expect(receipt).toMatchObject({
      state: 'COMPLETED',
      effect: 'none',
      risk: RiskLevel.HIGH,
      transactions: ['write heater.DATA 0x00000005'],
      approvalsNeeded: ['a second person with the same rights approves the digest of this plan'],
    });
    expect(bench.kernelBench.bytes().equals(before)).toBe(true);
    expect(bench.security.track.approvals.open()).toEqual([]);
    expect(bench.audit.lastSequence).toBe(entries);
  });
});

describe('nothing is written, and the refusal is on record, when', () => {
  let before: Buffer;
  beforeEach(() => {
    before = bench.kernelBench.bytes();
  });
  afterEach(() => {
    expect(bench.kernelBench.bytes().equals(before)).toBe(true);
    expect(bench.kernelBench.peer.written()).toEqual([]);
    expect(bench.journal.open()).toEqual([]);
  });

  // A probe is followed by the entries of what threat detection made of it.
  const entryOf = (receipt: OperationReceipt) => bench.audit.read(receipt.auditSequence, 1)[0];

  async function refusal(...[intent, principal]: Parameters<AgentBench['run']>) {
    const receipt = await bench.run(intent, principal);
    expect(receipt.effect).toBe('none');
    expect(receipt.fault?.metal).toBe('untouched');
    expect(entryOf(receipt)?.operationId).toBe(receipt.operationId);
    expect(entryOf(receipt)?.details.code).toBe(receipt.fault?.code);
    return receipt;
  }

  it.each([
    ['the clearance is too low', PUMP, CLERK, {}, 'CLEARANCE_TOO_LOW'],
    [
      'a compartment is missing',
      PUMP,
      { ...ALICE, compartments: [] },
      {
        requirements: { ...NO_REQUIREMENTS, requiredCompartments: ['CRYPTO'] as const },
      },
      'COMPARTMENT_MISSING',
    ],
    [
      "the device is not among the person's",
      PUMP,
      { ...ALICE, devices: [VALVE] },
      {},
      'NOT_PERMITTED',
    ],
    ['there is no justification', VALVE, ALICE, { justification: '' }, 'JUSTIFICATION_NEEDED'],
    [
      'the risk was not confirmed',
      VALVE,
      ALICE,
      { confirmedRisk: RiskLevel.UNKNOWN },
      'CONFIRMATION_NEEDED',
    ],
    ['a second person is needed', HEATER, ALICE, {}, 'APPROVAL_NEEDED'],
    ['the device is quarantined', FORBIDDEN, ALICE, {}, 'DEVICE_QUARANTINED'],
  ] as const)('%s', async (_, device, principal, changes, code) => {
    const receipt = await refusal(bench.write(device, { DATA: 1n }, changes), principal);
    expect(receipt).toMatchObject({
      state: 'FAILED',
      result: CoordinationResult.DENIED,
      fault: { code },
    });
    const event = code === 'DEVICE_QUARANTINED' ? 'QUARANTINE_PROBE' : 'OPERATION_REFUSED';
    expect(entryOf(receipt)).toMatchObject({ event, actor: principal.id, decision: 'refused' });
  });

  it.each([
    ['the value is out of limits', { SETPOINT: 101n }, 'VALUE_OUT_OF_LIMITS'],
    ['the register is read-only', { STATUS: 1n }, 'REGISTER_READ_ONLY'],
    ['the register is not there', { NOPE: 1n }, 'REGISTER_UNKNOWN'],
    ['the step is too large', { SETPOINT: 61n }, 'STEP_TOO_LARGE'],
  ])('%s', async (_, registers, code) => {
    const receipt = await refusal(bench.write(PUMP, registers as Record<string, bigint>));
    expect(receipt.fault?.code).toBe(code);
  });

  it('a track gives no risk in time: UNKNOWN is refused', async () => {
    bench.interface.answers = 'with a fault';
    const receipt = await refusal(bench.write(PUMP, { DATA: 1n }));
    expect(receipt).toMatchObject({ risk: RiskLevel.UNKNOWN, fault: { code: 'RISK_UNKNOWN' } });
    expect(receipt.reasons).toContain('interface: the peer is lost');
  });

  it('interface raises the risk beyond what the person may', async () => {
    bench.interface.risk = RiskLevel.MODERATE;
    const receipt = await refusal(
      bench.write(PUMP, { DATA: 1n }),
      person('carol', ClearanceLevel.CONFIDENTIAL),
    );
    expect(receipt).toMatchObject({
      risk: RiskLevel.MODERATE,
      fault: { code: 'CLEARANCE_TOO_LOW' },
    });
  });

  it('a machine leaves interface out of what it asks for: interface is asked all the same', async () => {
    bench.interface.risk = RiskLevel.QUARANTINED;
    const involved = ['kernel', 'security'] as const;
    const receipt = await refusal(bench.write(PUMP, { DATA: 1n }, { involved }), MACHINE);
    expect(receipt.fault?.code).toBe('NOT_PERMITTED');
  });

  it('the stop is engaged', async () => {
    bench.kernelBench.securityLatch.engage();
    const receipt = await refusal(bench.write(PUMP, { DATA: 1n }));
    expect(receipt).toMatchObject({
      state: 'EMERGENCY_STOPPED',
      result: CoordinationResult.EMERGENCY_STOPPED,
      fault: { code: 'EMERGENCY_STOPPED' },
    });
  });

  it('another operation holds the device, which is told and aborted', async () => {
    const { track } = bench.kernelBench;
    const intent = bench.write(PUMP, { DATA: 9n });
    const plan = must(await track.plan(intent, bench.kernelBench.deadline()));
    const authorization = bench.kernelBench.signer.grant('other', plan.digest, ['bob']);
    const request = { operationId: 'other', planDigest: plan.digest, authorization };
    must(await bench.settle(track.prepare(request, bench.kernelBench.deadline())));
    const receipt = await refusal(bench.write(PUMP, { DATA: 1n }));
    expect(receipt.fault?.code).toBe('DEVICE_BUSY');
    expect(bench.interface.aborted).toEqual([receipt.operationId]);
  });

  it('kernel refuses the commit for its authorization: that is a refusal, not a doubt', async () => {
    bench.line.beforeCommit = (request) => {
      // Somebody between security and kernel used it first.
      void bench.kernelBench.track.authorizations.redeem(request.authorization, request);
    };
    const receipt = await refusal(bench.write(PUMP, { DATA: 1n }));
    expect(receipt).toMatchObject({ effect: 'none', fault: { code: 'AUTHORIZATION_INVALID' } });
  });
});

describe('the risk that a track tells', () => {
  it('counts as its own, whatever track it says that it is', async () => {
    const interfaceRisk = {
      track: 'kernel',
      level: RiskLevel.SAFE,
      reasons: ['all is well'],
    } as const;
    const receipt = await bench.run(
      bench.write(HEATER, { DATA: 7n }, { interfaceRisk, dryRun: true }),
    );
    expect(receipt.assessments?.map(({ track }) => track)).toEqual([
      'kernel',
      'security',
      'interface',
    ]);
    expect(receipt.reasons).toContain('interface: all is well');
    expect(receipt.reasons).not.toContain('kernel: all is well');
  });
});

describe('approval by a second person', () => {
  const approvals = () => bench.security.track.approvals;
  const dual = { requirements: { ...NO_REQUIREMENTS, dualAuthorizationRequired: true } };

  async function approve(digest: string, by = BOB) {
    const session = await bench.signIn(by);
    const deadline = bench.kernelBench.deadline();
    return bench.settle(bench.orchestrator.approve(session, digest, ORIGIN, deadline));
  }

  it('lets exactly the approved plan run, once, and both are on record', async () => {
    const first = await bench.run(bench.write(HEATER, { DATA: 7n }));
    expect(first).toMatchObject({
      fault: { code: 'APPROVAL_NEEDED' },
      transactions: ['write heater.DATA 0x00000007'],
    });
    expect(approvals().open()).toMatchObject([
      { planDigest: first.planDigest, requestedBy: 'alice', transactions: first.transactions },
    ]);
    must(await approve(first.planDigest));
    const second = await bench.run(bench.write(HEATER, { DATA: 7n }));
    expect(second).toMatchObject({ effect: 'committed', planDigest: first.planDigest });
    expect(second).not.toHaveProperty('approvalsNeeded');
    expect(bench.lastEntry()?.decision).toBe('granted to alice and bob');
    expect(bench.kernelBench.peek(HEATER, OFFSET.DATA)).toBe(7);
    const third = await bench.run(bench.write(HEATER, { DATA: 7n }));
    expect(third.fault?.code).toBe('APPROVAL_NEEDED');
  });

  it('is worth nothing for a plan that differs in one value', async () => {
    const first = await bench.run(bench.write(HEATER, { DATA: 7n }));
    must(await approve(first.planDigest));
    const other = await bench.run(bench.write(HEATER, { DATA: 8n }));
    expect(other.fault?.code).toBe('APPROVAL_NEEDED');
    expect(other.planDigest).not.toBe(first.planDigest);
    expect(bench.kernelBench.peek(HEATER, OFFSET.DATA)).toBe(0);
  });

  it('is worth nothing to another person who asks for the same plan', async () => {
    const first = await bench.run(bench.write(HEATER, { DATA: 7n }));
    must(await approve(first.planDigest));
    const carol = await bench.run(bench.write(HEATER, { DATA: 7n }), MACHINE);
    expect(carol.fault).toMatchObject({
      code: 'APPROVAL_NEEDED',
      finding: expect.stringMatching(/; alice has asked for it too$/),
    });
    expect((await bench.run(bench.write(HEATER, { DATA: 7n }))).effect).toBe('committed');
  });

  it('is void when the risk has risen since it was asked for', async () => {
    const first = await bench.run(bench.write(VALVE, { DATA: 7n }, dual));
    must(await approve(first.planDigest));
    bench.interface.risk = RiskLevel.HIGH;
    const second = await bench.run(bench.write(VALVE, { DATA: 7n }, dual));
    expect(second).toMatchObject({ risk: RiskLevel.HIGH, fault: { code: 'APPROVAL_NEEDED' } });
    expect(bench.kernelBench.peek(VALVE, OFFSET.DATA)).toBe(0);
  });

  it('is needed for every RESET, of a LOW device too', async () => {
    const receipt = await bench.run(bench.intent(RESET, PUMP));
    expect(receipt.fault?.code).toBe('APPROVAL_NEEDED');
  });

  it('dual_authorization_required asks for it at any risk, for reads too', async () => {
    const read = () => bench.intent(READ, PUMP, { DATA: undefined }, dual);
    const first = await bench.run(read());
    expect(first).toMatchObject({ risk: RiskLevel.SAFE, fault: { code: 'APPROVAL_NEEDED' } });
    must(await approve(first.planDigest));
    expect(await bench.run(read())).toMatchObject({ result: CoordinationResult.SUCCESS });
  });

  it('is void when an operation changed the device after it was given; it has to be asked for anew', async () => {
    const asked = await bench.run(bench.write(PUMP, { DATA: 7n }, dual));
    must(await approve(asked.planDigest));
    expect((await bench.run(bench.write(PUMP, { CONFIG: 1n }))).effect).toBe('committed');
    const used = await bench.run(bench.write(PUMP, { DATA: 7n }, dual));
    expect(used).toMatchObject({
      result: CoordinationResult.DENIED,
      effect: 'none',
      fault: {
        code: 'APPROVAL_VOID',
        finding: 'the device changed, or kernel was started again, since bob approved the plan',
      },
      approvalsNeeded: ['a second person with the same rights approves the digest of this plan'],
    });
    expect(bench.lastEntry()).toMatchObject({
      event: 'OPERATION_REFUSED',
      details: { code: 'APPROVAL_VOID' },
    });
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(0);
    expect(approvals().open()).toEqual([]);
    const again = await bench.run(bench.write(PUMP, { DATA: 7n }, dual));
    expect(again.fault?.code).toBe('APPROVAL_NEEDED');
    must(await approve(again.planDigest));
    expect((await bench.run(bench.write(PUMP, { DATA: 7n }, dual))).effect).toBe('committed');
  });

  it.each(['before', 'after'])(
    'is void when somebody changed the register by hand %s it was given',
    async (when) => {
      const asked = await bench.run(bench.write(PUMP, { DATA: 7n }, dual));
      if (when === 'after') must(await approve(asked.planDigest));
      bench.kernelBench.poke(PUMP, OFFSET.DATA, 66);
      if (when === 'before') expect(codeOf(await approve(asked.planDigest))).toBe('APPROVAL_VOID');
      const used = await bench.run(bench.write(PUMP, { DATA: 7n }, dual));
      // Who never had an approval simply asks again.
      expect(used.fault?.code).toBe(when === 'after' ? 'APPROVAL_VOID' : 'APPROVAL_NEEDED');
      expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(66);
    },
  );

  it('is kept by kernel itself: a change between the last look and the commit is refused', async () => {
    const { memory } = bench.kernelBench.track;
    const asked = await bench.run(bench.write(PUMP, { DATA: 7n }, dual));
    must(await approve(asked.planDigest));
    bench.line.beforeCommit = ({ authorization }) => {
      expect(authorization.basis).not.toBe('');
      memory.driving([PUMP])();
    };
    const used = await bench.run(bench.write(PUMP, { DATA: 7n }, dual));
    expect(used).toMatchObject({ effect: 'none', fault: { code: 'PLAN_CHANGED' } });
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(0);
    expect(bench.journal.open()).toEqual([]);
  });

  it('is not bound to the device where no second person is needed', async () => {
    let basis = 'not asked';
    bench.line.beforeCommit = ({ authorization }) => {
      basis = authorization.basis;
    };
    expect((await bench.run(bench.write(PUMP, { DATA: 7n }))).effect).toBe('committed');
    expect(basis).toBe('');
  });

  it('is over after 300 s', async () => {
    const asked = await bench.run(bench.write(HEATER, { DATA: 7n }));
    must(await approve(asked.planDigest));
    await bench.kernelBench.clock.advance(300_000);
    const used = await bench.run(bench.write(HEATER, { DATA: 7n }));
    expect(used.fault?.code).toBe('APPROVAL_NEEDED');
    expect(bench.kernelBench.peek(HEATER, OFFSET.DATA)).toBe(0);
  });
});

describe('what a request may demand, by the names of the specification', () => {
  const requiring = (requirements: Partial<SafetyRequirements>, more: Partial<Intent> = {}) =>
    bench.write(
      PUMP,
      { DATA: 1n },
      { requirements: { ...NO_REQUIREMENTS, ...requirements }, ...more },
    );
  const CAROL = person('carol', ClearanceLevel.CONFIDENTIAL);

  it('required_clearance: more than the table asks for', async () => {
    expect((await bench.run(requiring({}), CAROL)).effect).toBe('committed');
    const receipt = await bench.run(requiring({ requiredClearance: ClearanceLevel.SECRET }), CAROL);
    expect(receipt.fault).toMatchObject({
      code: 'CLEARANCE_TOO_LOW',
      finding: 'WRITE at risk LOW needs SECRET, carol has CONFIDENTIAL',
    });
  });

  it('required_compartments: more than the device asks for', async () => {
    const principal = { ...CAROL, compartments: ['MAINT' as const] };
    const needs = (...requiredCompartments: Compartment[]) =>
      bench.run(requiring({ requiredCompartments }), principal);
    expect((await needs('MAINT')).effect).toBe('committed');
    expect((await needs('MAINT', 'NUCLEAR')).fault).toMatchObject({
      code: 'COMPARTMENT_MISSING',
      finding: 'carol does not hold NUCLEAR',
    });
  });

  it('audit_required: a dry run that demands it is refused while audit cannot be written', async () => {
    const dry = (auditRequired: boolean) =>
      bench.run(requiring({ auditRequired }, { dryRun: true }));
    expect((await dry(true)).state).toBe('COMPLETED');
    bench.store.database.exec(
      `CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END`,
    );
    await bench.run(requiring({}));
    expect(bench.audit.writable).toBe(false);
    expect((await dry(true)).fault?.code).toBe('AUDIT_UNAVAILABLE');
    expect((await dry(false)).state).toBe('COMPLETED');
  });

  it('max_execution_time_ms: what takes longer is undone; what does not, stands', async () => {
    bench.kernelBench.peer.latencyMs = 10;
    const within = (maxExecutionTimeMs: number) => {
      const requirements = { ...NO_REQUIREMENTS, maxExecutionTimeMs };
      return bench.run(bench.intent(WRITE, FAN, { MODE: 5n, LEVEL: 6n }, { requirements }));
    };
    const late = await within(35);
    expect(late.fault?.code).toBe('DEADLINE_EXCEEDED');
    expect(['none', 'rolled-back']).toContain(late.effect);
    expect(bench.kernelBench.peer.words.get('fan.MODE') ?? 0n).toBe(0n);
    expect((await within(5_000)).effect).toBe('committed');
  });

  it('user_confirmation_required: a confirmation at any risk', async () => {
    const ask = (confirmedRisk: RiskLevel) =>
      bench.run(requiring({ userConfirmationRequired: true }, { confirmedRisk }));
    expect((await ask(RiskLevel.UNKNOWN)).fault?.code).toBe('CONFIRMATION_NEEDED');
    expect((await ask(RiskLevel.LOW)).effect).toBe('committed');
  });

  it('risk_disclosure_required: only who was shown the risk of this plan can confirm it', async () => {
    const demand = { riskDisclosureRequired: true };
    const never = await bench.run(requiring(demand));
    expect(never.fault).toMatchObject({
      code: 'CONFIRMATION_NEEDED',
      finding: 'the risk of this plan was never shown to alice: ask for the plan first',
    });
    // That refusal showed it, to this person.
    expect(never).toMatchObject({
      risk: RiskLevel.LOW,
      transactions: ['write pump.DATA 0x00000001'],
    });
    expect((await bench.run(requiring(demand), BOB)).fault?.code).toBe('CONFIRMATION_NEEDED');
    expect((await bench.run(requiring(demand))).effect).toBe('committed');
  });

  it('risk_disclosure_required: a dry run shows it, of exactly that plan, at the risk it had', async () => {
    const requirements = { ...NO_REQUIREMENTS, riskDisclosureRequired: true };
    const write = (value: bigint, more: Partial<Intent> = {}) =>
      bench.run(bench.write(PUMP, { DATA: value }, { requirements, ...more }));
    await write(1n, { dryRun: true });
    expect((await write(2n)).fault?.code).toBe('CONFIRMATION_NEEDED');
    bench.interface.risk = RiskLevel.MODERATE;
    const risen = await write(1n);
    expect(risen.fault).toMatchObject({
      code: 'CONFIRMATION_NEEDED',
      finding: 'alice was shown risk LOW, it is MODERATE now',
    });
    expect((await write(1n)).effect).toBe('committed');
  });

  it('risk_disclosure_required: what was refused for another reason has shown nothing', async () => {
    const requirements = { ...NO_REQUIREMENTS, riskDisclosureRequired: true };
    const write = (justification: string) =>
      bench.run(bench.write(VALVE, { DATA: 1n }, { requirements, justification }));
    expect((await write('')).fault?.code).toBe('JUSTIFICATION_NEEDED');
    expect((await write('routine maintenance')).fault?.finding).toMatch(
      /^the risk of this plan was never/,
    );
  });

  it('confirmation_timeout_seconds: the confirmation has to follow within that time', async () => {
    const demand = { riskDisclosureRequired: true, confirmationTimeoutSeconds: 60 };
    await bench.run(requiring(demand, { dryRun: true }));
    await bench.kernelBench.clock.advance(95_000);
    const late = await bench.run(requiring(demand));
    expect(late.fault).toMatchObject({
      code: 'CONFIRMATION_NEEDED',
      finding: expect.stringMatching(
        /^the risk was shown 9[56] s ago, more than the 60 s asked for$/,
      ),
    });
    await bench.kernelBench.clock.advance(50_000);
    expect((await bench.run(requiring(demand))).effect).toBe('committed');
  });

  it('an uninvolved track is not asked: what it would say changes nothing', async () => {
    bench.interface.risk = RiskLevel.QUARANTINED;
    bench.interface.answers = 'with a fault';
    const involved = ['kernel', 'security'] as const;
    const receipt = await bench.run(requiring({}, { involved }));
    expect(receipt).toMatchObject({ effect: 'committed', risk: RiskLevel.LOW });
    expect(receipt.tracks.map((track) => track.track)).toEqual(['kernel', 'security']);
    expect(receipt.reasons.join()).not.toContain('interface');
  });
});

describe('when metal does not do as it is told', () => {
  it('the writes are rolled back, and the receipt and the record say so', async () => {
    bench.kernelBench.peer.misbehaviours.set('fan.LEVEL', 'stuck');
    const receipt = await bench.run(bench.intent(WRITE, FAN, { LEVEL: 5n }));
    expect(receipt).toMatchObject({
      state: 'FAILED',
      result: CoordinationResult.FAILED,
      effect: 'rolled-back',
      fault: { code: 'READ_BACK_MISMATCH', metal: 'touched' },
    });
    expect(bench.lastEntry()).toMatchObject({
      event: 'OPERATION_FAILED',
      result: expect.stringMatching(
        /^rolled-back: fan.LEVEL: wrote 0x0005, read back 0x0000 three/,
      ),
    });
    expect(bench.journal.open()).toEqual([]);
  });

  it('a stop between two writes ends it as stopped, at once and on record', async () => {
    const { peer, securityLatch } = bench.kernelBench;
    peer.onAccess = ({ kind }) => {
      if (kind === 'write') securityLatch.engage();
    };
    const receipt = await bench.run(bench.intent(WRITE, FAN, { MODE: 5n, LEVEL: 6n }));
    expect(receipt).toMatchObject({
      state: 'EMERGENCY_STOPPED',
      result: CoordinationResult.EMERGENCY_STOPPED,
      effect: 'stopped',
      fault: { code: 'STOPPED_MIDWAY', metal: 'touched' },
    });
    expect(peer.written()).toEqual(['fan.MODE=5']);
    expect(bench.lastEntry()?.details.code).toBe('STOPPED_MIDWAY');
  });

  it('the time that the request allows ends it, and what was written is undone', async () => {
    bench.kernelBench.peer.latencyMs = 10;
    const requirements = { ...NO_REQUIREMENTS, maxExecutionTimeMs: 35 };
    const receipt = await bench.run(
      bench.intent(WRITE, FAN, { MODE: 5n, LEVEL: 6n }, { requirements }),
    );
    expect(receipt).toMatchObject({ effect: 'rolled-back', fault: { code: 'DEADLINE_EXCEEDED' } });
    expect(bench.kernelBench.peer.words.get('fan.MODE')).toBe(0n);
  });
});

describe('when the answer of kernel is lost', () => {
  it('after the decision and nobody can be asked, the outcome is in doubt, never failed alone', async () => {
    // The commit reaches kernel, its answer and every later question do not come through.
    bench.line.beforeCommit = () => bench.lose('kernel');
    const receipt = await bench.run(bench.write(PUMP, { DATA: 3n }));
    // Kernel did it; security cannot know.
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(3);
    expect(receipt).toMatchObject({
      state: 'FAILED',
      result: CoordinationResult.FAILED,
      effect: 'in-doubt',
      fault: {
        code: 'IN_DOUBT',
        metal: 'unknown',
        finding: 'kernel track: died while track.commit was open',
      },
    });
    expect(bench.lastEntry()).toMatchObject({
      event: 'OPERATION_FAILED',
      result: expect.stringMatching(/^in-doubt/),
    });
    // It stays open until kernel can say what became of it, and until then nobody writes the device.
    expect(bench.journal.open().map((one) => one.operationId)).toEqual([receipt.operationId]);
    expect(bench.security.holds.has(PUMP, 'in-doubt')).toBe(true);
  });

  it('and kernel can be asked again, the outcome is what it says', async () => {
    bench.line.loseCommit = gone('kernel', 'unknown');
    const receipt = await bench.run(bench.write(PUMP, { DATA: 3n }));
    expect(receipt).toMatchObject({ state: 'COMPLETED', effect: 'committed' });
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(3);
    expect(bench.journal.open()).toEqual([]);
  });

  it('for a plan that only reads, nothing is in doubt', async () => {
    bench.line.loseCommit = gone('kernel', 'unknown');
    const receipt = await bench.run(bench.intent(READ, PUMP, { DATA: undefined }));
    expect(receipt).toMatchObject({ effect: 'none', fault: { code: 'TRACK_UNAVAILABLE' } });
  });
});

describe('when audit cannot be written', () => {
  /** Every insert fails from here on, as on a full disk. */
  const fill = (table: string) =>
    bench.store.database.exec(
      `CREATE TRIGGER full BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'full'); END`,
    );

  it('the operation that finds out says what stands without a record', async () => {
    // Planned, decided and done; only then the entry fails.
    bench.line.beforeCommit = () => fill('audit');
    const receipt = await bench.run(bench.write(PUMP, { DATA: 3n }));
    expect(receipt).toMatchObject({
      state: 'FAILED',
      result: CoordinationResult.FAILED,
      effect: 'committed',
      auditSequence: 0,
      fault: {
        code: 'AUDIT_UNAVAILABLE',
        metal: 'touched',
        consequence: 'the writes stand without a record',
      },
    });
    // Still open in the journal, so that a restart asks about it.
    expect(bench.journal.open().map((one) => one.operationId)).toEqual([receipt.operationId]);
  });

  it('reads and writes are refused from then on, and nothing is written', async () => {
    fill('audit');
    await bench.run(bench.intent(READ, PUMP, { DATA: undefined }));
    const before = bench.kernelBench.bytes();
    for (const intent of [
      bench.write(PUMP, { DATA: 1n }),
      bench.intent(CONFIG, PUMP, { CONFIG: 1n }),
      // Reading may have an effect of its own, so the bus must not be asked either.
      bench.intent(READ, FAN, { LEVEL: undefined }),
    ]) {
      const receipt = await bench.run(intent);
      expect(receipt).toMatchObject({
        result: CoordinationResult.FAILED,
        effect: 'none',
        readings: [],
        auditSequence: 0,
        fault: { code: 'AUDIT_UNAVAILABLE', metal: 'untouched' },
      });
    }
    expect(bench.kernelBench.bytes().equals(before)).toBe(true);
    expect(bench.kernelBench.peer.accesses).toEqual([]);
  });

  it('a decision that cannot be made durable is withdrawn: nothing is written, the device is free again', async () => {
    fill('transaction_journal');
    const before = bench.kernelBench.bytes();
    const receipt = await bench.run(bench.write(PUMP, { DATA: 1n }));
    expect(receipt).toMatchObject({ effect: 'none', fault: { code: 'AUDIT_UNAVAILABLE' } });
    expect(bench.kernelBench.bytes().equals(before)).toBe(true);
    bench.store.database.exec('DROP TRIGGER full');
    expect((await bench.run(bench.write(PUMP, { DATA: 1n }))).effect).toBe('committed');
  });

  it('operations run again as soon as an entry could be written', async () => {
    fill('audit');
    await bench.run(bench.write(PUMP, { DATA: 1n }));
    bench.store.database.exec('DROP TRIGGER full');
    // The entry of this refusal is the one that shows it.
    const refused = await bench.run(bench.write(PUMP, { DATA: 2n }));
    expect(refused).toMatchObject({ fault: { code: 'AUDIT_UNAVAILABLE' } });
    expect(refused.auditSequence).toBeGreaterThan(0);
    // The first write stood without a record; its device is free as soon as that has been made up for.
    await bench.kernelBench.clock.advance(1_000);
    expect((await bench.run(bench.write(PUMP, { DATA: 2n }))).effect).toBe('committed');
    expect((await bench.audit.verify()).intact).toBe(true);
  });
});
