// Measures whether the time of a refused sign-in tells a name or a token that exists from one that does not.
// Every sign-in counts against its source address: two of each kind come from an address of their own, so that no incident
// and no brake of an address distorts what is measured. Kinds alternate in random order, so that drift hits both alike.

import { randomBytes, randomInt } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { Attack, Ground } from './attack.ts';
import type { Attacker, Call } from './attacker.ts';
import { compare, summaryOf } from './statistics.ts';

/** Of each kind in each comparison; fewer on a slow machine, where the power that is told is less. */
const SAMPLES_MAX = 150;
const SAMPLES_MIN = 40;
const SERIES_MS = 5_000;
/** Before a person can be locked out by a stranger, three guesses are allowed; a third would lock. */
const GUESSES_TO_LOCK = 3;
const ERROR_MAX = 0.01;
/** A difference below this is lost in any network, and below it nothing is called usable. */
const USABLE_MS = 0.2;

interface Series {
  readonly what: string;
  readonly known: readonly number[];
  readonly unknown: readonly number[];
}

export const sideChannel: Attack = {
  scenario: 'side-channel',
  async run(ground: Ground) {
    const { exercise, progress, signs } = ground;
    signs.began();
    const invented = `nobody-${randomBytes(6).toString('hex')}`;
    const sources = sourcesFrom(ground);
    const series: Series[] = [];
    progress(`tokens: ${SAMPLES_MAX} that begin like the right one, ${SAMPLES_MAX} that do not`);
    const half = Math.floor(exercise.token.length / 2);
    const alike = () => exercise.token.slice(0, half) + randomText(exercise.token.length - half);
    const other = () => randomText(exercise.token.length);
    series.push(
      await measure(ground, sources, 'a token that begins like a right one', [
        () => tokenCall(alike()),
        () => tokenCall(other()),
      ]),
    );
    progress('locking the account of the exercise and an invented name');
    for (const account of [exercise.account, invented]) {
      const guesser = sources();
      for (let index = 0; index < GUESSES_TO_LOCK; index += 1) await guesser.call(login(account));
      guesser.close();
    }
    progress(
      `names: ${SAMPLES_MAX} guesses at a locked account, ${SAMPLES_MAX} at a locked name that nobody has`,
    );
    series.push(
      await measure(ground, sources, 'a name that an account has', [
        () => login(exercise.account),
        () => login(invented),
      ]),
    );
    const judged = series.map(judge);
    const usable = judged.filter((one) => one.usable);
    const least = Math.max(...judged.map(({ detectable }) => detectable));
    const looked = await signs.look([
      {
        what: 'failed sign-ins of the exercise',
        matches: ({ event }) => event === 'AUTHENTICATION_FAILED',
      },
      { what: 'the lock of the account', matches: ({ event }) => event === 'ACCOUNT_LOCKED' },
    ]);
    const limit =
      'of names that are not locked nothing can be said: the third guess locks, which is itself what bounds an attacker';
    return {
      detected: looked.all,
      evidence: [...judged.map(({ sentence }) => sentence), limit, ...looked.evidence],
      responseMs: signs.responseMs,
      contained: usable.length === 0,
      containment:
        usable.length === 0
          ? `no difference of ${USABLE_MS} ms or more that could be told from chance; smaller ones than ${least.toFixed(2)} ms cannot be excluded`
          : `USABLE: ${usable.map(({ what }) => what).join(', ')}`,
    };
  },
};

/** An attacker with an address of its own at each call. */
function sourcesFrom(ground: Ground): () => Attacker {
  let index = 0;
  return () => {
    const attacker = ground.attacker(index);
    index += 1;
    return attacker;
  };
}

async function measure(
  ground: Ground,
  sources: () => Attacker,
  what: string,
  [known, unknown]: readonly [() => Call, () => Call],
): Promise<Series> {
  const times: { readonly known: number[]; readonly unknown: number[] } = {
    known: [],
    unknown: [],
  };
  const startedMs = performance.now();
  for (let index = 0; index < SAMPLES_MAX; index += 1) {
    if (index >= SAMPLES_MIN && performance.now() - startedMs > SERIES_MS) break;
    ground.signal.throwIfAborted();
    const attacker = sources();
    // TLS and the first request of a connection are not what is measured.
    await attacker.call({ path: 'health', token: null });
    const order =
      randomInt(2) === 0 ? (['known', 'unknown'] as const) : (['unknown', 'known'] as const);
    for (const kind of order) {
      const call = kind === 'known' ? known() : unknown();
      const askedMs = performance.now();
      const { status } = await attacker.call(call);
      times[kind].push(performance.now() - askedMs);
      if (status === 200) throw new Error(`${what}: a guess was let in`);
    }
    attacker.close();
  }
  return { what, ...times };
}

function judge({ what, known, unknown }: Series) {
  const { difference, probability, detectable } = compare(unknown, known);
  const usable = probability < ERROR_MAX && Math.abs(difference) >= USABLE_MS;
  const medians = `${summaryOf(known).p50.toFixed(3)} and ${summaryOf(unknown).p50.toFixed(3)} ms`;
  const verdict = usable ? 'a USABLE difference' : 'no usable difference';
  return {
    what,
    usable,
    detectable,
    sentence: `${what}, against one that does not: ${verdict}; medians ${medians} of ${known.length} each, p ${probability.toFixed(3)} (Mann-Whitney); a shift of ${detectable.toFixed(3)} ms would have been found with 80 % certainty`,
  };
}

function tokenCall(token: string): Call {
  return { path: 'auth/me', token };
}

function login(account: string): Call {
  const body = { account, password: 'a wrong guess of the exercise', code: '000000' };
  return { method: 'POST', path: 'auth/login', token: null, body };
}

function randomText(length: number): string {
  return randomBytes(length).toString('base64url').slice(0, length);
}
