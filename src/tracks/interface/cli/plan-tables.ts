// A plan for people: what would change, who says what of it, who is needed, and the way back.

import type { ReceiptJson } from '#contract/json-answer';
import type { Table } from './output.ts';

/** What would happen, why it is dangerous, and what it still needs. */
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
      ...assessments.flatMap(({ track, risk, reasons }) => riskRows(risk, track, reasons)),
      ...riskRows(receipt.risk, 'together', assessments.length > 0 ? [] : receipt.reasons),
    ],
  };
  const needs: Table = {
    head: ['needed before it runs'],
    rows: (receipt.approvalsNeeded ?? []).map((needed) => [needed]),
  };
  return [writes, transactions, risks, needs].filter(({ rows }) => rows.length > 0);
}

/** One line for each reason. */
function riskRows(
  risk: string,
  who: string,
  [first = '', ...more]: readonly string[],
): readonly (readonly string[])[] {
  return [[risk, who, first], ...more.map((reason) => ['', '', reason])];
}
