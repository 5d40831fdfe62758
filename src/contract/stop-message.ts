// The emergency stop on the wire: request as claimed, report with a receipt for each track.

import type { StopReport } from '#model/orchestrator-port';
import type { StopReceipt } from '#model/stop';
import { priorityFromWire, sourceToWire } from './enumerations.ts';
import type * as wire from './generated/dsmil/communication/v1/communication.ts';
import { claimsOf } from './operation-message.ts';
import type { StopRequestMessage } from './operation-request.ts';
import { durationToWire, timestampFromWire } from './time-message.ts';

export function stopRequestFromWire(message: wire.EmergencyStopRequest): StopRequestMessage {
  return {
    deviceIds: message.affectedDevices,
    groups: message.groups,
    reason: message.reason,
    priority: priorityFromWire(message.priority),
    claims: claimsOf(message.triggeredBy, '', timestampFromWire(message.timestamp)),
  };
}

function unsafeOf(receipts: readonly StopReceipt[]): wire.UnsafeDevice[] {
  return receipts.flatMap((receipt) =>
    receipt.unsafe.map(({ device, finding }) => ({ deviceId: device, finding })),
  );
}

export function stopReportToWire(report: StopReport): wire.EmergencyStopResponse {
  const failed = report.receipts.filter((receipt) => !receipt.ok);
  return {
    success: report.success,
    trackResults: report.receipts.map((receipt) => ({
      track: sourceToWire(receipt.track),
      success: receipt.ok,
      message: receipt.message,
      responseTime: durationToWire(receipt.durationMs),
      safeDevices: [...receipt.safe],
      unsafeDevices: unsafeOf([receipt]),
    })),
    errorMessage: failed.map((receipt) => `${receipt.track}: ${receipt.message}`).join('; '),
    responseTime: durationToWire(report.durationMs),
    scope: report.scope,
    safeDevices: [...new Set(report.receipts.flatMap((receipt) => receipt.safe))],
    unsafeDevices: unsafeOf(report.receipts),
    wholeSystem: report.devices.length === 0,
    coveredDevices: [...report.devices],
  };
}
