// People and a machine who use the agent as they please: every request it knows, at random, through the interface's port.
// Invariants: everything follows from the seed; nobody waits longer than their patience.

import type { Random } from '#drivers/bus/simulated/random';
import type { VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { Board } from '#model/board';
import type { DeviceDescriptor, LinearId } from '#model/device';
import {
  CoordinationResult,
  type Intent,
  NO_REQUIREMENTS,
  type OperationReceipt,
  OperationType,
  operationName,
  type RegisterAccessRequest,
  type SafetyRequirements,
} from '#model/operation';
import type { OrchestratorPort } from '#model/orchestrator-port';
import {
  ClearanceLevel,
  COMPARTMENTS,
  type Compartment,
  type Origin,
  type Principal,
} from '#model/principal';
import { type RegisterSpec, writable } from '#model/register';
import { RiskLevel } from '#model/risk';
import { EmergencyPriority } from '#model/stop';
import type { Bench } from '../../src/bin/bench/agent.ts';
import { accountFor, type Persona } from '../../src/bin/persona.ts';
import type { Monitor } from './monitor.ts';
import type { Trace } from './trace.ts';

const ORIGIN: Origin = { transport: 'local', peer: 'simulation' };
/** What one person waits for an answer, milliseconds. */
const PATIENCE_MS = 8_000;
const REASON = 'as the simulation wants it';

function person(
  id: string,
  clearance: ClearanceLevel,
  compartments: readonly Compartment[] = COMPARTMENTS,
  kind: Principal['kind'] = 'person',
): Principal {
  return { id, name: id, kind, clearance, compartments, devices: null, underReview: false };
}

const OPERATORS: readonly Principal[] = [
  person('alice', ClearanceLevel.TOP_SECRET),
  person('bob', ClearanceLevel.TOP_SECRET),
  person('carol', ClearanceLevel.SECRET, ['SENSORS', 'MAINT']),
  person('dave', ClearanceLevel.CONFIDENTIAL),
  person('eve', ClearanceLevel.RESTRICTED, []),
  person('robot', ClearanceLevel.TOP_SECRET, COMPARTMENTS, 'machine'),
];
/** They bring the devices back after stops and doubts: two of them for what needs two. */
const MAINTAINERS: readonly Principal[] = [
  person('maria', ClearanceLevel.TOP_SECRET),
  person('noah', ClearanceLevel.TOP_SECRET),
];

export const PERSONAS: readonly Persona[] = [...OPERATORS, ...MAINTAINERS].map((principal) => ({
  account: accountFor(principal),
  token: principal.id,
}));

/** A receipt that a person has in hand. */
export interface Acknowledged {
  readonly operationId: string;
  readonly effect: string;
  readonly auditSequence: number;
}

export interface PeopleParts {
  readonly board: Board;
  readonly bench: Bench;
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly monitor: Monitor;
  readonly trace: Trace;
}

interface Signed {
  readonly port: OrchestratorPort;
  readonly session: string;
}

type Act = (who: Principal, signed: Signed) => Promise<Outcome<unknown> | undefined>;

export class People {
  readonly acknowledged: Acknowledged[] = [];
  readonly #parts: PeopleParts;
  readonly #devices: readonly DeviceDescriptor[];
  readonly #sessions = new Map<string, Signed>();
  #ended = false;
  #operations = 0;

  constructor(parts: PeopleParts) {
    this.#parts = parts;
    this.#devices = parts.board.devices.filter((device) => !device.quarantined);
  }

  start(): void {
    for (const who of OPERATORS) void this.#live(who, 30, 450, () => this.#chooseAct());
    for (const who of MAINTAINERS) void this.#live(who, 200, 1_400, () => this.#maintain);
  }

  end(): void {
    this.#ended = true;
  }

  /** Acts, waits, acts again, until the simulation ends. */
  async #live(who: Principal, waitMsMin: number, waitMsMax: number, choose: () => Act) {
    const { clock, random } = this.#parts;
    while (!this.#ended) {
      await clock.sleep(random.between(waitMsMin, waitMsMax));
      if (this.#ended) return;
      const act = choose();
      await this.#patiently(this.#attempt(who, act));
    }
  }

  async #patiently(action: Promise<void>): Promise<void> {
    await Promise.race([action, this.#parts.clock.sleep(PATIENCE_MS)]);
  }

  async #attempt(who: Principal, act: Act): Promise<void> {
    const signed = await this.#signIn(who);
    if (signed === null) return;
    const outcome = await act(who, signed);
    if (outcome === undefined || outcome.ok) return;
    this.#parts.monitor.count(`fault ${outcome.fault.code}`);
    const over = ['NOT_AUTHENTICATED', 'ACCOUNT_LOCKED', 'TRACK_UNAVAILABLE'];
    if (over.includes(outcome.fault.code)) this.#sessions.delete(who.id);
  }

  async #signIn(who: Principal): Promise<Signed | null> {
    const port = this.#parts.bench.interface?.port;
    const known = this.#sessions.get(who.id);
    if (port === undefined) return null;
    if (known?.port === port) return known;
    const credential = { kind: 'token', token: who.id } as const;
    const session = await port.authenticate(credential, ORIGIN, this.#deadline(2_000));
    if (!session.ok) return null;
    const signed = { port, session: session.value.id };
    this.#sessions.set(who.id, signed);
    return signed;
  }

  #deadline(afterMs = 5_000): Deadline {
    return Deadline.after(this.#parts.clock, afterMs);
  }

  #chooseAct(): Act {
    const acts: readonly (readonly [number, Act])[] = [
      [60, this.#operate(OperationType.READ)],
      [220, this.#operate(OperationType.WRITE)],
      [40, this.#operate(OperationType.CONFIG)],
      [25, this.#operate(OperationType.ACTIVATE)],
      [25, this.#operate(OperationType.DEACTIVATE)],
      [15, this.#operate(OperationType.RESET)],
      [30, this.#select],
      [4, this.#stop],
      [1, this.#engageLatch],
      [3, this.#quarantine],
      [4, this.#acknowledge],
      [4, this.#look],
    ];
    return this.#weighted(acts);
  }

  #weighted<T>(choices: readonly (readonly [number, T])[]): T {
    const { random } = this.#parts;
    const total = choices.reduce((sum, [weight]) => sum + weight, 0);
    let at = random.between(1, total);
    for (const [weight, choice] of choices) {
      at -= weight;
      if (at <= 0) return choice;
    }
    throw new Error('no choice');
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[this.#parts.random.between(0, items.length - 1)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  #chance(of: number): boolean {
    return this.#parts.random.next() < of;
  }

  // --- Operations ----------------------------------------------------------------------------------

  #operate(type: OperationType): Act {
    return async (who, signed) => {
      const intent = this.#intent(type, who);
      return this.#perform(who, signed, intent, 'approve');
    };
  }

  async #perform(
    who: Principal,
    { port, session }: Signed,
    intent: Intent,
    then: 'approve' | 'leave it',
  ): Promise<Outcome<OperationReceipt>> {
    const wish = this.#chance(0.1) ? this.#parts.random.between(20, 400) : 6_000;
    const answer = await port.operate(session, intent, ORIGIN, this.#deadline(wish));
    this.#heard(who, intent, answer);
    const digest = answer.ok ? answer.value.planDigest : '';
    const lacking = answer.ok && answer.value.fault?.code === 'APPROVAL_NEEDED';
    if (!lacking || then === 'leave it' || intent.dryRun) return answer;
    const approved = await this.#approve(who, digest);
    if (!approved) return answer;
    const again = { ...intent, operationId: this.#newId() };
    return this.#perform(who, { port, session }, again, 'leave it');
  }

  #heard(who: Principal, intent: Intent, answer: Outcome<OperationReceipt>): void {
    const { trace, monitor } = this.#parts;
    const what = `${intent.operationId} ${operationName(intent.type)} by ${who.id}`;
    if (!answer.ok) {
      monitor.count('operation without receipt');
      trace.add('receipt', `${what}: ${answer.fault.code}`);
      return;
    }
    const { operationId, effect, auditSequence, fault, result } = answer.value;
    monitor.count('receipt');
    if (intent.dryRun) monitor.count('dry run');
    else if (result === CoordinationResult.DENIED) monitor.count(`denied ${fault?.code ?? ''}`);
    else monitor.count(`effect ${effect}`);
    if (fault?.code === 'INTERNAL') monitor.violate('I8', `${what}: ${fault.finding}`);
    trace.add('receipt', `${what}: ${effect} ${fault?.code ?? ''} audit ${auditSequence}`);
    this.acknowledged.push({ operationId, effect, auditSequence });
  }

  async #approve(asker: Principal, digest: string): Promise<boolean> {
    const { clock, random, monitor } = this.#parts;
    const second = this.#pick([...OPERATORS.slice(0, 2), ...MAINTAINERS]);
    await clock.sleep(random.between(10, 300));
    if (second.id === asker.id) return false;
    const signed = await this.#signIn(second);
    if (signed === null) return false;
    const { port, session } = signed;
    const approved = await port.approve(session, digest, ORIGIN, this.#deadline());
    monitor.count(approved.ok ? 'approval' : `approval ${approved.fault.code}`);
    return approved.ok;
  }

  readonly #select: Act = async (who, { port, session }) => {
    const { clock, random, monitor } = this.#parts;
    const intent = { ...this.#intent(OperationType.WRITE, who), dryRun: false };
    const selecting = { ...intent, selectForSeconds: random.between(1, 10) };
    const selected = await port.operate(session, selecting, ORIGIN, this.#deadline());
    if (!selected.ok || selected.value.result !== CoordinationResult.SUCCESS) return selected;
    monitor.count('selected');
    this.#parts.trace.add('receipt', `${intent.operationId} selected by ${who.id}`);
    await clock.sleep(random.between(10, 2_500));
    const { operationId } = intent;
    const next = random.between(1, 4);
    if (next === 1) return undefined;
    if (next === 2) {
      const released = await port.releaseSelected(session, operationId, ORIGIN, this.#deadline());
      if (released.ok) monitor.count('selection released');
      return released;
    }
    const confirmed = RiskLevel.CRITICAL;
    const deadline = this.#deadline();
    const done = await port.operateSelected(session, operationId, confirmed, ORIGIN, deadline);
    this.#heard(who, intent, done);
    if (done.ok && done.value.effect === 'committed') monitor.count('selection operated');
    return done;
  };

  #newId(): string {
    this.#operations += 1;
    return `op-${this.#operations}`;
  }

  #intent(type: OperationType, who: Principal): Intent {
    const { random } = this.#parts;
    const wanted = this.#weighted([
      [60, 1],
      [25, 2],
      [10, 3],
      [5, 5],
    ]);
    const devices = new Set<DeviceDescriptor>();
    for (let count = 0; count < wanted; count++) devices.add(this.#pick(this.#devices));
    return {
      operationId: this.#newId(),
      type,
      targets: [...devices].map((device) => ({
        device: device.id,
        registers: this.#registers(type, device),
      })),
      requirements: this.#requirements(),
      justification: this.#chance(0.95) ? REASON : '',
      confirmedRisk: this.#chance(0.95) ? RiskLevel.CRITICAL : RiskLevel.LOW,
      dryRun: this.#chance(0.05),
      involved: this.#chance(0.1) && who.kind === 'person' ? ['kernel', 'security'] : [],
      ...(random.next() < 0.02 ? { claims: 'says it is somebody else' } : {}),
    };
  }

  #registers(type: OperationType, device: DeviceDescriptor): readonly RegisterAccessRequest[] {
    const { random } = this.#parts;
    if (type === OperationType.READ) {
      if (this.#chance(0.5)) return [];
      return [{ register: this.#pick(device.registers).spec.name }];
    }
    if (type !== OperationType.WRITE && type !== OperationType.CONFIG) return [];
    const allowed = type === OperationType.CONFIG ? device.behaviour.operations.configure : null;
    const specs = device.registers
      .map((placed) => placed.spec)
      .filter((spec) => writable(spec) && (allowed === null || allowed.includes(spec.name)));
    if (specs.length === 0) return [];
    const chosen = new Map<string, RegisterSpec>();
    for (let count = random.between(1, 3); count > 0; count--) {
      const spec = this.#pick(specs);
      chosen.set(spec.name, spec);
    }
    return [...chosen.values()].map((spec) => ({ register: spec.name, value: this.#word(spec) }));
  }

  #word(spec: RegisterSpec): bigint {
    const { random } = this.#parts;
    if (this.#chance(0.03)) return (1n << BigInt(spec.widthBits)) - 1n;
    const minimum = spec.limits === null ? 0 : Number(spec.limits.minimum);
    const maximum = spec.limits === null ? 255 : Number(spec.limits.maximum);
    const word = BigInt.asUintN(spec.widthBits, BigInt(random.between(minimum, maximum)));
    return word & ~spec.reservedMask;
  }

  #requirements(): SafetyRequirements {
    if (this.#chance(0.85)) return NO_REQUIREMENTS;
    return {
      ...NO_REQUIREMENTS,
      memoryProtectionRequired: this.#chance(0.3),
      thermalMonitoringRequired: this.#chance(0.3),
      rollbackCapabilityRequired: this.#chance(0.3),
      maxExecutionTimeMs: this.#chance(0.4) ? this.#parts.random.between(5, 2_000) : 0,
      auditRequired: this.#chance(0.5),
      userConfirmationRequired: this.#chance(0.3),
    };
  }

  // --- Stops and holds -----------------------------------------------------------------------------

  readonly #stop: Act = async (who, { port, session }) => {
    const { monitor, trace } = this.#parts;
    const scope = this.#weighted([
      [3, 'whole'],
      [2, 'group'],
      [5, 'devices'],
    ] as const);
    const devices: LinearId[] = scope === 'devices' ? [this.#pick(this.#devices).id] : [];
    const groups = scope === 'group' ? [this.#parts.random.between(0, 1)] : [];
    const request = { reason: REASON, priority: EmergencyPriority.HIGH, devices, groups };
    trace.add('person', `${who.id} stops ${scope} ${devices.join()}${groups.join()}`);
    monitor.count(`stop ${scope}`);
    const report = await port.stop(session, request, ORIGIN, this.#deadline(6_000));
    if (!report.ok) return report;
    const told = report.value.receipts.find((receipt) => receipt.track === 'kernel');
    if (told?.ok === true) monitor.stopAcknowledged(report.value.devices);
    trace.add('receipt', `stop of ${report.value.scope}: ${report.value.success}`);
    return report;
  };

  /** A technician beside the machine, who asks nobody. */
  readonly #engageLatch: Act = async (who) => {
    const { trace, monitor, bench } = this.#parts;
    trace.add('person', `${who.id} engages the latch`);
    monitor.count('stop by latch');
    bench.latch.engage('interface');
    return undefined;
  };

  readonly #quarantine: Act = async (who, { port, session }) => {
    const device = this.#pick(this.#devices).id;
    const held = await port.quarantineDevice(session, device, REASON, ORIGIN, this.#deadline());
    if (!held.ok) return held;
    this.#parts.monitor.count('quarantined');
    this.#parts.monitor.quarantineAcknowledged(device);
    this.#parts.trace.add('receipt', `${who.id} quarantined device ${device}`);
    return held;
  };

  readonly #acknowledge: Act = (_who, { port, session }) =>
    port.acknowledgeStop(session, ORIGIN, this.#deadline());

  readonly #look: Act = async (_who, { port, session }) => {
    const seen = await port.synchronize(session, [], this.#deadline());
    await port.conflicts(session, this.#deadline());
    return seen;
  };

  /** Resets stops, releases what is held, activates what a stop has turned off. */
  readonly #maintain: Act = async (who, signed) => {
    const { port, session } = signed;
    const { monitor, trace } = this.#parts;
    const status = await port.status(this.#deadline());
    if (!status.ok) return status;
    const { stopEngaged, stopCauses, holds } = status.value;
    if (stopEngaged || stopCauses.length > 0) {
      const progress = await port.resetStop(session, REASON, ORIGIN, this.#deadline(6_000));
      const told = progress.ok ? progress.value.message : progress.fault.code;
      trace.add('person', `${who.id} resets the stop: ${told}`);
      if (progress.ok && progress.value.released) monitor.count('reset');
      return progress;
    }
    if (holds.length === 0) return undefined;
    const hold = this.#pick(holds);
    if (hold.kind === 'deactivated') {
      const intent = {
        ...this.#intent(OperationType.ACTIVATE, who),
        targets: [{ device: hold.device, registers: [] }],
        requirements: NO_REQUIREMENTS,
        justification: REASON,
        confirmedRisk: RiskLevel.CRITICAL,
        dryRun: false,
      };
      return this.#perform(who, signed, intent, 'approve');
    }
    const { device } = hold;
    const freed = await port.releaseDevice(session, device, REASON, ORIGIN, this.#deadline());
    if (!freed.ok) return freed;
    trace.add('person', `${who.id} on device ${device}: ${freed.value.message}`);
    if (freed.value.released) monitor.count(`released ${hold.kind}`);
    return freed;
  };
}
