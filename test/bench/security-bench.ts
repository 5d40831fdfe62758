// This process as the security process of a real agent: kernel, interface and simulator are processes of their own, over
// the same shared links and the same disk; only the network is left out, so that the orchestrator's own time is seen.

import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { checkBoard } from '#config/board';
import { COMPILED_SUFFIX, writeCompiledBoard } from '#config/compiled-board';
import { type Layout, layoutOf, linkDirectoryOf } from '#config/layout';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { DurableStore } from '#foundation/durable-store';
import { describeFault } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import { SharedLink } from '#link/shared-link';
import { SharedStopLatch } from '#link/stop-latch';
import { kernelTrackClient } from '#link/track-client';
import type { Board } from '#model/board';
import type { DeviceDescriptor } from '#model/device';
import { type Intent, NO_REQUIREMENTS, OperationType, type Target } from '#model/operation';
import { ClearanceLevel, COMPARTMENTS, type Origin, type Principal } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { DEFAULT_POLICY } from '#model/safety-policy';
import type { KernelTrack } from '#model/track';
import type { Decision } from '#orchestrator/journal-row';
import { AuthorizationSigner } from '#tracks/security/authorization';
import { bundle, bundlePath, type Program } from '../../scripts/bundle.ts';
import { nodeFlagsOf } from '../../scripts/node-flags.ts';
import { PROFILE_DIRECTORIES } from '../../src/bin/command-line.ts';
import { type ComposedSecurity, composeSecurity } from '../../src/bin/compose/security.ts';
import { openKeys } from '../../src/bin/key-material.ts';
import { accountFor, seedPeople } from '../../src/bin/persona.ts';
import { provisionDemo } from '../../src/bin/provision.ts';
import { openRunDirectory } from '../../src/bin/run-directory.ts';
import { SupervisedProcess } from '../../src/bin/supervised-process.ts';
import { REPOSITORY } from '../support/agent.ts';

const ORIGIN: Origin = { transport: 'local', peer: 'bench' };
const PEOPLE: readonly Principal[] = ['first', 'second'].map((id) => ({
  id,
  name: id,
  kind: 'person',
  clearance: ClearanceLevel.TOP_SECRET,
  compartments: [...COMPARTMENTS],
  devices: null,
  underReview: false,
}));
/** Nothing periodic may come between the samples. */
const QUIET_POLICY = {
  ...DEFAULT_POLICY,
  sync: { ...DEFAULT_POLICY.sync, periodMs: 3_600_000 },
  stop: { selfTestPeriodMs: 3_600_000 },
};
const ANSWER_LIMIT_MS = 30_000;

export class SecurityBench {
  readonly board: Board;
  readonly layout: Layout;
  readonly simulatorDirectory: string;
  readonly store: DurableStore;
  readonly latch: SharedStopLatch;
  readonly security: ComposedSecurity;
  readonly sessions: readonly string[];
  readonly #directory: string;
  readonly #links: readonly SharedLink[];
  readonly #kernel: KernelTrack;
  readonly #children: ReadonlyMap<string, SupervisedProcess>;

  private constructor(
    parts: Pick<
      SecurityBench,
      'board' | 'layout' | 'simulatorDirectory' | 'store' | 'latch' | 'security' | 'sessions'
    > & {
      readonly directory: string;
      readonly links: readonly SharedLink[];
      readonly kernel: KernelTrack;
      readonly children: ReadonlyMap<string, SupervisedProcess>;
    },
  ) {
    this.board = parts.board;
    this.layout = parts.layout;
    this.simulatorDirectory = parts.simulatorDirectory;
    this.store = parts.store;
    this.latch = parts.latch;
    this.security = parts.security;
    this.sessions = parts.sessions;
    this.#directory = parts.directory;
    this.#links = parts.links;
    this.#kernel = parts.kernel;
    this.#children = parts.children;
  }

  static async open(): Promise<SecurityBench> {
    await bundle();
    const directory = mkdtempSync(join(tmpdir(), 'dsmil-bench-'));
    const layout = layoutOf(directory, join(directory, 'run'));
    const simulatorDirectory = join(directory, 'simulator');
    for (const path of [layout.runDirectory, simulatorDirectory, join(directory, 'log')])
      mkdirSync(path, { recursive: true });
    mkdirSync(dirname(layout.database), { recursive: true });
    await provisionDemo(layout, process.getuid?.() ?? 0);
    const file = join(REPOSITORY, 'drivers/profiles/boards/default.yaml');
    const { board } = checkBoard(file, {
      variables: { SIMULATOR: simulatorDirectory },
      profileDirectories: [dirname(file), ...PROFILE_DIRECTORIES],
    });
    if (board === undefined) throw new Error('the default board has problems');
    const compiled = join(directory, `board${COMPILED_SUFFIX}`);
    writeCompiledBoard(compiled, board);

    const signer = new AuthorizationSigner(systemClock);
    must(openRunDirectory(layout.runDirectory, 'security'));

    const children = new Map<string, SupervisedProcess>();
    const start = (name: Program, processArguments: readonly string[]): Promise<void> =>
      new Promise((resolve) => {
        const child = new SupervisedProcess({
          name,
          script: bundlePath(name),
          arguments: processArguments,
          nodeFlags: nodeFlagsOf(name),
          environment: process.env,
          logFile: join(directory, 'log', `${name}.log`),
          // Killed again and again on purpose: no wait may grow between two starts.
          backoffLastMs: 100,
          onDied: () => undefined,
          onReady: () => resolve(),
        });
        children.set(name, child);
        child.start();
      });
    const common = ['--state-dir', directory, '--run-dir', layout.runDirectory];
    const network = ['--http', '127.0.0.1:0', '--grpc', '127.0.0.1:0'];
    await start('simulator', ['--board', compiled, '--directory', simulatorDirectory]);
    await start('kernel', [...common, '--board', compiled]);
    // Ready once security, below, has certified its server.
    const served = start('interface', [...common, '--board', compiled, ...network]);

    const onError = (error: unknown, where: string) => {
      process.stderr.write(`bench: ${where}: ${String(error)}\n`);
    };
    const linkTo = (peer: 'kernel' | 'interface') =>
      new SharedLink({
        directory: linkDirectoryOf(
          layout.runDirectory,
          peer === 'kernel' ? 'kernel-security' : 'security-interface',
        ),
        self: 'security',
        peer,
        clock: systemClock,
        onError,
      });
    const kernelLink = linkTo('kernel');
    const interfaceLink = linkTo('interface');
    const store = new DurableStore(layout.database);
    const people = PEOPLE.map((principal) => ({
      account: accountFor(principal),
      token: principal.id,
    }));
    seedPeople(store, people, systemClock.wallMs());
    const latch = new SharedStopLatch({ directory: layout.stopDirectory, self: 'security' });
    const keys = must(
      await openKeys({
        layout,
        store,
        credentials: undefined,
        names: [],
        wallMs: () => systemClock.wallMs(),
        onNote: () => undefined,
      }),
    );
    const security = composeSecurity({
      board,
      policy: QUIET_POLICY,
      store,
      bootId: randomUUID(),
      clock: systemClock,
      clockQuality: () => 'unsynchronized',
      checkpointKey: keys.checkpointKey,
      material: keys.material,
      sealing: keys.sealing,
      signer,
      latch,
      kernelLink,
      interfaceLink,
      newId: randomUUID,
      onError,
      onNote: () => undefined,
    });
    await security.start();
    await served;
    const sessions: string[] = [];
    for (const { id } of PEOPLE) {
      const credential = { kind: 'token', token: id } as const;
      sessions.push(must(await security.orchestrator.authenticate(credential, ORIGIN)).id);
    }
    const bench = new SecurityBench({
      board,
      layout,
      simulatorDirectory,
      store,
      latch,
      security,
      sessions,
      directory,
      links: [kernelLink, interfaceLink],
      kernel: kernelTrackClient(kernelLink),
      children,
    });
    await bench.waitUntil('kernel to be supervised', () => security.supervision.inCharge);
    return bench;
  }

  get session(): string {
    return this.sessions[0] ?? '';
  }

  deadline(afterMs = 10_000): Deadline {
    return Deadline.after(systemClock, afterMs);
  }

  /** A transaction on CONFIG of these devices as it lies on disk between decision and commit. */
  async decide(devices: readonly DeviceDescriptor[], value: bigint): Promise<Decision> {
    const targets = devices.map((device) => ({
      device: device.id,
      registers: [{ register: 'CONFIG', value }],
    }));
    const intent = this.#intent(OperationType.WRITE, targets, {});
    const plan = must(await this.#kernel.plan({ ...intent, dryRun: true }, this.deadline()));
    const priors = (plan.preview ?? []).filter((reading) => reading.register === 'CONFIG');
    const decision: Decision = {
      intent,
      plan,
      priors,
      votes: { kernel: 'yes', security: 'yes', interface: 'yes' },
      requestedBy: 'first',
      decidedWallMs: systemClock.wallMs(),
    };
    must(await this.security.journal.decide(decision));
    return decision;
  }

  /** kill -9; resolves when the link has noticed. Its supervisor starts it again by itself. */
  async killKernel(): Promise<void> {
    const pid = this.#children.get('kernel')?.pid ?? 0;
    process.kill(pid, 'SIGKILL');
    await this.waitUntil('the loss of kernel', () => !this.security.supervision.inCharge);
  }

  #intent(type: OperationType, targets: readonly Target[], changes: Partial<Intent>): Intent {
    return {
      operationId: randomUUID(),
      type,
      targets,
      requirements: NO_REQUIREMENTS,
      justification: 'a round of the bench',
      confirmedRisk: RiskLevel.CRITICAL,
      dryRun: false,
      involved: [],
      // As interface sends it along with every request.
      interfaceRisk: { track: 'interface', level: RiskLevel.SAFE, reasons: [] },
      ...changes,
    };
  }

  async operate(type: OperationType, targets: readonly Target[], changes: Partial<Intent> = {}) {
    const intent = this.#intent(type, targets, changes);
    const { orchestrator } = this.security;
    return must(await orchestrator.operate(this.session, intent, ORIGIN, this.deadline()));
  }

  /** A person accepts a change by hand, which ends the review of its device. */
  async accept(conflictId: number): Promise<void> {
    const { orchestrator } = this.security;
    const reason = 'changed by the bench itself';
    must(await orchestrator.resolveConflict(this.session, conflictId, 'ACCEPT', reason, ORIGIN));
  }

  stop(devices: readonly number[]) {
    const request = { reason: 'bench round', priority: 4, devices, groups: [] } as const;
    return this.security.orchestrator.stop(this.session, request, ORIGIN);
  }

  /** Two people ask in turn until the stop is released; a drive of slow buses may still run. */
  async reset(): Promise<void> {
    const { orchestrator } = this.security;
    let turn = 0;
    await this.waitUntil('the reset', async () => {
      const session = this.sessions[turn++ % 2] ?? '';
      const progress = await orchestrator.resetStop(session, 'bench round is over', ORIGIN);
      return progress.ok && progress.value.released;
    });
  }

  async waitUntil(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const untilMs = performance.now() + ANSWER_LIMIT_MS;
    while (!(await holds())) {
      if (performance.now() > untilMs) throw new Error(`waited ${ANSWER_LIMIT_MS} ms for ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  async close(): Promise<void> {
    await this.#children.get('interface')?.stop(2_000);
    await this.#children.get('kernel')?.stop(6_000);
    await this.#children.get('simulator')?.stop(1_000);
    for (const link of this.#links) link.close();
    this.latch.close();
    this.store.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

export function must<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Error(`${outcome.fault.code} ${describeFault(outcome.fault)}`);
}
