// Guesses passwords of the exercise's own account until it is locked, then comes with the right token to every door.

import type { Attack, Ground } from './attack.ts';
import type { Attacker } from './attacker.ts';
import { INCIDENT } from './signs.ts';

const GUESSES = 26;
/** One that the rules of passwords would take, so that it is no malformed request. */
const guess = (index: number) => `a wrong guess of the exercise ${index}`;

export const bruteForce: Attack = {
  scenario: 'brute-force',
  async run(ground: Ground) {
    const { exercise, signs, progress } = ground;
    const guesser = ground.attacker(0);
    const holder = ground.attacker(1);
    progress(
      `the right token opens ${(await holder.call({ path: 'auth/me' })).status === 200 ? 'the door' : 'NOTHING'} before`,
    );
    holder.close();
    signs.began();
    const outcomes = await guessAll(guesser, exercise.account, progress);
    const letIn = outcomes.filter(({ status }) => status === 200).length;
    const lockedAt = outcomes.findIndex(({ code }) => code === 'ACCOUNT_LOCKED');
    const throttledAt = outcomes.findIndex(({ code }) => code === 'RATE_LIMITED');
    progress('trying the right token at every door');
    const late = ground.attacker(2);
    const rest = await late.call({ path: 'auth/me', fresh: true });
    const socket = await late.webSocket({});
    const grpc = await (await import('./grpc-call.ts')).grpcStatus(ground, exercise.token);
    const doors = [
      { door: 'REST', code: rest.code },
      { door: 'WebSocket', code: socket.code },
      { door: 'gRPC', code: grpc },
    ];
    const open = doors.filter(({ code }) => code !== 'ACCOUNT_LOCKED');
    const looked = await signs.look([
      {
        what: 'failed sign-ins under the name of the exercise',
        matches: ({ event }) => event === 'AUTHENTICATION_FAILED',
      },
      { what: 'the lock of the account', matches: ({ event }) => event === 'ACCOUNT_LOCKED' },
      INCIDENT,
    ]);
    const until = await ground.observer.lockedUntil(exercise.account);
    const told = doors.map(({ door, code }) => `${door} answers ${code || 'nothing'}`).join(', ');
    return {
      detected: looked.all,
      evidence: [
        ...looked.evidence,
        lockedAt < 0 ? 'the account was NOT locked' : `guess ${lockedAt + 1} met a locked account`,
        throttledAt < 0
          ? 'the address was NOT made to wait'
          : `guess ${throttledAt + 1} met an address that has to wait`,
        ...(await signs.incidentSentences()),
      ],
      responseMs: signs.responseMs,
      contained: letIn === 0 && lockedAt >= 0 && throttledAt >= 0 && open.length === 0,
      containment: `${letIn} of ${outcomes.length} guesses were let in; locked until ${until ?? 'no time'}; with the right token ${told}`,
    };
  },
};

async function guessAll(guesser: Attacker, account: string, progress: (step: string) => void) {
  const outcomes: { readonly status: number; readonly code: string }[] = [];
  for (let index = 0; index < GUESSES; index += 1) {
    const body = { account, password: guess(index), code: '000000' };
    const { status, code } = await guesser.call({
      method: 'POST',
      path: 'auth/login',
      token: null,
      body,
    });
    if (outcomes.at(-1)?.code !== code) progress(`guess ${index + 1}: ${status} ${code}`);
    outcomes.push({ status, code });
  }
  return outcomes;
}
