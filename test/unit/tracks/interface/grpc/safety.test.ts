// The gRPC methods about safety over real TLS with generated clients: every message goes over the wire and back.

import { ChannelCredentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { ApplianceServiceClient, ConflictAnswer, ConflictRule } from '#contract/appliance';
import {
  DsmilCommunicationServiceClient,
  EmergencyStopRequest,
  HoldKind,
  OperationCoordinationRequest,
  type OperationCoordinationResponse,
  StateSynchronizationRequest,
} from '#contract/communication';
import { timestampFromWire } from '#contract/time-message';
import { systemClock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { CoordinationResult, OperationType } from '#model/operation';
import { RiskLevel } from '#model/risk';
import { GrpcServer } from '#tracks/interface/grpc/server';
import { InterfaceService } from '#tracks/interface/service';
import { makeTestAuthority, type TestAuthority } from '../../../../support/certificates.ts';
import { ScriptedOrchestrator } from '../../../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../../../support/small-board.ts';
import {
  kernelDevice,
  kernelSnapshot,
  stopCause,
  unifiedState,
} from '../../../../support/unified-states.ts';

let authority: TestAuthority;
let orchestrator: ScriptedOrchestrator;
let service: InterfaceService;
let server: GrpcServer;
let appliance: ApplianceServiceClient;
let communication: DsmilCommunicationServiceClient;
let engaged: number;

beforeAll(async () => {
  authority = await makeTestAuthority();
});

beforeEach(async () => {
  engaged = 0;
  orchestrator = new ScriptedOrchestrator();
  const latch = { engage: () => void engaged++, engaged: () => engaged > 0 };
  const board = smallBoard();
  service = new InterfaceService({ orchestrator, board, clock: systemClock, latch });
  server = new GrpcServer(service);
  const tls = { authority: authority.authority, ...(await authority.server()) };
  const listening = await server.listen({ host: '127.0.0.1', port: 0, tls });
  if (!listening.ok) throw new Error(listening.fault.finding);
  const credentials = ChannelCredentials.createSsl(Buffer.from(authority.authority));
  appliance = new ApplianceServiceClient(`127.0.0.1:${listening.value}`, credentials);
  communication = new DsmilCommunicationServiceClient(`127.0.0.1:${listening.value}`, credentials);
});

afterEach(async () => {
  appliance.close();
  communication.close();
  await server.close();
  service.close();
});

type Answer<T> = (error: ServiceError | null, response: T) => void;

/** One call as somebody; a refusal becomes `{ status, code }`. */
function ask<T>(
  perform: (metadata: Metadata, answer: Answer<T>) => unknown,
  token = 'token-alice',
): Promise<T> {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return new Promise((resolve, reject) => {
    perform(metadata, (error, response) => (error === null ? resolve(response) : reject(error)));
  });
}

async function refusal(answer: Promise<unknown>): Promise<readonly unknown[]> {
  try {
    await answer;
  } catch (error) {
    const { code, metadata } = error as ServiceError;
    return [code, metadata.get('dsmil-fault-code')[0]];
  }
  throw new Error('the call was answered although it should have been refused');
}

function coordinate(
  request: object,
  token = 'token-alice',
): Promise<OperationCoordinationResponse> {
  const message = OperationCoordinationRequest.fromPartial(request as never);
  return ask(
    (metadata, answer) => communication.coordinateOperation(message, metadata, answer),
    token,
  );
}

const WRITE = {
  deviceId: 1,
  operationType: OperationType.WRITE,
  justification: 'routine calibration',
  registers: [{ name: 'DATA', value: 7n }],
};
const REASON = 'seen on the site with my own eyes';

it('carries the plan of a dry run: preview, assessments and worst case', async () => {
  const plan = await coordinate({ ...WRITE, dryRun: true });
  expect(plan.preview).toEqual([
    { deviceId: 1, register: 'DATA', before: 0n, after: 7n, rollback: 'write DATA 0x00000000' },
  ]);
  expect(plan.assessments).toEqual([
    { track: 1, level: RiskLevel.LOW, reasons: ['base risk SAFE', 'WRITE +2'] },
    { track: 2, level: RiskLevel.SAFE, reasons: [] },
  ]);
  expect(plan.worstCase).toEqual({ seconds: 0n, nanos: 12_500_000 });
  expect(plan.selectedUntil).toBeUndefined();
});

it('selects, operates what was selected with the confirmed risk, and releases what was not', async () => {
  const selected = await coordinate({ ...WRITE, coordinationId: 's-1', selectForSeconds: 60 });
  expect(timestampFromWire(selected.selectedUntil)).toBe(1_800_000_060_000);
  expect(orchestrator.registers.size).toBe(0);
  const request = { coordinationId: 's-1', confirmedRisk: RiskLevel.HIGH };
  const operated = await ask<{ operation?: { result: number } | undefined }>((metadata, answer) =>
    appliance.operateSelected(request, metadata, answer),
  );
  expect(operated.operation?.result).toBe(CoordinationResult.SUCCESS);
  expect(orchestrator.confirmed.get('s-1')).toBe(RiskLevel.HIGH);
  await coordinate({ ...WRITE, coordinationId: 's-2', selectForSeconds: 60 });
  const release = () =>
    ask((metadata, answer) =>
      appliance.releaseSelected({ coordinationId: 's-2' }, metadata, answer),
    );
  expect(await release()).toEqual({});
  expect(await refusal(release())).toEqual([status.NOT_FOUND, 'SELECTION_UNKNOWN']);
});

it('stops groups and says whom it covered, and everything when nobody is named', async () => {
  orchestrator.unsafe = [{ device: 12, finding: 'does not answer' }];
  const stop = (request: object) =>
    ask<{ wholeSystem: boolean; coveredDevices: number[]; unsafeDevices: object[] }>(
      (metadata, answer) =>
        communication.emergencyStop(
          EmergencyStopRequest.fromPartial(request as never),
          metadata,
          answer,
        ),
    );
  const some = await stop({ groups: [1], affectedDevices: [0x8000] });
  expect(some).toMatchObject({ success: false, wholeSystem: false });
  expect(some.coveredDevices).toHaveLength(13);
  expect(some.unsafeDevices).toEqual([{ deviceId: 12, finding: 'does not answer' }]);
  expect(engaged).toBe(0);
  expect(await refusal(stop({ groups: [7] }))).toEqual([
    status.INVALID_ARGUMENT,
    'REQUEST_MALFORMED',
  ]);
  const all = await stop({ reason: 'x'.repeat(9_000), priority: 99 });
  expect(all).toMatchObject({ wholeSystem: true, coveredDevices: [] });
  expect(engaged).toBe(1);
});

it('stops by CoordinateOperation: everything without a device, one device by its token', async () => {
  const operationType = OperationType.EMERGENCY_STOP;
  await coordinate({ operationType, deviceId: 0x8000 });
  expect([orchestrator.intents.at(-1)?.targets, engaged]).toEqual([
    [{ device: 0, registers: [] }],
    0,
  ]);
  await coordinate({ operationType, dryRun: true });
  expect(engaged).toBe(0);
  const stopped = await coordinate({ operationType }, 'token-nobody');
  expect([stopped.result, engaged]).toEqual([CoordinationResult.SUCCESS, 1]);
});

it('stops through a channel whose every place is taken', async () => {
  let open = (): void => undefined;
  orchestrator.gate = new Promise((resolve) => {
    open = resolve;
  });
  const metadata = new Metadata();
  metadata.set('authorization', 'Bearer token-alice');
  const stream = appliance.channel(metadata);
  const answered = new Map<bigint, string>();
  stream.on('data', (response: { requestId: bigint; fault?: { code: string } }) =>
    answered.set(response.requestId, response.fault?.code ?? 'done'),
  );
  stream.on('error', () => undefined);
  const read = OperationCoordinationRequest.fromPartial({
    ...WRITE,
    operationType: 1,
    registers: [],
  });
  for (let id = 1n; id <= 16n; id++) stream.write({ requestId: id, operation: read });
  await expect.poll(() => orchestrator.intents.length).toBe(16);
  stream.write({ requestId: 17n, operation: read });
  await expect.poll(() => answered.get(17n)).toBe('BUSY');
  const stop = OperationCoordinationRequest.fromPartial({ operationType: 7 });
  stream.write({ requestId: 18n, operation: stop });
  await expect.poll(() => engaged).toBe(1);
  open();
  await expect.poll(() => answered.get(18n)).toBe('done');
  stream.cancel();
});

it('gives the status with its stops, their acknowledgments, the last test, holds and findings', async () => {
  orchestrator.holds.push({ device: 12, kind: 'in-doubt', reason: 'crash', sinceWallMs: 5_000 });
  orchestrator.statusMore = {
    stopCauses: [stopCause({ devices: [1] })],
    stopTest: { ok: true, finding: '', wallMs: 1_000, durationMs: 2.5 },
    findings: ['the audit chain cannot be written'],
  };
  const given = await ask<{ acknowledgments: object[] }>((metadata, answer) =>
    appliance.acknowledgeStop({}, metadata, answer),
  );
  expect(given.acknowledgments).toMatchObject([{ stopId: 3n, by: 'alice' }]);
  const shown = await ask((metadata, answer) => appliance.getStatus({}, metadata, answer));
  expect(shown).toMatchObject({
    stopCauses: [{ id: 3n, wholeSystem: false, deviceIds: [1], source: 4, reason: 'fire' }],
    stopAcknowledgments: [{ stopId: 3n, by: 'alice' }],
    stopTest: { ok: true, duration: { seconds: 0n, nanos: 2_500_000 } },
    holds: [
      { deviceId: 12, kind: HoldKind.HOLD_IN_DOUBT, reason: 'crash', since: { seconds: 5n } },
    ],
    conflictsOpen: 1,
    findings: ['the audit chain cannot be written'],
    tracks: [
      { track: 1, up: true },
      { track: 2, up: true },
      { track: 3, up: true },
    ],
  });
  const below = await ask<{ holds: object[] }>(
    (metadata, answer) => appliance.getStatus({}, metadata, answer),
    'token-nobody',
  );
  expect(below.holds).toEqual([]);
});

it('quarantines a device, denies it to everybody without locking who asks, and releases it', async () => {
  const request = { deviceId: 0x8001, reason: REASON };
  const held = await ask((metadata, answer) =>
    appliance.quarantineDevice(request, metadata, answer),
  );
  expect(held).toMatchObject({ hold: { deviceId: 1, kind: HoldKind.HOLD_QUARANTINED } });
  orchestrator.sendSnapshot(
    kernelSnapshot({ devices: [kernelDevice(1, { holds: ['quarantined'] })] }),
  );
  const denied = await coordinate({ deviceId: 1, operationType: OperationType.READ });
  expect([denied.result, denied.faultCode]).toEqual([
    CoordinationResult.DENIED,
    'DEVICE_QUARANTINED',
  ]);
  expect((await coordinate({ deviceId: 0, operationType: 1 })).result).toBe(1);
  const released = await ask((metadata, answer) =>
    appliance.releaseDevice(request, metadata, answer),
  );
  expect(released).toEqual({ released: true, message: 'released' });
  const bob = ask(
    (metadata, answer) => appliance.quarantineDevice(request, metadata, answer),
    'token-bob',
  );
  expect(await refusal(bob)).toEqual([status.PERMISSION_DENIED, 'CLEARANCE_TOO_LOW']);
});

it('lists and settles conflicts, and never guesses an answer', async () => {
  const list = await ask((metadata, answer) => appliance.listConflicts({}, metadata, answer));
  expect(list).toMatchObject({
    conflicts: [
      {
        id: 7n,
        rule: ConflictRule.RULE_CHANGED_WITHOUT_OPERATION,
        method: 4,
        answer: ConflictAnswer.ANSWER_UNKNOWN,
        positions: [
          { track: 1, answer: ConflictAnswer.ANSWER_INHIBIT },
          { track: 2, answer: ConflictAnswer.ANSWER_REVIEW },
        ],
        resolvedAt: undefined,
      },
    ],
  });
  const settle = (answer: ConflictAnswer, conflictId = 7n) =>
    ask((metadata, done) =>
      appliance.resolveConflict({ conflictId, answer, reason: REASON }, metadata, done),
    );
  for (const answer of [0, 8]) {
    expect(await refusal(settle(answer as ConflictAnswer))).toEqual([3, 'REQUEST_MALFORMED']);
  }
  expect(await settle(ConflictAnswer.ANSWER_INHIBIT)).toMatchObject({
    conflict: { answer: ConflictAnswer.ANSWER_INHIBIT, resolvedBy: 'alice' },
  });
  expect(await refusal(settle(ConflictAnswer.ANSWER_ACCEPT, 99n))).toEqual([5, 'CONFLICT_UNKNOWN']);
});

it('gives the history of a device by linear id or token', async () => {
  const history = (deviceId: number, limit: number) =>
    ask<{ entries: object[] }>((metadata, answer) =>
      appliance.getDeviceHistory({ deviceId, limit }, metadata, answer),
    );
  expect((await history(0x8001, 2)).entries).toHaveLength(2);
  expect((await history(1, 0)).entries[0]).toMatchObject({ deviceId: 1, what: 'power', to: 'ON' });
  expect(await refusal(history(0x800c, 1))).toEqual([3, 'DEVICE_ID_INVALID']);
});

it('synchronizes and carries every field of the specification for a device', async () => {
  const lastAccessMs = systemClock.nowMs() - 1_000;
  orchestrator.sendSnapshot(kernelSnapshot({ devices: [kernelDevice(1, { lastAccessMs })] }));
  const synchronize = (request: object) =>
    ask<{ deviceStates: { deviceId: number }[]; stale: boolean; finding: string }>(
      (metadata, answer) =>
        communication.synchronizeState(
          StateSynchronizationRequest.fromPartial(request as never),
          metadata,
          answer,
        ),
    );
  const { deviceStates } = await synchronize({ deviceIds: [0x8001] });
  const { security, interface: shown } = unifiedState(1);
  expect(deviceStates).toMatchObject([
    {
      deviceId: 1,
      token: 0x8001,
      deviceName: 'Device 0x8001',
      deviceGroup: 0,
      deviceIndex: 1,
      kernelActive: true,
      powerState: 4,
      lastRegisterValues: [{ register: 'DATA', value: 5n }],
      kernelOperationCount: 2n,
      lastKernelError: '',
      securityState: {
        securityStatus: security.status,
        accessAuthorized: true,
        requiredClearance: 2,
        failedAccessAttempts: 1,
        lastSecurityEvent: { seconds: 1_700_000_000n, nanos: 100_000_000 },
        auditEnabled: true,
        auditSequenceNumber: 77n,
      },
      interfaceState: {
        uiMonitored: true,
        activeUiSessions: shown.activeSessions,
        lastUiInteraction: { seconds: 1_700_000_000n, nanos: 200_000_000 },
        userNotificationsPending: true,
        attentionRequired: shown.attention,
      },
      currentRisk: RiskLevel.LOW,
      overallStatus: 1,
      emergencyStopApplied: false,
      lastStateChange: { seconds: 1_700_000_000n, nanos: 300_000_000 },
      stateChangeCount: 6n,
      synchronization: {
        kernelSyncVersion: 4n,
        securitySyncVersion: 11n,
        interfaceSyncVersion: 5n,
        lastSync: { seconds: 1_700_000_000n, nanos: 400_000_000 },
        syncInProgress: false,
        syncConflictsDetected: 1n,
        triggerReason: 8,
      },
      openConflicts: [7n],
    },
  ]);
  const everything = await synchronize({});
  expect(everything.deviceStates.map(({ deviceId }) => deviceId)).toEqual([0, 1, 9, 12]);
  expect(await refusal(synchronize({ resolutionMethod: 2 }))).toEqual([
    12,
    'OPERATION_UNSUPPORTED',
  ]);
  orchestrator.away = fault('TRACK_UNAVAILABLE', { place: 'security', finding: 'is away' });
  expect(await synchronize({})).toMatchObject({ stale: true, finding: 'security: is away' });
});
