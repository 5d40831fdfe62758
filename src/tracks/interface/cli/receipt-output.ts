// Receipts for people: registers read and written, or a plan with what would change, who says what of it, and the way back.

import type { ReceiptJson } from '#contract/json-answer';
import type { Table } from './output.ts';
import type { CliSession } from './session.ts';

/** Data on standard output; what became of the operation as messages. */
export function showReceipt(open: CliSession, receipt: ReceiptJson): void {
  if (receipt.preview !== undefined || receipt.transactions !== undefined) {
    open.output.tables(receipt, planTables(receipt));
    open.output.message(closing(receipt));
    return;
  }
  const rows = receipt.readings.map((reading) => [
    reading.token,
    reading.register,
    reading.value ?? '-',
    reading.before ?? '',
    reading.fault === undefined ? '' : `${reading.fault.code}: ${reading.fault.finding}`,
  ]);
  open.output.data(receipt, ['device', 'register', 'value', 'before', 'fault'], rows);
  open.explainReceipt(receipt);
}

/** What would happen, why it is dangerous, and what it still needs; an operation of ours is planned the same way. */
export function planTables(receipt: ReceiptJson): readonly Table[] {
  const preview = receipt.preview ?? [];
  const writes: Table = {
    head: ['device', 'register', 'now', 'then', 'way back'],
    rows: preview.map(({ token, register, before, after, rollback }) => [
      token,
      register,
      before ?? '?',
      after ?? '?',
      rollback,
    ]),
  };
  const transactions: Table = {
    head: ['register transaction'],
    rows: (receipt.transactions ?? []).map((transaction) => [transaction]),
  };
  const assessments = receipt.assessments ?? [];
  const risks: Table = {
    head: ['risk', 'says', 'because'],
    rows: [
      ...assessments.map(({ track, risk, reasons }) => [risk, track, reasons.join('; ')]),
      [receipt.risk, 'together', assessments.length > 0 ? '' : receipt.reasons.join('; ')],
    ],
  };
  const needs: Table = {
    head: ['needed before it runs'],
    rows: (receipt.approvalsNeeded ?? []).map((needed) => [needed]),
  };
  return [writes, transactions, risks, needs].filter(({ rows }) => rows.length > 0);
}

function closing(receipt: ReceiptJson): string {
  const lines = [`operation ${receipt.operationId}: ${receipt.state}, effect ${receipt.effect}`];
  if (receipt.worstCaseMs !== undefined) {
    lines.push(`takes at most ${receipt.worstCaseMs.toFixed(0)} ms`);
  }
  if (receipt.selectedUntil !== undefined) {
    lines.push(
      `selected until ${receipt.selectedUntil}; perform it with: dsmil operation operate ${receipt.operationId}`,
      `or free the device with: dsmil operation release ${receipt.operationId}`,
    );
  } else if (receipt.effect === 'none') {
    lines.push('nothing was written');
  }
  if (receipt.planDigest !== '') lines.push(`plan ${receipt.planDigest}`);
  if (receipt.auditSequence > 0) lines.push(`audit entry ${receipt.auditSequence}`);
  return lines.join('\n');
}
