// The local socket: identity from the kernel, file mode, and the same application behind it.

import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { peerCredentials } from '#drivers/native/host';
import { systemClock } from '#foundation/clock';
import { LocalServer } from '#tracks/interface/local/local-server';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { InterfaceService } from '#tracks/interface/service';
import { httpCall } from '../../../../support/http-client.ts';
import { ScriptedOrchestrator } from '../../../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../../../support/small-board.ts';

let directory: string;
let path: string;
let orchestrator: ScriptedOrchestrator;
let service: InterfaceService;
let app: RestApp;
let server: LocalServer;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-local-'));
  path = join(directory, 'agent.sock');
  orchestrator = new ScriptedOrchestrator();
  service = new InterfaceService({ orchestrator, board: smallBoard(), clock: systemClock });
  app = await RestApp.start(service);
  server = new LocalServer(app, path, peerCredentials);
});

afterEach(async () => {
  await server.close();
  await app.close();
  service.close();
  rmSync(directory, { recursive: true });
});

it('knows who connects from the kernel, and keeps others out by the mode of the file', async () => {
  expect((await server.listen()).ok).toBe(true);
  expect(statSync(path).mode & 0o777).toBe(0o660);
  const me = await httpCall({ socketPath: path, path: '/api/v1/auth/me' });
  expect(me.json.id).toBe('technician');
  expect(orchestrator.authentications[0]).toEqual({
    kind: 'local',
    uid: process.getuid?.(),
    gid: process.getgid?.(),
    pid: process.pid,
  });
  const headers = { authorization: 'Bearer token-bob' };
  const other = await httpCall({ socketPath: path, path: '/api/v1/auth/me', headers });
  expect(other.json.id).toBe('bob');
});

it('ends the session when the connection closes', async () => {
  await server.listen();
  await httpCall({ socketPath: path, path: '/api/v1/auth/me' });
  await expect.poll(() => orchestrator.sessions.size).toBe(0);
});

it('stops for a local person who has no account at all', async () => {
  orchestrator.accounts.clear();
  let engaged = 0;
  const latch = { engage: () => void engaged++, engaged: () => engaged > 0 };
  const bare = new InterfaceService({
    orchestrator,
    board: smallBoard(),
    clock: systemClock,
    latch,
  });
  const bareApp = await RestApp.start(bare);
  const bareServer = new LocalServer(bareApp, path, peerCredentials);
  await bareServer.listen();
  const me = await httpCall({ socketPath: path, path: '/api/v1/auth/me' });
  expect(me.status).toBe(401);
  const call = { socketPath: path, method: 'POST', path: '/api/v1/emergency-stop' };
  const stop = await httpCall({ ...call, body: { reason: 'smoke' } });
  expect(stop.json).toMatchObject({ success: true, scope: 'whole system' });
  expect(engaged).toBe(1);
  const one = await httpCall({ ...call, body: { reason: 'smoke', devices: [1] } });
  expect(one.json).toMatchObject({ success: true, scope: 'devices 1' });
  expect(engaged).toBe(1);
  await bareServer.close();
  await bareApp.close();
  bare.close();
});

it('takes over a socket that a dead agent left, but no other file and no live socket', async () => {
  const left = createServer();
  await new Promise<void>((resolve) => left.listen(path, resolve));
  const live = await server.listen();
  expect(live).toMatchObject({ fault: { code: 'CONFIG_INVALID' } });
  await new Promise((resolve) => left.close(resolve));
  writeFileSync(path, 'something of somebody');
  expect(await server.listen()).toMatchObject({ fault: { code: 'CONFIG_INVALID' } });
  rmSync(path);
  expect((await server.listen()).ok).toBe(true);
});
