// Open sessions, as their holders and administrators see and end them.
// Invariants: a handle names a session and opens nothing; of another's sessions nobody but an administrator learns anything.
// Faults: SESSION_UNKNOWN for one that is over or that the caller may not end.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { SessionView } from '#model/account';
import type { AdministrationAnswer, AdministrationRequest } from '#model/administration';
import type { Session } from '#model/orchestrator-port';
import type {
  AdministrationCaller,
  AdministrationHandlers,
  LiveSession,
  RecordAct,
  SessionControl,
} from '../ports.ts';

export interface SessionDeskParts {
  readonly sessions: Pick<SessionControl, 'endSessions' | 'liveSessions' | 'handleOf'>;
  readonly record: RecordAct;
}

export class SessionDesk {
  readonly #parts: SessionDeskParts;

  constructor(parts: SessionDeskParts) {
    this.#parts = parts;
  }

  handlers(): Pick<AdministrationHandlers, 'sessions' | 'revokeSession'> {
    return {
      sessions: async ({ session }) =>
        succeed({ sessions: session === null ? [] : this.#views(session) }),
      revokeSession: (caller, request) => this.#revoke(caller, request),
    };
  }

  #views(own: Session): readonly SessionView[] {
    const { sessions } = this.#parts;
    const ownHandle = sessions.handleOf(own.id);
    return sessions
      .liveSessions()
      .filter((live) => mayEnd(own, live))
      .sort((one, other) => other.openedWallMs - one.openedWallMs)
      .map(({ handle, session, origin, openedWallMs }) => ({
        handle,
        account: session.principal.id,
        way: session.way,
        transport: origin.transport,
        peer: origin.peer,
        openedWallMs,
        expiresAtWallMs: session.expiresAtWallMs,
        own: handle === ownHandle,
      }));
  }

  async #revoke(
    caller: AdministrationCaller,
    { handle }: AdministrationRequest<'revokeSession'>,
  ): Promise<Outcome<AdministrationAnswer<'revokeSession'>>> {
    const { sessions, record } = this.#parts;
    const { session } = caller;
    const found = sessions.liveSessions().find((live) => live.handle === handle);
    if (found === undefined || session === null || !mayEnd(session, found)) {
      const finding = 'is none that the caller may end';
      return refuse(fault('SESSION_UNKNOWN', { place: 'session', finding }));
    }
    const account = found.session.principal.id;
    const result = `session ${handle} of ${account} ended`;
    const by = session.principal.id === account ? 'its holder' : 'an administrator';
    let sessionsEnded = 0;
    const recorded = await record(
      'SESSION_ENDED',
      caller,
      result,
      { operation: 'revokeSession', details: { account, handle, way: found.session.way } },
      // In the same transaction, so that no sign-in outlives a crash.
      () => {
        sessionsEnded = sessions.endSessions((live) => live.handle === handle, `${by} ended it`);
      },
    );
    return recorded.ok ? succeed({ sessionsEnded }) : recorded;
  }
}

function mayEnd(own: Session, { session }: LiveSession): boolean {
  return own.administrator || own.principal.id === session.principal.id;
}
