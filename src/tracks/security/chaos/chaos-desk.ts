// Permits exercises: one at a time, as an account of the lowest rights that ends with it, and keeps what came of them.
// Invariants: a simulated board takes one administrator, real hardware two; an exercise, its account, its token and their
// audit entry are one transaction; account and token are worth nothing once it has ended, at its time, or after a restart.
// Nothing here unlocks anybody or closes an incident: what the attack set off is real and stays.
// Faults: CHAOS_REFUSED with the condition that is not met; those of `SecondAdministrator` and `Turns`.

import { randomBytes } from 'node:crypto';
import type { Canonical } from '#foundation/canonical';
import type { Cancel, Clock } from '#foundation/clock';
import { describeFault, FaultError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AccountRecord } from '#model/account';
import type { AdministrationAnswer, AdministrationRequest } from '#model/administration';
import { type AuditRecord, blankRecord } from '#model/audit-entry';
import { type DeviceDescriptor, formatToken, type LinearId } from '#model/device';
import type { ExerciseReport } from '#model/exercise';
import { RiskLevel, riskRank } from '#model/risk';
import type { AccountBook } from '../identity/account-book.ts';
import { administratorRefusal } from '../identity/account-rules.ts';
import type { Proposed, SecondAdministrator } from '../identity/second-administrator.ts';
import type { TokenBook } from '../identity/token-book.ts';
import type { Turns } from '../identity/turns.ts';
import type {
  AdministrationCaller,
  AdministrationHandlers,
  AuditSink,
  SessionControl,
} from '../ports.ts';
import type { ExerciseBook, KeptExercise } from './exercise-book.ts';
import {
  EXERCISE_SECONDS_MAX,
  SCENARIOS,
  type ScenarioPlan,
  scenarioPlan,
  scenarioView,
} from './scenarios.ts';

export interface ChaosDeskParts {
  readonly clock: Clock;
  /** Of the wall floor. */
  readonly wallMs: () => number;
  /** Every bus of the board is the simulator's. */
  readonly simulated: boolean;
  readonly devices: readonly DeviceDescriptor[];
  readonly isQuarantined: (device: DeviceDescriptor) => boolean;
  readonly book: ExerciseBook;
  readonly accounts: Pick<AccountBook, 'account' | 'write' | 'noteSaved'>;
  readonly tokens: Pick<TokenBook, 'make' | 'token' | 'revoked' | 'write' | 'noteSaved'>;
  readonly sessions: Pick<SessionControl, 'endSessions'>;
  readonly audit: AuditSink;
  readonly second: SecondAdministrator;
  readonly turns: Turns;
  readonly stopEngaged: () => boolean;
  /** Devices of which nobody knows what the metal holds. */
  readonly inDoubt: () => readonly LinearId[];
  readonly onError: (error: unknown, where: string) => void;
}

type Answered<K extends 'startChaos' | 'endChaos'> = Promise<Outcome<AdministrationAnswer<K>>>;

interface Running {
  readonly exercise: KeptExercise;
  readonly cancel: Cancel;
}

const ID_BYTES = 4;
/** An exercise may take a moment longer than its attack: looking at what became of it, and its report. */
const AFTERWARDS_SECONDS = 60;

export class ChaosDesk {
  readonly #parts: ChaosDeskParts;
  #running: Running | null = null;

  constructor(parts: ChaosDeskParts) {
    this.#parts = parts;
  }

  handlers(): Pick<AdministrationHandlers, 'chaosScenarios' | 'startChaos' | 'endChaos'> {
    const { turns } = this.#parts;
    return {
      chaosScenarios: async () =>
        succeed({ simulated: this.#parts.simulated, scenarios: SCENARIOS.map(scenarioView) }),
      startChaos: (caller, request) =>
        turns.take('startChaos', caller.deadline, () => this.#ask(caller, request)),
      endChaos: (caller, request) =>
        turns.take('endChaos', caller.deadline, () => this.#end(caller, request)),
    };
  }

  /** The exercise that runs now; null for none. */
  get running(): string | null {
    return this.#running?.exercise.id ?? null;
  }

  /** After a restart: what was running then is over, and its token opens nothing any more. */
  async start(): Promise<void> {
    for (const exercise of this.#parts.book.open()) {
      const closed = await this.#close(exercise, 'closed', {
        result: 'closed because the security process was started again; there is no report',
      });
      if (!closed.ok)
        this.#parts.onError(new FaultError(closed.fault), 'exercise of an earlier life');
    }
  }

  // --- Beginning ---------------------------------------------------------------------------------

  async #ask(
    caller: AdministrationCaller,
    request: AdministrationRequest<'startChaos'>,
  ): Answered<'startChaos'> {
    const { simulated, second } = this.#parts;
    const plan = scenarioPlan(request.scenario);
    if (plan === undefined) {
      return no('scenario', `${JSON.stringify(request.scenario)} is none that is known here`);
    }
    const refused = this.#refusal(caller, plan);
    if (refused !== null) return refused;
    if (simulated) return this.#begin(caller, plan, request.reason);
    const subject = {
      request,
      basis: '',
      what: `to try the attack ${plan.id} on real hardware`,
      details: { scenario: plan.id },
    };
    const asked = await second.ask(caller, 'startChaos', subject, (proposed) =>
      this.#begin(caller, plan, request.reason, proposed),
    );
    if (!asked.ok) return asked;
    return succeed(asked.value.done ? asked.value.value : { ...asked.value, exercise: null });
  }

  /** Why it may not begin now. */
  #refusal({ session }: AdministrationCaller, plan: ScenarioPlan) {
    const { simulated, stopEngaged, inDoubt, accounts, wallMs } = this.#parts;
    const asker = session?.principal.id ?? '';
    const unfit = administratorRefusal(accounts.account(asker), wallMs());
    if (unfit !== null) return no(`account ${asker}`, unfit);
    if (plan.board === 'simulated' && !simulated) {
      return no(plan.id, 'needs a simulated board, and this one is real hardware');
    }
    if (this.#running !== null) {
      const { exercise } = this.#running;
      return no('chaos', `${exercise.id} (${exercise.scenario}) runs, and one runs at a time`);
    }
    if (stopEngaged()) return no('emergency stop', 'is engaged');
    const [doubtful] = inDoubt();
    if (doubtful === undefined) return null;
    return no(`device ${formatToken(doubtful)}`, 'is in doubt after an operation');
  }

  async #begin(
    caller: AdministrationCaller,
    plan: ScenarioPlan,
    reason: string,
    proposed?: Proposed,
  ): Answered<'startChaos'> {
    const { accounts, tokens, book, clock, wallMs } = this.#parts;
    const startedBy = caller.session?.principal.id ?? '';
    const seconds = Math.min(EXERCISE_SECONDS_MAX, plan.durationSecondsMax + AFTERWARDS_SECONDS);
    const endsAtWallMs = wallMs() + seconds * 1_000;
    const id = this.#freshId();
    const account = this.#account(id, plan, endsAtWallMs);
    const choice = { account: id, name: `exercise ${plan.id}`, scope: null };
    const { text, token } = tokens.make({ ...choice, lifetimeMs: seconds * 1_000 });
    const exercise: KeptExercise = {
      id,
      scenario: plan.id,
      startedBy,
      tokenId: token.id,
      endsAtWallMs,
      ended: 'no',
    };
    const message = `exercise ${id} (${plan.id}) runs until ${new Date(endsAtWallMs).toISOString()} at most`;
    const saved = await this.#parts.audit.append(
      {
        ...blankRecord('CHAOS_STARTED', startedBy),
        origin: caller.origin,
        operation: 'startChaos',
        planDigest: proposed?.digest ?? '',
        reason,
        result: message,
        details: {
          account: account as unknown as Canonical,
          tokenId: token.id,
          ...describe(exercise),
          ...(proposed === undefined ? {} : { proposedBy: proposed.by }),
        },
      },
      () => {
        accounts.write(account);
        tokens.write(token);
        book.write(exercise);
      },
    );
    if (!saved.ok) return saved;
    accounts.noteSaved(account);
    tokens.noteSaved(token);
    const cancel = clock.after(seconds * 1_000, () => void this.#timeIsOver(exercise));
    this.#running = { exercise, cancel };
    const { scenario } = exercise;
    const given = { id, scenario, startedBy, endsAtWallMs, account: id, token: text };
    return succeed({ done: true, message, exercise: given });
  }

  /** Ids of accounts are never used again, because the audit chain names them. */
  #freshId(): string {
    for (;;) {
      const id = `chaos-${randomBytes(ID_BYTES).toString('hex')}`;
      if (this.#parts.accounts.account(id) === undefined) return id;
    }
  }

  #account(id: string, plan: ScenarioPlan, endsAtWallMs: number): AccountRecord {
    const { devices, isQuarantined } = this.#parts;
    const harmless = devices.filter(
      (device) => !isQuarantined(device) && riskRank(device.baseRisk) < riskRank(RiskLevel.HIGH),
    );
    return {
      id,
      name: `exercise ${plan.id}`,
      kind: 'machine',
      clearance: 'RESTRICTED',
      compartments: [],
      devices: harmless.map((device) => device.id),
      administrator: false,
      enabled: true,
      underReview: false,
      validFromWallMs: null,
      validUntilWallMs: endsAtWallMs,
      certificateUris: [],
      localUids: [],
    };
  }

  // --- Ending ------------------------------------------------------------------------------------

  async #end(
    caller: AdministrationCaller,
    { id, report }: AdministrationRequest<'endChaos'>,
  ): Answered<'endChaos'> {
    const exercise = this.#parts.book.find(id);
    const consequence = 'the report was not put on record';
    if (exercise === undefined) return no('exercise', 'is none that was started here', consequence);
    // The same report sent again does no more than sending it once.
    if (exercise.ended === 'reported') return succeed({ recorded: true });
    if (exercise.ended === 'closed') return no(`exercise ${id}`, 'is over', consequence);
    if (report.scenario !== exercise.scenario) {
      return no('report', `is about ${report.scenario}, not ${exercise.scenario}`, consequence);
    }
    const closed = await this.#close(exercise, 'reported', {
      actor: caller.session?.principal.id ?? 'unknown',
      origin: caller.origin,
      operation: 'endChaos',
      result: verdictOf(report),
      details: { ...describe(exercise), report: rounded(report) as unknown as Canonical },
    });
    return closed.ok ? succeed({ recorded: true }) : closed;
  }

  async #timeIsOver(exercise: KeptExercise): Promise<void> {
    if (this.#running?.exercise.id !== exercise.id) return;
    const result = 'its time was over before there was a report';
    const closed = await this.#close(exercise, 'closed', { result });
    if (!closed.ok) this.#parts.onError(new Error(describeFault(closed.fault)), 'end of exercise');
  }

  /** Account and token are worth nothing from now on, whether or not the disk takes it: they have an end of their own. */
  async #close(
    exercise: KeptExercise,
    ended: 'reported' | 'closed',
    entry: Partial<AuditRecord>,
  ): Promise<Outcome<void>> {
    const { accounts, tokens, book, audit, sessions } = this.#parts;
    const { id, tokenId } = exercise;
    const before = accounts.account(id);
    const account = before === undefined ? undefined : { ...before, enabled: false };
    const found = tokens.token(tokenId);
    const token = found === undefined ? undefined : tokens.revoked(found);
    const because = 'the exercise has ended';
    const saved = await audit.append(
      { ...blankRecord('CHAOS_ENDED', 'security'), details: describe(exercise), ...entry },
      () => {
        if (account !== undefined) accounts.write(account);
        if (token !== undefined) tokens.write(token);
        book.write({ ...exercise, ended });
        sessions.endSessions(({ session }) => session.principal.id === id, because);
      },
    );
    if (this.#running?.exercise.id === id) {
      this.#running.cancel();
      this.#running = null;
    }
    if (account !== undefined) accounts.noteSaved(account);
    if (token !== undefined) tokens.noteSaved(token);
    return saved.ok ? succeed(undefined) : saved;
  }
}

function describe({ id, scenario, startedBy, endsAtWallMs }: KeptExercise) {
  return { exercise: id, scenario, startedBy, endsAtWallMs };
}

function verdictOf({ detected, contained, limitsKept, responseMs }: ExerciseReport): string {
  const after = responseMs === null ? '' : ` after ${Math.round(responseMs)} ms`;
  return [
    detected ? `detected${after}` : 'NOT detected',
    contained ? 'contained' : 'NOT contained',
    limitsKept ? 'limits kept' : 'limits NOT kept',
  ].join(', ');
}

function rounded(report: ExerciseReport): ExerciseReport {
  const { responseMs } = report;
  return { ...report, responseMs: responseMs === null ? null : Math.round(responseMs) };
}

function no(place: string, finding: string, consequence?: string) {
  const texts = consequence === undefined ? { place, finding } : { place, finding, consequence };
  return refuse(fault('CHAOS_REFUSED', texts));
}
