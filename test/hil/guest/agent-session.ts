// The whole agent inside the guest: started with `npm start`'s script, used over gRPC with a client certificate.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { credentials, Metadata } from '@grpc/grpc-js';
import {
  DsmilCommunicationServiceClient,
  OperationCoordinationRequest,
  type OperationCoordinationResponse,
  OperationType,
  RiskLevel,
} from '#contract/generated/dsmil/communication/v1/communication';
import type { ReadyFile } from '../../support/agent.ts';
import { mark } from './report.ts';

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const START = path('../../../scripts/start.ts');
const DSMIL = path('../../../build/bin/dsmil.js');
/** Short, because unix sockets lie below it; /run is memory in the guest. */
const STATE_DIRECTORY = '/run/agent';
const READY_FILE = '/run/agent.json';
/** An emulated processor on a busy machine: about 8 s when the machine is idle. */
const READY_LIMIT_MS = 180_000;
const CALL_LIMIT_MS = 60_000;
const NODE_FLAGS = ['--disable-warning=ExperimentalWarning'];

/** The last lines of every process of the agent, for a failure that only they explain. */
function logs(): string {
  const directory = `${STATE_DIRECTORY}/log`;
  if (!existsSync(directory)) return 'no logs';
  return readdirSync(directory)
    .map((name) => `${name}:\n${readFileSync(`${directory}/${name}`, 'utf8').slice(-2_000)}`)
    .join('\n');
}

export interface Write {
  readonly device: number;
  readonly register: string;
  readonly value: bigint;
}

export class AgentSession {
  readonly ready: ReadyFile;
  readonly #child: ChildProcess;
  readonly #client: DsmilCommunicationServiceClient;

  private constructor(child: ChildProcess, ready: ReadyFile) {
    this.#child = child;
    this.ready = ready;
    const [person] = ready.people;
    if (person === undefined) throw new Error('the ready file names nobody');
    const identity = credentials.createSsl(
      readFileSync(ready.ca),
      readFileSync(person.key),
      readFileSync(person.certificate),
    );
    this.#client = new DsmilCommunicationServiceClient(ready.grpc, identity);
  }

  static async start(board: string): Promise<AgentSession> {
    const parameters = [
      ...['--state-dir', STATE_DIRECTORY, '--ready-file', READY_FILE, '--board', board],
      ...['--http', '127.0.0.1:0', '--grpc', '127.0.0.1:0'],
    ];
    const child = spawn(process.execPath, [...NODE_FLAGS, START, ...parameters], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let errors = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    const untilMs = Date.now() + READY_LIMIT_MS;
    while (!existsSync(READY_FILE)) {
      if (child.exitCode !== null || Date.now() > untilMs) {
        child.kill('SIGKILL');
        throw new Error(`the agent did not get ready (exit ${child.exitCode})\n${errors}${logs()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    mark('agent ready');
    return new AgentSession(child, JSON.parse(readFileSync(READY_FILE, 'utf8')) as ReadyFile);
  }

  read(device: number, register: string): Promise<OperationCoordinationResponse> {
    return this.#coordinate({
      ...OperationCoordinationRequest.create(),
      deviceId: device,
      operationType: OperationType.OPERATION_READ,
      registers: [{ name: register, value: undefined }],
    });
  }

  /** One transaction, over several devices and buses when the writes are for several. */
  write(...writes: readonly Write[]): Promise<OperationCoordinationResponse> {
    return this.#coordinate({
      ...OperationCoordinationRequest.create(),
      targets: writes.map(({ device, register, value }) => ({
        deviceId: device,
        registers: [{ name: register, value }],
      })),
      operationType: OperationType.OPERATION_WRITE,
      justification: 'written by the hardware test',
      confirmedRisk: RiskLevel.RISK_MODERATE,
    });
  }

  /** Runs the technician's command on the local socket: what it printed, and its exit code. */
  dsmil(...parameters: readonly string[]): { readonly exit: number | null; readonly text: string } {
    const run = spawnSync(process.execPath, [...NODE_FLAGS, DSMIL, ...parameters], {
      encoding: 'utf8',
      timeout: CALL_LIMIT_MS,
      env: { ...process.env, DSMIL_SOCKET: this.ready.socket },
    });
    return { exit: run.status, text: `${run.stdout}${run.stderr}` };
  }

  async stop(): Promise<void> {
    this.#client.close();
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGTERM');
    await ended;
  }

  #coordinate(request: OperationCoordinationRequest): Promise<OperationCoordinationResponse> {
    const trackInvolvement = { kernelTrack: true, securityTrack: true, interfaceTrack: true };
    const whole = { ...request, trackInvolvement };
    const options = { deadline: Date.now() + CALL_LIMIT_MS };
    return new Promise((resolve, reject) => {
      this.#client.coordinateOperation(whole, new Metadata(), options, (error, response) => {
        if (error === null) resolve(response);
        else reject(error);
      });
    });
  }
}
