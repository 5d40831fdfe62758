// Whole operations over gRPC from this process through three others to the mapped file and back, beside a bare echo.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { credentials, Metadata, makeGenericClientConstructor } from '@grpc/grpc-js';
import {
  CoordinationResult,
  DsmilCommunicationServiceClient,
  OperationCoordinationRequest,
  type OperationCoordinationResponse,
  OperationType,
  type RegisterAccess,
} from '#contract/generated/dsmil/communication/v1/communication';
import { Agent, NODE, REPOSITORY } from '../support/agent.ts';
import { ECHO } from './grpc-echo-service.ts';
import { type BenchRow, percentiles, rowOf } from './row.ts';
import { benchStop } from './stop.ts';

const COUNT = 2_000;
const WARM_UP = 300;
/** Calls of one kind before the other's turn, so that both meet the same weather. */
const TURN = 100;
const DEVICE = 0x8000;

/** TLS names no IP addresses (RFC 6066 section 3). */
const NAMED = { 'grpc.ssl_target_name_override': 'localhost' };

type Call = () => Promise<void>;

export async function benchPipeline(): Promise<readonly BenchRow[]> {
  const agent = await Agent.start();
  let echo: Echo | undefined;
  try {
    echo = await startEcho(agent);
    const { grpc, ca, people } = agent.ready;
    const client = new DsmilCommunicationServiceClient(
      grpc,
      credentials.createSsl(readFileSync(ca)),
      NAMED,
    );
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${people[0]?.token}`);
    const operate = (request: OperationCoordinationRequest) =>
      new Promise<OperationCoordinationResponse>((resolve, reject) => {
        client.coordinateOperation(request, metadata, (error, answer) =>
          error === null ? resolve(answer) : reject(error),
        );
      });
    const succeed = async (
      operationType: OperationType,
      register: RegisterAccess,
    ): Promise<void> => {
      const request = OperationCoordinationRequest.create({ deviceId: DEVICE, operationType });
      const answer = await operate({ ...request, registers: [register] });
      if (answer.result !== CoordinationResult.COORDINATION_SUCCESS)
        throw new Error(answer.errorMessage);
    };
    let word = 0n;
    const read: Call = () => succeed(OperationType.OPERATION_READ, { name: 'DATA' });
    const write: Call = () =>
      succeed(OperationType.OPERATION_WRITE, { name: 'DATA', value: ++word & 0xffffn });
    const rows = [
      ...(await pair('whole-pipeline read over gRPC', read, echo.call, 3)),
      ...(await pair('whole-pipeline write over gRPC', write, echo.call, null)),
      ...(await benchStop(agent)),
    ];
    client.close();
    return rows;
  } finally {
    echo?.close();
    await agent.stop();
  }
}

async function pair(
  name: string,
  call: Call,
  beside: Call,
  ratioGoal: number | null,
): Promise<readonly BenchRow[]> {
  for (let index = 0; index < WARM_UP; index++) {
    await call();
    await beside();
  }
  const samples: number[] = [];
  const echoes: number[] = [];
  for (let done = 0; done < COUNT; done += TURN) {
    for (let index = 0; index < TURN; index++) samples.push(await time(call));
    for (let index = 0; index < TURN; index++) echoes.push(await time(beside));
  }
  return [
    rowOf({
      name,
      bus: 'memory',
      unit: 'us',
      n: samples.length,
      figure: percentiles(samples),
      beside: { name: 'bare grpc-js echo over TLS', ...percentiles(echoes) },
      ...(ratioGoal === null
        ? {}
        : {
            goal: {
              text: `P95 <= ${ratioGoal} x`,
              reached: (_: unknown, ratio: number) => ratio <= ratioGoal,
            },
          }),
    }),
  ];
}

async function time(call: Call): Promise<number> {
  const startNs = process.hrtime.bigint();
  await call();
  return Number(process.hrtime.bigint() - startNs) / 1_000;
}

interface Echo {
  readonly call: Call;
  readonly close: () => void;
}

async function startEcho(agent: Agent): Promise<Echo> {
  const identity = join(agent.ready.stateDirectory, 'interface', 'server.json');
  const child = spawn(NODE, [join(REPOSITORY, 'test/bench/grpc-echo.ts'), identity], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit').then(([code]) =>
    Promise.reject(new Error(`the echo ended with ${code} before it listened`)),
  );
  const [line] = (await Promise.race([once(child.stdout, 'data'), ended])) as [Buffer];
  ended.catch(() => undefined);
  const Client = makeGenericClientConstructor(ECHO, 'bench.Echo');
  const client = new Client(
    `127.0.0.1:${line.toString().trim()}`,
    credentials.createSsl(readFileSync(agent.ready.ca)),
    NAMED,
  );
  // About what an operation request and its answer weigh.
  const bytes = Buffer.alloc(128, 1);
  const send = client.echo?.bind(client);
  if (send === undefined) throw new Error('the echo client has no method');
  return {
    call: () =>
      new Promise((resolve, reject) => {
        send(bytes, (error: Error | null) => (error === null ? resolve() : reject(error)));
      }),
    close: () => {
      client.close();
      child.stdin.end();
    },
  };
}
