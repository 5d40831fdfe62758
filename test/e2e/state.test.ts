// The state of devices as people see it through the network: compared on demand, held in quarantine, released by two.

import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { JUSTIFICATION } from './support/rest-person.ts';
import { eventually, Scene } from './support/scene.ts';

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.open();
});

afterAll(async () => {
  await scene?.close();
});

beforeEach(() => scene.metal.forget());

const DEVICE = '0x8059';
const REASON = { reason: 'its readings make no sense since noon' };

const write = (value: number) => ({
  operation: 'WRITE',
  device: DEVICE,
  registers: [{ name: 'duty', value }],
  justification: JUSTIFICATION,
  confirmedRisk: 'CRITICAL',
});

it('compares all 84 devices on demand, each with the versions of three tracks, and the five from the registry', async () => {
  const { status, json } = await scene.first.call('POST', 'devices/synchronize');
  expect([status, json.stale, json.finding]).toEqual([200, false, '']);
  expect(json.devices).toHaveLength(84);
  for (const device of json.devices) {
    if (device.quarantined) expect([device.readings, device.unified]).toEqual([[], null]);
    else {
      expect(device.unified.synchronization).toMatchObject({ trigger: 'MANUAL', staleTracks: [] });
      expect(device.unified.synchronization.versions.kernel).toBeGreaterThan(0);
      expect(device.status).not.toBe('UNKNOWN');
    }
  }
  expect((await scene.metal.canaries()).touched).toEqual([]);
});

it('a device in quarantine is closed to everybody who goes on working otherwise, until two people open it', async () => {
  const held = await scene.first.call('POST', `devices/${DEVICE}/quarantine`, REASON);
  expect([held.status, held.json.kind]).toEqual([200, 'quarantined']);
  // What somebody was told is seen by everybody who asks after it.
  const shown = await scene.second.get(`devices/${DEVICE}`);
  const locked = { quarantined: true, status: 'QUARANTINED', display: 'LOCKED_OUT', readings: [] };
  expect(shown).toMatchObject(locked);
  await scene.metal.forget();
  for (const operation of [
    write(60),
    { ...write(60), dryRun: true },
    { operation: 'READ', device: DEVICE },
  ]) {
    const { status, code } = await scene.second.operate(operation);
    expect([status, code]).toEqual([403, 'DEVICE_QUARANTINED']);
  }
  // No probe: whoever asked in good faith goes on.
  expect((await scene.second.read('0x8000')).status).toBe(200);
  expect(await scene.writes(DEVICE)).toBe(0);

  const first = await scene.first.call('POST', `devices/${DEVICE}/release`, REASON);
  expect([first.status, first.json.released]).toEqual([200, false]);
  const again = await scene.first.call('POST', `devices/${DEVICE}/release`, REASON);
  expect([again.status, again.json.released]).toEqual([200, false]);
  const second = await scene.second.call('POST', `devices/${DEVICE}/release`, REASON);
  expect([second.status, second.json.released]).toEqual([200, true]);
  expect((await scene.first.get(`devices/${DEVICE}`)).quarantined).toBe(false);
  const events = (await scene.auditSince(0)).map(({ event }) => event);
  expect(events).toEqual(expect.arrayContaining(['DEVICE_QUARANTINED', 'DEVICE_RELEASED']));
  expect(events).not.toContain('QUARANTINE_PROBE');
});

it('what happened to the device is in its history', async () => {
  const { history } = await scene.first.get(`devices/${DEVICE}/history?limit=50`);
  expect(history.length).toBeGreaterThan(0);
  const times = history.map(({ at }: { at: string }) => Date.parse(at));
  expect(times).toEqual([...times].sort((left, right) => right - left));
});

it('the plan of a stop touches nothing', async () => {
  const { status, receipt } = await scene.first.operate({
    operation: 'EMERGENCY_STOP',
    device: DEVICE,
    dryRun: true,
  });
  expect([status, receipt?.effect]).toEqual([200, 'none']);
  expect(receipt?.transactions?.length).toBeGreaterThan(0);
  expect(await scene.writes()).toBe(0);
  expect((await scene.first.get('system/status')).stopEngaged).toBe(false);
});

it('a stop in the shape of an operation stops the device alone, and its acknowledgment is kept', async () => {
  const { receipt } = await scene.first.operate({ operation: 'EMERGENCY_STOP', device: DEVICE });
  expect(receipt?.operation).toBe('EMERGENCY_STOP');
  await eventually('the device to be shown as stopped', async () => {
    const device = await scene.second.get(`devices/${DEVICE}`);
    return device.status === 'EMERGENCY_STOPPED' ? device : undefined;
  });
  const given = await scene.second.call('POST', 'emergency-stop/acknowledge');
  expect(given.json.acknowledgments).toHaveLength(1);
  const { stopCauses, stopAcknowledgments } = await scene.first.get('system/status');
  expect(stopCauses).toMatchObject([{ scope: 'devices', devices: [{ token: DEVICE }] }]);
  expect(stopAcknowledgments).toMatchObject([{ stopId: stopCauses[0].id }]);
  expect((await scene.first.read('0x8000')).status).toBe(200);
  expect(scene.undisturbed).toBe(true);
});
