// Every route, method, message and verb belongs to one row of the operation table, and every row is served.

import { expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { OPERATION_TABLE, type OperationRow, operationOfRoute } from '#model/operation-table';
import { commandNames } from '#tracks/interface/cli/program';
import { GrpcServer } from '#tracks/interface/grpc/server';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { InterfaceService } from '#tracks/interface/service';
import { MESSAGE_TYPES } from '#tracks/interface/websocket/messages';
import { ScriptedOrchestrator } from '../../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../../support/small-board.ts';

const rows = Object.values(OPERATION_TABLE) as readonly OperationRow[];

it('has exactly one row for each gRPC method, and serves each', () => {
  const listed = rows.flatMap((row) => row.grpc ?? []).sort();
  expect(listed).toEqual([...GrpcServer.methods()].sort());
});

it('has exactly one row for each REST route, and serves each', async () => {
  const parts = {
    orchestrator: new ScriptedOrchestrator(),
    board: smallBoard(),
    clock: systemClock,
  };
  const service = new InterfaceService(parts);
  const app = await RestApp.start(service);
  const listed = rows.flatMap(({ rest }) =>
    rest === undefined ? [] : [`${rest.method} ${rest.path}`],
  );
  expect(listed.sort()).toEqual([...app.registered()].sort());
  await app.close();
  service.close();
  expect(operationOfRoute('DELETE', '/api/v1/devices')).toBeUndefined();
});

it('has exactly one row for each command line verb', () => {
  const listed = rows.flatMap((row) => row.cli ?? []).sort();
  expect(listed).toEqual([...commandNames()].sort());
});

it('has exactly one row for each message a WebSocket client may send', () => {
  const listed = rows.flatMap((row) => row.websocket ?? []).sort();
  expect(listed).toEqual([...MESSAGE_TYPES].sort());
});

it('lets nobody in without identity but to health, description, proving who one is, and what no agent is asked for', () => {
  const open = Object.entries(OPERATION_TABLE).filter(([, row]) => row.who === 'anyone');
  expect(open.map(([key]) => key)).toEqual([
    'health',
    'describe',
    'login',
    'enrol',
    'confirmEnrolment',
    'checkAudit',
    'explain',
    'checkBoard',
  ]);
});
