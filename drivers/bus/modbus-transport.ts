// What carries a Modbus request to a unit and its answer back: a serial line or a TCP connection.

import type { Deadline } from '#foundation/deadline';
import type { FaultCode } from '#foundation/fault-catalogue';
import type { ModbusAnswer, ModbusRequest } from './modbus-frame.ts';

export interface ExchangeFailure {
  readonly kind: 'failed';
  readonly code: FaultCode;
  readonly finding: string;
  /** `request`: the unit may have received and obeyed it. */
  readonly sent: 'nothing' | 'request';
  readonly internal?: string;
}

export type Exchange = Exclude<ModbusAnswer, { readonly kind: 'mismatch' }> | ExchangeFailure;

export interface ModbusTransport {
  /** Opens or opens again; the failure, or null. */
  open(deadline: Deadline): Promise<ExchangeFailure | null>;
  /** Never called while an exchange is under way; opens first when it must and may. */
  exchange(request: ModbusRequest, deadline: Deadline): Promise<Exchange>;
  close(): Promise<void>;
}

export function exchangeFailed(
  code: FaultCode,
  finding: string,
  sent: ExchangeFailure['sent'],
  internal?: string,
): ExchangeFailure {
  const base = { kind: 'failed', code, finding, sent } as const;
  return internal === undefined ? base : { ...base, internal };
}
