// Has certificates made in a thread that is started for each job and ends with it, so that the loop of security stays free
// and the memory of the ASN.1 package is given back.
// Invariants: one thread at a time; jobs wait in a bounded queue; heap and time of a job are bounded; the signing key is
// handed over as a handle within this process, and the thread has neither environment nor parameters of the process.
// Faults: BUSY, DEADLINE_EXCEEDED, INTERNAL where the thread ended without an answer; never a rejection.

import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { type Clock, systemClock } from '#foundation/clock';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse } from '#foundation/outcome';
import type {
  Asked,
  CertificateJob,
  CertificateMaker,
  Made,
} from '#tracks/security/certificates/certificate-maker';
import type { CertificateWork } from './certificate-worker.ts';

export interface WorkerLimits {
  /** Of one job, from the start of its thread. */
  readonly timeMs: number;
  readonly heapMb: number;
  /** Jobs under way or waiting. */
  readonly jobs: number;
}

/**
 * A job takes a third of a second of a processor. An appliance that starts for the first time has several waiting for each
 * processor, on an emulated machine slow ones at that: giving up there would leave it without its authority.
 */
const LIMITS: WorkerLimits = { timeMs: 60_000, heapMb: 64, jobs: 8 };
const YOUNG_MB = 4;
const STACK_MB = 2;

/** Beside this file: as source, or as a bundle of its own. */
function workerFile(): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return fileURLToPath(new URL(`./certificate-worker.${extension}`, import.meta.url));
}

export class CertificateThreads implements CertificateMaker {
  readonly #clock: Clock;
  readonly #limits: WorkerLimits;
  readonly #file: string;
  #last: Promise<unknown> = Promise.resolve();
  #jobs = 0;

  constructor(
    options: {
      readonly clock?: Clock;
      readonly limits?: Partial<WorkerLimits>;
      readonly file?: string;
    } = {},
  ) {
    this.#clock = options.clock ?? systemClock;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#file = options.file ?? workerFile();
  }

  make<J extends CertificateJob>(job: J, asked: Asked<J>): Promise<Outcome<Made<J>>> {
    if (this.#jobs >= this.#limits.jobs) {
      const finding = `${this.#jobs} jobs for certificates are under way`;
      return Promise.resolve(refuse(fault('BUSY', { place: job, finding })));
    }
    this.#jobs += 1;
    const turn = this.#last.then(() => this.#run({ job, asked }));
    this.#last = turn.finally(() => {
      this.#jobs -= 1;
    });
    return turn;
  }

  /** Resolves when the thread is gone. */
  #run<J extends CertificateJob>(work: CertificateWork<J>): Promise<Outcome<Made<J>>> {
    const { timeMs, heapMb } = this.#limits;
    const failed = (code: 'INTERNAL' | 'DEADLINE_EXCEEDED', finding: string, internal = '') =>
      refuse(fault(code, { place: work.job, finding, ...(internal === '' ? {} : { internal }) }));
    return new Promise((resolve) => {
      let outcome: Outcome<Made<J>> = failed('INTERNAL', 'ended without an answer');
      let thread: Worker;
      try {
        thread = new Worker(this.#file, {
          name: 'certificate',
          workerData: work,
          env: {},
          argv: [],
          execArgv: ['--disable-warning=ExperimentalWarning'],
          resourceLimits: {
            maxOldGenerationSizeMb: heapMb,
            maxYoungGenerationSizeMb: YOUNG_MB,
            stackSizeMb: STACK_MB,
          },
        });
      } catch (error) {
        resolve(failed('INTERNAL', 'could not be begun', describeError(error)));
        return;
      }
      const cancel = this.#clock.after(timeMs, () => {
        outcome = failed('DEADLINE_EXCEEDED', `took more than ${timeMs} ms`);
        void thread.terminate();
      });
      thread.once('message', (answer: Outcome<Made<J>>) => {
        outcome = answer;
        void thread.terminate();
      });
      thread.on('error', (error) => {
        outcome = failed('INTERNAL', 'failed in its thread', describeError(error));
      });
      thread.once('exit', () => {
        cancel();
        resolve(outcome);
      });
    });
  }
}
