// Every way to ask something of a device, on every transport, for the five in quarantine and for one that is not.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { ChannelRequest } from '#contract/appliance';
import { OperationCoordinationRequest } from '#contract/communication';
import { OperationType } from '#model/operation';
import { RiskLevel } from '#model/risk';
import { Ceremony } from './support/ceremony.ts';
import {
  GrpcDoor,
  HttpDoor,
  type Identity,
  type Verdict,
  WebSocketDoor,
} from './support/matrix-doors.ts';
import { JUSTIFICATION } from './support/rest-person.ts';
import { eventually, pause, Scene } from './support/scene.ts';
import { freshAddress, LocalUsers } from './support/source-addresses.ts';

const QUARANTINED = [0x8009, 0x800a, 0x800b, 0x8019, 0x8029] as const;
const LINEAR = [9, 10, 11, 21, 33] as const;
const ORDINARY = 0x8000;
const TYPES = ['READ', 'WRITE', 'CONFIG', 'RESET', 'ACTIVATE', 'DEACTIVATE'] as const;
/** Accounts that try at the same time; each is unlocked by two administrators between. */
const PROBERS = 4;
const COORDINATE = 'dsmil.communication.v1.DsmilCommunicationService/CoordinateOperation';
const CHANNEL = 'dsmil.appliance.v1.ApplianceService/Channel';

interface Wish {
  readonly type: (typeof TYPES)[number];
  readonly dryRun: boolean;
  /** The others of one transaction. */
  readonly beside: readonly number[];
}

/** One connection on which more than one thing can be asked. */
interface Way {
  readonly transport: 'rest' | 'local' | 'grpc' | 'websocket';
  readonly name: string;
  open(identity: Identity): Promise<Asking>;
}
interface Asking {
  operate(wish: Wish, device: number): Promise<Verdict>;
  close(): void;
}

let scene: Scene;
let ceremony: Ceremony;
let users: LocalUsers | null = null;
let cells = 0;

beforeAll(async () => {
  scene = await Scene.open();
  ceremony = new Ceremony(scene.agent.ready);
  if (LocalUsers.possible) users = await LocalUsers.open(scene.agent.ready);
});

afterAll(async () => {
  await users?.close();
  ceremony?.close();
  await scene?.close();
});

const WISHES: readonly Wish[] = [
  ...TYPES.map((type) => ({ type, dryRun: false, beside: [] })),
  { type: 'READ', dryRun: true, beside: [] },
  { type: 'WRITE', dryRun: true, beside: [] },
  { type: 'READ', dryRun: false, beside: [ORDINARY + 1] },
];

const registersOf = ({ type }: Wish) =>
  type === 'WRITE' || type === 'CONFIG' ? [{ name: 'CONFIG', value: 1 }] : [];

function json(wish: Wish, device: number) {
  const { type: operation, dryRun, beside } = wish;
  const registers = registersOf(wish);
  const targets = [...beside, device].map((one) => ({ device: one, registers }));
  return { operation, dryRun, targets, justification: JUSTIFICATION, confirmedRisk: 'QUARANTINED' };
}

function wire(wish: Wish, device: number): OperationCoordinationRequest {
  const registers = registersOf(wish).map(({ name, value }) => ({ name, value: BigInt(value) }));
  const targets = [...wish.beside, device].map((deviceId) => ({ deviceId, registers }));
  return OperationCoordinationRequest.fromPartial({
    operationType: OperationType[wish.type],
    ...(wish.beside.length > 0 ? { targets } : { deviceId: device, registers }),
    dryRun: wish.dryRun,
    justification: JUSTIFICATION,
    confirmedRisk: RiskLevel.QUARANTINED,
  });
}

function httpWay(
  transport: 'rest' | 'local',
  door: (identity: Identity) => Promise<HttpDoor>,
): Way {
  return {
    transport,
    name: `${transport} operations`,
    open: async (identity) => {
      const http = await door(identity);
      return {
        operate: (wish, device) => {
          // A plain reading has a path of its own.
          const plain = wish.type === 'READ' && !wish.dryRun && wish.beside.length === 0;
          return plain && device % 2 === 1
            ? http.ask('GET', `/api/v1/devices/${device}/registers`, null)
            : http.ask('POST', '/api/v1/operations', json(wish, device));
        },
        close: () => http.close(),
      };
    },
  };
}

function ways(): readonly Way[] {
  const { ready } = scene.agent;
  const grpc = (
    name: string,
    bytesOf: (wish: Wish, device: number) => [string, Uint8Array],
  ): Way => ({
    transport: 'grpc',
    name,
    open: async (identity) => {
      const door = await GrpcDoor.open(ready, identity, freshAddress());
      return {
        operate: (wish, device) => door.ask(...bytesOf(wish, device)),
        close: () => door.close(),
      };
    },
  });
  return [
    httpWay('rest', async (identity) => HttpDoor.network(ready, identity, freshAddress())),
    httpWay('local', async (identity) =>
      HttpDoor.local((await users?.socket()) ?? ready.socket, identity),
    ),
    grpc('CoordinateOperation', (wish, device) => [
      COORDINATE,
      OperationCoordinationRequest.encode(wire(wish, device)).finish(),
    ]),
    grpc('Channel', (wish, device) => [
      CHANNEL,
      ChannelRequest.encode({ requestId: 7n, operation: wire(wish, device) }).finish(),
    ]),
    {
      transport: 'websocket',
      name: 'OPERATION',
      open: async (identity) => {
        const socket = new WebSocketDoor(ready, identity, freshAddress());
        await socket.opened();
        await socket.next();
        return {
          operate: (wish, device) =>
            socket.ask({ type: 'OPERATION', id: 'probe', request: json(wish, device) }),
          close: () => socket.close(),
        };
      },
    },
  ];
}

interface Probe {
  readonly way: Way;
  readonly wish: Wish;
  readonly device: number;
}

const READ: Wish = { type: 'READ', dryRun: false, beside: [] };
const nameOf = ({ way, wish, device }: Probe) =>
  `${way.name} ${wish.type}${wish.dryRun ? ' (dry run)' : ''}${wish.beside.length > 0 ? ' beside others' : ''} of ${device}`;

/** The account is locked for whoever comes anew; two administrators let it go on. */
async function expectLock(account: string, token: string): Promise<void> {
  await eventually(`the lock of ${account}`, async () => {
    const { ready } = scene.agent;
    const again = HttpDoor.network(ready, { by: 'token', token }, freshAddress());
    const verdict = await again.ask('GET', '/api/v1/auth/me', null);
    again.close();
    return verdict === 'ACCOUNT_LOCKED' ? true : undefined;
  });
  await ceremony.unlock(account);
}

/** What is wrong with how it went; empty when nothing is. */
async function tryProbe(probe: Probe, account: string, token: string): Promise<readonly string[]> {
  const { way, wish, device } = probe;
  const identity = { by: 'token', token } as const;
  const asking = await way.open(identity);
  const wrong: string[] = [];
  const note = (what: string, verdict: Verdict, fits: Verdict) => {
    if (verdict !== fits) wrong.push(`${nameOf(probe)}: ${what} "${verdict}", not "${fits}"`);
  };
  note('was answered', await asking.operate(wish, device), 'DEVICE_QUARANTINED');
  note('then the session was answered', await asking.operate(READ, ORDINARY), 'ACCOUNT_LOCKED');
  asking.close();
  await expectLock(account, token);
  return wrong;
}

it('refuses whatever is asked of the five, on record, and locks whoever asks', async () => {
  await scene.metal.forget();
  const since = await scene.auditSequence();
  const probes = ways().flatMap((way) =>
    WISHES.flatMap((wish) =>
      // Tokens and linear ids are the same devices.
      QUARANTINED.map((token, index) => ({
        way,
        wish,
        device: wish.type === 'READ' ? (LINEAR[index] ?? token) : token,
      })),
    ),
  );
  const waiting = [...probes];
  const wrong: string[] = [];
  const worker = async (_: unknown, index: number): Promise<void> => {
    const account = `prober-${index}`;
    const token = await ceremony.holder(account, { kind: 'machine', clearance: 'TOP_SECRET' });
    for (let probe = waiting.shift(); probe !== undefined; probe = waiting.shift())
      wrong.push(...(await tryProbe(probe, account, token)));
  };
  await Promise.all(Array.from({ length: PROBERS }, worker));
  expect(wrong).toEqual([]);
  cells += probes.length;

  const counted = (transports: readonly (string | undefined)[]) =>
    Object.fromEntries(
      ['rest', 'local', 'grpc', 'websocket'].map((one) => [
        one,
        transports.filter((transport) => transport === one).length,
      ]),
    );
  const entries = (await scene.auditSince(since)).filter(
    ({ event }) => event === 'QUARANTINE_PROBE',
  );
  expect(counted(entries.map(({ origin }) => origin?.transport))).toEqual(
    counted(probes.map(({ way }) => way.transport)),
  );
  expect(entries.every(({ actor }) => actor.startsWith('prober-'))).toBe(true);
  expect(await scene.writes()).toBe(0);
  expect((await scene.metal.canaries()).touched).toEqual([]);
}, 240_000);

it('asks the same of an ordinary device without taking anybody for an intruder', async () => {
  const token = await ceremony.holder('honest', { kind: 'machine', clearance: 'TOP_SECRET' });
  const wrong: string[] = [];
  for (const way of ways()) {
    const asking = await way.open({ by: 'token', token });
    // What would change it is planned only.
    for (const wish of WISHES.map((one) => ({
      ...one,
      dryRun: one.dryRun || one.type !== 'READ',
    }))) {
      const verdict = await asking.operate(wish, ORDINARY);
      cells += 1;
      if (['DEVICE_QUARANTINED', 'ACCOUNT_LOCKED', 'NOT_PERMITTED'].includes(verdict))
        wrong.push(`${nameOf({ way, wish, device: ORDINARY })}: ${verdict}`);
    }
    asking.close();
  }
  expect(wrong).toEqual([]);
});

it('shows the five from the register of devices alone, and drives none of them, nor lets anybody release one', async () => {
  await scene.metal.forget();
  const { first } = scene;
  const token = await ceremony.holder('releaser', { kind: 'machine', clearance: 'TOP_SECRET' });
  const reason = { reason: 'seen on the site with my own eyes' };
  for (const device of QUARANTINED) {
    const shown = await first.get(`devices/${device}`);
    expect(shown).toMatchObject({ quarantined: true, readings: [] });
    expect((await first.call('GET', `devices/${device}/history`)).status).toBe(200);
    const compared = await first.call('POST', 'devices/synchronize', { devices: [device] });
    expect(compared.status).toBe(200);
    const refused: readonly (readonly [string, unknown])[] = [
      [`devices/${device}/release`, reason],
      [`devices/${device}/quarantine`, reason],
      ['emergency-stop', { reason: 'only this one', devices: [device] }],
    ];
    for (const [path, body] of refused) {
      const door = HttpDoor.network(scene.agent.ready, { by: 'token', token }, freshAddress());
      const verdict = await door.ask('POST', `/api/v1/${path}`, body);
      door.close();
      expect([device, path, verdict]).toEqual([device, path, 'DEVICE_QUARANTINED']);
      // Asking for the quarantine that is there already tries nothing.
      if (!path.endsWith('/quarantine')) await expectLock('releaser', token);
    }
    cells += 3 + refused.length;
  }
  await pause(50);
  expect(await scene.writes()).toBe(0);
  expect((await scene.metal.canaries()).touched).toEqual([]);
  expect((await first.get('audit/verify')).intact).toBe(true);
  expect(scene.undisturbed).toBe(true);
  console.log(`matrix of devices: ${cells} cells, all as expected`);
});
