// Named attacks on what takes two people: one who plays both, an approval used twice, a plan that is swapped behind it.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { JUSTIFICATION } from '../e2e/support/rest-person.ts';
import type { HttpAnswer } from '../support/http-client.ts';
import {
  AttackScene,
  bearer,
  type CallOptions,
  LOOKING_ON,
  refusalOf,
} from './support/attack-scene.ts';
import { GrpcCaller } from './support/grpc-caller.ts';

let scene: AttackScene;
/** A person with a password and a token; the first demonstration person has a token and a certificate. */
let maker: { readonly password: string; readonly token: string };

beforeAll(async () => {
  scene = await AttackScene.open(LOOKING_ON);
  expect(scene.undisturbed).toBe(true);
  const compartments = ['CRYPTO', 'SIGNALS', 'COMMS', 'SENSORS', 'MAINT', 'EMERGENCY'];
  const enrolled = await scene.enrolled('maker', { clearance: 'TOP_SECRET', compartments });
  const password = await scene.signedIn(enrolled);
  const token = await scene.ownToken('maker', password);
  maker = { password, token };
});
afterAll(() => scene?.close());
beforeEach(() => scene.settleMetal());
afterEach(async () => {
  expect((await scene.metal.canaries()).touched).toEqual([]);
  expect(scene.undisturbed).toBe(true);
});

const DEVICE = '0x8008';
const writeOf = (value: number) => ({
  operation: 'WRITE',
  device: DEVICE,
  registers: [{ name: 'CONFIG', value }],
  justification: JUSTIFICATION,
  confirmedRisk: 'CRITICAL',
});

type How = Pick<CallOptions, 'headers' | 'certificate' | 'local'>;
const byPassword = (): How => ({ headers: bearer(maker.password) });
const byToken = (): How => ({ headers: bearer(maker.token) });
const operatorByToken = (): How => ({ headers: scene.bearer(0) });
const operatorByCertificate = (): How => ({ certificate: scene.demoCertificate(0) });

function operate(body: object, how: How): Promise<HttpAnswer> {
  return scene.call('POST', 'operations', { body, ...how });
}

function approve(planDigest: string, how: How): Promise<HttpAnswer> {
  return scene.call('POST', 'approvals', { body: { planDigest }, ...how });
}

/** Asks and is told that a second person is needed; the digest of the plan. */
async function asked(body: object, how: How): Promise<string> {
  const answer = await operate(body, how);
  expect(answer.json.code, answer.text).toBe('APPROVAL_NEEDED');
  return String(answer.json.operation.planDigest);
}

/** Values that were written to CONFIG since the metal was settled. */
async function written(): Promise<readonly string[]> {
  const writes = await scene.metal.log(DEVICE, 1_000);
  return writes.map((write) => JSON.stringify(write));
}

describe('approval by the same person through another credential', () => {
  it('is refused with password, token and certificate, on REST, gRPC and the local socket, by turns', async () => {
    const turns = [
      [
        byPassword(),
        [byPassword(), byToken()],
        [{ token: maker.token }, { token: maker.password }],
      ],
      [byToken(), [byPassword(), byToken()], [{ token: maker.token }, { token: maker.password }]],
      [
        operatorByCertificate(),
        [operatorByCertificate(), operatorByToken()],
        [scene.demoCertificate(0), { token: scene.token(0) }],
      ],
      [operatorByToken(), [operatorByCertificate()], [scene.demoCertificate(0)]],
    ] as const;
    for (const [turn, [asks, others, callers]] of turns.entries()) {
      const planDigest = await asked(writeOf(0x10 + turn), asks);
      for (const how of others) {
        const local = how.certificate === undefined ? [false, true] : [false];
        for (const socket of local) {
          const answer = await approve(planDigest, { ...how, local: socket });
          expect([turn, socket, ...refusalOf(answer)]).toEqual([
            turn,
            socket,
            403,
            'NOT_PERMITTED',
          ]);
        }
      }
      for (const by of callers) {
        const grpc = new GrpcCaller(scene, by);
        expect(await grpc.approve(planDigest)).toBe('NOT_PERMITTED');
        grpc.close();
      }
      expect((await operate(writeOf(0x10 + turn), asks)).json.code).toBe('APPROVAL_NEEDED');
    }
    await scene.untouched();
  });
});

describe('approval replay', () => {
  it('one approval is one operation: the same words a second time ask for another', async () => {
    const body = writeOf(0x21);
    const planDigest = await asked(body, byToken());
    expect((await scene.second.approve(planDigest)).status).toBe(200);
    const done = await operate(body, byToken());
    expect([done.status, done.text]).toEqual([200, expect.stringContaining('committed')]);
    const once = await written();
    expect(once.length).toBeGreaterThan(0);
    // The approval itself sent once more approves nothing that is to come.
    expect((await scene.second.approve(planDigest)).json.code).toBe('APPROVAL_INVALID');
    // By the same and by other credentials, and by the approver.
    for (const how of [byToken(), byPassword(), { headers: scene.bearer(1) }]) {
      expect((await operate(body, how)).json.code).toBe('APPROVAL_NEEDED');
    }
    expect(await written()).toEqual(once);
    await scene.settleMetal();
  });

  it('an approval is for who asked, not for who comes first', async () => {
    const body = writeOf(0x22);
    const planDigest = await asked(body, byToken());
    expect((await scene.second.approve(planDigest)).status).toBe(200);
    const thief = await operate(body, { headers: scene.bearer(0) });
    expect(thief.json.code).toBe('APPROVAL_NEEDED');
    expect((await scene.second.approve('ab'.repeat(32))).json.code).toBe('APPROVAL_INVALID');
    await scene.untouched();
  });
});

describe('plan swapped after approval', () => {
  it('another value, register or device has another digest, and needs another approval', async () => {
    const body = writeOf(0x31);
    const planDigest = await asked(body, byToken());
    expect((await scene.second.approve(planDigest)).status).toBe(200);
    const swapped = [
      writeOf(0x32),
      { ...body, device: '0x8007', registers: [{ name: 'CONFIG', value: 0x31 }] },
      {
        ...body,
        registers: [
          { name: 'CONFIG', value: 0x31 },
          { name: 'DATA', value: 1 },
        ],
      },
      { ...body, requirements: { maxExecutionTimeMs: 1_000 }, operation: 'CONFIG' },
    ];
    for (const other of swapped) {
      const answer = await operate(other, byToken());
      expect(answer.status, answer.text).not.toBe(200);
      expect(answer.json.operation?.planDigest).not.toBe(planDigest);
    }
    await scene.untouched();
  });

  it('an approval is void once the device has changed since', async () => {
    const body = writeOf(0x41);
    const planDigest = await asked(body, byToken());
    expect((await scene.second.approve(planDigest)).status).toBe(200);
    // Another approved operation changes the device in between.
    const other = { headers: scene.bearer(0) };
    const between = await asked(writeOf(0x42), other);
    expect((await scene.second.approve(between)).status).toBe(200);
    expect((await operate(writeOf(0x42), other)).status).toBe(200);
    await scene.settleMetal();
    const answer = await operate(body, byToken());
    expect(answer.json.code).toBe('APPROVAL_VOID');
    await scene.untouched();
  });
});

describe('two administrators who are one', () => {
  const reason = 'one person who plays two';

  it('the same person with certificate and token, on network and local socket, changes nothing', async () => {
    const requests: readonly (readonly [string, object])[] = [
      ['accounts/technician', { change: { clearance: 'TOP_SECRET' }, reason }],
      ['accounts/technician', { change: { administrator: true }, reason }],
      ['keys/rotate', { key: 'authorization', reason }],
      [
        'accounts',
        {
          account: { id: 'puppet', name: 'P', kind: 'person', clearance: 'SECRET', devices: null },
          reason,
        },
      ],
    ];
    for (const [path, body] of requests) {
      expect((await scene.first.call('POST', path, body)).json).toMatchObject({ done: false });
      for (const local of [false, true]) {
        const headers = scene.bearer(0);
        const again = await scene.call('POST', path, { body, headers, local });
        expect([path, ...refusalOf(again)]).toEqual([path, 428, 'SECOND_ADMINISTRATOR_NEEDED']);
      }
    }
    const { accounts } = await scene.first.get('accounts');
    const seen = accounts as readonly { id: string; clearance: string; administrator: boolean }[];
    expect(seen.find(({ id }) => id === 'technician')).toMatchObject({
      clearance: 'CONFIDENTIAL',
      administrator: false,
    });
    expect(seen.some(({ id }) => id === 'puppet')).toBe(false);
    await scene.untouched();
  });

  it('one administrator makes no credential of the other, and none that both would share', async () => {
    const token = { account: 'demo-supervisor', name: 'x', scope: null, lifetimeDays: 1 };
    const made = await scene.first.call('POST', 'tokens', token);
    expect(refusalOf(made)).toEqual([403, 'NOT_PERMITTED']);
    // A name that the other one has would be both of them, and so neither.
    const change = { certificateUris: ['urn:dsmil:principal:demo-operator'] };
    const shared = await scene.second.call('POST', 'accounts/demo-supervisor', { change, reason });
    expect(shared.status).toBeGreaterThanOrEqual(400);
    const own = { change: { localUids: [process.getuid?.() ?? 0] }, reason };
    const local = await scene.second.call('POST', 'accounts/demo-operator', own);
    expect(local.status === 200 ? local.json.done : false).toBe(false);
    await scene.untouched();
  });

  it('a machine, and somebody who is no administrator, is no second one', async () => {
    const body = { change: { clearance: 'TOP_SECRET' }, reason: `${reason}, once more` };
    await scene.first.call('POST', 'accounts/technician', body);
    const helper = await scene.call('POST', 'accounts/technician', { body, ...byPassword() });
    expect(refusalOf(helper)).toEqual([403, 'NOT_PERMITTED']);
    const local = await scene.call('POST', 'accounts/technician', { body, local: true });
    expect(refusalOf(local)).toEqual([403, 'NOT_PERMITTED']);
    await scene.untouched();
  });
});
