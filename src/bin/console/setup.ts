// The calling end of the first setup: asks security at its own console to make the first two administrators.

import { consolesIn } from '#config/layout';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import type { FirstInvitation, FirstPerson } from '#tracks/interface/cli/cli-parts';
import { openConsoleLink, type Report } from './client.ts';
import { askFirstSetup } from './first-setup.ts';

/** Security writes two accounts and their audit entry to disk before it answers. */
const SETUP_MS_MAX = 10_000;

export async function requestFirstSetup(
  runDirectory: string,
  people: { readonly first: FirstPerson; readonly second: FirstPerson },
  onError: Report,
): Promise<Outcome<readonly FirstInvitation[]>> {
  const { securityConsole } = consolesIn(runDirectory);
  const opened = await openConsoleLink(securityConsole, 'security', onError);
  if (!opened.ok) return opened;
  const link = opened.value;
  try {
    const limit = Deadline.after(systemClock, SETUP_MS_MAX);
    const answer = await askFirstSetup(link, people, limit);
    return answer.ok ? succeed(answer.value.invitations) : answer;
  } finally {
    link.close();
  }
}
