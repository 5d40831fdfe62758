// The interface service in the process of the command line, on top of security's console.

import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { consolesIn } from '#config/layout';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import { type Link, MessageType } from '#link/link';
import { orchestratorClient } from '#link/orchestrator-client';
import { SharedStopLatch } from '#link/stop-latch';
import { serveTrack } from '#link/track-server';
import type { Board } from '#model/board';
import type { DeviceDescriptor } from '#model/device';
import type { StopLatch } from '#model/stop';
import type { AgentInProcess } from '#tracks/interface/cli/cli-parts';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { InterfaceService } from '#tracks/interface/service';
import { InterfaceTrack } from '#tracks/interface/track';
import { ANSWER_MS_MAX, openConsoleLink, type Report } from './client.ts';
import type { BoardPart } from './security-console.ts';

const clock = systemClock;
const BOARD_MS_MAX = 5_000;

/** The whole agent but its network, in this process, with the identity that security sees at its console. */
export async function openAgentInProcess(
  runDirectory: string,
  onError: Report,
): Promise<Outcome<AgentInProcess>> {
  const { securityConsole } = consolesIn(runDirectory);
  const opened = await openConsoleLink(securityConsole, 'security', onError);
  if (!opened.ok) return opened;
  const link = opened.value;
  const board = await fetchBoard(link);
  if (!board.ok) {
    link.close();
    return board;
  }
  const latch = openLatch(runDirectory);
  const service = new InterfaceService({
    orchestrator: orchestratorClient(link),
    board: board.value,
    clock,
    ...(latch === undefined ? {} : { latch }),
    log: (message) => onError(message, 'interface service in this process'),
  });
  // Interface's part in the operations of this process.
  serveTrack(link, new InterfaceTrack(service));
  const picture = { from: 0 };
  const limit = Deadline.after(clock, ANSWER_MS_MAX);
  // Without kernel there is no picture; the answers then say that it is stale.
  await link.request(MessageType.STATE_SYNC, 'console.picture', picture, limit);
  const app = await RestApp.start(service);
  const server = createServer(app.serve);
  const credential = {
    kind: 'local',
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    pid: process.pid,
  } as const;
  const connect = (): Duplex => {
    const [near, far] = duplexPair();
    // Any stream will do for both sides of Node's HTTP; security puts in who this is.
    app.peers.addLocal(far as unknown as Socket, credential);
    server.emit('connection', far);
    return near;
  };
  const close = async () => {
    await app.close();
    service.close();
    link.close();
    latch?.close();
  };
  return succeed({ connect, close });
}

/** In as many parts as it takes; the first has to come at once, or nobody is there. */
async function fetchBoard(link: Link): Promise<Outcome<Board>> {
  const limit = Deadline.after(clock, BOARD_MS_MAX);
  const devices: DeviceDescriptor[] = [];
  for (let from = 0; ; ) {
    const deadline = from === 0 ? limit.within(ANSWER_MS_MAX) : limit;
    const answer = await link.request(MessageType.RAW, 'console.board', { from }, deadline);
    if (!answer.ok) return answer;
    const part = answer.value as BoardPart;
    devices.push(...part.devices);
    if (part.next <= from) return succeed({ ...part.board, devices });
    from = part.next;
  }
}

/** Undefined where this user may not map it: the stop then goes through security alone. */
function openLatch(runDirectory: string): (StopLatch & { close(): void }) | undefined {
  try {
    return new SharedStopLatch({ directory: join(runDirectory, 'stop'), self: 'people' });
  } catch {
    return undefined;
  }
}
