// The REST routes of the audit chain: entries, checks, checkpoints, the export as it is read, and archiving.

import { Readable } from 'node:stream';
import { auditEntryToJson } from '#contract/json-answer';
import { Type } from '#contract/json-schema';
import { succeed } from '#foundation/outcome';
import type { AuditExport } from '../administration-desk.ts';
import type { Caller, InterfaceService } from '../service.ts';
import type { AnswerOf } from './openapi-answers.ts';
import {
  administrationRoute,
  answered,
  COUNT,
  LIMIT_DEFAULT,
  type RestRoute,
  SEQUENCE,
  strict,
} from './rest-route.ts';

/** A client that reads nothing for so long has lost interest, and others wait for its place. */
const UNREAD_MS = 30_000;
const UNREAD_BYTES_MAX = 64 * 1024;

export function auditRoutes(service: InterfaceService): readonly RestRoute[] {
  return [
    {
      key: 'audit',
      query: Type.Object({ from: Type.Optional(SEQUENCE), limit: Type.Optional(COUNT) }, strict),
      answer: 'Entries from sequence `from` on, at most `limit`.',
      handle: async (caller, { query, deadline }) => {
        const from = Number(query.from ?? 1);
        const limit = Number(query.limit ?? LIMIT_DEFAULT);
        const entries = await service.audit(caller, from, limit, deadline);
        return answered(
          entries,
          (list): AnswerOf<'audit'> => ({ entries: list.map(auditEntryToJson) }),
        );
      },
    },
    {
      key: 'verifyAudit',
      answer: 'How many entries were checked and the first bad one.',
      handle: async (caller, { deadline }) =>
        answered(
          await service.verifyAudit(caller, deadline),
          (finding): AnswerOf<'verifyAudit'> => finding,
        ),
    },
    administrationRoute(service, 'auditCheckpoint', {
      answer: 'The newest signed checkpoint, exactly as signed, and the public key in PEM.',
    }),
    {
      key: 'exportAudit',
      query: Type.Object({ from: Type.Optional(SEQUENCE) }, strict),
      answer: 'JSON Lines from sequence `from` to the end; a connection that breaks off is no end.',
      handle: async (caller, { query }) => {
        const from = Math.max(1, Number(query.from ?? 1));
        const exported = await service.administration.exportAudit(caller, from);
        if (!exported.ok) return exported;
        const stream = streamOf(service, caller, exported.value);
        return succeed({ status: 200, body: '', contentType: 'application/x-ndjson', stream });
      },
    },
    administrationRoute(service, 'archiveAudit', { answer: 'How many entries were sealed away.' }),
  ];
}

/** Asks for a page when the client has read the one before; ends with the session, and with the client's patience. */
function streamOf(service: InterfaceService, caller: Caller, exported: AuditExport): Readable {
  const { clock } = service;
  const pages = exported.pages[Symbol.asyncIterator]();
  let cancel = (): void => undefined;
  const stream: Readable = new Readable({
    highWaterMark: UNREAD_BYTES_MAX,
    read() {
      cancel();
      void pages.next().then(
        (page) => {
          stream.push(page.done === true ? null : page.value);
          if (page.done !== true && !stream.destroyed) {
            cancel = clock.after(UNREAD_MS, () => stream.destroy(new Error('nobody reads')));
          }
        },
        (error: Error) => stream.destroy(error),
      );
    },
  });
  const stopWatching = service.watchSession(caller.connection, (change) => {
    stream.destroy(new Error(change.kind === 'ended' ? change.reason : 'the session is locked'));
  });
  stream.once('close', () => {
    cancel();
    stopWatching();
    exported.release();
  });
  // What broke it off is in the log of the track that failed; the client sees that the text has no end.
  stream.on('error', () => undefined);
  return stream;
}
