// A frame that was thrown away: both ends learn of it, and nobody waits for an answer that can no longer come.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import { MessageType } from '#link/link';
import { LinkCore } from '#link/link-core';
import type { Message } from '#link/message';

const clock = new VirtualClock();
let lost: Message['kind'] | null = null;
let served = 0;
let kernel: LinkCore;
let security: LinkCore;

/** What the ring does: hands over, or throws away and tells the receiver. */
function carry(message: Message, to: () => LinkCore): 'sent' {
  setImmediate(() => {
    if (message.kind !== lost) return to().receive(message);
    lost = null;
    to().frameLost();
  });
  return 'sent';
}

beforeEach(() => {
  const onError = (error: unknown) => {
    throw error;
  };
  served = 0;
  kernel = new LinkCore({
    self: 'kernel',
    peer: 'security',
    clock,
    send: (message) => carry(message, () => security),
    onError,
  });
  security = new LinkCore({
    self: 'security',
    peer: 'kernel',
    clock,
    send: (message) => carry(message, () => kernel),
    onError,
  });
  kernel.serve('work', async () => {
    served += 1;
    return succeed('done');
  });
  for (const core of [kernel, security]) core.setPeer('up');
});
afterEach(() => {
  for (const core of [kernel, security]) core.close();
});

async function ask(): Promise<Outcome<unknown>> {
  const deadline = Deadline.after(clock, 60_000);
  const answer = security.request(MessageType.TRANSACTION, 'work', undefined, deadline);
  // Virtual time stands still: whatever is answered is answered before any deadline.
  await clock.advance(0);
  return answer;
}

it.each([
  ['request', 0],
  ['answer', 1],
] as const)('ends what is open at once when the frame of the %s was lost', async (kind, times) => {
  lost = kind;
  expect(await ask()).toMatchObject({
    ok: false,
    fault: {
      code: 'LINK_CORRUPT',
      place: 'kernel track',
      finding: 'a frame was thrown away while work was open',
      metal: 'unknown',
    },
  });
  expect(served).toBe(times);
  // The link itself goes on.
  expect(await ask()).toEqual(succeed('done'));
});

it('ends nothing that was not open', async () => {
  kernel.frameLost();
  await clock.advance(0);
  expect(await ask()).toEqual(succeed('done'));
});
