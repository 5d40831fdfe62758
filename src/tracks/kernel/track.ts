// Track A: turns intents into plans, promises, performs them under authorization, and stops.
// Invariants: nothing is written without a redeemed authorization for exactly this plan; only this track clears the latch.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { type Authorization, type AuthorizationKeys, RELEASE_STOP_ACT } from '#model/authorization';
import { type LinearId, permanentlyQuarantined } from '#model/device';
import type { Driver } from '#model/driver';
import { type DeviceHold, releaseHoldAct } from '#model/hold';
import { type Intent, OperationType, type RegisterReading } from '#model/operation';
import { devicesOf, planDigest, type RegisterPlan, writesOf } from '#model/plan';
import type { RiskAssessment } from '#model/risk';
import type { KernelSnapshot } from '#model/snapshot';
import type { StopCause, StopLatch, StopOrder, StopReceipt } from '#model/stop';
import type {
  AssessRequest,
  CommitReceipt,
  CommitRequest,
  KernelTrack,
  LiftRequest,
  PrepareRequest,
  PrepareVote,
  SelectRequest,
  SupervisionOrder,
} from '#model/track';
import { RECOVERY_GRANTEE, type RecoveryRequest } from '#model/transaction';
import { assessKernelRisk } from './assess.ts';
import { AuthorizationCheck } from './authorization-check.ts';
import type { DeviceAccess } from './device-access.ts';
import type { Interlock } from './interlock.ts';
import { PlanExecutor } from './plan-executor.ts';
import { PlanMaker } from './plan-maker.ts';
import { Preparation } from './prepare.ts';
import { Recovery } from './recovery.ts';
import { DeviceMemory } from './snapshot.ts';
import { SafeState, type SafeStateReport } from './stop.ts';
import { StopBell } from './stop-bell.ts';

export interface KernelTrackParts {
  readonly access: DeviceAccess;
  readonly drivers: ReadonlyMap<LinearId, Driver>;
  readonly latch: StopLatch;
  readonly interlock: Interlock;
  readonly clock: Clock;
  /** Of this process, random; see `DeviceMemoryParts`. */
  readonly life: string;
  /** Longest time for driving all devices to safe values, milliseconds. */
  readonly safeStateBudgetMs: number;
  /** Circuits that have to be healthy before a stop is released; none where the board has none. */
  readonly stopInputs?: { open(deadline: Deadline): Promise<readonly string[]> };
  /** Security has handed over every hold for the first time in this life of the process. */
  readonly onSupervised?: () => void;
  /** A test of the stop bell was heard in time, or was not; the next follows after `periodMs`. */
  readonly onStopTested?: (ok: boolean, periodMs: number | undefined) => void;
  /** A stop that kernel executed, whoever asked for it; for the security track's audit and state. */
  readonly onStopped: (cause: StopCause | null, receipt: StopReceipt) => void;
}

/** For devices that were not safe when a stop ended its drive, asked once more at its release, milliseconds. */
const UNSAFE_AGAIN_BUDGET_MS = 2_000;
/** Devices named in the refusal of a reset. */
const UNSAFE_TOLD_MAX = 8;
/** Longest time for the reads of a dry run where the caller sets none, milliseconds. */
const PLAN_LIMIT_MS = 5_000;

export class KernelDeviceTrack implements KernelTrack {
  readonly name = 'kernel';
  readonly interlock: Interlock;
  readonly authorizations: AuthorizationCheck;
  readonly memory: DeviceMemory;
  readonly #parts: KernelTrackParts;
  readonly #plans: PlanMaker;
  readonly #preparation: Preparation;
  readonly #executor: PlanExecutor;
  readonly #recovery: Recovery;
  readonly #safeState: SafeState;
  readonly #bell: StopBell;
  /** Devices that did not take their safe values at the last drive that concerned them. */
  readonly #unsafe = new Set<LinearId>();
  /** Devices let go while their bus was absent: safe values are the first they get when it is back. */
  readonly #owed = new Set<LinearId>();
  #lastSafeState: SafeStateReport | null = null;
  /** The drive that an engaged latch began, until it ends. */
  #latchDrive: Promise<SafeStateReport> | null = null;
  #supervised = false;
  /** Drives to safe values under way. */
  #drives = 0;
  /** Stops so far, so that a release notices one that came meanwhile. */
  #stops = 0;

  constructor(parts: KernelTrackParts) {
    const { access, drivers, latch, clock } = parts;
    this.#parts = parts;
    this.interlock = parts.interlock;
    this.authorizations = new AuthorizationCheck(clock);
    this.memory = new DeviceMemory({
      access,
      drivers,
      interlock: this.interlock,
      clock,
      stopEngaged: () => latch.engaged(),
      life: parts.life,
    });
    const { interlock, memory: watch } = this;
    const preparation = new Preparation({ access, interlock, clock, watch });
    this.#preparation = preparation;
    this.#plans = new PlanMaker({ access, drivers, interlock, preparation, watch });
    this.#executor = new PlanExecutor({
      access,
      clock,
      stopEngaged: (device) => this.interlock.withheld(device),
      leaving: (device) => this.interlock.leaving(device),
      doubted: (device) => !this.interlock.stopEngaged(device),
      holdReason: () => this.interlock.holdReason,
    });
    // After the last drive that follows a quarantine the device is never written again.
    const leftOut = (device: LinearId) => this.interlock.has(device, 'quarantined');
    this.#safeState = new SafeState(access, clock, parts.safeStateBudgetMs, leftOut);
    this.#bell = new StopBell(clock);
    this.#recovery = new Recovery({
      access,
      clock,
      stopEngaged: (device) => this.interlock.stopEngaged(device),
      undo: (writes) => this.#executor.undo(writes),
    });
  }

  async trust(keys: AuthorizationKeys): Promise<Outcome<void>> {
    const trusted = this.authorizations.trust(keys);
    if (!trusted.ok) return trusted;
    // Security is another process than before: what that one had prepared or selected is free again.
    if (trusted.value === 'new') this.#preparation.releaseIdle();
    return succeed(undefined);
  }

  async plan(intent: Intent, deadline?: Deadline): Promise<Outcome<RegisterPlan>> {
    return this.#plans.make(intent, deadline ?? Deadline.after(this.#parts.clock, PLAN_LIMIT_MS));
  }

  async assess(request: AssessRequest): Promise<Outcome<RiskAssessment>> {
    return succeed(assessKernelRisk(request.plan, this.#parts.access.devices));
  }

  async prepare(request: PrepareRequest, deadline: Deadline): Promise<Outcome<PrepareVote>> {
    const plan = this.#plans.known(request.planDigest);
    if (!plan.ok) return plan;
    const authorized = this.authorizations.check(request.authorization, request);
    if (!authorized.ok) return authorized;
    const { operationId, authorization } = request;
    const { basis, expiresAtMs: untilMs } = authorization;
    const order = { operationId, plan: plan.value, basis, untilMs };
    const priors = await this.#preparation.prepare(order, deadline);
    if (!priors.ok) return priors;
    this.#recovery.promise(operationId);
    return succeed({ priors: priors.value });
  }

  async commit(request: CommitRequest, deadline: Deadline): Promise<Outcome<CommitReceipt>> {
    const found = this.#plans.known(request.planDigest);
    if (!found.ok) return found;
    const plan = found.value;
    const redeemed = this.authorizations.redeem(request.authorization, request);
    if (!redeemed.ok) return redeemed;
    if (this.#recovery.isClosed(request.operationId)) {
      const finding = 'the operation has come to its end already';
      return refuse(fault('PLAN_UNKNOWN', { place: `operation ${request.operationId}`, finding }));
    }
    const hasWrites = writesOf(plan).length > 0;
    const guarded = hasWrites ? this.#preparation.begin(request.operationId, plan) : [];
    if (guarded === undefined) {
      const finding = 'the plan with writes was not prepared, or too long ago';
      return refuse(fault('PLAN_UNKNOWN', { place: `operation ${request.operationId}`, finding }));
    }
    try {
      const allowed = this.#preparation.check(plan);
      if (!allowed.ok) return allowed;
      const same = this.#preparation.checkBasis(plan, request.authorization.basis);
      if (!same.ok) return same;
      return succeed(await this.#perform(plan, request, guarded, deadline));
    } finally {
      this.#preparation.release(request.operationId);
    }
  }

  async #perform(
    plan: RegisterPlan,
    request: CommitRequest,
    guarded: readonly RegisterReading[],
    deadline: Deadline,
  ): Promise<CommitReceipt> {
    const startMs = this.#parts.clock.nowMs();
    const { operationId } = request;
    const limit = new Deadline(this.#parts.clock, Math.min(request.deadlineMs, deadline.atMs));
    const written = [...new Set(writesOf(plan).map((step) => step.device))];
    this.memory.operationBegins(written);
    if (written.length > 0) this.#recovery.begin(operationId);
    const done = await this.#executor.execute(plan, limit, guarded).catch((error: unknown) => {
      // A mistake in this program: what stands has to be looked up on metal.
      this.#recovery.lose(operationId);
      throw error;
    });
    this.#inhibit(done.inDoubt, `operation ${operationId} left it in doubt`);
    if (done.inDoubt.length > 0) await this.#safeState.drive(done.inDoubt);
    this.memory.operationEnds(written, done.readings);
    if (done.effect === 'committed' && plan.type === OperationType.ACTIVATE) {
      for (const device of written) this.interlock.lift(device, 'deactivated');
    }
    const base = {
      effect: done.effect,
      readings: done.readings,
      durationMs: this.#parts.clock.nowMs() - startMs,
    };
    const receipt = done.fault === undefined ? base : { ...base, fault: done.fault };
    if (written.length > 0) this.#recovery.end(operationId, receipt);
    return receipt;
  }

  #inhibit(devices: readonly LinearId[], reason: string): void {
    const sinceWallMs = this.#parts.clock.wallMs();
    for (const device of devices) {
      this.interlock.add({ device, kind: 'in-doubt', reason, sinceWallMs });
    }
  }

  async select(request: SelectRequest): Promise<Outcome<void>> {
    const plan = this.#plans.known(request.planDigest);
    if (!plan.ok) return plan;
    return this.#preparation.select(request.operationId, plan.value, request.untilMs);
  }

  /** True once security has handed over every hold to this life of the process. */
  get supervised(): boolean {
    return this.#supervised;
  }

  async supervise(order: SupervisionOrder): Promise<Outcome<readonly DeviceHold[]>> {
    const driven: LinearId[] = [];
    const { holdCount } = this.interlock;
    for (const hold of order.holds) {
      if (this.interlock.has(hold.device, hold.kind)) continue;
      // Quarantined before this process knew anything: it was driven then, and is not touched now.
      if (hold.kind === 'quarantined' && !this.#supervised) {
        this.interlock.add(hold);
        continue;
      }
      // Last chance to reach a device that goes into quarantine: after this it is never touched.
      // What is in doubt belongs into its safe state, also after a restart that knows nothing of it.
      if (hold.kind !== 'deactivated') driven.push(hold.device);
      // An operation at work on it would write over its safe values, and nobody could put that right afterwards.
      if (hold.kind === 'quarantined') this.interlock.leave(hold.device);
      else this.interlock.add(hold);
    }
    if (driven.length > 0) await this.#driveSafe(driven);
    for (const hold of order.holds) this.interlock.add(hold);
    for (const { device, changeCount } of order.accounted) this.memory.account(device, changeCount);
    // Security may have died while the devices were driven: only who comes after it may allow writes again.
    if (order.writes === 'allow') {
      this.interlock.resume(holdCount);
      if (!this.#supervised) this.#parts.onSupervised?.();
      this.#supervised = true;
    }
    return succeed(this.interlock.holds());
  }

  async lift(request: LiftRequest): Promise<Outcome<void>> {
    const { device, kind, authorization } = request;
    const place = this.#parts.access.devices.get(device)?.slug ?? `device ${device}`;
    if (permanentlyQuarantined(device)) {
      const finding = 'its quarantine is permanent';
      return refuse(fault('DEVICE_QUARANTINED', { place, finding }));
    }
    if (kind === 'quarantined' && new Set(authorization.grantedTo).size < 2) {
      const finding = 'the authorization does not name two people';
      return refuse(fault('NOT_PERMITTED', { place, finding }));
    }
    const { operationId } = authorization;
    const act = { operationId, planDigest: releaseHoldAct(device, kind) };
    const redeemed = this.authorizations.redeem(authorization, act);
    if (!redeemed.ok) return redeemed;
    this.interlock.lift(device, kind);
    return succeed(undefined);
  }

  async recover(request: RecoveryRequest, deadline: Deadline): Promise<Outcome<CommitReceipt>> {
    const { operationId, plan, authorization } = request;
    const place = `operation ${operationId}`;
    if (planDigest(plan.type, plan.steps, plan.guards) !== plan.digest) {
      const finding = 'the plan to settle does not have its digest';
      return refuse(fault('PLAN_CHANGED', { place, finding }));
    }
    if (authorization.grantedTo.length !== 1 || authorization.grantedTo[0] !== RECOVERY_GRANTEE) {
      const finding = 'the authorization is not one to settle a transaction';
      return refuse(fault('AUTHORIZATION_INVALID', { place, finding }));
    }
    const act = { operationId, planDigest: plan.digest };
    const redeemed = this.authorizations.redeem(authorization, act);
    if (!redeemed.ok) return redeemed;
    const devices = devicesOf(plan);
    this.memory.operationBegins(devices);
    const settled = await this.#recovery.settle(request, deadline);
    if (settled.ok) this.#preparation.release(operationId);
    if (settled.ok && settled.value.effect === 'in-doubt') {
      this.#inhibit(devices, `${place} was interrupted and nobody knows what stands`);
      await this.#safeState.drive(devices);
    }
    if (settled.ok && settled.value.effect === 'committed' && plan.type === OperationType.ACTIVATE)
      for (const device of devices) this.interlock.lift(device, 'deactivated');
    this.memory.operationEnds(devices, []);
    return settled;
  }

  async observe(
    devices: readonly LinearId[],
    deadline: Deadline,
  ): Promise<Outcome<KernelSnapshot>> {
    const wanted = devices.length === 0 ? [...this.#parts.access.devices.keys()] : devices;
    await Promise.all(wanted.map((device) => this.memory.observe(device, deadline)));
    return succeed(this.memory.whole(wanted));
  }

  async testStop(deadline: Deadline, periodMs?: number): Promise<Outcome<string>> {
    const { latch, onStopTested } = this.#parts;
    const place = 'emergency stop';
    if (latch.engaged()) {
      const finding = 'a stop stands, its path is not tested now';
      return refuse(fault('EMERGENCY_STOPPED', { place, finding }));
    }
    const failed = (finding: string) => refuse(fault('STOP_TEST_FAILED', { place, finding }));
    const heard = await this.#bell.heard(deadline);
    const finding = latch.finding();
    onStopTested?.(heard && finding === '', periodMs);
    if (!heard) return failed('kernel did not hear the stop bell');
    // A closed bus is no fault of the path: its devices are told of, and the others are reached without it.
    return finding === '' ? succeed(this.#safeState.closedBuses().join('; ')) : failed(finding);
  }

  /** The stop bell rang with the mark of a test. */
  bellTested(): void {
    this.#bell.tested();
  }

  async abort(operationId: string): Promise<Outcome<void>> {
    this.#preparation.release(operationId);
    return succeed(undefined);
  }

  async stop(order: StopOrder): Promise<Outcome<StopReceipt>> {
    const { devices, reason, wallMs } = order.cause;
    this.#stops += 1;
    if (devices.length === 0) {
      this.#parts.latch.engage();
      this.#parts.latch.latch();
    } else {
      for (const device of devices) {
        this.interlock.add({ device, kind: 'stopped', reason, sinceWallMs: wallMs });
      }
    }
    // The latch is usually seen before its order: on a slow line the same writes a second time would double the wait.
    const begun = devices.length === 0 ? this.#latchDrive : null;
    const report = await (begun ?? this.#driveSafe(devices));
    const receipt = receiptOf(report);
    this.#parts.onStopped(order.cause, receipt);
    return succeed(receipt);
  }

  /** The latch was engaged by somebody who said no more: act now, explain later. */
  async stopByLatch(): Promise<void> {
    // Also one that finds the latch engaged: a release under way must not take it along unseen.
    this.#stops += 1;
    if (!this.#parts.latch.latch()) return;
    const drive = this.#driveSafe([]);
    this.#latchDrive = drive;
    const report = await drive.finally(() => {
      this.#latchDrive = null;
    });
    this.#parts.onStopped(null, receiptOf(report));
  }

  /** The stop is older than this process or than one of its buses: everything that can be reached goes to safe values. */
  async stopAgain(): Promise<void> {
    this.#stops += 1;
    this.#parts.latch.latch();
    const report = await this.#driveSafe([]);
    this.#parts.onStopped(null, receiptOf(report));
  }

  /** Buses came (back): what is stopped on them, or was let go while they were away, goes to safe values first. */
  async busesOpened(busIds: readonly string[]): Promise<void> {
    if (this.#parts.latch.engaged()) return this.stopAgain();
    const returned = [...this.#parts.access.devices.values()].filter(
      ({ id, busId }) =>
        busIds.includes(busId) && (this.interlock.has(id, 'stopped') || this.#owed.has(id)),
    );
    if (returned.length > 0) await this.#driveSafe(returned.map(({ id }) => id));
  }

  /** At the end of the process: safe values without a latched stop, which two people would have to reset. */
  endSafely(): Promise<SafeStateReport> {
    return this.#driveSafe([]);
  }

  async releaseStop(authorization: Authorization, deadline: Deadline): Promise<Outcome<void>> {
    const { operationId, grantedTo } = authorization;
    const place = 'emergency stop';
    const no = (finding: string) => refuse(fault('RESET_REFUSED', { place, finding }));
    if (new Set(grantedTo).size < 2) return no('the authorization does not name two people');
    if (this.#drives > 0) return no('devices are still being driven to their safe values');
    const act = { operationId, planDigest: RELEASE_STOP_ACT };
    const redeemed = this.authorizations.redeem(authorization, act);
    if (!redeemed.ok) return redeemed;
    const stops = this.#stops;
    const absent = await this.#againUnsafe(deadline);
    if (!absent.ok) return absent;
    const open = (await this.#parts.stopInputs?.open(deadline)) ?? [];
    if (open.length > 0) {
      return refuse(fault('STOP_INPUT_OPEN', { place, finding: open.join('; ') }));
    }
    if (this.#stops !== stops || this.#drives > 0) return no('a new stop came during the reset');
    this.#letGo(absent.value);
    return succeed(undefined);
  }

  /**
   * Devices that were not safe get their safe values once more. Those whose bus is absent altogether do not keep the
   * others stopped: nobody can write them now, and they are the value, to be held in doubt. All others do.
   */
  async #againUnsafe(deadline: Deadline): Promise<Outcome<readonly LinearId[]>> {
    if (this.#unsafe.size === 0) return succeed([]);
    const budgetMs = Math.min(UNSAFE_AGAIN_BUDGET_MS, deadline.remainingMs());
    const { unsafe } = await this.#driveSafe([...this.#unsafe], budgetMs);
    const { access } = this.#parts;
    const isAbsent = (device: LinearId) => {
      const queue = access.queues.get(access.devices.get(device)?.busId ?? '');
      return queue?.state().open === false;
    };
    const present = unsafe.filter(({ device }) => !isAbsent(device));
    if (present.length === 0) return succeed(unsafe.map(({ device }) => device));
    const told = present.slice(0, UNSAFE_TOLD_MAX).map(({ finding }) => finding);
    const more = present.length - told.length;
    const rest = more > 0 ? `; and ${more} more` : '';
    const finding = `not at their safe values: ${told.join('; ')}${rest}`;
    return refuse(fault('RESET_REFUSED', { place: 'emergency stop', finding }));
  }

  /** Nothing restarts by itself: the devices keep their safe values until someone activates them again. */
  #letGo(absent: readonly LinearId[]): void {
    const { latch, access, clock } = this.#parts;
    const whole = latch.engaged();
    latch.release();
    const single = new Set(this.interlock.liftAll('stopped'));
    this.#unsafe.clear();
    const sinceWallMs = clock.wallMs();
    for (const { id: device, behaviour } of access.devices.values()) {
      if (!(whole || single.has(device)) || access.pointsOf(device).length === 0) continue;
      if (absent.includes(device)) {
        const reason = 'its bus was absent when the stop was reset, nobody saw its safe values';
        this.interlock.add({ device, kind: 'in-doubt', reason, sinceWallMs });
        this.#owed.add(device);
      }
      if (behaviour.operations.activate === null) continue;
      const reason = 'not activated since the emergency stop';
      this.interlock.add({ device, kind: 'deactivated', reason, sinceWallMs });
    }
  }

  async snapshot(
    _deadline?: Deadline,
    devices?: readonly LinearId[],
  ): Promise<Outcome<KernelSnapshot>> {
    return succeed(this.memory.whole(devices));
  }

  /** Of the last drive to safe values; null before the first. */
  get lastSafeState(): SafeStateReport | null {
    return this.#lastSafeState;
  }

  async #driveSafe(devices: readonly LinearId[], budgetMs?: number): Promise<SafeStateReport> {
    this.#drives += 1;
    // The writes to mapped devices are done when this returns; what is slower must not look like somebody else's change.
    const driving = this.#safeState.drive(devices, budgetMs);
    const arrived = this.memory.driving(devices);
    try {
      const report = await driving;
      for (const { device } of report.unsafe) this.#unsafe.add(device);
      for (const device of report.safe) {
        this.#unsafe.delete(device);
        this.#owed.delete(device);
      }
      this.#lastSafeState = report;
      return report;
    } finally {
      arrived();
      this.#drives -= 1;
    }
  }
}

function receiptOf(report: SafeStateReport): StopReceipt {
  const ok = report.unsafe.length === 0;
  return {
    track: 'kernel',
    ok,
    message: ok
      ? `${report.safe.length} devices at their safe values`
      : `${report.unsafe.length} devices did not take their safe values`,
    safe: report.safe,
    unsafe: report.unsafe,
    durationMs: report.durationMs,
  };
}
