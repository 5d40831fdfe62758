// Receipts for people: registers read and written, or the plan of what was not done yet.

import type { ReceiptJson } from '#contract/json-answer';
import { planTables } from './plan-tables.ts';
import type { CliSession } from './session.ts';
import { timeText } from './times.ts';

/** Data on standard output; what became of the operation as messages. */
export function showReceipt(open: CliSession, receipt: ReceiptJson): void {
  const { preview, transactions, selectedUntil } = receipt;
  if (preview !== undefined || transactions !== undefined || selectedUntil !== undefined) {
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

function closing(receipt: ReceiptJson): string {
  const lines = [`operation ${receipt.operationId}: ${receipt.state}, effect ${receipt.effect}`];
  if (receipt.worstCaseMs !== undefined) {
    lines.push(`takes at most ${receipt.worstCaseMs.toFixed(0)} ms`);
  }
  if (receipt.selectedUntil !== undefined) {
    lines.push(
      `selected until ${timeText(receipt.selectedUntil)}; to perform it, or to free the device:`,
      `  dsmil operation operate ${receipt.operationId}`,
      `  dsmil operation release ${receipt.operationId}`,
    );
  } else if (receipt.effect === 'none') {
    lines.push('nothing was written');
  }
  if (receipt.planDigest !== '') lines.push(`plan ${receipt.planDigest}`);
  if (receipt.auditSequence > 0) lines.push(`audit entry ${receipt.auditSequence}`);
  return lines.join('\n');
}
