// Composition root of the whole agent in one process: three tracks that can be killed one by one, loopback links, simulated
// buses, a stop latch in memory and a virtual clock. For the seeded simulation and for measurements without processes.
// Invariants: what the processes build, this builds; a killed track touches nothing any more; the database, the latch and
// the devices outlive every track.

import type { KeyObject } from 'node:crypto';
import type { SimulatedHardware } from '#drivers/bus/simulated/hardware';
import { simulatedBus } from '#drivers/bus/simulated/simulated-bus';
import { createRegisterDriver } from '#drivers/device/register-driver';
import type { Clock } from '#foundation/clock';
import type { Outcome } from '#foundation/outcome';
import type { Link } from '#link/link';
import { LoopbackCable } from '#link/loopback-cable';
import type { Message } from '#link/message';
import { orchestratorClient } from '#link/orchestrator-client';
import { serveTrack } from '#link/track-server';
import type { Authorization } from '#model/authorization';
import type { Board } from '#model/board';
import type { DeviceHold } from '#model/hold';
import type { OrchestratorPort } from '#model/orchestrator-port';
import type { SafetyPolicy } from '#model/safety-policy';
import type { TrackName } from '#model/track-name';
import { InterfaceService } from '#tracks/interface/service';
import { InterfaceTrack } from '#tracks/interface/track';
import type { QuarantineMemory } from '#tracks/kernel/interlock';
import { AuthorizationSigner } from '#tracks/security/authorization';
import { ComposedKernel } from '../compose/kernel.ts';
import { type ComposedSecurity, composeSecurity } from '../compose/security.ts';
import { type Persona, seedPeople } from '../persona.ts';
import { LatchMemory, type LatchWatch } from './latch.ts';
import { type BusWatch, type FlushMoment, Life, MortalBus, MortalStore } from './life.ts';

/** Everything that happens, as it happens; any of these may kill a track. */
export interface BenchWatch extends BusWatch {
  readonly latch: LatchWatch;
  granted(authorization: Authorization): void;
  sent(from: TrackName, to: TrackName, message: Message): void;
  received(from: TrackName, to: TrackName, message: Message): void;
  /** Kernel begins to serve a request of security, and has served it: also when nobody waits for the answer any more. */
  kernelAsked(call: KernelCall): void;
  kernelAnswered(call: KernelCall, outcome: Outcome<unknown>): void;
  flush(moment: FlushMoment): void;
  /** A mistake in the agent, or something it says of itself. */
  error(track: TrackName, error: unknown, where: string): void;
}

/** One request that kernel serves; the same object when it begins and when it ends. */
export interface KernelCall {
  readonly method: string;
  readonly body: unknown;
  /** Of the kernel process that serves it. */
  readonly life: number;
}

export interface BenchOptions {
  readonly board: Board;
  /** Put into the database before security starts for the first time; kept over its lives. */
  readonly people: readonly Persona[];
  readonly policy: SafetyPolicy;
  readonly clock: Clock;
  readonly hardware: SimulatedHardware;
  /** The database of the security track, kept over its lives. */
  readonly database: string;
  readonly checkpointKey: KeyObject;
  /** Time the next message takes, milliseconds. */
  readonly linkLatencyMs: () => number;
  readonly watch: BenchWatch;
}

const PAGES_MAX = 1_000_000;

interface Running<T> {
  readonly life: Life;
  readonly parts: T;
}

export interface InterfaceParts {
  readonly port: OrchestratorPort;
  readonly service: InterfaceService;
}

/** The same link, whose requests are seen as they begin and end. */
function servedUnderWatch(link: Link, life: Life, watch: BenchWatch): Link {
  return {
    self: link.self,
    peer: link.peer,
    get peerState() {
      return link.peerState;
    },
    request: (type, method, body, deadline) => link.request(type, method, body, deadline),
    notify: (type, method, body) => link.notify(type, method, body),
    serve: (method, handler) => {
      link.serve(method, async (body, deadline) => {
        const call: KernelCall = { method, body, life: life.number };
        if (life.alive) watch.kernelAsked(call);
        const outcome = await handler(body, deadline);
        if (life.alive) watch.kernelAnswered(call, outcome);
        return outcome;
      });
    },
    onNotice: (method, listener) => link.onNotice(method, listener),
    onPeer: (listener) => link.onPeer(listener),
    counters: () => link.counters(),
    close: () => link.close(),
  };
}

/** Signs as ever, and tells what. */
class WatchedSigner extends AuthorizationSigner {
  readonly #granted: (authorization: Authorization) => void;

  constructor(clock: Clock, granted: (authorization: Authorization) => void) {
    super(clock);
    this.#granted = granted;
  }

  override grant(
    ...act: Parameters<AuthorizationSigner['grant']>
  ): ReturnType<AuthorizationSigner['grant']> {
    const authorization = super.grant(...act);
    this.#granted(authorization);
    return authorization;
  }
}

export class Bench {
  readonly board: Board;
  readonly latch: LatchMemory;
  readonly kernelCable: LoopbackCable;
  readonly interfaceCable: LoopbackCable;
  readonly #options: BenchOptions;
  readonly #stores: MortalStore[] = [];
  #kernel: Running<ComposedKernel> | null = null;
  #security: Running<ComposedSecurity> | null = null;
  #interface: Running<InterfaceParts> | null = null;
  /** What lies in the run directory: it outlives every process. */
  #quarantined: readonly DeviceHold[] = [];
  readonly #quarantine: QuarantineMemory = {
    recall: () => this.#quarantined,
    remember: (holds) => {
      this.#quarantined = holds;
    },
  };
  #lives = 0;
  #ids = 0;

  constructor(options: BenchOptions) {
    this.#options = options;
    const { clock, watch } = options;
    this.board = options.board;
    this.latch = new LatchMemory(clock, watch.latch);
    this.kernelCable = this.#cable('kernel');
    this.interfaceCable = this.#cable('interface');
  }

  get kernel(): ComposedKernel | null {
    return this.#kernel?.parts ?? null;
  }

  get security(): ComposedSecurity | null {
    return this.#security?.parts ?? null;
  }

  get interface(): InterfaceParts | null {
    return this.#interface?.parts ?? null;
  }

  alive(track: TrackName): boolean {
    return this.#running(track) !== null;
  }

  /** A new process of this track on what the ones before it left behind. */
  async start(track: TrackName): Promise<void> {
    if (this.alive(track)) throw new Error(`${track} runs already`);
    switch (track) {
      case 'kernel':
        return this.#startKernel();
      case 'security':
        return this.#startSecurity();
      case 'interface':
        return this.#startInterface();
    }
  }

  /** Kill -9. `wireTailMs`: for so long what is on a wire still reaches the device. */
  crash(track: TrackName, wireTailMs = 0): void {
    const running = this.#running(track);
    if (running === null) return;
    running.life.end(wireTailMs);
    if (track === 'kernel') this.#kernel = null;
    if (track === 'security') this.#security = null;
    if (track === 'interface') this.#interface = null;
    if (track !== 'interface') this.kernelCable.cut(track);
    if (track !== 'kernel') this.interfaceCable.cut(track);
  }

  /** The disk takes no more than it holds now, or as much as anybody likes. */
  limitDisk(room: 'none' | 'plenty'): void {
    const store = this.#security === null ? undefined : this.#stores.at(-1);
    if (store === undefined) return;
    const pages = room === 'none' ? 1 : PAGES_MAX;
    // No fewer than it has: SQLite takes the larger of both (sqlite.org/pragma.html#pragma_max_page_count).
    store.database.exec(`PRAGMA max_page_count = ${pages}`);
  }

  /** Kills what runs and closes the database. */
  close(): void {
    for (const track of ['interface', 'security', 'kernel'] as const) this.crash(track);
    for (const store of this.#stores) store.database.close();
    this.#stores.length = 0;
  }

  #running(track: TrackName): Running<unknown> | null {
    switch (track) {
      case 'kernel':
        return this.#kernel;
      case 'security':
        return this.#security;
      case 'interface':
        return this.#interface;
    }
  }

  #life(): Life {
    this.#lives += 1;
    return new Life(this.#options.clock, this.#lives);
  }

  #cable(other: 'kernel' | 'interface'): LoopbackCable {
    const { clock, linkLatencyMs, watch } = this.#options;
    const peerOf = (track: TrackName): TrackName => (track === 'security' ? other : 'security');
    return new LoopbackCable('security', other, {
      clock,
      latencyMs: linkLatencyMs,
      onError: (error, where) => watch.error(other, error, where),
      onSent: (from, message) => watch.sent(from, peerOf(from), message),
      onReceived: (to, message) => watch.received(peerOf(to), to, message),
    });
  }

  async #startKernel(): Promise<void> {
    const { board, hardware, watch } = this.#options;
    const life = this.#life();
    const latch = this.latch.viewOf('kernel', life);
    const note = (detail: object, message: string) => void [detail, message];
    const kernel = new ComposedKernel({
      board,
      clock: life.clock,
      latch,
      link: servedUnderWatch(this.kernelCable.attach('kernel', life.clock), life, watch),
      openBus: ({ id, kind }) =>
        new MortalBus(simulatedBus({ id, kind, hardware, clock: life.wireClock }), life, watch),
      createDriver: createRegisterDriver,
      quarantine: this.#quarantine,
      life: `life-${life.number}`,
      log: { info: note, warn: note, error: note },
    });
    this.#kernel = { life, parts: kernel };
    this.latch.onRing(life, {
      engaged: () => {
        kernel.track.stopByLatch().catch((error: unknown) => watch.error('kernel', error, 'stop'));
      },
      tested: () => kernel.track.bellTested(),
    });
    await kernel.start();
  }

  async #startSecurity(): Promise<void> {
    const { board, people, policy, clock, database, checkpointKey, watch } = this.#options;
    const life = this.#life();
    const store = new MortalStore(database, life, (moment) => watch.flush(moment));
    if (this.#stores.length === 0) seedPeople(store, people, life.clock.wallMs());
    this.#stores.push(store);
    const signer = new WatchedSigner(life.clock, (authorization) => {
      if (life.alive) watch.granted(authorization);
    });
    const security = composeSecurity({
      board,
      policy,
      store,
      bootId: `boot-${life.number}`,
      clock: life.clock,
      clockQuality: () => (clock.nowMs() < 1_000 ? 'unsynchronized' : 'synchronized'),
      checkpointKey,
      signer,
      latch: this.latch.viewOf('security', life),
      kernelLink: this.kernelCable.attach('security', life.clock),
      interfaceLink: this.interfaceCable.attach('security', life.clock),
      newId: () => {
        this.#ids += 1;
        return `agent-${this.#ids}`;
      },
      onError: (error, where) => {
        if (life.alive) watch.error('security', error, where);
      },
      onNote: () => undefined,
    });
    this.#security = { life, parts: security };
    await security.start();
  }

  async #startInterface(): Promise<void> {
    const { board, watch } = this.#options;
    const life = this.#life();
    const link = this.interfaceCable.attach('interface', life.clock);
    const port = orchestratorClient(link);
    const service = new InterfaceService({
      orchestrator: port,
      board,
      clock: life.clock,
      latch: this.latch.viewOf('interface', life),
      log: (message) => watch.error('interface', new Error(message), 'service'),
    });
    serveTrack(link, new InterfaceTrack(service));
    this.#interface = { life, parts: { port, service } };
  }
}
