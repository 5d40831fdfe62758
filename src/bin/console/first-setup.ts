// The first setup at security's console: the first two administrators, made by root or security's own user, once; and the way
// back in for an administrator.
// Invariants: served on security's own socket alone, so interface and its network never reach it; who asks is what the operating
// system says (SO_PEERCRED, unix(7)), and anybody else is refused on record.

import type { PeerCredentials } from '#drivers/native/host';
import type { Deadline } from '#foundation/deadline';
import { describeFault, fault } from '#foundation/fault';
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
import type { AdministrationCaller, RecordAct } from '#tracks/security/ports';

const METHOD = 'console.setup';
const RECOVERY_METHOD = 'console.recover';

/** What the console needs of the first setup. */
export interface FirstSetupParts {
  readonly firstRun: {
    perform(
      request: FirstRunRequest,
      caller: AdministrationCaller,
      actor: string,
    ): Promise<Outcome<FirstRunAnswer>>;
  };
  /** Nobody is recovered at this console where absent. */
  readonly recovery?: {
    perform(
      account: string,
      caller: AdministrationCaller,
      actor: string,
    ): Promise<Outcome<FirstInvitation>>;
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
const invitation = object<FirstInvitation>({
  account: text(64, 1),
  invitation: text(64, 1),
  expiresAtWallMs: quantity,
});
const answerShape = object<FirstRunAnswer>({ invitations: listOf(invitation, 2) });

interface RecoveryRequest {
  readonly account: string;
}
const recoveryShape = object<RecoveryRequest>({ account: text(256) });

export function serveFirstSetup(link: Link, peer: PeerCredentials, parts: FirstSetupParts): void {
  const guarded = <T>(
    place: string,
    deadline: Deadline,
    act: (caller: AdministrationCaller, actor: string) => Promise<Outcome<T>>,
  ) => guard(peer, parts, place, deadline, act);
  serveChecked(link, METHOD, requestShape, (request, deadline) =>
    guarded('first setup', deadline, (caller, actor) =>
      parts.firstRun.perform(request, caller, actor),
    ),
  );
  const { recovery } = parts;
  if (recovery === undefined) return;
  serveChecked(link, RECOVERY_METHOD, recoveryShape, ({ account }, deadline) =>
    guarded('recovery', deadline, (caller, actor) => recovery.perform(account, caller, actor)),
  );
}

/** For root and security's own user; what is refused is on record. */
async function guard<T>(
  { uid }: PeerCredentials,
  { record, ownUid }: FirstSetupParts,
  place: string,
  deadline: Deadline,
  act: (caller: AdministrationCaller, actor: string) => Promise<Outcome<T>>,
): Promise<Outcome<T>> {
  const actor = `uid ${uid}`;
  const caller = {
    session: null,
    credential: '',
    origin: { transport: 'local', peer: actor },
    deadline,
  } as const;
  const refused = (code: string, why: string) => {
    const more = { actor, operation: 'setup', details: { code } };
    return record('ADMINISTRATION_REFUSED', caller, `${place}: ${why}`, more);
  };
  if (uid === 0 || uid === ownUid) {
    const done = await act(caller, actor);
    if (!done.ok) await refused(done.fault.code, describeFault(done.fault));
    return done;
  }
  const finding = `is for root and for the user of the security process, not for ${actor}`;
  await refused('NOT_PERMITTED', finding);
  return refuse(fault('NOT_PERMITTED', { place, finding }));
}

export function askFirstSetup(
  link: Link,
  request: FirstRunRequest,
  deadline: Deadline,
): Promise<Outcome<FirstRunAnswer>> {
  const call = { type: MessageType.RAW, method: METHOD, body: request } as const;
  return askChecked(link, { ...call, shape: answerShape, effect: 'none' }, deadline);
}

export function askRecovery(
  link: Link,
  request: RecoveryRequest,
  deadline: Deadline,
): Promise<Outcome<FirstInvitation>> {
  const call = { type: MessageType.RAW, method: RECOVERY_METHOD, body: request } as const;
  return askChecked(link, { ...call, shape: invitation, effect: 'none' }, deadline);
}
