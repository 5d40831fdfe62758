// One operation through kernel, security and interface: what reaches metal, what is refused, what is on record.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CoordinationResult, NO_REQUIREMENTS, OperationType } from '#model/operation';
import { ClearanceLevel } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { FAN, FORBIDDEN, HEATER, must, OFFSET, PUMP, VALVE } from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB, CLERK, gone, MACHINE, person } from './agent-bench.ts';

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
      auditSequence: 1,
    });
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
    expect(bench.security.approvals.open()).toEqual([]);
    expect(bench.audit.lastSequence).toBe(0);
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

  async function refusal(...[intent, principal]: Parameters<AgentBench['run']>) {
    const receipt = await bench.run(intent, principal);
    expect(receipt.effect).toBe('none');
    expect(receipt.fault?.metal).toBe('untouched');
    expect(bench.lastEntry()?.sequence).toBe(receipt.auditSequence);
    expect(bench.lastEntry()?.details.code).toBe(receipt.fault?.code);
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
    expect(bench.lastEntry()).toMatchObject({ event, actor: principal.id, decision: 'refused' });
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
    const plan = must(await track.plan(intent));
    const authorization = bench.security.signer.grant('other', plan.digest, ['bob']);
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

describe('approval by a second person', () => {
  const approve = (digest: string, by = BOB) => bench.security.approvals.approve(digest, by);

  it('lets exactly the approved plan run, once, and both are on record', async () => {
    const first = await bench.run(bench.write(HEATER, { DATA: 7n }));
    expect(first).toMatchObject({
      fault: { code: 'APPROVAL_NEEDED' },
      transactions: ['write heater.DATA 0x00000007'],
    });
    expect(bench.security.approvals.open()).toMatchObject([
      { planDigest: first.planDigest, requestedBy: 'alice', transactions: first.transactions },
    ]);
    must(approve(first.planDigest));
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
    must(approve(first.planDigest));
    const other = await bench.run(bench.write(HEATER, { DATA: 8n }));
    expect(other.fault?.code).toBe('APPROVAL_NEEDED');
    expect(other.planDigest).not.toBe(first.planDigest);
    expect(bench.kernelBench.peek(HEATER, OFFSET.DATA)).toBe(0);
  });

  it('is void when the risk has risen since it was asked for', async () => {
    const first = await bench.run(bench.write(VALVE, { DATA: 7n }, dual()));
    must(approve(first.planDigest));
    bench.interface.risk = RiskLevel.HIGH;
    const second = await bench.run(bench.write(VALVE, { DATA: 7n }, dual()));
    expect(second).toMatchObject({ risk: RiskLevel.HIGH, fault: { code: 'APPROVAL_NEEDED' } });
    expect(bench.kernelBench.peek(VALVE, OFFSET.DATA)).toBe(0);
  });

  it('is needed for every RESET, of a LOW device too', async () => {
    const receipt = await bench.run(bench.intent(RESET, PUMP));
    expect(receipt.fault?.code).toBe('APPROVAL_NEEDED');
  });

  function dual() {
    return { requirements: { ...NO_REQUIREMENTS, dualAuthorizationRequired: true } };
  }
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
  it('after the decision, the outcome is in doubt, never failed alone', async () => {
    bench.line.loseCommit = gone('kernel', 'unknown');
    const receipt = await bench.run(bench.write(PUMP, { DATA: 3n }));
    // Kernel did it; security cannot know.
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(3);
    expect(receipt).toMatchObject({
      state: 'FAILED',
      result: CoordinationResult.FAILED,
      effect: 'in-doubt',
      fault: { code: 'IN_DOUBT', metal: 'unknown', finding: 'kernel: the peer is lost' },
    });
    expect(bench.lastEntry()).toMatchObject({
      event: 'OPERATION_FAILED',
      result: expect.stringMatching(/^in-doubt/),
    });
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
    fill('journal');
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
    expect((await bench.run(bench.write(PUMP, { DATA: 2n }))).effect).toBe('committed');
    expect((await bench.audit.verify()).intact).toBe(true);
  });
});
