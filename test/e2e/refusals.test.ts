// Requests that must not be done: each with its catalogued code and status, and without a trace on the metal.

import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { OperationCoordinationRequest } from '#contract/generated/dsmil/communication/v1/communication';
import { FAULT_CATALOGUE, isFaultCode } from '#foundation/fault-catalogue';
import { OperationType } from '#model/operation';
import { RiskLevel } from '#model/risk';
import { makeTestAuthority } from '../support/certificates.ts';
import { httpCall } from '../support/http-client.ts';
import { type Draft, GrpcPerson, grpcRefusal } from './support/grpc-person.ts';
import { JUSTIFICATION, type RestOperation, RestPerson } from './support/rest-person.ts';
import { Scene } from './support/scene.ts';

let scene: Scene;
let grpc: GrpcPerson;
let technician: RestPerson;

beforeAll(async () => {
  scene = await Scene.open();
  grpc = GrpcPerson.byToken(scene.agent.ready, 0);
  technician = new RestPerson(scene.agent.ready, 'technician');
});

afterAll(async () => {
  grpc?.close();
  technician?.close();
  await scene?.close();
});

beforeEach(() => scene.metal.forget());

afterEach(async () => {
  expect(await scene.writes()).toBe(0);
  expect((await scene.metal.canaries()).touched).toEqual([]);
  expect(scene.undisturbed).toBe(true);
});

const write = (device: string | number, name: string, value: string | number) =>
  ({ operation: 'WRITE', device, registers: [{ name, value }] }) as const;
const justified = { justification: JUSTIFICATION, confirmedRisk: 'CRITICAL' } as const;

/** The code that gRPC gives for the same request, as a status or as a denied receipt. */
async function grpcCode(operation: RestOperation): Promise<string> {
  const request: Draft<OperationCoordinationRequest> = {
    deviceId: Number(operation.device),
    operationType: OperationType[operation.operation as keyof typeof OperationType],
    registers: (operation.registers ?? []).map(({ name, value }) =>
      value === undefined ? { name } : { name, value: BigInt(value) },
    ),
    justification: String(operation.justification ?? ''),
    confirmedRisk: RiskLevel[(operation.confirmedRisk ?? 'UNKNOWN') as keyof typeof RiskLevel],
  };
  const answer = grpc.coordinate(request);
  try {
    return (await answer).faultCode;
  } catch {
    const { status, code } = await grpcRefusal(answer);
    expect(isFaultCode(code) && FAULT_CATALOGUE[code].grpc).toBe(status);
    return code;
  }
}

const GAPS = Array.from({ length: 7 }, (_, group) =>
  [0xc, 0xd, 0xe, 0xf].map((index) => 0x8000 + group * 0x10 + index),
).flat();

describe('device ids', () => {
  it.each([...GAPS, 84, 0x7fff, 0x8070, 0x80_0000, 0xffff_ffff])(
    '%i is no device for REST, in body and path, nor for gRPC',
    async (device) => {
      const { status, code } = await scene.first.operate(write(device, 'CONFIG', 1));
      expect([status, code]).toEqual([400, 'DEVICE_ID_INVALID']);
      const path = await scene.first.call('GET', `devices/${device}/registers`);
      expect([path.status, path.json.code]).toEqual([400, 'DEVICE_ID_INVALID']);
      expect(await grpcCode(write(device, 'CONFIG', 1))).toBe('DEVICE_ID_INVALID');
    },
  );

  it.each([-1, 1.5, 2 ** 32, 'tpm-control', '0x', '', null, [0], { id: 0 }])(
    '%j in a body is malformed',
    async (device) => {
      const { status, code } = await scene.first.operate(write(device as number, 'CONFIG', 1));
      expect([status, code]).toEqual([400, 'REQUEST_MALFORMED']);
    },
  );

  it.each(['%00', '..%2f..'])('%s in a path is no identifier at all', async (device) => {
    const { status, json } = await scene.first.call('GET', `devices/${device}/registers`);
    expect([status, json.code]).toEqual([400, 'REQUEST_MALFORMED']);
  });

  it.each(['tpm-control', '0x', '-1', '1.5', 'x'.repeat(64)])(
    '%s in a path is invalid',
    async (device) => {
      const { status, json } = await scene.first.call('GET', `devices/${device}/registers`);
      expect([status, json.code]).toEqual([400, 'DEVICE_ID_INVALID']);
    },
  );
});

describe('registers and values', () => {
  it.each<[string, RestOperation, number, string]>([
    ['an unknown register', write('0x8000', 'NOWHERE', 1), 404, 'REGISTER_UNKNOWN'],
    ['a name of an object member', write('0x8000', 'constructor', 1), 404, 'REGISTER_UNKNOWN'],
    [
      'an unknown register read',
      { operation: 'READ', device: '0x8000', registers: [{ name: 'X' }] },
      404,
      'REGISTER_UNKNOWN',
    ],
    ['a value too wide for 8 bits', write('0x8059', 'duty', 256), 422, 'VALUE_TOO_WIDE'],
    [
      'a value too wide for 32 bits',
      write('0x8000', 'CONFIG', '0x100000000'),
      422,
      'VALUE_TOO_WIDE',
    ],
    [
      'a value out of limits',
      { ...write('0x8061', 'response_delay', 51), ...justified },
      422,
      'VALUE_OUT_OF_LIMITS',
    ],
    [
      'a step that is too large',
      { ...write('0x8061', 'setpoint', 900), ...justified },
      422,
      'STEP_TOO_LARGE',
    ],
    ['reserved bits', write('0x8000', 'CONTROL', 4), 422, 'RESERVED_BITS'],
    ['a write to a read-only register', write('0x8000', 'STATUS', 1), 422, 'REGISTER_READ_ONLY'],
    ['a write to a read-clears register', write('0x8000', 'ERROR', 1), 422, 'REGISTER_READ_ONLY'],
    [
      'a read of a write-only register',
      { operation: 'READ', device: '0x8059', registers: [{ name: 'RESET' }] },
      422,
      'REGISTER_WRITE_ONLY',
    ],
    [
      'a write without a value',
      { operation: 'WRITE', device: '0x8000', registers: [{ name: 'CONFIG' }] },
      400,
      'VALUE_MISSING',
    ],
    ['a write without a register', { operation: 'WRITE', device: '0x8000' }, 400, 'VALUE_MISSING'],
    [
      'a read with a value',
      { operation: 'READ', device: '0x8000', registers: [{ name: 'CONFIG', value: 1 }] },
      400,
      'REQUEST_MALFORMED',
    ],
    [
      'a register named twice',
      { operation: 'READ', device: '0x8000', registers: [{ name: 'CONFIG' }, { name: 'CONFIG' }] },
      400,
      'REQUEST_MALFORMED',
    ],
  ])('%s is refused alike by REST and gRPC', async (_what, operation, http, code) => {
    const answer = await scene.first.operate(operation);
    expect([answer.status, answer.code]).toEqual([http, code]);
    expect(answer.problem?.metal).toBe('untouched');
    expect(await grpcCode(operation)).toBe(code);
  });

  it.each<[string, unknown]>([
    ['a negative value', -1],
    ['a fraction', 1.5],
    ['a number that JSON has rounded', 2 ** 53],
    ['text that is no number', 'ff'],
    ['a value of 17 hexadecimal digits', `0x1${'0'.repeat(16)}`],
    ['null', null],
  ])('%s is malformed', async (_what, value) => {
    const answer = await scene.first.operate(write('0x8000', 'CONFIG', value as number));
    expect([answer.status, answer.code]).toEqual([400, 'REQUEST_MALFORMED']);
  });

  it('a decimal of more than 64 bits is too wide', async () => {
    const answer = await scene.first.operate(write('0x8000', 'CONFIG', '18446744073709551616'));
    expect([answer.status, answer.code]).toEqual([422, 'VALUE_TOO_WIDE']);
  });

  it('one bad register refuses the whole transaction of several devices', async () => {
    const { status, code } = await scene.first.operate({
      operation: 'WRITE',
      targets: [
        { device: '0x8000', registers: [{ name: 'CONFIG', value: 1 }] },
        { device: '0x8059', registers: [{ name: 'duty', value: 256 }] },
      ],
      ...justified,
    });
    expect([status, code]).toEqual([422, 'VALUE_TOO_WIDE']);
  });
});

describe('conduct', () => {
  const moderate = write('0x8061', 'setpoint', 100);
  const high = write('0x8017', 'setpoint', 100);

  it.each<[string, RestOperation, number, string]>([
    [
      'without justification',
      { ...moderate, confirmedRisk: 'MODERATE' },
      400,
      'JUSTIFICATION_NEEDED',
    ],
    [
      'with nine characters of it',
      { ...moderate, justification: 'too short', confirmedRisk: 'MODERATE' },
      400,
      'JUSTIFICATION_NEEDED',
    ],
    [
      'with only blanks',
      { ...moderate, justification: ' '.repeat(40), confirmedRisk: 'MODERATE' },
      400,
      'JUSTIFICATION_NEEDED',
    ],
    [
      'with 513 characters of it',
      { ...moderate, justification: 'x'.repeat(513), confirmedRisk: 'MODERATE' },
      400,
      'JUSTIFICATION_NEEDED',
    ],
    [
      'without confirmation',
      { ...moderate, justification: JUSTIFICATION },
      428,
      'CONFIRMATION_NEEDED',
    ],
    [
      'with a lower risk confirmed',
      { ...moderate, justification: JUSTIFICATION, confirmedRisk: 'LOW' },
      428,
      'CONFIRMATION_NEEDED',
    ],
    ['at HIGH risk without a second person', { ...high, ...justified }, 428, 'APPROVAL_NEEDED'],
  ])('%s it is refused alike by REST and gRPC', async (_what, operation, http, code) => {
    const answer = await scene.first.operate(operation);
    expect([answer.status, answer.code]).toEqual([http, code]);
    expect(await grpcCode(operation)).toBe(code);
  });

  it('nobody approves a plan of their own, nor twice, nor one that nobody asked for', async () => {
    const asked = await scene.first.operate({ ...write('0x8017', 'setpoint', 99), ...justified });
    const digest = asked.receipt?.planDigest ?? '';
    const own = await scene.first.approve(digest);
    expect([own.status, own.json.code]).toEqual([403, 'NOT_PERMITTED']);
    expect((await scene.second.approve(digest)).status).toBe(200);
    const twice = await scene.second.approve(digest);
    expect([twice.status, twice.json.code]).toEqual([412, 'APPROVAL_INVALID']);
    const unknown = await scene.second.approve('ab'.repeat(32));
    expect([unknown.status, unknown.json.code]).toEqual([412, 'APPROVAL_INVALID']);
    const malformed = await scene.second.approve('AB'.repeat(32));
    expect([malformed.status, malformed.json.code]).toEqual([400, 'REQUEST_MALFORMED']);
  });

  it('an approval is for its own plan alone', async () => {
    const other = await scene.first.operate({ ...write('0x8017', 'setpoint', 98), ...justified });
    expect([other.status, other.code]).toEqual([428, 'APPROVAL_NEEDED']);
  });

  it('an operation id is used once', async () => {
    const read = { operation: 'READ', device: '0x8000', operationId: 'once' } as const;
    expect((await scene.first.operate(read)).status).toBe(200);
    const again = await scene.first.operate(read);
    expect([again.status, again.code]).toEqual([400, 'REQUEST_MALFORMED']);
  });
});

describe('who may', () => {
  it('the technician at the local socket reads what needs no compartment', async () => {
    expect((await technician.get('auth/me')).clearance).toBe('CONFIDENTIAL');
    expect((await technician.read('0x8059')).status).toBe(200);
    expect((await technician.read('0x8061')).status).toBe(200);
  });

  it.each<[string, RestOperation, string]>([
    [
      'writes a MODERATE device',
      { ...write('0x8061', 'setpoint', 100), ...justified },
      'CLEARANCE_TOO_LOW',
    ],
    [
      'resets a LOW device',
      { operation: 'RESET', device: '0x8000', ...justified },
      'CLEARANCE_TOO_LOW',
    ],
    [
      'reads a device of another compartment',
      { operation: 'READ', device: '0x8002' },
      'COMPARTMENT_MISSING',
    ],
    [
      'reads a device of higher clearance',
      { operation: 'READ', device: '0x804A' },
      'CLEARANCE_TOO_LOW',
    ],
  ])('the technician who %s is refused', async (_what, operation, code) => {
    const answer = await technician.operate(operation);
    expect([answer.status, answer.code]).toEqual([403, code]);
    expect(answer.problem?.consequence).toMatch(/^nothing was done; a person /);
  });

  it('the technician does not see the audit chain', async () => {
    const { status, json } = await technician.call('GET', 'audit');
    expect([status, json.code]).toEqual([403, 'CLEARANCE_TOO_LOW']);
  });

  it.each<[string, Record<string, string>]>([
    ['no token', {}],
    ['a wrong token', { authorization: `Bearer ${'a'.repeat(32)}` }],
    ['another scheme', { authorization: 'Basic ZGVtbzpkZW1v' }],
    ['an empty token', { authorization: 'Bearer ' }],
    ['a cookie that was never given out', { cookie: '__Host-dsmil=abc; session=abc' }],
  ])('REST with %s is refused', async (_what, headers) => {
    const nobody = new RestPerson(scene.agent.ready, 'nobody', 'token', '127.0.0.9');
    const answer = await nobody.call('POST', 'operations', write('0x8000', 'CONFIG', 1), headers);
    nobody.close();
    expect([answer.status, answer.json.code]).toEqual([401, 'NOT_AUTHENTICATED']);
  });

  it('a token in the URL is refused even when it is right', async () => {
    const { token } = scene.agent.ready.people[0] ?? { token: '' };
    const nobody = new RestPerson(scene.agent.ready, 'nobody', 'token', '127.0.0.9');
    for (const member of ['token', 'access_token', 'key']) {
      const { status, json, text } = await nobody.call('GET', `devices?${member}=${token}`);
      expect([status, json.code]).toEqual([400, 'REQUEST_MALFORMED']);
      expect(text).not.toContain(token);
    }
    nobody.close();
    for (const name of ['interface', 'security', 'kernel'])
      expect(scene.agent.log(name)).not.toContain(token);
  });

  it('gRPC without an identity or with a wrong token is refused', async () => {
    for (const identity of [{ by: 'nothing' }, { by: 'token', token: 'b'.repeat(32) }] as const) {
      const nobody = new GrpcPerson(scene.agent.ready, identity);
      const refused = await grpcRefusal(nobody.coordinate({ deviceId: 0, operationType: 1 }));
      nobody.close();
      expect(refused).toMatchObject({ status: 16, code: 'NOT_AUTHENTICATED' });
    }
  });

  it('a certificate of another authority gives no identity', async () => {
    const { ready } = scene.agent;
    const foreign = await makeTestAuthority();
    const mine = await foreign.client('urn:dsmil:person:demo-operator');
    const url = new URL(ready.http);
    const call = httpCall({
      host: url.hostname,
      port: Number(url.port),
      servername: '',
      ca: readFileSync(ready.ca),
      cert: mine.certificate,
      key: mine.key,
      path: '/api/v1/auth/me',
    });
    const status = await call.then((answer) => answer.status).catch(() => 'no connection');
    expect([401, 'no connection']).toContain(status);
  });

  it('pages of other origins are refused', async () => {
    for (const headers of [
      { origin: 'https://elsewhere.example' },
      { 'sec-fetch-site': 'cross-site' },
    ]) {
      const { status, json } = await scene.first.call(
        'POST',
        'operations',
        write('0x8000', 'CONFIG', 1),
        headers,
      );
      expect([status, json.code]).toEqual([403, 'ORIGIN_REFUSED']);
    }
  });

  it('an address that tries tokens is held up, and no other address is', async () => {
    const codes = new Set<string>();
    for (let attempt = 0; attempt < 70; attempt++) {
      const nobody = new RestPerson(scene.agent.ready, 'nobody', 'token', '127.0.0.10');
      const authorization = `Bearer ${'c'.repeat(30)}${attempt}`;
      const { json } = await nobody.call('GET', 'auth/me', undefined, { authorization });
      nobody.close();
      codes.add(json.code);
    }
    expect([...codes]).toEqual(['NOT_AUTHENTICATED', 'RATE_LIMITED']);
    expect((await scene.first.read('0x8000')).status).toBe(200);
  });

  it('every refused operation is in the audit chain with its code', async () => {
    const since = await scene.auditSequence();
    await scene.first.operate({ ...write('0x8017', 'setpoint', 97), ...justified });
    await technician.read('0x8002');
    // So many refusals before this: threat detection may have opened an incident meanwhile.
    const entries = (await scene.auditSince(since)).filter(({ actor }) => actor !== 'security');
    expect(entries.map(({ event, actor, details }) => [event, actor, details.code])).toEqual([
      ['OPERATION_REFUSED', 'demo-operator', 'APPROVAL_NEEDED'],
      ['OPERATION_REFUSED', 'technician', 'COMPARTMENT_MISSING'],
    ]);
    expect((await scene.first.get('audit/verify')).intact).toBe(true);
  });
});
