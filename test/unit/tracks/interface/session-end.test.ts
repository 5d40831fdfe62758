// Sessions that security ends are over at once on every transport, and nothing is trusted that security did not vouch for.

import { Agent } from 'node:https';
import type { ServiceError } from '@grpc/grpc-js';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ChannelRequest, type ChannelResponse } from '#contract/appliance';
import { type EventNotification, EventSubscriptionRequest } from '#contract/communication';
import { fault } from '#foundation/fault';
import { EventType, Severity } from '#model/event';
import { OperationType } from '#model/operation';
import { ClearanceLevel } from '#model/principal';
import { CLOSE_TEXTS, closeTextOf } from '#tracks/interface/websocket/close-text';
import { makeTestAuthority, type TestAuthority } from '../../../support/certificates.ts';
import { InterfaceBench } from '../../../support/interface-bench.ts';
import { person } from '../../../support/scripted-orchestrator.ts';

let authority: TestAuthority;
let bench: InterfaceBench;

beforeAll(async () => {
  authority = await makeTestAuthority();
});
beforeEach(async () => {
  bench = await InterfaceBench.start(authority);
});
afterEach(() => bench.close());

const alice = { authorization: 'Bearer token-alice' };
const change = { type: EventType.DEVICE_STATE_CHANGED, severity: Severity.INFO } as const;

/** Security ends everything of alice, and does not know her token any more. */
function endAlice(reason: string): void {
  bench.orchestrator.accounts.delete('token-alice');
  bench.orchestrator.accounts.delete('urn:dsmil:person:alice');
  bench.orchestrator.endSessions({ sessionIds: bench.sessionIds(), reason });
}

function ended(stream: NodeJS.EventEmitter): Promise<ServiceError> {
  return new Promise((resolve) => stream.once('error', resolve));
}

describe('a session that security ends', () => {
  it('closes its WebSocket with a fixed text, after the whole reason', async () => {
    const socket = await bench.socket(alice).opened();
    await socket.take('CONNECTION_ESTABLISHED');
    socket.send({ type: 'SUBSCRIBE', subscription: { id: 'all' } });
    await socket.take('SUBSCRIBED');
    const other = await bench.socket({ authorization: 'Bearer token-bob' }).opened();
    await other.take('CONNECTION_ESTABLISHED');
    endAlice('the certificate it was opened with was revoked');
    bench.orchestrator.emit({ ...change, source: 'kernel', data: {} });
    await expect.poll(() => socket.closed).toEqual({ code: 1008, reason: 'Credential revoked' });
    expect(await socket.take('ERROR')).toMatchObject({
      error: {
        code: 'NOT_AUTHENTICATED',
        finding: 'the certificate it was opened with was revoked',
      },
    });
    expect(socket.messages).toEqual([]);
    expect(other.closed).toBeNull();
    expect(bench.service.events.listeners).toBe(1);
  });

  it('ends a gRPC event stream and a channel with UNAUTHENTICATED and the reason', async () => {
    const pair = await authority.client('urn:dsmil:person:alice');
    const events = bench
      .communication(pair)
      .subscribeEvents(EventSubscriptionRequest.fromPartial({}), bench.metadata(''));
    const seen: EventNotification[] = [];
    events.on('data', (event) => seen.push(event));
    const channel = bench.appliance(pair).channel(bench.metadata(''));
    const answers: ChannelResponse[] = [];
    channel.on('data', (answer) => answers.push(answer));
    channel.write(
      ChannelRequest.fromPartial({ requestId: 1n, operation: { deviceId: 0, operationType: 1 } }),
    );
    await expect.poll(() => answers.length).toBe(1);
    await expect.poll(() => bench.service.events.listeners).toBe(1);
    const both = Promise.all([ended(events), ended(channel)]);
    endAlice('the account was disabled');
    for (const error of await both) {
      expect(error.code).toBe(16);
      expect(error.details).toContain('the account was disabled');
      expect(error.metadata.get('dsmil-fault-code')).toEqual(['NOT_AUTHENTICATED']);
    }
    expect(seen).toEqual([]);
    expect(bench.service.events.listeners).toBe(0);
  });

  it('is answered 401 by the next request on a connection that stays open, with cookie and token', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const me = (headers: Record<string, string>) =>
      bench.call('GET', '/api/v1/auth/me', { headers, agent });
    const { cookie } = await bench.signIn({ token: 'token-alice' });
    expect((await me(alice)).status).toBe(200);
    expect((await me({ cookie })).status).toBe(200);
    endAlice('the password was changed');
    expect((await me(alice)).status).toBe(401);
    expect((await me({ cookie })).status).toBe(401);
    // The cookie is forgotten, so it is worth nothing even when the token is good again.
    bench.orchestrator.accounts.set('token-alice', person('alice', ClearanceLevel.SECRET));
    expect((await me({ cookie })).status).toBe(401);
    agent.destroy();
  });

  it('breaks off an export of the audit chain', async () => {
    let pages = 0;
    bench.orchestrator.answerWith('exportAudit', () => {
      pages += 1;
      return { lines: Array.from({ length: 500 }, () => 'x'.repeat(400)), next: pages + 1 };
    });
    const cut = bench.call('GET', '/api/v1/audit/export', { headers: alice });
    await expect.poll(() => pages).toBeGreaterThan(2);
    endAlice('the account was disabled');
    await expect(cut).rejects.toThrow(/aborted|hang up|ECONNRESET/);
    const asked = pages;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(pages).toBeLessThanOrEqual(asked + 1);
  });

  it('stays ended when its end was told in the same breath as its beginning', async () => {
    const authenticate = bench.orchestrator.authenticate.bind(bench.orchestrator);
    bench.orchestrator.authenticate = async (credential) => {
      const answer = await authenticate(credential);
      if (answer.ok) {
        bench.orchestrator.endSessions({
          sessionIds: [answer.value.id],
          reason: 'the account was disabled',
        });
      }
      return answer;
    };
    const answer = await bench.call('GET', '/api/v1/auth/me');
    expect([answer.status, answer.json.finding]).toEqual([401, 'the account was disabled']);
  });
});

describe('signing out', () => {
  it('ends a sign-in by password on every transport, and its token is worth nothing', async () => {
    const { orchestrator } = bench;
    orchestrator.passwords.set('alice', 'pass phrase 123456');
    orchestrator.accounts.set('password alice', orchestrator.accounts.get('token-alice') as never);
    const login = await bench.call('POST', '/api/v1/auth/login', {
      headers: {},
      body: { account: 'alice', password: 'pass phrase', code: '123456', bearer: true },
    });
    expect(login.headers['set-cookie']).toBeUndefined();
    const headers = { authorization: `Bearer ${login.json.token}` };
    const socket = await bench.socket(headers).opened();
    await socket.take('CONNECTION_ESTABLISHED');
    expect((await bench.call('GET', '/api/v1/auth/me', { headers })).json).toMatchObject({
      id: 'alice',
      way: 'password',
      administrator: true,
      scope: null,
    });
    expect((await bench.call('POST', '/api/v1/auth/logout', { headers })).status).toBe(200);
    await expect.poll(() => socket.closed).toEqual({ code: 1008, reason: 'Signed out' });
    expect((await bench.call('GET', '/api/v1/auth/me', { headers })).status).toBe(401);
    const replay = await bench.signIn({ token: login.json.token }).catch(() => null);
    expect(replay).toBeNull();
  });
});

describe('a lock', () => {
  it('silences a WebSocket but for stops, and lets a stop through it', async () => {
    const socket = await bench.socket(alice).opened();
    await socket.take('CONNECTION_ESTABLISHED');
    socket.send({ type: 'SUBSCRIBE', subscription: { id: 'all' } });
    await socket.take('SUBSCRIBED');
    socket.send({ type: 'OPERATION', id: 'probe', request: { operation: 'READ', device: 9 } });
    await socket.take('OPERATION_RESULT');
    bench.orchestrator.emit({ ...change, source: 'kernel', data: {} });
    bench.orchestrator.emit({
      type: EventType.EMERGENCY_STOP,
      severity: Severity.EMERGENCY,
      source: 'kernel',
      data: { reason: 'leak' },
    });
    await socket.take('EMERGENCY_STOP');
    socket.send({ type: 'REQUEST_STATUS' });
    expect((await socket.take('ERROR')).error.code).toBe('ACCOUNT_LOCKED');
    socket.send({ type: 'EMERGENCY_STOP', id: 's' });
    expect((await socket.take('EMERGENCY_STOP_RESULT')).report.success).toBe(true);
    expect(socket.messages).toEqual([]);
    expect(socket.closed).toBeNull();
  });

  it('of an account closes what its person has open elsewhere, unless security lets it go on', async () => {
    bench.orchestrator.answers.set('sessions', { sessions: [] });
    const socket = await bench.socket(alice).opened();
    await socket.take('CONNECTION_ESTABLISHED');
    const status = async () => {
      socket.send({ type: 'REQUEST_STATUS' });
      await expect.poll(() => socket.messages.length).toBe(1);
      return socket.messages.pop()?.error?.code ?? '';
    };
    const alert = { type: EventType.SECURITY_ALERT, severity: Severity.WARNING } as const;
    const told = (account: string) =>
      bench.orchestrator.emit({
        ...alert,
        source: 'security',
        data: { reason: 'account locked', account, finding: 'three failed sign-ins' },
      });
    const asked = () =>
      bench.orchestrator.administered.filter(({ key }) => key === 'sessions').length;
    // Somebody guesses at her password: her own session goes on.
    told('alice');
    await expect.poll(asked).toBe(1);
    expect(await status()).toBe('');
    for (const id of bench.sessionIds()) bench.orchestrator.lockedSessions.add(id);
    told('bob');
    expect(await status()).toBe('');
    told('alice');
    await expect.poll(status).toBe('ACCOUNT_LOCKED');
    expect(asked()).toBe(2);
  });

  it('ends a gRPC event stream as locked, and leaves its channel open for a stop', async () => {
    const pair = await authority.client('urn:dsmil:person:alice');
    const client = bench.communication(pair);
    const events = client.subscribeEvents(
      EventSubscriptionRequest.fromPartial({}),
      bench.metadata(''),
    );
    events.on('data', () => undefined);
    await expect.poll(() => bench.service.events.listeners).toBe(1);
    const over = ended(events);
    const channel = bench.appliance(pair).channel(bench.metadata(''));
    const answers: ChannelResponse[] = [];
    channel.on('data', (answer) => answers.push(answer));
    channel.on('error', () => undefined);
    const ask = (requestId: bigint, deviceId: number, operationType: OperationType) =>
      channel.write(
        ChannelRequest.fromPartial({ requestId, operation: { deviceId, operationType } }),
      );
    // Both clients share one connection, and so one session: the probe of a quarantined device locks it.
    ask(1n, 9, OperationType.READ);
    expect((await over).metadata.get('dsmil-fault-code')).toEqual(['ACCOUNT_LOCKED']);
    ask(2n, 0, OperationType.READ);
    await expect.poll(() => answers.length).toBe(2);
    expect(answers[1]?.fault?.code).toBe('ACCOUNT_LOCKED');
    ask(3n, 0, OperationType.EMERGENCY_STOP);
    await expect.poll(() => answers.length).toBe(3);
    expect(bench.orchestrator.stops).toHaveLength(1);
  });
});

describe('after security was away', () => {
  it('is everything asked again before it counts, and what ended meanwhile is over', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const me = () => bench.call('GET', '/api/v1/auth/me', { agent });
    expect((await me()).status).toBe(200);
    const socket = await bench.socket(alice).opened();
    await socket.take('CONNECTION_ESTABLISHED');
    const events = bench
      .communication()
      .subscribeEvents(EventSubscriptionRequest.fromPartial({}), bench.metadata());
    const over = ended(events);
    await expect.poll(() => bench.service.events.listeners).toBe(2);
    bench.orchestrator.setAvailable(false);
    // While it is away the last picture is served to whom it was served before.
    expect((await me()).status).toBe(200);
    bench.orchestrator.accounts.delete('token-alice');
    bench.orchestrator.sessions.clear();
    bench.orchestrator.setAvailable(true);
    expect((await me()).status).toBe(401);
    await expect.poll(() => socket.closed?.code).toBe(1008);
    expect((await over).code).toBe(16);
    agent.destroy();
  });

  it('goes on with whoever security still knows, on the same sockets', async () => {
    const socket = await bench.socket(alice).opened();
    await socket.take('CONNECTION_ESTABLISHED');
    socket.send({ type: 'SUBSCRIBE', subscription: { id: 'all' } });
    await socket.take('SUBSCRIBED');
    const before = bench.orchestrator.authentications.length;
    bench.orchestrator.setAvailable(false);
    bench.orchestrator.sessions.clear();
    bench.orchestrator.setAvailable(true);
    await expect.poll(() => bench.orchestrator.authentications.length).toBe(before + 1);
    bench.orchestrator.emit({ ...change, source: 'kernel', data: {} });
    await socket.take('DEVICE_UPDATE');
    // The new session ends like the old one would have.
    endAlice('the account was disabled');
    await expect.poll(() => socket.closed).toEqual({ code: 1008, reason: 'Account disabled' });
  });

  it('lets nobody in on the word of before while security does not answer, but passes a stop on', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    expect((await bench.call('GET', '/api/v1/auth/me', { agent })).status).toBe(200);
    bench.orchestrator.setAvailable(false);
    bench.orchestrator.setAvailable(true);
    bench.orchestrator.broken = fault('TRACK_UNAVAILABLE', { place: 'security', finding: 'away' });
    const me = await bench.call('GET', '/api/v1/auth/me', { agent });
    expect(me.json.code).toBe('TRACK_UNAVAILABLE');
    const stop = await bench.call('POST', '/api/v1/emergency-stop', { agent, body: {} });
    // Admitted: what it answers is security's absence, not a refusal of the caller.
    expect(stop.json.code).toBe('TRACK_UNAVAILABLE');
    bench.orchestrator.broken = null;
    const again = await bench.call('POST', '/api/v1/emergency-stop', { agent, body: {} });
    expect(again.status).toBe(200);
    agent.destroy();
  });
});

it('closes with one of a few texts whatever the reason is', () => {
  const reasons = [
    ['the certificate it was opened with was revoked', 'Credential revoked'],
    ['the token it was opened with was revoked', 'Credential revoked'],
    ['the account was disabled', 'Account disabled'],
    ['the account is outside its time of validity', 'Account disabled'],
    ['the password was changed', 'Password changed'],
    ['the person signed out', 'Signed out'],
    ['the sign-in is 12 hours old', 'Session expired'],
    ['the sign-in was not used for 30 minutes', 'Session expired'],
    ['the account is locked until a person unlocks it', 'Account locked'],
    ['alice ended it', 'Session ended'],
    ['', 'Session ended'],
  ] as const;
  for (const [reason, text] of reasons) {
    expect(closeTextOf(reason)).toBe(text);
    expect(CLOSE_TEXTS).toContain(text);
  }
});
