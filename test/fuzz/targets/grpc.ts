// gRPC: damaged protobuf bodies through the generated decoders and what turns them into requests, and over TLS as HTTP/2
// streams whose messages, lengths, flags and metadata are damaged too.

import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from 'node:http2';
import { ApplianceServiceService } from '#contract/appliance';
import {
  DsmilCommunicationServiceService,
  EmergencyStopRequest,
  OperationCoordinationRequest,
} from '#contract/communication';
import { operationRequestFromWire } from '#contract/operation-message';
import { findHiddenText } from '#contract/plain-text';
import { stopRequestFromWire } from '#contract/stop-message';
import { isFaultCode } from '#foundation/fault-catalogue';
import { GrpcServer } from '#tracks/interface/grpc/server';
import { makeTestAuthority } from '../../support/certificates.ts';
import { damageBytes } from '../byte-mutators.ts';
import type { FuzzBench, FuzzTarget } from '../fuzz.ts';
import type { FuzzRandom } from '../random.ts';
import { type Complaint, judgeOutcome } from '../verdict.ts';
import { Front, need } from './front.ts';

/** What all generated methods have in common. */
interface Method {
  readonly path: string;
  readonly responseStream: boolean;
  readonly requestStream: boolean;
  readonly requestDeserialize: (bytes: Buffer) => unknown;
}

const METHODS: readonly Method[] = [
  DsmilCommunicationServiceService,
  ApplianceServiceService,
].flatMap((definition) => Object.values(definition) as unknown as Method[]);

const OPERATION = OperationCoordinationRequest.encode(
  OperationCoordinationRequest.fromPartial({
    coordinationId: 'operation-1',
    operationType: 2,
    initiator: { userId: 'alice', sessionId: 'one' },
    targetDevices: [{ deviceId: 1, registers: [{ registerName: 'DATA', value: 255n }] }],
    justification: 'the pump stands still',
    dryRun: true,
  } as never),
).finish();
const STOP = EmergencyStopRequest.encode(
  EmergencyStopRequest.fromPartial({ reason: 'smoke', affectedDevices: [1] } as never),
).finish();

/** Which method, then its body. */
const BODIES: readonly Buffer[] = METHODS.map((method, index) => {
  const body = /Operation$|Channel$/.test(method.path) ? OPERATION : STOP;
  return Buffer.concat([Buffer.from([index]), body]);
});
/** Field keys and lengths that lead decoders astray. */
const WIRE_WORDS = [
  Buffer.from([0x00]),
  Buffer.from([0x0b]),
  Buffer.from([0x0c]),
  Buffer.from([0x0f]),
  Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]),
  Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
  Buffer.from([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]),
  Buffer.alloc(200, 0x0b),
  Buffer.from('__proto__'),
  Buffer.from([0xed, 0xa0, 0x80]),
];

export const protobuf: FuzzTarget = {
  name: 'protobuf',
  runs: 10_000,
  open: async (): Promise<FuzzBench> => ({
    corpus: BODIES,
    mutate: (input, random) =>
      damageBytes(input, { random, corpus: BODIES, dictionary: WIRE_WORDS }),
    check: async (input) => {
      const body = input.subarray(1);
      const method = METHODS[(input[0] ?? 0) % METHODS.length] ?? METHODS[0];
      let decoded: unknown;
      try {
        decoded = method?.requestDeserialize(body);
      } catch (error) {
        // The documented way to refuse: grpc-js turns it into a status.
        return error instanceof Error && error.message !== '' ? null : `threw ${String(error)}`;
      }
      return judgeDecoded(decoded, body);
    },
    close: () => Promise.resolve(),
  }),
};

function judgeDecoded(decoded: unknown, body: Buffer): Complaint {
  if (typeof decoded !== 'object' || decoded === null) return 'decoded to nothing';
  const hidden = findHiddenText(decoded, 'request', 'keys and texts');
  if (hidden !== null && (hidden.finding === '' || hidden.place === '')) return 'an empty finding';
  const operation = decodedAs(OperationCoordinationRequest, body);
  const complaint =
    operation === undefined ? null : judgeOutcome(operationRequestFromWire(operation));
  if (complaint !== null) return complaint;
  const stop = decodedAs(EmergencyStopRequest, body);
  if (stop !== undefined) stopRequestFromWire(stop);
  return null;
}

function decodedAs<T>(message: { decode(bytes: Uint8Array): T }, body: Buffer): T | undefined {
  try {
    return message.decode(body);
  } catch {
    return undefined;
  }
}

/** How a message is put on the wire. */
const FRAMINGS = [
  'whole',
  'compressed flag',
  'unknown flag',
  'length too long',
  'length too short',
  'huge length',
  'in pieces',
  'twice',
  'no end',
  'reset',
  'oversized',
  'nothing',
  'half a prefix',
] as const;
const METADATA: readonly IncomingHttpHeaders[] = [
  {},
  { 'grpc-timeout': '1S' },
  { 'grpc-timeout': '99999999999H' },
  { 'grpc-timeout': '-1m' },
  { 'grpc-timeout': '0n' },
  { 'grpc-timeout': 'x' },
  { 'grpc-encoding': 'gzip' },
  { 'grpc-encoding': 'none-such' },
  { 'grpc-accept-encoding': 'gzip,deflate,identity,x' },
  { authorization: 'Bearer ' },
  { authorization: 'Basic YTpi' },
  { authorization: `Bearer ${'x'.repeat(5_000)}` },
  { 'content-type': 'application/json' },
  { 'content-type': 'application/grpc+json' },
  { te: 'gzip' },
  { 'x-data-bin': '!!!! no base64' },
  { 'x-data-bin': 'AAAA,BBBB' },
  { ':path': '/dsmil.communication.v1.DsmilCommunicationService/None' },
  { ':path': '/' },
  { ':path': '' },
  { ':method': 'GET' },
  { 'user-agent': '\u00ff'.repeat(100) },
  { 'grpc-message': '%00%zz' },
];
const HEAD_BYTES = 3;
const WAIT_MS = 15_000;
/** An end without one is given after this. */
const PATIENCE_MS = 5;

function framed(framing: (typeof FRAMINGS)[number], body: Buffer): readonly Buffer[] {
  const message = (flag: number, length: number, content = body) => {
    const prefix = Buffer.alloc(5);
    prefix[0] = flag;
    prefix.writeUInt32BE(length, 1);
    return Buffer.concat([prefix, content]);
  };
  const whole = message(0, body.length);
  switch (framing) {
    case 'compressed flag':
      return [message(1, body.length)];
    case 'unknown flag':
      return [message(0x42, body.length)];
    case 'length too long':
      return [message(0, body.length + 7)];
    case 'length too short':
      return [message(0, body.length >> 1)];
    case 'huge length':
      return [message(0, 0xffff_fff0)];
    case 'in pieces':
      return Array.from({ length: whole.length }, (_, at) => whole.subarray(at, at + 1));
    case 'twice':
      return [whole, whole];
    case 'oversized':
      return [message(0, 70_000, Buffer.alloc(70_000, 0x0a))];
    case 'nothing':
      return [];
    case 'half a prefix':
      return [whole.subarray(0, 3)];
    default:
      return [whole];
  }
}

interface StreamEnd {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly reset: number;
}

/** Sends one stream and waits until the server is done with it, or has shown that it serves it. */
function callOnce(session: ClientHttp2Session, input: Buffer): Promise<StreamEnd | 'unsendable'> {
  const [which = 0, how = 0, extra = 0] = input;
  const method = METHODS[which % METHODS.length] as Method;
  const framing = FRAMINGS[how % FRAMINGS.length] ?? 'whole';
  return new Promise((resolve, reject) => {
    let stream: ReturnType<ClientHttp2Session['request']>;
    try {
      stream = session.request({
        ':method': 'POST',
        ':path': method.path,
        'content-type': 'application/grpc',
        te: 'trailers',
        authorization: 'Bearer token-alice',
        ...METADATA[extra % METADATA.length],
      });
    } catch {
      // The client's own library would not send it.
      resolve('unsendable');
      return;
    }
    let headers: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    const timer = setTimeout(() => {
      stream.close(constants.NGHTTP2_CANCEL);
      reject(new Error(`${method.path} ${framing}: no end after ${WAIT_MS} ms`));
    }, WAIT_MS);
    stream.on('response', (received) => {
      headers = received;
      // A stream of events is open now and would stay so.
      if (method.responseStream) setTimeout(() => stream.close(), PATIENCE_MS);
    });
    stream.on('trailers', (received) => {
      trailers = received;
    });
    stream.on('error', () => undefined);
    stream.on('close', () => {
      clearTimeout(timer);
      resolve({ headers, trailers, reset: stream.rstCode });
    });
    stream.resume();
    for (const piece of framed(framing, input.subarray(HEAD_BYTES))) stream.write(piece);
    if (framing === 'reset') stream.close(constants.NGHTTP2_CANCEL);
    else if (framing === 'no end') setTimeout(() => stream.close(), 20 * PATIENCE_MS);
    else stream.end();
    // A channel answers nothing until it is asked something sound, and a stream nothing until there are news.
    if (method.responseStream) setTimeout(() => stream.close(), 20 * PATIENCE_MS);
  });
}

const UNKNOWN = 2;
const GRPC_CODES = 17;

function judgeEnd({ headers, trailers }: StreamEnd): Complaint {
  const { 'grpc-status': status, 'grpc-message': words, ...rest } = { ...headers, ...trailers };
  // Cut off by us, or refused as HTTP, or by a reset.
  if (status === undefined) return null;
  const code = Number(status);
  if (!Number.isInteger(code) || code < 0 || code >= GRPC_CODES) return `grpc-status ${status}`;
  if (code === 0) return null;
  const text = decodeURIComponent(String(words ?? ''));
  if (text === '') return `grpc-status ${status} without a message`;
  const fault = rest['dsmil-fault-code'];
  if (fault !== undefined && (!isFaultCode(String(fault)) || fault === 'INTERNAL')) {
    return `grpc-status ${status} with the fault ${String(fault)}: ${text}`;
  }
  if (code === UNKNOWN) return `a mistake in a handler: ${text}`;
  return /\bat .*:\d+:\d+|node_modules/.test(text) ? `shows its insides: ${text}` : null;
}

export const grpc: FuzzTarget = {
  name: 'grpc',
  runs: 800,
  open: async (): Promise<FuzzBench> => {
    const front = await Front.open();
    // What a stranger sends must not get past the agent's own log, which keeps tokens out.
    const printed: string[] = [];
    const { error: print } = console;
    console.error = (...words: unknown[]) => void printed.push(words.map(String).join(' '));
    const judgePrinted = (): Complaint => {
      const [first] = printed.splice(0);
      return first === undefined ? null : `printed past the log: ${first.slice(0, 200)}`;
    };
    const authority = await makeTestAuthority();
    const tls = { authority: authority.authority, ...(await authority.server()) };
    const server = new GrpcServer(front.service);
    const port = need(await server.listen({ host: '127.0.0.1', port: 0, tls }));
    let session: ClientHttp2Session | undefined;
    const open = (): ClientHttp2Session => {
      if (session !== undefined && !session.closed && !session.destroyed) return session;
      session = connect(`https://localhost:${port}`, { ca: authority.authority });
      session.on('error', () => undefined);
      return session;
    };
    front.beforeClosing(async () => {
      console.error = print;
      session?.destroy();
      await server.close();
    });
    // Method, framing and metadata, then the body.
    const corpus = BODIES.map((body) =>
      Buffer.concat([body.subarray(0, 1), Buffer.from([0, 0]), body.subarray(1)]),
    );
    const choose = (random: FuzzRandom, among: readonly unknown[]) =>
      random.once(2) ? 0 : random.below(among.length);
    return {
      corpus,
      mutate: (input, random) => {
        const body = input.subarray(HEAD_BYTES);
        const whole = { random, corpus: BODIES, dictionary: WIRE_WORDS };
        return Buffer.concat([
          Buffer.from([input[0] ?? 0, choose(random, FRAMINGS), choose(random, METADATA)]),
          random.once(4) ? body : damageBytes(body, whole),
        ]);
      },
      check: async (input) => {
        const end = await callOnce(open(), input);
        return (end === 'unsendable' ? null : judgeEnd(end)) ?? judgePrinted() ?? front.judge();
      },
      close: () => front.close(),
    };
  },
};
