// Certificates on the running agent: mutual TLS on loopback, revoked while it is used, and a server that starts alone.

import { createPublicKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { Agent as Connections, request } from 'node:https';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { Agent, type RestAnswer } from '../support/agent.ts';
import { makeRequest, privateKeyPem } from '../support/certificate-requests.ts';

let agent: Agent;

beforeAll(async () => {
  agent = await Agent.start();
});
afterAll(() => agent.stop());

interface Client {
  readonly cert: string;
  readonly key: string;
}

interface Serial {
  readonly serial: string;
  readonly subject: string;
  readonly purpose: string;
}

function demo(person: 0 | 1): Client {
  const { certificate, key } = agent.ready.people[person] ?? { certificate: '', key: '' };
  return { cert: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') };
}

const authority = () => readFileSync(agent.ready.ca);

/** One call over this client's connections; each kept open between calls. */
function ask(
  connections: Connections,
  method: string,
  path: string,
  body?: unknown,
): Promise<RestAnswer> {
  return new Promise((resolve, reject) => {
    const call = request(
      `${agent.ready.http}/api/v1/${path}`,
      { method, agent: connections, headers: { 'content-type': 'application/json' } },
      (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body: JSON.parse(text), text }),
        );
      },
    );
    call.on('error', reject);
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function connectionsOf(client: Client): Connections {
  return new Connections({ keepAlive: true, maxSockets: 1, ca: authority(), ...client });
}

/** Issued by the two administrators of the demonstration for the first of them. */
async function issued(): Promise<Client & { readonly serial: string }> {
  const made = await makeRequest();
  const body = { account: 'demo-operator', requestPem: made.pem, reason: 'a test of certificates' };
  const first = await agent.rest(0, 'POST', 'certificates', body);
  expect(first.body).toMatchObject({ done: false });
  const second = await agent.rest(1, 'POST', 'certificates', body);
  expect(second.body).toMatchObject({ done: true });
  const cert = String(second.body.certificatePem);
  const { serialNumber: serial } = new X509Certificate(cert);
  return { cert, key: privateKeyPem(made.key), serial };
}

function revoke(serial: string): Promise<RestAnswer> {
  return agent.rest(1, 'POST', `certificates/${serial}/revoke`, { reason: 'a test of revocation' });
}

async function serverCertificate(): Promise<X509Certificate> {
  const { port } = new URL(agent.ready.http);
  const socket = connect({ port: Number(port), host: '127.0.0.1', ca: authority() });
  await once(socket, 'secureConnect');
  const { raw } = socket.getPeerCertificate();
  socket.destroy();
  return new X509Certificate(raw);
}

describe('a client certificate', () => {
  it('of the demonstration is on the list and opens a session', async () => {
    const me = await ask(connectionsOf(demo(0)), 'GET', 'auth/me');
    expect(me.body).toMatchObject({ id: 'demo-operator', way: 'certificate' });
  });

  it('given by two people opens a session, and revoked while it is used it ends with all it opened', async () => {
    const client = await issued();
    const connections = connectionsOf(client);
    expect((await ask(connections, 'GET', 'auth/me')).body).toMatchObject({ way: 'certificate' });
    const socket = new WebSocket(agent.ready.websocket, {
      ca: authority(),
      cert: client.cert,
      key: client.key,
    });
    await once(socket, 'open');
    const closed = once(socket, 'close');
    const revoked = await revoke(client.serial);
    expect(revoked.status).toBe(200);
    expect(Number(revoked.body.sessionsEnded)).toBeGreaterThanOrEqual(1);
    // The TLS connection is still open: what it presents is worth nothing any more.
    const answers = await Promise.allSettled([ask(connections, 'GET', 'auth/me')]);
    for (const answer of answers) {
      if (answer.status === 'fulfilled') expect(answer.value.status).toBe(401);
    }
    await closed;
    const anew = await Promise.allSettled([ask(connectionsOf(client), 'GET', 'auth/me')]);
    for (const answer of anew) {
      if (answer.status === 'fulfilled') expect(answer.value.status).toBe(401);
    }
    // Others go on.
    expect((await ask(connectionsOf(demo(1)), 'GET', 'auth/me')).status).toBe(200);
  });

  it('is cut off by the server itself once the new list has arrived', async () => {
    const client = await issued();
    await revoke(client.serial);
    const { port } = new URL(agent.ready.http);
    await agent.waitUntil('the list', async () => {
      const socket: TLSSocket = connect({
        port: Number(port),
        host: '127.0.0.1',
        ca: authority(),
        ...client,
      });
      socket.on('error', () => undefined);
      const ended = new Promise<boolean>((resolve) => {
        socket.once('close', () => resolve(true));
        setTimeout(() => resolve(false), 500);
      });
      const cut = await ended;
      socket.destroy();
      return cut;
    });
  });
});

describe('the server certificate', () => {
  it('is for the names of this machine, by the authority that panels have', async () => {
    const certificate = await serverCertificate();
    expect(certificate.verify(new X509Certificate(authority()).publicKey)).toBe(true);
    expect(certificate.subjectAltName).toContain('DNS:localhost');
    const listed = await agent.rest(0, 'GET', 'certificates');
    const servers = (listed.body.certificates as readonly Serial[]).filter(
      ({ purpose }) => purpose === 'server',
    );
    expect(servers.map(({ serial }) => serial)).toContain(certificate.serialNumber);
  });

  it('revoked by a person gives way to another one by itself', async () => {
    const before = await serverCertificate();
    expect((await revoke(before.serialNumber)).status).toBe(200);
    await agent.waitUntil('another one', async () => {
      return (await serverCertificate()).serialNumber !== before.serialNumber;
    });
    expect((await serverCertificate()).publicKey.equals(before.publicKey)).toBe(false);
  });

  it('is kept, so that interface starts while security is away', async () => {
    const before = await serverCertificate();
    const { interface: old, security } = agent.ready.pids;
    process.kill(security, 'SIGSTOP');
    try {
      process.kill(old, 'SIGKILL');
      await agent.waitUntil('interface', () => agent.ready.pids.interface !== old, 60_000);
      expect((await serverCertificate()).serialNumber).toBe(before.serialNumber);
    } finally {
      process.kill(security, 'SIGCONT');
    }
    await agent.waitUntil('security to answer', async () => {
      return (await agent.rest(0, 'GET', 'auth/me')).status === 200;
    });
  });
});

describe('private keys', () => {
  it('are files of their owner alone, and in no log', () => {
    const { stateDirectory, runDirectory } = agent.ready;
    for (const file of [
      'security/ca-key.pem',
      'security/checkpoint-key.pem',
      'security/sealing-key',
      'interface/server.json',
    ]) {
      expect([file, statSync(join(stateDirectory, file)).mode & 0o777]).toEqual([file, 0o600]);
    }
    const logs = ['kernel', 'security', 'interface'].map((name) => agent.log(name)).join('');
    expect(logs).not.toMatch(/PRIVATE KEY/);
    expect(logs).not.toContain(
      readFileSync(join(stateDirectory, 'security/sealing-key'), 'utf8').trim(),
    );
    const files = readdirSync(runDirectory, { recursive: true }).map(String);
    expect(files.filter((file) => /key/i.test(file))).toEqual([]);
  });

  it('of clients are theirs: the agent has never seen them', async () => {
    const { cert, key } = await issued();
    expect(new X509Certificate(cert).publicKey.equals(createPublicKey(key))).toBe(true);
  });
});
