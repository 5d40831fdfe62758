// What people ask of security beside operations, from every transport: sign-in, accounts, certificates, audit, threats.
// Invariants: whatever proves who somebody is passes the one store of failures, few at once; nothing of a request's
// secrets is left in what goes back or into the log.

import type { Deadline } from '#foundation/deadline';
import { describeError, type Fault, FaultError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import {
  type AdministrationAnswer,
  type AdministrationKey,
  type AdministrationRequest,
  ENTRY_KEYS,
  type SignIn,
} from '#model/administration';
import { operationRow } from '#model/operation-table';
import type { OrchestratorPort, Session } from '#model/orchestrator-port';
import type { Credential } from '#model/principal';
import { redactText } from '#model/redaction';
import type { Admission, Caller } from './admission.ts';

export interface AdministrationDeskParts {
  readonly orchestrator: OrchestratorPort;
  readonly admission: Admission;
  /** Until when one page of an export may take. */
  readonly deadline: () => Deadline;
}

/** A sign-in by password, and the session that its token opened on this connection. */
export interface SignedIn {
  readonly signIn: SignIn;
  readonly session: Session;
  readonly credential: Credential;
}

/** JSON Lines as they are taken; `release` when nobody takes any more, however it ended. */
export interface AuditExport {
  readonly pages: AsyncIterable<string>;
  readonly release: () => void;
}

/** Rows in which a secret is guessed; a wrong guess counts against the address. */
const GUESSABLE: ReadonlySet<AdministrationKey> = new Set([...ENTRY_KEYS, 'changePassword']);
const EXPORTS_MAX = 4;
const EXPORT_LINES = 500;

export class AdministrationDesk {
  readonly #parts: AdministrationDeskParts;
  #exports = 0;

  constructor(parts: AdministrationDeskParts) {
    this.#parts = parts;
  }

  /** Asks security's desk for this row; rows for anyone need no session. */
  async ask<K extends AdministrationKey>(
    caller: Caller,
    key: K,
    request: AdministrationRequest<K>,
    deadline: Deadline,
  ): Promise<Outcome<AdministrationAnswer<K>>> {
    const hide = (text: string) => redactText(key, request, text);
    try {
      const ask = () => this.#ask(caller, key, request, deadline);
      const { signIns } = this.#parts.admission;
      const answer = GUESSABLE.has(key)
        ? await signIns.prove(caller.connection, deadline, ask, isWrongGuess)
        : await ask();
      return answer.ok ? answer : refuse(withTexts(answer.fault, hide));
    } catch (error) {
      // Thrown on as another error: the text and the stack of this one may quote the request.
      throw new Error(`${key}: ${hide(describeError(error))}`);
    }
  }

  /** Signs in by password and opens a session for `connectionId` with the token it gives. */
  async signIn(
    caller: Caller,
    request: AdministrationRequest<'login'>,
    connectionId: string,
    deadline: Deadline,
  ): Promise<Outcome<SignedIn>> {
    const answer = await this.ask(caller, 'login', request, deadline);
    if (!answer.ok) return answer;
    const credential = { kind: 'token', token: answer.value.token } as const;
    const connection = { ...caller.connection, id: connectionId, credential };
    const session = await this.#parts.admission.authenticate(connection, deadline);
    if (!session.ok) return session;
    return succeed({ signIn: answer.value, session: session.value, credential });
  }

  /**
   * The audit chain from `fromSequence` to its end, page by page as they are taken. The first page is asked for at
   * once, so that a refusal is an answer; a later one that fails ends the text with an error.
   */
  async exportAudit(caller: Caller, fromSequence: number): Promise<Outcome<AuditExport>> {
    if (this.#exports >= EXPORTS_MAX) {
      const finding = `${EXPORTS_MAX} exports are already running`;
      return refuse(fault('BUSY', { place: 'audit export', finding }));
    }
    this.#exports += 1;
    let running = true;
    const release = (): void => {
      if (running) this.#exports -= 1;
      running = false;
    };
    const first = await this.#page(caller, fromSequence);
    if (!first.ok) {
      release();
      return first;
    }
    return succeed({ pages: this.#pages(caller, first.value), release });
  }

  async *#pages(
    caller: Caller,
    first: AdministrationAnswer<'exportAudit'>,
  ): AsyncGenerator<string, void> {
    let page = first;
    for (;;) {
      if (page.lines.length > 0) yield `${page.lines.join('\n')}\n`;
      if (page.next === 0) return;
      const next = await this.#page(caller, page.next);
      if (!next.ok) throw new FaultError(next.fault);
      page = next.value;
    }
  }

  #page(
    caller: Caller,
    fromSequence: number,
  ): Promise<Outcome<AdministrationAnswer<'exportAudit'>>> {
    const request = { fromSequence, limit: EXPORT_LINES };
    return this.ask(caller, 'exportAudit', request, this.#parts.deadline());
  }

  #ask<K extends AdministrationKey>(
    caller: Caller,
    key: K,
    request: AdministrationRequest<K>,
    deadline: Deadline,
  ): Promise<Outcome<AdministrationAnswer<K>>> {
    const { orchestrator, admission } = this.#parts;
    const { origin } = caller.connection;
    if (operationRow(key).who === 'anyone') {
      const sessionId = caller.session?.id ?? null;
      return orchestrator.administer(sessionId, key, request, origin, deadline);
    }
    return admission.asSession(caller, deadline, (sessionId) =>
      orchestrator.administer(sessionId, key, request, origin, deadline),
    );
  }
}

function isWrongGuess({ code, place }: Fault): boolean {
  const wrongProof = code === 'NOT_AUTHENTICATED' && place !== 'session';
  return wrongProof || code === 'INVITATION_INVALID';
}

function withTexts(found: Fault, hide: (text: string) => string): Fault {
  const { place, finding, consequence, internal } = found;
  const texts = { place: hide(place), finding: hide(finding), consequence: hide(consequence) };
  return { ...found, ...texts, ...(internal === undefined ? {} : { internal: hide(internal) }) };
}
