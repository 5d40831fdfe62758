// The questions that have secrets for an answer: typed without an echo, or lines of standard input in the order asked.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { CliSession } from './session.ts';

/** A person at the keyboard may mistype the repetition so often. */
const TRIES_MAX = 3;

/** What will be done, for the person who is about to type a secret; a script knows. */
export function sayBefore(open: CliSession, sentence: string): void {
  if (open.prompt.interactive) open.output.message(sentence);
}

export async function askSecret(open: CliSession, question: string): Promise<Outcome<string>> {
  const given = await open.prompt.ask(question, 'hidden');
  if (given.ok && given.value === '') return refuse(empty(question));
  return given;
}

/** A one-time code; the spaces that authenticators show in it do not count. It is worth nothing a minute later. */
export async function askCode(open: CliSession, question: string): Promise<Outcome<string>> {
  const given = await open.prompt.ask(question, 'shown');
  if (!given.ok) return given;
  const code = given.value.replaceAll(' ', '');
  return code === '' ? refuse(empty(question)) : succeed(code);
}

/** Twice, because nobody sees it. */
export async function askNewPassword(open: CliSession, question: string): Promise<Outcome<string>> {
  for (let tries = 1; ; tries += 1) {
    const first = await askSecret(open, question);
    if (!first.ok) return first;
    const second = await open.prompt.ask('The same again: ', 'hidden');
    if (!second.ok || second.value === first.value) return second;
    const finding = 'the two are not the same';
    if (!open.prompt.interactive || tries >= TRIES_MAX) {
      return refuse(
        fault('REQUEST_MALFORMED', {
          place: 'password',
          finding,
          consequence: 'nothing was sent',
        }),
      );
    }
    open.output.message(finding);
  }
}

function empty(question: string) {
  const place = question.replace(/:? *$/, '').toLowerCase();
  const consequence = 'nothing was sent';
  return fault('REQUEST_MALFORMED', { place, finding: 'is empty', consequence });
}
