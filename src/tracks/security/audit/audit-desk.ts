// Answers about the audit chain itself: its newest checkpoint, its export, its archive.
// Invariants: an export leaves one entry, however many pages it has.

import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { blankRecord } from '#model/audit-entry';
import type { AdministrationCaller, AdministrationHandlers } from '../ports.ts';
import type { AuditChain } from './audit-chain.ts';
import { type ExportPage, exportPage } from './export-page.ts';
import type { Retention } from './retention.ts';

export type AuditHandlers = Pick<
  AdministrationHandlers,
  'auditCheckpoint' | 'exportAudit' | 'archiveAudit'
>;

/** Sessions whose next page is remembered. */
const EXPORTS_MAX = 64;

export function auditDesk(chain: AuditChain, retention: Retention): AuditHandlers {
  /** The next page of each export under way, by session. */
  const underWay = new Map<string, number>();

  function remember(caller: AdministrationCaller, next: number): void {
    const session = caller.session?.id ?? '';
    underWay.delete(session);
    if (next !== 0) underWay.set(session, next);
    const [oldest] = underWay.keys();
    if (underWay.size > EXPORTS_MAX && oldest !== undefined) underWay.delete(oldest);
  }

  function goesOn(caller: AdministrationCaller, from: number): boolean {
    return caller.session !== null && underWay.get(caller.session.id) === from;
  }

  return {
    auditCheckpoint: async () => {
      const signed = await chain.checkpoint();
      // On a full disk the last one that it took is still worth keeping.
      const checkpoint = signed.ok ? signed.value : chain.book.newest;
      const publicKeyPem = chain.book.publicKey.export({ type: 'spki', format: 'pem' }).toString();
      return succeed({ checkpoint, publicKeyPem });
    },

    exportAudit: async (caller, { fromSequence, limit }) => {
      if (fromSequence > chain.lastSequence + 1) {
        const finding = `begins with entry ${fromSequence}, and the last one is ${chain.lastSequence}`;
        return refuse(fault('REQUEST_MALFORMED', { place: 'audit export', finding }));
      }
      if (!goesOn(caller, fromSequence)) {
        const recorded = await chain.append({
          ...blankRecord('AUDIT_EXPORTED', caller.session?.principal.id ?? 'unknown'),
          origin: caller.origin,
          operation: 'exportAudit',
          result: `exported from entry ${fromSequence} on`,
          details: { fromSequence },
        });
        // What leaves this machine is on record first.
        if (!recorded.ok) return recorded;
      }
      if (fromSequence + limit > chain.lastSequence) await chain.checkpoint();
      const page = pageOf(chain, fromSequence, limit);
      if (page.ok) remember(caller, page.value.next);
      return page;
    },

    archiveAudit: ({ session, origin }, { reason }) =>
      retention.archive({ actor: session?.principal.id ?? 'unknown', origin, reason }),
  };
}

function pageOf(chain: AuditChain, from: number, limit: number): Outcome<ExportPage> {
  try {
    return succeed(exportPage(chain, from, limit));
  } catch (error) {
    return refuse(
      fault('AUDIT_UNAVAILABLE', {
        place: 'audit export',
        finding: `the segment with entry ${from} cannot be read`,
        internal: describeError(error),
      }),
    );
  }
}
