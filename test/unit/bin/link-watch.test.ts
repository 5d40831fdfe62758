// What a link counts has to reach a person.

import { afterEach, expect, it, vi } from 'vitest';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { MessageType } from '#link/link';
import { loopbackPair } from '#link/loopback';
import { watchLink } from '../../../src/bin/link-watch.ts';

afterEach(() => vi.useRealTimers());

it('tells once how many messages found the link full, and nothing while all is well', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const pair = loopbackPair('kernel', 'security', {
    clock: systemClock,
    capacity: 4,
    onError: () => undefined,
  });
  const told: string[] = [];
  watchLink(pair.left, (finding) => told.push(finding));
  vi.advanceTimersByTime(3_000);
  expect(told).toEqual([]);
  const deadline = Deadline.after(systemClock, 1_000);
  const sent = Array.from({ length: 7 }, () =>
    pair.left.request(MessageType.HEALTH, 'nobody', {}, deadline),
  );
  const refused = (await Promise.all(sent)).filter(
    (outcome) => !outcome.ok && outcome.fault.code === 'LINK_OVERRUN',
  );
  expect(refused.length).toBeGreaterThan(0);
  vi.advanceTimersByTime(3_000);
  expect(told).toEqual([`link to security: ${refused.length} messages found the link full`]);
});
