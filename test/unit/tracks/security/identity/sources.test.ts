// Sources of failed sign-ins: one count for every transport and port, and for all addresses of one subscriber.

import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import type { Origin, Transport } from '#model/principal';
import {
  SOURCE_FAILURES_MAX,
  SOURCE_WINDOW_MS,
  Sources,
  sourceOf,
} from '#tracks/security/identity/sources';

const from = (peer: string, transport: Transport = 'rest'): Origin => ({ transport, peer });

let clock: VirtualClock;
let sources: Sources;
beforeEach(() => {
  clock = new VirtualClock();
  sources = new Sources(clock);
});

describe('a source', () => {
  it.each([
    ['127.0.0.1:40312', '127.0.0.1'],
    ['ipv4:127.0.0.1:40312', '127.0.0.1'],
    ['::ffff:127.0.0.1:40312', '127.0.0.1'],
    ['[::ffff:10.1.2.3]:40312', '10.1.2.3'],
    ['[2001:db8:1:2:3:4:5:6]:443', '2001:db8:1:2::/64'],
    ['ipv6:[2001:db8:1:2::1]:443', '2001:db8:1:2::/64'],
    ['[2001:db8::1]:443', '2001:db8:0:0::/64'],
    ['[fe80::1%eth0]:443', 'fe80:0:0:0::/64'],
    ['[::1]:443', '0:0:0:0::/64'],
    ['uid 1000', 'uid 1000'],
  ])('of %s is %s', (peer, source) => {
    expect(sourceOf(from(peer))).toBe(source);
  });

  it('waits after 20 failures in ten minutes, on every transport, until the oldest is that old', async () => {
    const transports: Transport[] = ['grpc', 'rest', 'websocket', 'local'];
    for (let at = 0; at < SOURCE_FAILURES_MAX; at++) {
      const origin = from(`10.0.0.1:${at + 1_000}`, transports[at % 4]);
      expect(sources.refusal(origin)).toBeNull();
      expect(sources.failed(origin, `guess ${at}`)).toBe(at === SOURCE_FAILURES_MAX - 1);
      await clock.advance(1_000);
    }
    for (const transport of transports)
      expect(sources.refusal(from('10.0.0.1:9', transport))?.code).toBe('RATE_LIMITED');
    expect(sources.refusal(from('10.0.0.2:9'))).toBeNull();
    await clock.advance(SOURCE_WINDOW_MS - SOURCE_FAILURES_MAX * 1_000 - 1);
    expect(sources.refusal(from('10.0.0.1:9'))?.retryAfterMs).toBe(1);
    await clock.advance(1);
    expect(sources.refusal(from('10.0.0.1:9'))).toBeNull();
  });

  it('does not wait because it shows the same dead token again and again', () => {
    for (let at = 0; at < 100; at++) sources.failed(from('10.0.0.1:9'), 'the same');
    expect(sources.refusal(from('10.0.0.1:9'))).toBeNull();
  });

  it('is one of 4,096 at most', () => {
    for (let at = 0; at < 5_000; at++) sources.failed(from(`uid ${at}`, 'local'), 'guess');
    expect(sources.size).toBe(4_096);
  });
});
