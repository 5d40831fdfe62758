// Composition root of the interface process: one service behind gRPC, REST, WebSocket and the local socket.
// Invariants: no devices, no signing key, no state but its own TLS key; asks security for everything that matters.

import { linkDirectoryOf } from '#config/layout';
import { peerCredentials } from '#drivers/native/host';
import { systemClock } from '#foundation/clock';
import { describeFault } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import { certificateClient } from '#link/certificates';
import { orchestratorClient } from '#link/orchestrator-client';
import { SharedLink } from '#link/shared-link';
import { SharedStopLatch } from '#link/stop-latch';
import { serveTrack } from '#link/track-server';
import { CheckpointWitness, witnessUrl } from '#tracks/interface/checkpoint-witness';
import { GrpcServer } from '#tracks/interface/grpc/server';
import { LocalServer } from '#tracks/interface/local/local-server';
import { HttpServer } from '#tracks/interface/rest/http-server';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { DEFAULT_LIMITS, InterfaceService } from '#tracks/interface/service';
import { InterfaceTrack } from '#tracks/interface/track';
import { WebSocketServer } from '#tracks/interface/websocket/websocket-server';
import { loadBoardFile } from './board-file.ts';
import { announceReady, endOnRequest, readProcessArguments } from './command-line.ts';
import { writeDoors } from './doors-file.ts';
import { watchLink } from './link-watch.ts';
import { watchLinkTurns } from './loops.ts';
import { dieOnSurprise, openLog } from './process-log.ts';
import { openRunDirectory } from './run-directory.ts';
import { askOwnSocket } from './self-request.ts';
import { ServerIdentity } from './server-identity.ts';
import { Watchdog } from './watchdog.ts';

const log = openLog('interface');
dieOnSurprise(log);
const {
  layout,
  board: boardFile,
  variables,
  http,
  grpc,
  witness,
  connections,
} = readProcessArguments();
const clock = systemClock;
/** An answer through the own local socket that takes longer is none. */
const SELF_REQUEST_LIMIT_MS = 2_000;

function need<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  log.fatal(outcome.fault, describeFault(outcome.fault));
  process.exit(78);
}

const board = need(await loadBoardFile(boardFile, variables));

need(openRunDirectory(layout.runDirectory, 'interface'));
const latch = new SharedStopLatch({ directory: layout.stopDirectory, self: 'interface' });
const link = new SharedLink({
  directory: linkDirectoryOf(layout.runDirectory, 'security-interface'),
  self: 'interface',
  peer: 'security',
  clock,
  onError: (error, where) => log.error({ err: error, where }, 'handler failed'),
});

watchLink(link, (finding) => log.warn({ finding }, 'link counters moved'));
const orchestrator = orchestratorClient(link);
const service = new InterfaceService({
  orchestrator,
  board,
  clock,
  latch,
  limits: { ...DEFAULT_LIMITS, ...(connections === undefined ? {} : { connections }) },
  log: (message) => log.warn(message),
});
serveTrack(link, new InterfaceTrack(service));
if (witness !== undefined) {
  const checkpoints = new CheckpointWitness({
    url: need(witnessUrl(witness)),
    clock,
    onNote: (detail, message) => log.warn(detail, message),
  });
  orchestrator.onEvent((event) => checkpoints.take(event));
  service.metrics.countWitness(() => checkpoints.counts);
}

const app = await RestApp.start(service);
// Before the network: this door needs no certificate, and so no security.
const localServer = new LocalServer(app, layout.localSocket, peerCredentials);
need(await localServer.listen());
const webSockets = new WebSocketServer(service, app);
webSockets.attach(localServer.server);
const doors: { close(): Promise<void> }[] = [localServer];

const watchdog = new Watchdog({ clock, log });
watchLinkTurns(watchdog, link);
const answered = watchdog.loop('the HTTP server');
watchdog.probe(() => askOwnSocket(layout.localSocket, SELF_REQUEST_LIMIT_MS, answered));

async function shutDown(): Promise<void> {
  watchdog.stopping('connections are closed');
  await webSockets.close();
  await Promise.all(doors.map((door) => door.close()));
  service.close();
  link.close();
  latch.close();
  process.exit(0);
}
endOnRequest(() => void shutDown());

const identity = new ServerIdentity({
  path: layout.pki.server,
  clock,
  client: certificateClient(link),
  onNote: (detail, message) => log.info(detail, message),
});
const tls = await identity.first();
const grpcServer = new GrpcServer(
  service,
  process.env.DSMIL_GRPC_REFLECTION === 'on' ? 'on' : 'off',
);
const grpcPort = need(await grpcServer.listen({ ...grpc, tls }));
const httpServer = new HttpServer(app, tls);
const httpPort = need(await httpServer.listen(http));
webSockets.attach(httpServer.server);
doors.push(grpcServer, httpServer);

identity.follow((fresh) => {
  for (const replaced of [httpServer.replaceTls(fresh), grpcServer.replaceTls(fresh)]) {
    if (!replaced.ok) log.error(replaced.fault, 'a server goes on with the certificate it had');
  }
});
// A security that starts again may have another list or other names.
link.onPeer((state) => {
  if (state === 'up') void identity.look();
});

const shown = (host: string) => (host.includes(':') ? `[${host}]` : host);
const addresses = {
  http: `https://${shown(http.host)}:${httpPort}`,
  grpc: `${shown(grpc.host)}:${grpcPort}`,
};
writeDoors(layout.runDirectory, { ...addresses, simulator: board.simulated ?? null });
announceReady({ pid: process.pid, ...addresses });
watchdog.start();
log.info({ board: board.name, ...addresses }, 'ready');
