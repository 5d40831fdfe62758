// Track A: turns intents into plans, promises, performs them under authorization, and stops.
// Invariants: nothing is written without a redeemed authorization for exactly this plan; only this track clears the latch.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { type Authorization, RELEASE_STOP_ACT } from '#model/authorization';
import { formatToken, type LinearId, permanentlyQuarantined } from '#model/device';
import type { Driver } from '#model/driver';
import { type DeviceHold, releaseHoldAct } from '#model/hold';
import { type Intent, OperationType } from '#model/operation';
import { devicesOf, planOf, type RegisterPlan, type RegisterStep, writesOf } from '#model/plan';
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
import type { RecoveryRequest } from '#model/transaction';
import { assessKernelRisk } from './assess.ts';
import { AuthorizationCheck } from './authorization-check.ts';
import type { DeviceAccess } from './device-access.ts';
import type { Interlock } from './interlock.ts';
import { PlanExecutor } from './plan-executor.ts';
import { Preparation } from './prepare.ts';
import { Recovery } from './recovery.ts';
import { DeviceMemory } from './snapshot.ts';
import { SafeState, type SafeStateReport } from './stop.ts';

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
  /** A stop that kernel executed, whoever asked for it; for the security track's audit and state. */
  readonly onStopped: (cause: StopCause | null, receipt: StopReceipt) => void;
}

/** Plans waiting for their authorization; the oldest is forgotten first. */
const PLANS_MAX = 512;

export class KernelDeviceTrack implements KernelTrack {
  readonly name = 'kernel';
  readonly interlock: Interlock;
  readonly authorizations: AuthorizationCheck;
  readonly memory: DeviceMemory;
  readonly #parts: KernelTrackParts;
  readonly #preparation: Preparation;
  readonly #executor: PlanExecutor;
  readonly #recovery: Recovery;
  readonly #safeState: SafeState;
  readonly #plans = new Map<string, RegisterPlan>();
  #lastSafeState: SafeStateReport | null = null;
  /** The drive that an engaged latch began, until it ends. */
  #latchDrive: Promise<SafeStateReport> | null = null;
  /** Drives to safe values under way. */
  #drives = 0;

  constructor(parts: KernelTrackParts) {
    const { access, drivers, latch, clock } = parts;
    this.#parts = parts;
    this.interlock = parts.interlock;
    this.authorizations = new AuthorizationCheck(clock);
    this.#preparation = new Preparation(access, this.interlock, clock);
    this.#executor = new PlanExecutor({
      access,
      clock,
      stopEngaged: (device) => this.interlock.stopEngaged(device),
      holdReason: () => this.interlock.holdReason,
    });
    this.#safeState = new SafeState(access, clock, parts.safeStateBudgetMs);
    this.#recovery = new Recovery({ access, clock });
    this.memory = new DeviceMemory({
      access,
      drivers,
      interlock: this.interlock,
      clock,
      stopEngaged: () => latch.engaged(),
      life: parts.life,
    });
  }

  async plan(intent: Intent): Promise<Outcome<RegisterPlan>> {
    const steps: RegisterStep[] = [];
    if (intent.targets.length === 0) {
      const place = `operation ${intent.operationId}`;
      return refuse(fault('REQUEST_MALFORMED', { place, finding: 'no device is named' }));
    }
    for (const target of intent.targets) {
      const device = this.#parts.access.devices.get(target.device);
      if (device === undefined) {
        const place = `device ${target.device}`;
        return refuse(fault('DEVICE_UNKNOWN', { place, finding: 'not on this board' }));
      }
      if (device.quarantined || permanentlyQuarantined(device.id)) {
        const finding = `device ${formatToken(device.id)} is quarantined by kernel policy`;
        return refuse(fault('DEVICE_QUARANTINED', { place: device.slug, finding }));
      }
      const driver = this.#parts.drivers.get(target.device);
      if (driver === undefined) {
        return refuse(
          fault('BUS_ABSENT', { place: device.slug, finding: `bus ${device.busId} has no driver` }),
        );
      }
      const planned = driver.plan(intent.type, target);
      if (!planned.ok) return planned;
      steps.push(...planned.value.steps);
    }
    const devices = [...new Set(steps.map((step) => step.device))];
    const basis = this.memory.basisOf(devices);
    const plan = planOf(intent.type, steps, this.#worstCaseMs(steps), { basis });
    const checked = this.#preparation.check(plan);
    // A dry run during a stop still shows what would be done; only what can never be done is refused.
    if (!checked.ok && !(intent.dryRun && checked.fault.code === 'EMERGENCY_STOPPED'))
      return checked;
    this.#remember(plan);
    return succeed({ ...plan, risk: assessKernelRisk(plan, this.#parts.access.devices) });
  }

  async assess(request: AssessRequest): Promise<Outcome<RiskAssessment>> {
    return succeed(assessKernelRisk(request.plan, this.#parts.access.devices));
  }

  async prepare(request: PrepareRequest, deadline: Deadline): Promise<Outcome<PrepareVote>> {
    const plan = this.#known(request.planDigest);
    if (!plan.ok) return plan;
    const authorized = this.authorizations.check(request.authorization, request);
    if (!authorized.ok) return authorized;
    const { operationId, authorization } = request;
    const untilMs = authorization.expiresAtMs;
    const priors = await this.#preparation.prepare(operationId, plan.value, untilMs, deadline);
    return priors.ok ? succeed({ priors: priors.value }) : priors;
  }

  async commit(request: CommitRequest, deadline: Deadline): Promise<Outcome<CommitReceipt>> {
    const found = this.#known(request.planDigest);
    if (!found.ok) return found;
    const plan = found.value;
    const redeemed = this.authorizations.redeem(request.authorization, request);
    if (!redeemed.ok) return redeemed;
    const hasWrites = writesOf(plan).length > 0;
    if (hasWrites && !this.#preparation.begin(request.operationId, plan)) {
      const finding = 'the plan with writes was not prepared, or too long ago';
      return refuse(fault('PLAN_UNKNOWN', { place: `operation ${request.operationId}`, finding }));
    }
    try {
      const allowed = this.#preparation.check(plan);
      return allowed.ok ? succeed(await this.#perform(plan, request, deadline)) : allowed;
    } finally {
      this.#preparation.release(request.operationId);
    }
  }

  async #perform(
    plan: RegisterPlan,
    request: CommitRequest,
    deadline: Deadline,
  ): Promise<CommitReceipt> {
    const startMs = this.#parts.clock.nowMs();
    const { operationId } = request;
    const limit = new Deadline(this.#parts.clock, Math.min(request.deadlineMs, deadline.atMs));
    const written = [...new Set(writesOf(plan).map((step) => step.device))];
    this.memory.operationBegins(written);
    this.#recovery.begin(operationId);
    const done = await this.#executor.execute(plan, limit);
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
    const plan = this.#known(request.planDigest);
    if (!plan.ok) return plan;
    return this.#preparation.select(request.operationId, plan.value, request.untilMs);
  }

  async supervise(order: SupervisionOrder): Promise<Outcome<readonly DeviceHold[]>> {
    const driven: LinearId[] = [];
    for (const hold of order.holds) {
      if (this.interlock.has(hold.device, hold.kind)) continue;
      // Last chance to reach a device that goes into quarantine: after this it is never touched.
      if (hold.kind === 'quarantined' || hold.kind === 'stopped') driven.push(hold.device);
      if (hold.kind !== 'quarantined') this.interlock.add(hold);
    }
    if (driven.length > 0) await this.#driveSafe(driven);
    for (const hold of order.holds) this.interlock.add(hold);
    for (const { device, changeCount } of order.accounted) this.memory.account(device, changeCount);
    if (order.writes === 'allow') this.interlock.resume();
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
    const act = { operationId, planDigest: plan.digest };
    const redeemed = this.authorizations.redeem(authorization, act);
    if (!redeemed.ok) return redeemed;
    const devices = devicesOf(plan);
    this.memory.operationBegins(devices);
    const settled = await this.#recovery.settle(request, deadline);
    if (settled.effect === 'in-doubt') {
      this.#inhibit(
        devices,
        `operation ${operationId} was interrupted and nobody knows what stands`,
      );
      await this.#safeState.drive(devices);
    }
    this.memory.operationEnds(devices, []);
    return succeed(settled);
  }

  async observe(
    devices: readonly LinearId[],
    deadline: Deadline,
  ): Promise<Outcome<KernelSnapshot>> {
    const wanted = devices.length === 0 ? [...this.#parts.access.devices.keys()] : devices;
    await Promise.all(wanted.map((device) => this.memory.observe(device, deadline)));
    return succeed(this.memory.whole(wanted));
  }

  async testStop(): Promise<Outcome<void>> {
    const finding = 'the stop path has no test yet';
    return refuse(fault('OPERATION_UNSUPPORTED', { place: 'emergency stop', finding }));
  }

  async abort(operationId: string): Promise<Outcome<void>> {
    this.#preparation.release(operationId);
    return succeed(undefined);
  }

  async stop(order: StopOrder): Promise<Outcome<StopReceipt>> {
    const { devices, reason, wallMs } = order.cause;
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
    this.#parts.latch.latch();
    const report = await this.#driveSafe([]);
    this.#parts.onStopped(null, receiptOf(report));
  }

  /** At the end of the process: safe values without a latched stop, which two people would have to reset. */
  endSafely(): Promise<SafeStateReport> {
    return this.#driveSafe([]);
  }

  async releaseStop(authorization: Authorization): Promise<Outcome<void>> {
    const { operationId, grantedTo } = authorization;
    if (new Set(grantedTo).size < 2) {
      const finding = 'the authorization does not name two people';
      return refuse(fault('RESET_REFUSED', { place: 'emergency stop', finding }));
    }
    if (this.#drives > 0) {
      const finding = 'devices are still being driven to their safe values';
      return refuse(fault('RESET_REFUSED', { place: 'emergency stop', finding }));
    }
    const act = { operationId, planDigest: RELEASE_STOP_ACT };
    const redeemed = this.authorizations.redeem(authorization, act);
    if (!redeemed.ok) return redeemed;
    // Nothing restarts by itself: the devices keep their safe values until someone activates them again.
    const whole = this.#parts.latch.engaged();
    this.#parts.latch.release();
    const single = this.interlock.liftAll('stopped');
    const sinceWallMs = this.#parts.clock.wallMs();
    for (const device of this.#parts.access.devices.values()) {
      const stopped = whole || single.includes(device.id);
      if (!stopped || device.behaviour.operations.activate === null) continue;
      if (this.#parts.access.pointsOf(device.id).length === 0) continue;
      const reason = 'not activated since the emergency stop';
      this.interlock.add({ device: device.id, kind: 'deactivated', reason, sinceWallMs });
    }
    return succeed(undefined);
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

  async #driveSafe(devices: readonly LinearId[]): Promise<SafeStateReport> {
    this.#drives += 1;
    try {
      const report = await this.#safeState.drive(devices);
      this.memory.driven(devices);
      this.#lastSafeState = report;
      return report;
    } finally {
      this.#drives -= 1;
    }
  }

  #known(digest: string): Outcome<RegisterPlan> {
    const plan = this.#plans.get(digest);
    if (plan !== undefined) return succeed(plan);
    const place = `plan ${digest.slice(0, 12)}`;
    return refuse(
      fault('PLAN_UNKNOWN', {
        place,
        finding: 'kernel does not hold this plan (restarted or forgotten)',
      }),
    );
  }

  #remember(plan: RegisterPlan): void {
    this.#plans.delete(plan.digest);
    this.#plans.set(plan.digest, plan);
    const oldest = this.#plans.keys().next();
    if (this.#plans.size > PLANS_MAX && oldest.done !== true) this.#plans.delete(oldest.value);
  }

  /** Prior, write and three read-backs for each write, one access for each read, settle times included. */
  #worstCaseMs(steps: readonly RegisterStep[]): number {
    let totalMs = 0;
    for (const step of steps) {
      const point = this.#parts.access.point(step.device, step.register);
      const accessMs = point?.queue.accessTimeoutMs ?? 0;
      totalMs +=
        step.kind === 'read' ? accessMs : accessMs * 5 + Math.ceil((step.settleUs * 3) / 1000);
    }
    return totalMs;
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
