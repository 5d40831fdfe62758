// The REST routes about safety over real HTTPS: plans, selections, stops, holds, conflicts, history and the unified state.

import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { ClearanceLevel } from '#model/principal';
import { OverallStatus, SecurityStatus } from '#model/snapshot';
import { HttpServer } from '#tracks/interface/rest/http-server';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { InterfaceService } from '#tracks/interface/service';
import { makeTestAuthority, type TestAuthority } from '../../../../support/certificates.ts';
import { type HttpAnswer, type HttpCall, httpCall } from '../../../../support/http-client.ts';
import { person, ScriptedOrchestrator } from '../../../../support/scripted-orchestrator.ts';
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
let app: RestApp;
let server: HttpServer;
let port: number;
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
  app = await RestApp.start(service);
  server = new HttpServer(app, { authority: authority.authority, ...(await authority.server()) });
  const listening = await server.listen({ host: '127.0.0.1', port: 0 });
  if (!listening.ok) throw new Error(listening.fault.finding);
  port = listening.value;
});

afterEach(async () => {
  await server.close();
  await app.close();
  service.close();
});

const alice = { authorization: 'Bearer token-alice' };
const bob = { authorization: 'Bearer token-bob' };
const REASON = { reason: 'seen on the site with my own eyes' };

function call(method: string, path: string, options: HttpCall = {}): Promise<HttpAnswer> {
  const { headers = alice, ...rest } = options;
  const base = { host: '127.0.0.1', servername: 'localhost', port, ca: authority.authority };
  return httpCall({ ...base, method, path: `/api/v1/${path}`, headers, ...rest });
}

const post = (path: string, body?: unknown, headers = alice): Promise<HttpAnswer> =>
  call('POST', path, { headers, ...(body === undefined ? {} : { body }) });

const WRITE = {
  operation: 'WRITE',
  device: 1,
  registers: [{ name: 'DATA', value: 7 }],
  justification: 'routine calibration',
};

// --- Plans and selections ------------------------------------------------------------------------

it('shows the whole plan of a dry run: registers before and after, rollback, risk by track, time', async () => {
  orchestrator.registers.set('1.DATA', 3n);
  const { status, json } = await post('operations', { ...WRITE, dryRun: true });
  expect(status).toBe(200);
  expect(json).toMatchObject({
    preview: [
      {
        token: '0x8001',
        register: 'DATA',
        before: '0x3',
        after: '0x7',
        rollback: 'write DATA 0x00000000',
      },
    ],
    assessments: [
      { track: 'kernel', risk: 'LOW', reasons: ['base risk SAFE', 'WRITE +2'] },
      { track: 'security', risk: 'SAFE', reasons: [] },
    ],
    worstCaseMs: 12.5,
  });
  expect(orchestrator.registers.get('1.DATA')).toBe(3n);
});

it('passes every safety requirement of the specification on', async () => {
  const requirements = {
    memoryProtectionRequired: true,
    thermalMonitoringRequired: true,
    maxExecutionTimeMs: 40,
    rollbackCapabilityRequired: true,
    requiredClearance: 'SECRET',
    dualAuthorizationRequired: true,
    auditRequired: true,
    requiredCompartments: ['MAINT'],
    userConfirmationRequired: true,
    riskDisclosureRequired: true,
    confirmationTimeoutSeconds: 30,
  };
  expect((await post('operations', { ...WRITE, requirements })).status).toBe(200);
  expect(orchestrator.intents[0]?.requirements).toEqual({
    ...requirements,
    requiredClearance: ClearanceLevel.SECRET,
  });
});

it('selects, operates once with the risk that was confirmed, and then knows the selection no more', async () => {
  const selected = await post('operations', {
    ...WRITE,
    operationId: 'select-1',
    selectForSeconds: 60,
  });
  expect(selected.json.selectedUntil).toBe(new Date(1_800_000_060_000).toISOString());
  expect(orchestrator.registers.get('1.DATA')).toBeUndefined();
  const operated = await post('operations/select-1/operate', { confirmedRisk: 'HIGH' });
  expect([operated.status, operated.json.effect]).toEqual([200, 'committed']);
  expect(orchestrator.registers.get('1.DATA')).toBe(7n);
  expect(orchestrator.confirmed.get('select-1')).toBe(4);
  const again = await post('operations/select-1/operate');
  expect([again.status, again.json.code]).toEqual([404, 'SELECTION_UNKNOWN']);
});

it('releases a selection, and takes no selection of a dry run nor one without an end', async () => {
  await post('operations', { ...WRITE, operationId: 'select-2', selectForSeconds: 60 });
  expect(await post('operations/select-2/release')).toMatchObject({ status: 200, json: {} });
  expect((await post('operations/select-2/release')).json.code).toBe('SELECTION_UNKNOWN');
  for (const bad of [
    { selectForSeconds: 0 },
    { selectForSeconds: 1e6 },
    { selectForSeconds: 5, dryRun: true },
  ]) {
    expect((await post('operations', { ...WRITE, ...bad })).json.code).toBe('REQUEST_MALFORMED');
  }
  expect((await post('operations/a%20b/operate')).json.code).toBe('REQUEST_MALFORMED');
});

// --- Stop ----------------------------------------------------------------------------------------

it.each<[string, unknown]>([
  ['nothing at all', undefined],
  ['an empty object', {}],
  ['a reason without end', { reason: 'x'.repeat(20_000) }],
  ['a reason that is no text', { reason: { why: ['smoke'] } }],
  ['a priority that does not exist', { priority: 'AT ONCE!' }],
  ['members that nobody knows', { panic: true, operator: 'bob' }],
  ['empty lists', { devices: [], groups: [] }],
])('stops the whole system on a request that says %s', async (_what, body) => {
  const { status, json } = await post('emergency-stop', body);
  expect(status).toBe(200);
  expect(json).toMatchObject({ scope: 'whole system', wholeSystem: true, devices: [] });
  expect(engaged).toBe(1);
  expect(orchestrator.stops[0]?.reason.length).toBeLessThanOrEqual(512);
});

it('stops on a request that announces JSON and sends none', async () => {
  const headers = { ...alice, 'content-type': 'application/json', 'content-length': '0' };
  expect((await call('POST', 'emergency-stop', { headers })).json.wholeSystem).toBe(true);
});

it('stops groups and devices without engaging the latch of everything, and names what is not safe', async () => {
  orchestrator.unsafe = [{ device: 12, finding: 'does not answer' }];
  const { json } = await post('emergency-stop', {
    groups: [1, 1],
    devices: ['0x8001'],
    reason: 'leak',
  });
  expect(json).toMatchObject({
    success: false,
    wholeSystem: false,
    unsafe: [{ device: 12, token: '0x8010', finding: 'does not answer' }],
  });
  expect(json.devices).toHaveLength(13);
  expect(orchestrator.stops).toMatchObject([{ groups: [1], devices: [1] }]);
  expect(engaged).toBe(0);
});

it.each<[string, unknown, string]>([
  ['a group that no board has', { groups: [7] }, 'REQUEST_MALFORMED'],
  ['a gap token', { devices: [0x800c] }, 'DEVICE_ID_INVALID'],
  ['a quarantined device alone', { devices: [9] }, 'DEVICE_QUARANTINED'],
  ['a device in words', { devices: ['the pump'] }, 'REQUEST_MALFORMED'],
])('never takes a stop of %s for one of the whole system', async (_what, body, code) => {
  const answer = await post('emergency-stop', body);
  expect(answer.json.code).toBe(code);
  expect([engaged, orchestrator.stops]).toEqual([0, []]);
});

it('stops the whole system by an operation that names no device, latch first, and past every limit', async () => {
  let open = (): void => undefined;
  orchestrator.gate = new Promise((resolve) => {
    open = resolve;
  });
  const running = Array.from({ length: 16 }, () => post('operations', WRITE));
  await expect.poll(() => orchestrator.intents.length).toBe(16);
  expect((await post('operations', WRITE)).json.code).toBe('BUSY');
  const stopping = post('operations', { operation: 'EMERGENCY_STOP' });
  // Security has not answered, and will not before the gate opens.
  await expect.poll(() => engaged).toBe(1);
  await expect.poll(() => orchestrator.intents.length).toBe(17);
  open();
  await Promise.all(running);
  const { status, json } = await stopping;
  expect([status, json.operation, json.result]).toEqual([200, 'EMERGENCY_STOP', 'SUCCESS']);
  expect(orchestrator.intents.at(-1)).toMatchObject({ type: 7, targets: [], dryRun: false });
});

it('takes a stop as an operation from people who may do nothing else', async () => {
  const nobody = { authorization: 'Bearer token-nobody' };
  expect((await post('operations', WRITE, nobody)).json.code).toBe('CLEARANCE_TOO_LOW');
  await post('operations', { operation: 'READ', device: 9 });
  expect((await post('operations', { operation: 'EMERGENCY_STOP' }, nobody)).status).toBe(200);
  expect(engaged).toBe(1);
});

it('only plans a stop that is asked for as a dry run', async () => {
  const { json } = await post('operations', { operation: 'EMERGENCY_STOP', dryRun: true });
  expect(json.transactions).toHaveLength(1);
  expect(engaged).toBe(0);
});

it('stops named devices by an operation whatever its wording, and drops registers it names', async () => {
  const { json } = await post('operations', {
    operation: 'EMERGENCY_STOP',
    targets: [{ device: 1, registers: [{ name: 'NOPE', value: 1 }] }, { device: '0x8001' }],
    justification: 'x'.repeat(9_000),
  });
  expect(json.result).toBe('SUCCESS');
  expect(orchestrator.intents[0]?.targets).toEqual([{ device: 1, registers: [] }]);
  expect(orchestrator.intents[0]?.justification).toHaveLength(512);
  expect(engaged).toBe(0);
});

it('stops by the stop call when security takes no such operation', async () => {
  orchestrator.refusing = fault('BUSY', { place: 'operation', finding: '16 are running' });
  const { status, json } = await post('operations', { operation: 'EMERGENCY_STOP', device: 1 });
  expect([status, json.state, json.effect]).toEqual([200, 'EMERGENCY_STOPPED', 'stopped']);
  expect(orchestrator.stops).toMatchObject([{ devices: [1], groups: [] }]);
});

it('says that nobody vouches for the devices when security is away, and the latch is engaged', async () => {
  await call('GET', 'auth/me');
  const pair = await authority.client('urn:dsmil:person:alice');
  orchestrator.broken = fault('TRACK_UNAVAILABLE', { place: 'security', finding: 'is away' });
  const answer = await call('POST', 'operations', {
    headers: {},
    cert: pair.certificate,
    key: pair.key,
    body: { operation: 'EMERGENCY_STOP' },
  });
  expect([answer.status, answer.json.code]).toEqual([503, 'TRACK_UNAVAILABLE']);
  expect(answer.json.operation).toMatchObject({
    state: 'EMERGENCY_STOPPED',
    result: 'FAILED',
    effect: 'stopped',
  });
  expect(engaged).toBe(1);
});

it('records who has seen the stop, and shows causes with their scope in the status', async () => {
  orchestrator.statusMore = {
    stopCauses: [stopCause(), stopCause({ id: 4, devices: [1] })],
    stopTest: { ok: false, finding: 'no answer', wallMs: 1_700_000_000_000, durationMs: 3.5 },
    findings: ['the stop path failed its test: no answer'],
  };
  const given = await post('emergency-stop/acknowledge');
  expect(given.json.acknowledgments).toMatchObject([{ stopId: 3, by: 'alice' }]);
  const { json } = await call('GET', 'system/status');
  expect(json).toMatchObject({
    stopCauses: [
      { id: 3, scope: 'whole system', devices: [] },
      { id: 4, scope: 'devices', devices: [{ token: '0x8001' }] },
    ],
    stopAcknowledgments: [{ stopId: 3, by: 'alice' }],
    stopTest: { ok: false, finding: 'no answer', durationMs: 3.5 },
    conflictsOpen: 1,
    findings: ['the stop path failed its test: no answer'],
  });
});

it('shows who has selected which device until when', async () => {
  const untilWallMs = Date.UTC(2029, 0, 1);
  orchestrator.selections.push({
    ...{ operationId: 'o1', by: 'bob', operation: 'WRITE' },
    ...{ devices: [1], untilWallMs },
  });
  const { json } = await call('GET', 'system/status');
  expect(json.selections).toEqual([
    {
      ...{ operationId: 'o1', by: 'bob', operation: 'WRITE' },
      devices: [{ device: 1, token: '0x8001' }],
      until: '2029-01-01T00:00:00.000Z',
    },
  ]);
});

// --- Holds ---------------------------------------------------------------------------------------

it('quarantines a device with a reason, shows the hold, refuses every access, and releases it again', async () => {
  const held = await post('devices/0x8001/quarantine', REASON);
  expect(held.json).toMatchObject({ device: 1, token: '0x8001', kind: 'quarantined', ...REASON });
  const { json } = await call('GET', 'system/status');
  expect(json.holds).toMatchObject([{ token: '0x8001', kind: 'quarantined' }]);
  for (const body of [WRITE, { operation: 'READ', device: 1 }, { ...WRITE, dryRun: true }]) {
    const refused = await post('operations', body);
    expect([refused.status, refused.json.code]).toEqual([403, 'DEVICE_QUARANTINED']);
  }
  const read = await call('GET', 'devices/1/registers');
  expect(read.json.code).toBe('DEVICE_QUARANTINED');
  // In good faith: the session goes on, and security hears of each refusal.
  expect((await call('GET', 'auth/me')).status).toBe(200);
  expect(orchestrator.intents).toEqual([]);
  expect(orchestrator.refusals).toHaveLength(4);
  const released = await post('devices/1/release', REASON);
  expect(released.json).toEqual({ released: true, message: 'released' });
  await call('GET', 'system/status');
  expect((await post('operations', WRITE)).status).toBe(200);
  expect((await post('devices/1/release', REASON)).json.code).toBe('HOLD_UNKNOWN');
});

it('refuses to release one of the five, takes the attempt for a probe, and to quarantine it for nothing', async () => {
  const already = await post('devices/9/quarantine', REASON);
  expect([already.status, already.json.code]).toEqual([403, 'DEVICE_QUARANTINED']);
  expect(orchestrator.refusals).toEqual([]);
  const probe = await post('devices/9/release', REASON);
  expect([probe.status, probe.json.code]).toEqual([403, 'DEVICE_QUARANTINED']);
  expect(orchestrator.refusals).toMatchObject([{ code: 'DEVICE_QUARANTINED', devices: [9] }]);
  expect(orchestrator.releases).toEqual([]);
});

it.each(['quarantine', 'release'])('needs SECRET and a reason of its own to %s', async (act) => {
  expect((await post(`devices/1/${act}`, REASON, bob)).json.code).toBe('CLEARANCE_TOO_LOW');
  expect((await post(`devices/1/${act}`, { reason: 'short' })).json.code).toBe(
    'JUSTIFICATION_NEEDED',
  );
  expect((await post(`devices/1/${act}`, {})).json.code).toBe('REQUEST_MALFORMED');
  expect((await post(`devices/0x800C/${act}`, REASON)).json.code).toBe('DEVICE_ID_INVALID');
  expect([orchestrator.holds, orchestrator.releases]).toEqual([[], []]);
});

// --- Unified state, conflicts, history -----------------------------------------------------------

it('lists devices as all tracks together see them, and shows one with every part', async () => {
  const { security } = unifiedState(1);
  orchestrator.sendSnapshot(kernelSnapshot({ devices: [kernelDevice(1)] }));
  orchestrator.sendUnified(
    unifiedState(1, {
      overall: OverallStatus.DEGRADED,
      security: { ...security, status: SecurityStatus.UNDER_REVIEW },
      openConflicts: [7],
    }),
  );
  const list = await call('GET', 'devices');
  expect(list.json.devices[1]).toMatchObject({
    id: 1,
    status: 'DEGRADED',
    security: 'UNDER_REVIEW',
    risk: 'LOW',
    display: 'WARNING',
    attention: 'ADVISORY',
    holds: [],
    openConflicts: [7],
    stopped: false,
  });
  expect(list.json.devices[0]).toMatchObject({ security: null, risk: null, display: 'UNKNOWN' });
  const { json } = await call('GET', 'devices/1');
  expect(json.unified).toMatchObject({
    security: { failedAccessAttempts: 1, requiredClearance: 'CONFIDENTIAL', auditSequence: 77 },
    interface: { monitored: true, activeSessions: 2, notificationsPending: true },
    synchronization: { versions: { kernel: 4, security: 11, interface: 5 }, trigger: 'MANUAL' },
  });
});

it('synchronizes all devices or the named ones, but never the five', async () => {
  const all = await post('devices/synchronize');
  expect(orchestrator.synchronized[0]).toEqual([0, 1, 12]);
  expect(all.json.devices.map(({ id }: { id: number }) => id)).toEqual([0, 1, 9, 12]);
  expect(all.json.devices[2]).toMatchObject({ status: 'QUARANTINED', unified: null });
  const named = await post('devices/synchronize', { devices: ['0x8001', 9] });
  expect(orchestrator.synchronized[1]).toEqual([1]);
  expect(named.json.devices[0]).toMatchObject({ openConflicts: [7] });
  await post('devices/synchronize', { devices: [9] });
  expect(orchestrator.synchronized).toHaveLength(2);
});

it('shows the last picture, marked stale, when security cannot compare', async () => {
  await call('GET', 'auth/me');
  await post('devices/synchronize');
  orchestrator.away = fault('TRACK_UNAVAILABLE', { place: 'security', finding: 'is away' });
  const { status, json } = await post('devices/synchronize', { devices: [1] });
  expect([status, json.stale, json.finding]).toEqual([200, true, 'security: is away']);
  expect(json.devices).toMatchObject([{ id: 1, status: 'OPERATIONAL' }]);
});

it('lists conflicts and settles one with an answer and a reason', async () => {
  const { json } = await call('GET', 'conflicts');
  expect(json.conflicts).toMatchObject([
    { id: 7, rule: 'CHANGED_WITHOUT_OPERATION', token: '0x8001', answer: null, resolved: null },
  ]);
  const settle = (body: unknown, headers = alice) => post('conflicts/7/resolve', body, headers);
  expect((await settle({ answer: 'SHRUG', ...REASON })).json.code).toBe('REQUEST_MALFORMED');
  expect((await settle({ answer: 'INHIBIT', reason: '' })).json.code).toBe('JUSTIFICATION_NEEDED');
  expect((await settle({ answer: 'INHIBIT', ...REASON }, bob)).json.code).toBe('CLEARANCE_TOO_LOW');
  expect((await settle({ answer: 'INHIBIT', ...REASON })).json).toMatchObject({
    answer: 'INHIBIT',
    resolvedBy: 'alice',
  });
  const unknown = await post('conflicts/99/resolve', { answer: 'INHIBIT', ...REASON });
  expect([unknown.status, unknown.json.code]).toEqual([404, 'CONFLICT_UNKNOWN']);
});

it('gives the history of a device, newest first, at most as many lines as asked', async () => {
  const { json } = await call('GET', 'devices/0x8001/history?limit=2');
  expect(json.history).toHaveLength(2);
  expect(json.history[0]).toMatchObject({ token: '0x8001', what: 'power', from: 'OFF', to: 'ON' });
  expect((await call('GET', 'devices/1/history?limit=x')).json.code).toBe('REQUEST_MALFORMED');
});

it('shows and lets a person with devices of their own act on nothing else', async () => {
  const carol = { authorization: 'Bearer token-carol' };
  orchestrator.accounts.set('token-carol', {
    ...person('carol', ClearanceLevel.SECRET),
    devices: [0],
  });
  orchestrator.holds.push({ device: 1, kind: 'in-doubt', reason: 'crash', sinceWallMs: 5 });
  const paths = ['devices/1/history', 'devices/1'];
  for (const path of paths) {
    expect((await call('GET', path, { headers: carol })).json.code).toBe('DEVICE_UNKNOWN');
  }
  for (const act of ['release', 'quarantine']) {
    expect((await post(`devices/1/${act}`, REASON, carol)).json.code).toBe('DEVICE_UNKNOWN');
  }
  expect((await call('GET', 'conflicts', { headers: carol })).json.conflicts).toEqual([]);
  const settled = await post('conflicts/7/resolve', { answer: 'ACCEPT', ...REASON }, carol);
  expect(settled.json.code).toBe('CONFLICT_UNKNOWN');
  expect((await call('GET', 'system/status', { headers: carol })).json.holds).toEqual([]);
  await post('devices/synchronize', {}, carol);
  expect(orchestrator.synchronized).toEqual([[0]]);
});
