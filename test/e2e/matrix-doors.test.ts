// The doors themselves: each belongs to a row of the operation table, and where there is none nobody is let in.

import { readFileSync } from 'node:fs';
import { ChannelCredentials, Client, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { OPERATION_TABLE, type OperationRow } from '#model/operation-table';
import { commandNames } from '#tracks/interface/cli/program';
import { GrpcServer } from '#tracks/interface/grpc/server';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { InterfaceService } from '#tracks/interface/service';
import { MESSAGE_TYPES } from '#tracks/interface/websocket/messages';
import { ScriptedOrchestrator } from '../support/scripted-orchestrator.ts';
import { smallBoard } from '../support/small-board.ts';
import { WebSocketDoor } from './support/matrix-doors.ts';
import { CELLS } from './support/matrix-requests.ts';
import { RestPerson } from './support/rest-person.ts';
import { Scene } from './support/scene.ts';

const rows = Object.entries(OPERATION_TABLE) as readonly [string, OperationRow][];
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND'];
const UNIMPLEMENTED = 12;

let scene: Scene;
beforeAll(async () => {
  scene = await Scene.open();
});
afterAll(() => scene?.close());

interface Walk {
  readonly door: string;
  readonly served: readonly string[];
  readonly listed: readonly string[];
}

async function walks(): Promise<readonly Walk[]> {
  const orchestrator = new ScriptedOrchestrator();
  const service = new InterfaceService({ orchestrator, board: smallBoard(), clock: systemClock });
  const app = await RestApp.start(service);
  const served = app.registered();
  await app.close();
  service.close();
  const rest = rows.flatMap(([, row]) =>
    row.rest === undefined ? [] : [`${row.rest.method} ${row.rest.path}`],
  );
  const all = (pick: (row: OperationRow) => readonly string[] | undefined) =>
    rows.flatMap(([, row]) => pick(row) ?? []);
  return [
    { door: 'REST routes', served, listed: rest },
    { door: 'gRPC methods', served: GrpcServer.methods(), listed: all(({ grpc }) => grpc) },
    { door: 'WebSocket types', served: MESSAGE_TYPES, listed: all(({ websocket }) => websocket) },
    { door: 'CLI verbs', served: commandNames(), listed: all(({ cli }) => cli) },
  ];
}

it('are all in the table, once each, and the matrix tries every one', async () => {
  const table = (await walks()).map(({ door, served, listed }) => {
    expect([...served].sort()).toEqual([...listed].sort());
    expect(new Set(listed).size).toBe(listed.length);
    return `${door} ${served.length}`;
  });
  console.log(`operation table: ${rows.length} rows; ${table.join(', ')}`);
  for (const cells of Object.values(CELLS))
    expect(new Set(cells.map(({ key }) => key))).toEqual(new Set(rows.map(([key]) => key)));
  for (const [key, row] of rows) {
    const doors = [row.rest, row.grpc, row.websocket, row.cli];
    expect([key, doors.some((door) => door !== undefined)]).toEqual([key, true]);
  }
});

it('take every path with no other method than the one in the table', async () => {
  const { ready } = scene.agent;
  const callers = [new RestPerson(ready, 0), new RestPerson(ready, 'technician')];
  // `synchronize` is the id of a device to another row.
  const listed = rows.flatMap(([, { rest }]) =>
    rest === undefined
      ? []
      : [new RegExp(`^${rest.method} ${rest.path.replaceAll(/:[a-z]+/g, '[^/]+')}$`)],
  );
  const paths = [
    ...new Set(rows.flatMap(([, { rest }]) => (rest === undefined ? [] : [rest.path]))),
  ];
  let tried = 0;
  for (const path of paths) {
    const real = path.replace(':kind', 'person').replace(':id', '1');
    for (const method of METHODS.filter(
      (one) => !listed.some((row) => row.test(`${one} ${real}`)),
    )) {
      for (const caller of callers) {
        const { status, json } = await caller.call(method, real);
        tried += 1;
        // What Node has no route for at all is refused before anything reads the path.
        expect([method, path, [400, 404].includes(status)]).toEqual([method, path, true]);
        if (method !== 'HEAD' && json !== undefined)
          expect([method, path, json.code]).toEqual([method, path, 'OPERATION_UNSUPPORTED']);
      }
    }
  }
  for (const caller of callers) caller.close();
  console.log(`other methods: ${tried} calls on ${paths.length} paths, all refused`);
});

const STRANGE_PATHS = [
  ...[
    '/',
    '/api',
    '/api/',
    '/api/v1',
    '/api/v1/',
    '/api/v2/health',
    '/api/v1/health/',
    '/API/v1/health',
  ],
  ...[
    '/api/v1//health',
    '/api/v1/health/x',
    '/api/v1/health;a=b',
    '/api/v1/admin',
    '/api/v1/debug',
  ],
  ...[
    '/admin',
    '/index.html',
    '/favicon.ico',
    '/.env',
    '/.well-known/x',
    '/metrics/',
    '/metrics/x',
  ],
  ...[
    '/api/v1/setup',
    '/api/v1/accounts/a/b/c',
    '/api/v1/devices/1/registers/CONFIG',
    '/api/v1/ws/x',
  ],
  ...[
    '/api/v1/operations/1',
    '/api/v1/audit/entries',
    '/api/v1/auth',
    '/api/v1/keys',
    '/api/v1/events',
  ],
];

it('do not answer on paths that nobody has listed', async () => {
  const person = new RestPerson(scene.agent.ready, 0);
  for (const path of STRANGE_PATHS) {
    const method = path === '/api/v1/operations/1' ? 'DELETE' : 'GET';
    const { status, json } = await person.call(method, path);
    expect([path, status, json?.code]).toEqual([path, 404, 'OPERATION_UNSUPPORTED']);
  }
  person.close();
});

it('have no gRPC method, service or reflection beside the listed ones', async () => {
  const { ca, grpc } = scene.agent.ready;
  const credentials = ChannelCredentials.createSsl(readFileSync(ca));
  const client = new Client(grpc.replace(/^[a-z]+:\/\//, ''), credentials);
  const same = (bytes: Buffer) => bytes;
  const services = [...new Set(GrpcServer.methods().map((method) => method.split('/')[0] ?? ''))];
  const methods = [
    ...services.flatMap((service) =>
      [
        'Reset',
        'Shutdown',
        'getStatus',
        'GETSTATUS',
        'GetStatus2',
        '',
        'CreateAccount',
        'Login',
      ].map((name) => `${service}/${name}`),
    ),
    'dsmil.appliance.v2.ApplianceService/GetStatus',
    'dsmil.kernel.v1.KernelService/Write',
    'dsmil.security.v1.SecurityService/Authorize',
    'grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    'grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
    'grpc.channelz.v1.Channelz/GetServers',
    'google.longrunning.Operations/CancelOperation',
  ];
  for (const method of methods) {
    const status = await new Promise((resolve) => {
      client.makeUnaryRequest(
        `/${method}`,
        same,
        same,
        Buffer.alloc(0),
        (error: ServiceError | null) => resolve(error?.code ?? 0),
      );
    });
    expect([method, status]).toEqual([method, UNIMPLEMENTED]);
  }
  client.close();
});

it('take no WebSocket message that is not listed', async () => {
  const { ready } = scene.agent;
  const token = ready.people[0]?.token ?? '';
  const socket = new WebSocketDoor(ready, { by: 'token', token }, '127.0.0.1');
  await socket.opened();
  expect((await socket.next()).type).toBe('CONNECTION_ESTABLISHED');
  const strange = [
    ...['operation', 'Operation', 'RESET', 'APPROVE', 'CREATE_ACCOUNT', 'PONG', 'SYSTEM_STATUS'],
    ...['__proto__', 'constructor', 'toString', '', 'EMERGENCY_STOP '],
  ];
  for (const type of strange)
    expect([type, await socket.ask({ type })]).toEqual([type, 'REQUEST_MALFORMED']);
  for (const message of [
    [],
    [{ type: 'PING' }],
    { types: 'PING' },
    { type: ['PING'] },
    { type: 7 },
  ])
    expect(await socket.ask(message)).toBe('REQUEST_MALFORMED');
  expect(await socket.ask({ type: 'PING' })).toBe('');
  socket.close();
});
