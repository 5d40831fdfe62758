// Damages copies of the audit chain in five ways for the verifier to name, and tries to write to the chain through every door.

import { createPublicKey } from 'node:crypto';
import { asCheckpoint } from '#model/audit-checkpoint';
import { verifyExport } from '#model/audit-export';
import type { Attack, Ground } from './attack.ts';
import type { Attacker } from './attacker.ts';
import { damagedCopies, readExport } from './audit-copies.ts';
import { refusedWith } from './signs.ts';

/** Entries before the exercise that are copied with it. */
const ENTRIES_COPIED = 200;

export const auditTampering: Attack = {
  scenario: 'audit-tampering',
  async run(ground: Ground) {
    const { observer, signs, progress } = ground;
    const attacker = ground.attacker(0);
    signs.began();
    progress('trying to write to the chain through every door');
    const before = await observer.export(firstCopied(ground));
    const written = await writeAttempts(attacker);
    const looked = await signs.look([
      {
        what: 'requests for the chain beyond the rights of the account',
        matches: refusedWith('CLEARANCE_TOO_LOW', 'NOT_PERMITTED'),
      },
    ]);
    progress('damaging copies of the chain');
    const copies = await judgeCopies(ground);
    const after = (await observer.export(firstCopied(ground))).toString();
    const kept = readExport(before.toString()).lines.every(({ line }) => after.includes(line));
    const chain = await observer.chain();
    const named = copies.filter(({ found }) => found);
    return {
      detected: looked.all && named.length === copies.length,
      evidence: [
        ...copies.map(({ sentence }) => sentence),
        ...looked.evidence,
        ...(await signs.incidentSentences()),
      ],
      responseMs: signs.responseMs,
      contained: written.accepted.length === 0 && kept && chain.intact,
      containment: [
        written.accepted.length === 0
          ? `${written.tried} attempts to write were refused`
          : `ACCEPTED: ${written.accepted.join(', ')}`,
        `what was on record before ${kept ? 'is unchanged' : 'has CHANGED'}`,
        `the chain is ${chain.intact ? 'intact' : 'BROKEN'}: ${chain.finding}`,
      ].join('; '),
    };
  },
};

function firstCopied({ observer }: Ground): number {
  return Math.max(1, observer.firstSequence - ENTRIES_COPIED);
}

/** The five copies, judged as an auditor would elsewhere: only the copy, the public key and a checkpoint that was kept. */
async function judgeCopies(ground: Ground) {
  const { observer } = ground;
  const given = await observer.get<{ readonly checkpoint: unknown; readonly publicKeyPem: string }>(
    'audit/checkpoint',
  );
  const checkpoint = asCheckpoint(given.checkpoint);
  const kept = checkpoint === undefined ? [] : [checkpoint];
  const publicKeys = [createPublicKey(given.publicKeyPem)];
  const judge = (text: string) => verifyExport([Buffer.from(text)], { publicKeys, kept });
  const text = (await observer.export(firstCopied(ground))).toString();
  const genuine = await judge(text);
  const results = [
    {
      found: genuine.intact,
      sentence: genuine.intact
        ? `the untouched copy is accepted: ${genuine.finding}`
        : `the untouched copy is NOT accepted: ${genuine.finding}`,
    },
  ];
  for (const copy of damagedCopies(readExport(text))) {
    const { damage } = await judge(copy.text);
    const found = damage !== null && damage.kind === copy.expected;
    const said = damage === null ? 'nothing' : `${damage.kind}: ${damage.finding}`;
    results.push({
      found,
      sentence: `${copy.what} is ${found ? 'named' : `NOT named ${copy.expected}`}: ${said}`,
    });
  }
  return results;
}

/** Everything that might write, read or remove an entry, and which of it was accepted. */
async function writeAttempts(attacker: Attacker) {
  const entry = { event: 'OPERATION_COMPLETED', actor: 'somebody-else', sequence: 1 };
  const calls = [
    ...['POST', 'PUT', 'PATCH', 'DELETE'].flatMap((method) =>
      ['audit', 'audit/1', 'audit/export', 'audit/verify'].map((path) => ({ method, path })),
    ),
    { method: 'GET', path: 'audit?from=1&limit=5' },
    { method: 'GET', path: 'audit/export?from=1' },
    { method: 'GET', path: 'audit?from=1%3BDELETE%20FROM%20audit_entry' },
    { method: 'GET', path: 'audit?from=1%00' },
    { method: 'POST', path: 'audit/archive', body: { reason: 'a drill of the chaos exercise' } },
    { method: 'POST', path: 'audit/archive', body: { reason: "'); DELETE FROM audit_entry; --" } },
  ];
  const accepted: string[] = [];
  for (const call of calls) {
    const reads = call.method === 'GET' || 'body' in call;
    const { status } = await attacker.call(reads ? call : { ...call, body: entry });
    if (status >= 200 && status < 300) accepted.push(`${call.method} ${call.path}`);
  }
  const says = ['AUDIT_EVENT', 'AUDIT_ENTRY_CREATED'].map((type) =>
    JSON.stringify({ type, data: entry }),
  );
  const { code } = await attacker.webSocket({ say: says });
  if (code !== 'REQUEST_MALFORMED') accepted.push(`a WebSocket message (${code})`);
  return { tried: calls.length + says.length, accepted };
}
