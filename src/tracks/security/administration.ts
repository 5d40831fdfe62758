// Everything asked of security beside operations: who may by the operation table, then the desk that answers it.
// Invariants: security asks the table again, whatever interface let through; what is refused is on record where the table says so.

import type { Deadline } from '#foundation/deadline';
import { describeFault, fault } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type {
  AdministrationAnswer,
  AdministrationKey,
  AdministrationRequest,
} from '#model/administration';
import { type AuditRecord, blankRecord } from '#model/audit-entry';
import { callRefusal } from '#model/call-rule';
import { operationRow } from '#model/operation-table';
import type { Session } from '#model/orchestrator-port';
import type { Origin } from '#model/principal';
import type {
  AdministrationCaller,
  AdministrationHandler,
  AdministrationHandlers,
  AuditSink,
  RecordAct,
} from './ports.ts';

export interface AdministrationParts {
  readonly audit: AuditSink;
  readonly session: (id: string) => Outcome<Session>;
  readonly credentialOf: (sessionId: string) => string;
  /** Who holds the session, at whatever time the answer is asked. */
  readonly holder: (sessionId: string) => () => Outcome<unknown>;
  /** Everything this account asks for goes on record; nobody's where absent. */
  readonly watched?: (account: string) => boolean;
  /** Records a refusal within a bound; straight to the audit where absent. */
  readonly recordRefusal?: (record: AuditRecord) => Promise<unknown>;
  readonly handlers: Partial<AdministrationHandlers>;
}

const RECORDED_AT_ENTRY: ReadonlySet<FaultCode> = new Set<FaultCode>([
  'NOT_AUTHENTICATED',
  'ACCOUNT_LOCKED',
  'INVITATION_INVALID',
  'RATE_LIMITED',
  'BUSY',
]);

export class Administration {
  readonly #parts: AdministrationParts;

  constructor(parts: AdministrationParts) {
    this.#parts = parts;
  }

  async perform<K extends AdministrationKey>(
    sessionId: string | null,
    key: K,
    request: AdministrationRequest<K>,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<AdministrationAnswer<K>>> {
    const { who, audit } = operationRow(key);
    const session = sessionId === null ? succeed(null) : this.#parts.session(sessionId);
    // A row for anyone is open to a locked or ended session too.
    if (!session.ok && who !== 'anyone') return session;
    const caller: AdministrationCaller = {
      session: session.ok ? session.value : null,
      credential: sessionId === null ? '' : this.#parts.credentialOf(sessionId),
      ...(sessionId === null ? {} : { holder: this.#parts.holder(sessionId) }),
      origin,
      deadline,
    };
    const asker = caller.session?.principal.id ?? '';
    if (audit === 'none' && this.#parts.watched?.(asker) === true) {
      const record = { ...blankRecord('WATCHED_ACCESS', asker), origin, operation: key };
      void this.#recordRefusal({ ...record, result: 'asked for' });
    }
    const answer = await this.#answer(key, caller, request);
    if (!answer.ok && audit !== 'none') {
      const { code } = answer.fault;
      const result = describeFault(answer.fault);
      const actor = caller.session?.principal.id ?? 'unknown';
      const record = { ...blankRecord('ADMINISTRATION_REFUSED', actor), origin, operation: key };
      // Failed sign-ins have an entry of their own, which threat detection counts; a source that waits writes none.
      if (who !== 'anyone' || !RECORDED_AT_ENTRY.has(code)) {
        await this.#recordRefusal({ ...record, result, details: { code } });
      }
    }
    return answer;
  }

  #recordRefusal(record: AuditRecord): Promise<unknown> {
    const { audit, recordRefusal } = this.#parts;
    return recordRefusal?.(record) ?? audit.append(record);
  }

  async #answer<K extends AdministrationKey>(
    key: K,
    caller: AdministrationCaller,
    request: AdministrationRequest<K>,
  ): Promise<Outcome<AdministrationAnswer<K>>> {
    const refused = callRefusal(key, caller.session);
    if (refused !== null) return refuse(refused);
    const handler = this.#parts.handlers[key] as AdministrationHandler<K> | undefined;
    if (handler !== undefined) return handler(caller, request);
    const finding = 'has no desk in this agent';
    return refuse(fault('OPERATION_UNSUPPORTED', { place: key, finding }));
  }
}

/** For the desks: an act of the caller goes on record together with the change itself. */
export function recordActs(audit: AuditSink): RecordAct {
  return (event, { session, origin }, result, more = {}, beside = undefined) => {
    const actor = session?.principal.id ?? 'unknown';
    return audit.append({ ...blankRecord(event, actor), origin, result, ...more }, beside);
  };
}
