// The calling end of the first setup: asks security at its own console to make the first two administrators, or to let one of
// the administrators in again.

import { consolesIn } from '#config/layout';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import type { Link } from '#link/link';
import type { FirstInvitation, FirstPerson } from '#tracks/interface/cli/cli-parts';
import { openConsoleLink, type Report } from './client.ts';
import { askFirstSetup, askRecovery } from './first-setup.ts';

/** Security writes two accounts and their audit entry to disk before it answers. */
const SETUP_MS_MAX = 10_000;

export function requestFirstSetup(
  runDirectory: string,
  people: { readonly first: FirstPerson; readonly second: FirstPerson },
  onError: Report,
): Promise<Outcome<readonly FirstInvitation[]>> {
  return atConsole(runDirectory, onError, async (link, limit) => {
    const answer = await askFirstSetup(link, people, limit);
    return answer.ok ? succeed(answer.value.invitations) : answer;
  });
}

/** A new invitation for an administrator who cannot sign in any more. */
export function requestRecovery(
  runDirectory: string,
  account: string,
  onError: Report,
): Promise<Outcome<FirstInvitation>> {
  return atConsole(runDirectory, onError, (link, limit) => askRecovery(link, { account }, limit));
}

async function atConsole<T>(
  runDirectory: string,
  onError: Report,
  ask: (link: Link, limit: Deadline) => Promise<Outcome<T>>,
): Promise<Outcome<T>> {
  const { securityConsole } = consolesIn(runDirectory);
  const opened = await openConsoleLink(securityConsole, 'security', onError);
  if (!opened.ok) return opened;
  const link = opened.value;
  try {
    return await ask(link, Deadline.after(systemClock, SETUP_MS_MAX));
  } finally {
    link.close();
  }
}
