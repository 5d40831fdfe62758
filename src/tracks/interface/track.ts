// Track C: the network's side of an operation; tells people, judges how they ask, holds no device and no key.

import type { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import type { RiskAssessment } from '#model/risk';
import type { InterfaceSnapshot } from '#model/snapshot';
import type { StopOrder, StopReceipt } from '#model/stop';
import type {
  AssessRequest,
  CommitReceipt,
  CommitRequest,
  PrepareRequest,
  PrepareVote,
  Track,
} from '#model/track';
import { assessInterfaceRisk } from './assess.ts';
import { InterfacePromises } from './prepare.ts';
import type { InterfaceService } from './service.ts';
import { InterfaceState } from './snapshot.ts';
import { tellClients } from './stop.ts';

export class InterfaceTrack implements Track {
  readonly name = 'interface';
  readonly #service: InterfaceService;
  readonly #promises = new InterfacePromises();
  readonly #state = new InterfaceState();

  constructor(service: InterfaceService) {
    this.#service = service;
  }

  async assess(request: AssessRequest): Promise<Outcome<RiskAssessment>> {
    return succeed(assessInterfaceRisk(request, this.#service.picture));
  }

  async prepare(request: PrepareRequest): Promise<Outcome<PrepareVote>> {
    return this.#promises.prepare(request, this.#service.health());
  }

  async commit(request: CommitRequest): Promise<Outcome<CommitReceipt>> {
    return this.#promises.commit(request);
  }

  async abort(operationId: string): Promise<Outcome<void>> {
    this.#promises.abort(operationId);
    return succeed(undefined);
  }

  async stop(order: StopOrder): Promise<Outcome<StopReceipt>> {
    const { clock, events } = this.#service;
    const startedMs = clock.nowMs();
    return succeed(tellClients(events, order, () => clock.nowMs() - startedMs));
  }

  async snapshot(
    _deadline?: Deadline,
    devices?: readonly LinearId[],
  ): Promise<Outcome<InterfaceSnapshot>> {
    const { sessions, picture, attention } = this.#service;
    return succeed(this.#state.snapshot(sessions, picture.ageMs(), attention.states(devices)));
  }
}
