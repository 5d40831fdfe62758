// One job for a certificate, in a thread that ends with it: its heap, and the large package in it, go with the thread.

import { parentPort, workerData } from 'node:worker_threads';
import type { Asked, CertificateJob } from '#tracks/security/certificates/certificate-maker';
import { certificateLibrary } from './certificate-library.ts';

export interface CertificateWork<J extends CertificateJob = CertificateJob> {
  readonly job: J;
  readonly asked: Asked<J>;
}

const { job, asked } = workerData as CertificateWork;
parentPort?.postMessage(await certificateLibrary.make(job, asked));
