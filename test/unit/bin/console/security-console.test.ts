// Security's console with a scripted orchestrator behind it: identity is what the operating system says, and no more.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { MessageType } from '#link/link';
import { type LoopbackPair, loopbackPair } from '#link/loopback';
import { orchestratorClient } from '#link/orchestrator-client';
import { serveTrack } from '#link/track-server';
import type { DeviceDescriptor } from '#model/device';
import { NO_REQUIREMENTS, OperationType } from '#model/operation';
import type { OrchestratorPort, Session } from '#model/orchestrator-port';
import type { Credential, Origin } from '#model/principal';
import { RiskLevel } from '#model/risk';
import type { KernelTrack, Track } from '#model/track';
import { InterfaceByDoor } from '../../../../src/bin/console/interface-by-door.ts';
import {
  type BoardPart,
  serveSecurityConsole,
} from '../../../../src/bin/console/security-console.ts';
import { ScriptedOrchestrator } from '../../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../../support/small-board.ts';
import { PlainInterface } from '../../orchestrator/agent-bench.ts';

const PEER = { uid: 1234, gid: 5, pid: 77 };
const FORGED: Origin = { transport: 'grpc', peer: 'somebody else' };
const errors: unknown[] = [];

let orchestrator: Recording;
let interfaceTrack: InterfaceByDoor;
let process: PlainInterface;
let client: Connected;

/** What reached the orchestrator, before it answers as scripted. */
class Recording extends ScriptedOrchestrator {
  readonly seen: { readonly credential: Credential; readonly origin: Origin }[] = [];
  readonly ended: string[] = [];
  readonly stopOrigins: Origin[] = [];

  override async authenticate(credential: Credential, origin?: Origin): Promise<Outcome<Session>> {
    if (origin === undefined) throw new Error('no origin');
    this.seen.push({ credential, origin });
    // As for a uid with an account.
    return super.authenticate({ kind: 'token', token: 'token-alice' });
  }

  override async endSession(sessionId: string): Promise<Outcome<void>> {
    this.ended.push(sessionId);
    return succeed(undefined);
  }
}

interface Connected {
  readonly pair: LoopbackPair;
  readonly port: OrchestratorPort;
  readonly leave: () => void;
}

const within = (ms: number) => Deadline.after(systemClock, ms);

function connect(): Connected {
  const pair = loopbackPair('security', 'interface', {
    clock: systemClock,
    onError: (error) => errors.push(error),
  });
  const gone = refuse(fault('TRACK_UNAVAILABLE', { place: 'kernel track', finding: 'is away' }));
  // Only the picture is asked of kernel here.
  const kernel = { snapshot: async () => gone } as unknown as KernelTrack;
  const parts = { clock: systemClock, board: smallBoard(), orchestrator, kernel, interfaceTrack };
  const leave = serveSecurityConsole(pair.left, PEER, parts);
  return { pair, port: orchestratorClient(pair.right), leave };
}

beforeEach(() => {
  orchestrator = new Recording();
  process = new PlainInterface();
  interfaceTrack = new InterfaceByDoor(process);
  client = connect();
});
afterEach(() => client.pair.left.close());

async function signIn({ port }: Connected): Promise<string> {
  const session = await port.authenticate({ kind: 'token', token: 'x' }, FORGED, within(1_000));
  if (!session.ok) throw new Error(session.fault.finding);
  return session.value.id;
}

const code = (outcome: Outcome<unknown>) => (outcome.ok ? 'ok' : outcome.fault.code);

describe('identity', () => {
  it('is the local user whatever credential and origin a message claims', async () => {
    for (const credential of [
      { kind: 'token', token: 'stolen' },
      { kind: 'certificate', uri: 'urn:x', fingerprint: 'AA' },
      { kind: 'local', uid: 0, gid: 0, pid: 1 },
    ] as const) {
      await client.port.authenticate(credential, FORGED, within(1_000));
    }
    const honest = {
      credential: { kind: 'local', ...PEER },
      origin: { transport: 'local', peer: 'uid 1234' },
    };
    expect(orchestrator.seen).toEqual([honest, honest, honest]);
  });

  it('is bound to the connection: a session of another one is worth nothing here', async () => {
    const other = connect();
    const session = await signIn(other);
    expect(code(await client.port.approvals(session, within(1_000)))).toBe('NOT_AUTHENTICATED');
    expect(code(await other.port.approvals(session, within(1_000)))).toBe('ok');
    client.port.reportRefusal(session, FORGED, 'BUSY', 'made up', []);
    client.port.reportRefusal(null, FORGED, 'BUSY', 'real', []);
    await systemClock.sleep(10);
    expect(orchestrator.refusals.map(({ finding }) => finding)).toEqual(['real']);
    other.pair.left.close();
  });

  it('opens no more than four sessions at once, and ends all of them with the connection', async () => {
    const sessions = [];
    for (let count = 0; count < 4; count++) sessions.push(await signIn(client));
    const fifth = await client.port.authenticate(PEER_CREDENTIAL, FORGED, within(1_000));
    expect(code(fifth)).toBe('BUSY');
    await client.port.endSession(sessions[0] ?? '', within(1_000));
    sessions.push(await signIn(client));
    orchestrator.ended.length = 0;
    client.leave();
    expect(new Set(orchestrator.ended)).toEqual(new Set(sessions.slice(1)));
  });
});

const PEER_CREDENTIAL: Credential = { kind: 'local', ...PEER };

describe("interface's part in an operation", () => {
  const intent = {
    operationId: 'operation-1',
    type: OperationType.WRITE,
    targets: [{ device: 0, registers: [{ register: 'DATA', value: 1n }] }],
    requirements: NO_REQUIREMENTS,
    justification: '',
    confirmedRisk: RiskLevel.UNKNOWN,
    dryRun: false,
    involved: [],
  } as const;

  it('is taken by the process that asks, for this operation and no longer', async () => {
    const asked: string[] = [];
    const console: Track = Object.assign(new PlainInterface(), {
      abort: async (operationId: string) => {
        asked.push(operationId);
        return succeed(undefined);
      },
    });
    serveTrack(client.pair.right, console);
    const session = await signIn(client);
    let during: Promise<unknown> = Promise.resolve();
    orchestrator.gate = new Promise((open) => {
      during = (async () => {
        await systemClock.sleep(20);
        await interfaceTrack.abort('operation-1', within(1_000));
        await interfaceTrack.abort('operation-2', within(1_000));
        open();
      })();
    });
    const done = await client.port.operate(session, intent, FORGED, within(5_000));
    await during;
    expect(code(done)).toBe('ok');
    await interfaceTrack.abort('operation-1', within(1_000));
    expect(asked).toEqual(['operation-1']);
    expect(process.aborted).toEqual(['operation-2', 'operation-1']);
  });

  it('is not taken twice: the second console that names the same operation is refused', async () => {
    const other = connect();
    const [mine, theirs] = [await signIn(client), await signIn(other)];
    let open: () => void = () => undefined;
    orchestrator.gate = new Promise((done) => {
      open = done;
    });
    const first = client.port.operate(mine, intent, FORGED, within(5_000));
    await systemClock.sleep(10);
    expect(code(await other.port.operate(theirs, intent, FORGED, within(5_000)))).toBe('BUSY');
    open();
    expect(code(await first)).toBe('ok');
    other.pair.left.close();
  });
});

it('hands out the board in parts, without where its buses are', async () => {
  const devices: DeviceDescriptor[] = [];
  let next = 0;
  do {
    const answer = await client.pair.right.request(
      MessageType.RAW,
      'console.board',
      { from: next },
      within(1_000),
    );
    if (!answer.ok) throw new Error(answer.fault.finding);
    const part = answer.value as BoardPart;
    expect([part.board.buses, part.board.file]).toEqual([[], '']);
    devices.push(...part.devices);
    next = part.next;
  } while (next !== 0);
  expect(devices).toEqual(smallBoard().devices);
});
