// The first setup at security's console: the first two administrators, made by root or security's own user, once.
// Invariants: served on security's own socket alone, so interface and its network never reach it; who asks is what the operating
// system says (SO_PEERCRED, unix(7)), and anybody else is refused on record.

import type { PeerCredentials } from '#drivers/native/host';
import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse } from '#foundation/outcome';
import { type Link, MessageType } from '#link/link';
import { listOf, object, quantity, text } from '#link/shape';
import { askChecked } from '#link/track-client';
import { serveChecked } from '#link/track-server';
import type {
  FirstAdministrator,
  FirstInvitation,
  FirstRunAnswer,
  FirstRunRequest,
} from '#tracks/security/identity/first-run';
import type { RecordAct } from '#tracks/security/ports';

const METHOD = 'console.setup';

/** What the console needs of the first setup. */
export interface FirstSetupParts {
  readonly firstRun: {
    perform(
      request: FirstRunRequest,
      caller: Parameters<RecordAct>[1],
      actor: string,
    ): Promise<Outcome<FirstRunAnswer>>;
  };
  readonly record: RecordAct;
  /** User of the security process. */
  readonly ownUid: number;
}

const administrator = object<FirstAdministrator>({
  // What they may be is said by the setup itself, in words for people.
  id: text(256),
  name: text(256),
});
const requestShape = object<FirstRunRequest>({ first: administrator, second: administrator });
const answerShape = object<FirstRunAnswer>({
  invitations: listOf(
    object<FirstInvitation>({
      account: text(64, 1),
      invitation: text(64, 1),
      expiresAtWallMs: quantity,
    }),
    2,
  ),
});

export function serveFirstSetup(
  link: Link,
  { uid }: PeerCredentials,
  parts: FirstSetupParts,
): void {
  const actor = `uid ${uid}`;
  const origin = { transport: 'local', peer: actor } as const;
  serveChecked(link, METHOD, requestShape, async (request, deadline) => {
    const caller = { session: null, credential: '', origin, deadline };
    const refused = (code: string, why: string) => {
      const more = { actor, operation: 'setup', details: { code } };
      return parts.record('ADMINISTRATION_REFUSED', caller, `first setup: ${why}`, more);
    };
    if (uid === 0 || uid === parts.ownUid) {
      const made = await parts.firstRun.perform(request, caller, actor);
      if (!made.ok) await refused(made.fault.code, made.fault.finding);
      return made;
    }
    const finding = `is for root and for the user of the security process, not for ${actor}`;
    await refused('NOT_PERMITTED', finding);
    return refuse(fault('NOT_PERMITTED', { place: 'first setup', finding }));
  });
}

export function askFirstSetup(
  link: Link,
  request: FirstRunRequest,
  deadline: Deadline,
): Promise<Outcome<FirstRunAnswer>> {
  const call = { type: MessageType.RAW, method: METHOD, body: request } as const;
  return askChecked(link, { ...call, shape: answerShape, effect: 'none' }, deadline);
}
