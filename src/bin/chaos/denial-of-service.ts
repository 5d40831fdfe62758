// Floods the doors with connections, worthless tokens and requests, while somebody else looks at the status and the agent
// tests its stop path: what counts is how long those two take meanwhile.

import { performance } from 'node:perf_hooks';
import type { Attack, Ground } from './attack.ts';
import type { Attacker } from './attacker.ts';
import { summaryOf } from './statistics.ts';

const IDLE_CONNECTIONS = 150;
const FLOODERS = 24;
/** As long as it takes until the stop path was tested under the flood, and no longer than this. */
const FLOOD_MS_MAX = 15_000;
const FLOOD_MS_MIN = 2_000;
const LOOK_EVERY_MS = 100;
/** Of the stranger, however slowly it is answered: fewer are nothing to notice. */
const TOKENS_MIN = 8;
/** A person would call it slow from here on. */
const STATUS_MS_MAX = 2_000;
/** The specification's time for a stop to reach everything (DECISIONS section 9). */
const STOP_TEST_MS_MAX = 500;

export const denialOfService: Attack = {
  scenario: 'denial-of-service',
  async run(ground: Ground) {
    const { signs, observer, progress, limits } = ground;
    const before = await observer.status();
    signs.began();
    progress(`opening ${IDLE_CONNECTIONS} connections that say nothing`);
    const opener = ground.attacker(0);
    const idle = await Promise.all(Array.from({ length: IDLE_CONNECTIONS }, () => opener.idle()));
    const open = idle.filter((connection) => connection !== null);
    const flooders = Array.from({ length: FLOODERS }, (_, index) => ground.attacker(1 + index));
    const stranger = ground.attacker(1 + FLOODERS);
    const flood: Flood = { over: false, tokens: 0 };
    const floods = [
      ...flooders.map((flooder) => floodRequests(ground, flooder, flood)),
      floodTokens(ground, stranger, flood),
    ];
    progress(
      `${open.length} connections are open; ${FLOODERS} clients send as fast as they are answered`,
    );
    let watched: Watched;
    try {
      watched = await watch(ground, flood, Date.now());
    } finally {
      flood.over = true;
      await Promise.allSettled(floods);
      for (const connection of open) connection.close();
    }
    const looked = await signs.look([
      {
        what: 'worthless tokens of the flood',
        matches: ({ event }) => event === 'AUTHENTICATION_FAILED',
      },
      {
        what: 'an incident about the address',
        matches: ({ event }) => event === 'INCIDENT_OPENED',
      },
    ]);
    const { test, statusMs, refused } = watched;
    const summary = summaryOf(statusMs);
    const stopped = (await observer.status()).stopEngaged && !before.stopEngaged;
    const stopFast = test?.ok === true && test.durationMs <= STOP_TEST_MS_MAX;
    const statusFast = statusMs.length > 0 && refused === 0 && summary.p95 <= STATUS_MS_MAX;
    return {
      detected: looked.all,
      evidence: [...looked.evidence, ...(await signs.incidentSentences())],
      responseMs: signs.responseMs,
      contained: stopFast && statusFast && !stopped,
      containment: [
        `under ${limits.requests} requests and ${open.length} open connections ${statusMs.length} status calls of another person took P50 ${summary.p50.toFixed(1)}, P95 ${summary.p95.toFixed(1)}, at most ${summary.most.toFixed(1)} ms (${refused} not answered)`,
        test === null
          ? 'the stop path was NOT tested meanwhile'
          : `the test of the stop path ${test.ok ? 'was answered' : 'FAILED'} after ${test.durationMs.toFixed(1)} ms`,
        ...(stopped ? ['the stop was ENGAGED'] : []),
      ].join('; '),
    };
  },
};

interface Flood {
  over: boolean;
  /** Worthless ones that were answered. */
  tokens: number;
}

interface Watched {
  readonly statusMs: readonly number[];
  /** Status calls without an answer. */
  readonly refused: number;
  readonly test: { readonly ok: boolean; readonly durationMs: number } | null;
}

async function watch(
  { observer, progress, signal }: Ground,
  flood: Flood,
  startedWallMs: number,
): Promise<Watched> {
  const statusMs: number[] = [];
  let refused = 0;
  let test: { readonly ok: boolean; readonly durationMs: number } | null = null;
  const startedMs = performance.now();
  for (;;) {
    signal.throwIfAborted();
    const elapsedMs = performance.now() - startedMs;
    if (
      elapsedMs > FLOOD_MS_MAX ||
      (test !== null && flood.tokens >= TOKENS_MIN && elapsedMs > FLOOD_MS_MIN)
    )
      break;
    const askedMs = performance.now();
    try {
      const { stopTest } = await observer.status();
      statusMs.push(performance.now() - askedMs);
      if (stopTest !== null && new Date(stopTest.at).getTime() > startedWallMs) {
        if (test === null) progress('the stop path was tested under the flood');
        test = stopTest;
      }
    } catch {
      refused += 1;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  return { statusMs, refused, test };
}

/** Keeps a rest of the limit for what comes after. */
const REST = 50;

async function floodRequests({ limits }: Ground, attacker: Attacker, flood: Flood): Promise<void> {
  while (!flood.over && limits.left > REST) await attacker.call({ path: 'devices' });
}

async function floodTokens(
  { limits, exercise }: Ground,
  attacker: Attacker,
  flood: Flood,
): Promise<void> {
  while (!flood.over && limits.left > REST) {
    const token = `worthless-${exercise.id}-${flood.tokens}`;
    await attacker.call({ path: 'auth/me', token });
    flood.tokens += 1;
  }
}
