// The whole agent but its processes: what the security process builds, over loopback links to kernel and a plain interface.

import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import type { Deadline } from '#foundation/deadline';
import { DurableStore } from '#foundation/durable-store';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Link } from '#link/link';
import { type LoopbackPair, loopbackPair } from '#link/loopback';
import { serveKernelTrack, serveTrack } from '#link/track-server';
import type { AgentEvent } from '#model/event';
import { type Intent, type OperationReceipt, OperationType } from '#model/operation';
import { ClearanceLevel, COMPARTMENTS, type Origin, type Principal } from '#model/principal';
import { type RiskAssessment, RiskLevel } from '#model/risk';
import { DEFAULT_POLICY, type SafetyPolicy } from '#model/safety-policy';
import type { InterfaceDeviceState, TrackSnapshot } from '#model/snapshot';
import type { StopOrder, StopReceipt } from '#model/stop';
import type { CommitReceipt, CommitRequest, KernelTrack, PrepareVote, Track } from '#model/track';
import type { TrackName } from '#model/track-name';
import type { KeyMaterial } from '../../../src/bin/compose/certificates.ts';
import { type ComposedSecurity, composeSecurity } from '../../../src/bin/compose/security.ts';
import { accountFor, seedPeople } from '../../../src/bin/persona.ts';
import { type BenchOptions, KernelBench } from '../../support/kernel-bench.ts';

export const ORIGIN: Origin = { transport: 'grpc', peer: '127.0.0.1:4000' };

export const ALICE = person('alice', ClearanceLevel.TOP_SECRET);
export const BOB = person('bob', ClearanceLevel.TOP_SECRET);
export const CLERK = person('clerk', ClearanceLevel.RESTRICTED);
export const MACHINE: Principal = {
  ...person('machine', ClearanceLevel.TOP_SECRET),
  kind: 'machine',
};

export function person(id: string, clearance: ClearanceLevel): Principal {
  return {
    id,
    name: id,
    kind: 'person',
    clearance,
    compartments: [...COMPARTMENTS],
    devices: null,
    underReview: false,
  };
}

/** A network track without a network: it says what it is told to, or nothing at all. */
export class PlainInterface implements Track {
  readonly name = 'interface';
  risk: RiskLevel = RiskLevel.SAFE;
  answers: 'at once' | 'with a fault' | 'never' = 'at once';
  readonly aborted: string[] = [];
  readonly stops: StopOrder[] = [];
  /** What it says that panels show. */
  devices: readonly InterfaceDeviceState[] = [];

  async #answer<T>(value: T, deadline: Deadline): Promise<Outcome<T>> {
    if (this.answers === 'never') await new Promise(() => undefined);
    if (this.answers === 'with a fault' || deadline.expired()) return refuse(gone('interface'));
    return succeed(value);
  }

  assess(_: unknown, deadline: Deadline): Promise<Outcome<RiskAssessment>> {
    return this.#answer({ track: 'interface', level: this.risk, reasons: [] }, deadline);
  }

  prepare(_: unknown, deadline: Deadline): Promise<Outcome<PrepareVote>> {
    return this.#answer({ priors: [] }, deadline);
  }

  commit(_: unknown, deadline: Deadline): Promise<Outcome<CommitReceipt>> {
    return this.#answer({ effect: 'none' as const, readings: [], durationMs: 0 }, deadline);
  }

  abort(operationId: string, deadline: Deadline): Promise<Outcome<void>> {
    this.aborted.push(operationId);
    return this.#answer(undefined, deadline);
  }

  stop(order: StopOrder, deadline: Deadline): Promise<Outcome<StopReceipt>> {
    this.stops.push(order);
    const receipt = { message: 'panels told', safe: [], unsafe: [], durationMs: 0 };
    return this.#answer({ track: 'interface', ok: true, ...receipt }, deadline);
  }

  snapshot(deadline: Deadline): Promise<Outcome<TrackSnapshot>> {
    const { devices } = this;
    const shown = { version: 1, devices, sessions: 0, pictureAgeMs: 0 };
    return this.#answer({ track: 'interface', ...shown }, deadline);
  }
}

/** Kernel's end of the line to security, which can lose an answer: everything else goes through to the real track. */
class KernelLine implements KernelTrack {
  readonly name = 'kernel';
  readonly #far: KernelTrack;
  /** What security hears instead of the answer to the next commit, which is executed all the same. */
  loseCommit: Fault | null = null;
  /** Orders to stop do not reach kernel. */
  cut = false;
  beforeCommit: (request: CommitRequest) => void = () => undefined;

  constructor(far: KernelTrack) {
    this.#far = far;
  }

  plan: KernelTrack['plan'] = (intent, deadline) => this.#far.plan(intent, deadline);
  trust: KernelTrack['trust'] = (keys, deadline) => this.#far.trust(keys, deadline);
  select: KernelTrack['select'] = (request, deadline) => this.#far.select(request, deadline);
  supervise: KernelTrack['supervise'] = (order, deadline) => this.#far.supervise(order, deadline);
  lift: KernelTrack['lift'] = (request, deadline) => this.#far.lift(request, deadline);
  recover: KernelTrack['recover'] = (request, deadline) => this.#far.recover(request, deadline);
  observe: KernelTrack['observe'] = (devices, deadline) => this.#far.observe(devices, deadline);
  testStop: KernelTrack['testStop'] = (deadline) => this.#far.testStop(deadline);
  assess: Track['assess'] = (request, deadline) => this.#far.assess(request, deadline);
  prepare: Track['prepare'] = (request, deadline) => this.#far.prepare(request, deadline);
  abort: Track['abort'] = (operationId, deadline) => this.#far.abort(operationId, deadline);
  stop: Track['stop'] = async (order, deadline) =>
    this.cut ? refuse(gone('kernel', 'unknown')) : this.#far.stop(order, deadline);
  snapshot: Track['snapshot'] = (deadline) => this.#far.snapshot(deadline);
  releaseStop: KernelTrack['releaseStop'] = (authorization, deadline) =>
    this.#far.releaseStop(authorization, deadline);

  async commit(request: CommitRequest, deadline: Deadline): Promise<Outcome<CommitReceipt>> {
    this.beforeCommit(request);
    const answer = await this.#far.commit(request, deadline);
    return this.loseCommit === null ? answer : refuse(this.loseCommit);
  }
}

export function gone(track: TrackName, metal: Fault['metal'] = 'untouched'): Fault {
  return fault('TRACK_UNAVAILABLE', { place: track, finding: 'the peer is lost', metal });
}

const PEOPLE = [ALICE, BOB, CLERK, MACHINE];
const CHECKPOINT_KEY = generateKeyPairSync('ed25519').privateKey;

export interface AgentBenchOptions extends BenchOptions {
  readonly policy?: SafetyPolicy;
  /** Nothing is certified where absent. */
  readonly material?: KeyMaterial;
}

export class AgentBench {
  readonly kernelBench: KernelBench;
  readonly store: DurableStore;
  readonly interface = new PlainInterface();
  readonly line: KernelLine;
  readonly security: ComposedSecurity;
  readonly events: AgentEvent[] = [];
  /** Errors that handlers met; null where each is an error of the test. */
  tolerated: unknown[] | null = null;
  readonly #links: Readonly<Record<'kernel' | 'interface', LoopbackPair>>;

  private constructor(kernelBench: KernelBench, policy: SafetyPolicy, material?: KeyMaterial) {
    this.kernelBench = kernelBench;
    const { clock, devices, track, securityLatch } = kernelBench;
    const onError = (error: unknown) => {
      if (this.tolerated === null) throw error;
      this.tolerated.push(error);
    };
    this.store = new DurableStore(join(kernelBench.directory, 'agent.db'));
    const people = PEOPLE.map((principal) => ({
      account: accountFor(principal),
      token: principal.id,
    }));
    seedPeople(this.store, people, clock.wallMs());
    this.line = new KernelLine(track);
    this.#links = {
      kernel: loopbackPair('security', 'kernel', { clock, onError }),
      interface: loopbackPair('security', 'interface', { clock, onError }),
    };
    serveKernelTrack(this.#links.kernel.right, this.line);
    serveTrack(this.#links.interface.right, this.interface);
    this.security = composeSecurity({
      board: { name: 'bench', file: '', digest: 'board-digest', buses: [], devices },
      policy,
      store: this.store,
      bootId: 'boot-1',
      clock,
      clockQuality: () => 'synchronized',
      checkpointKey: CHECKPOINT_KEY,
      ...(material === undefined ? {} : { material }),
      signer: kernelBench.signer,
      latch: securityLatch,
      kernelLink: this.#links.kernel.left,
      interfaceLink: this.#links.interface.left,
      newId: () => kernelBench.newId(),
      onError,
      onNote: () => undefined,
    });
    this.orchestrator.onEvent((event) => this.events.push(event));
  }

  /** Kernel is supervised and everything answers. */
  static async open(options: AgentBenchOptions = {}) {
    const { policy = DEFAULT_POLICY, material, ...metal } = options;
    const bench = new AgentBench(await KernelBench.open(metal), policy, material);
    await bench.settle(bench.security.start());
    await bench.settle(bench.security.supervision.take());
    return bench;
  }

  get orchestrator() {
    return this.security.orchestrator;
  }

  /** As interface has it. */
  get interfaceLink(): Link {
    return this.#links.interface.right;
  }

  /** As kernel has it. */
  get kernelLink(): Link {
    return this.#links.kernel.right;
  }

  get audit() {
    return this.security.audit;
  }

  get journal() {
    return this.security.journal;
  }

  get stops() {
    return this.security.stops;
  }

  /** As if this process and security had lost each other. */
  lose(track: 'kernel' | 'interface'): void {
    this.#links[track].part();
  }

  async close(): Promise<void> {
    this.store.close();
    await this.kernelBench.close();
  }

  write(device: number, registers: Record<string, bigint>, changes: Partial<Intent> = {}): Intent {
    return this.intent(OperationType.WRITE, device, registers, changes);
  }

  /** With a justification and the risk confirmed, so that only what a test takes away is missing. */
  intent(
    type: OperationType,
    device: number,
    registers: Record<string, bigint | undefined> = {},
    changes: Partial<Intent> = {},
  ): Intent {
    return this.kernelBench.intent(type, device, registers, {
      justification: 'routine maintenance',
      confirmedRisk: RiskLevel.CRITICAL,
      ...changes,
    });
  }

  run(intent: Intent, principal: Principal = ALICE): Promise<OperationReceipt> {
    const deadline = this.kernelBench.deadline();
    const running = this.security.runner.run({ intent, principal, origin: ORIGIN, deadline });
    return this.kernelBench.run(running);
  }

  settle<T>(promise: Promise<T>): Promise<T> {
    return this.kernelBench.run(promise);
  }

  async signIn(principal: Principal): Promise<string> {
    const credential = { kind: 'token', token: principal.id } as const;
    const session = await this.settle(this.orchestrator.authenticate(credential, ORIGIN));
    if (!session.ok) throw new Error(session.fault.finding);
    return session.value.id;
  }

  operate(sessionId: string, intent: Intent) {
    const deadline = this.kernelBench.deadline();
    return this.settle(this.orchestrator.operate(sessionId, intent, ORIGIN, deadline));
  }

  lastEntry() {
    return this.audit.read(this.audit.lastSequence, 1)[0];
  }

  entries() {
    return this.audit.read(1, 1_000);
  }
}
