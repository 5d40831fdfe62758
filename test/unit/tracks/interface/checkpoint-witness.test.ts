// Checkpoints posted to a real HTTPS server: in order, again after a failure, and never more waiting than the bound.

import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Clock, systemClock } from '#foundation/clock';
import type { SignedCheckpoint } from '#model/audit-checkpoint';
import { type AgentEvent, EventType, Severity } from '#model/event';
import { CheckpointWitness, witnessUrl } from '#tracks/interface/checkpoint-witness';
import {
  type CertificateAndKey,
  makeTestAuthority,
  type TestAuthority,
} from '../../../support/certificates.ts';

let authority: TestAuthority;
let identity: CertificateAndKey;
let server: Server;
let received: SignedCheckpoint[];
let statuses: number[];
let witness: CheckpointWitness;
let slept: number[];

/** Waits a hundredth of what is asked for. */
const hurried: Clock = {
  ...systemClock,
  sleep: (delayMs) => {
    slept.push(delayMs);
    return systemClock.sleep(delayMs / 100);
  },
};

beforeAll(async () => {
  authority = await makeTestAuthority();
  identity = await authority.server();
});
beforeEach(async () => {
  received = [];
  statuses = [];
  slept = [];
  server = createServer({ cert: identity.certificate, key: identity.key }, (request, response) => {
    let text = '';
    request.on('data', (chunk) => {
      text += String(chunk);
    });
    request.on('end', () => {
      const status = statuses.shift() ?? 204;
      if (status < 300 && request.method === 'POST' && request.url === '/keep')
        received.push(JSON.parse(text) as SignedCheckpoint);
      response.writeHead(status, { location: '/keep' }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  witness = make(authority.authority);
});
afterEach(() => {
  witness.close();
  server.closeAllConnections();
  server.close();
});

function make(trusted: string): CheckpointWitness {
  const { port } = server.address() as AddressInfo;
  const url = new URL(`https://127.0.0.1:${port}/keep`);
  return new CheckpointWitness({
    url,
    clock: hurried,
    authority: trusted,
    onNote: () => undefined,
  });
}

function event(sequence: number): AgentEvent {
  const checkpoint = { sequence, hash: 'a'.repeat(64), wallMs: 1, keyId: 'k', signature: 's' };
  return {
    sequence: 1,
    type: EventType.AUDIT_ENTRY_CREATED,
    severity: Severity.INFO,
    source: 'security',
    wallMs: 1,
    data: { checkpoint: JSON.stringify(checkpoint) },
  };
}

const sequences = () => received.map(({ sequence }) => sequence);

describe('the witness', () => {
  it('gets every checkpoint once and in order, and nothing else', async () => {
    for (const sequence of [10, 20, 20, 15, 30]) witness.take(event(sequence));
    witness.take({ ...event(1), data: { event: 'SIGNED_IN' } });
    witness.take({ ...event(1), data: { checkpoint: 'no JSON' } });
    await vi.waitFor(() => expect(sequences()).toEqual([10, 20, 30]));
    await vi.waitFor(() =>
      expect(witness.counts).toEqual({ posted: 3, failed: 0, dropped: 0, waiting: 0 }),
    );
  });

  it('gets it again after a failure, later and later, and a redirect is one', async () => {
    statuses = [500, 503, 302];
    witness.take(event(10));
    await vi.waitFor(() => expect(sequences()).toEqual([10]));
    await vi.waitFor(() => expect(witness.counts).toMatchObject({ posted: 1, failed: 3 }));
    expect(slept).toEqual([1_000, 2_000, 4_000]);
  });

  it('that is away costs the oldest checkpoints once too many wait', async () => {
    const { port } = server.address() as AddressInfo;
    server.close();
    for (let sequence = 1; sequence <= 100; sequence++) witness.take(event(sequence));
    expect(witness.counts).toMatchObject({ dropped: 36, waiting: 64 });
    await vi.waitFor(() => expect(witness.counts.failed).toBeGreaterThan(0));
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    await vi.waitFor(() => expect(sequences().at(-1)).toBe(100), { timeout: 10_000 });
    expect(witness.counts.waiting).toBe(0);
  });

  it('is told nothing when its certificate is not trusted', async () => {
    witness.close();
    witness = make((await makeTestAuthority('another')).authority);
    witness.take(event(10));
    await vi.waitFor(() => expect(witness.counts.failed).toBeGreaterThan(0));
    expect(received).toEqual([]);
  });

  it.each([['http://witness/'], ['witness'], ['https://me:secret@witness/']])(
    '%s is no address for it',
    (text) => {
      expect(witnessUrl(text)).toMatchObject({ ok: false, fault: { code: 'CONFIG_INVALID' } });
    },
  );
});
