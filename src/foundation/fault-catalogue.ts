// Every fault the agent can report: who acts, whether to retry, its status on each transport, what to do.
// Invariants: codes are stable and never reused; a sentence holds no path, address or cause.

/** refusal: nothing was done. operating: the plant or a bus misbehaved. integrity: trust is at stake. */
export type FaultKind = 'refusal' | 'operating' | 'integrity';
export type Retry = 'now' | 'later' | 'never';

export interface FaultEntry {
  readonly kind: FaultKind;
  readonly retry: Retry;
  /** gRPC status code (grpc.github.io statuscodes). */
  readonly grpc: number;
  /** HTTP status code (RFC 9110). */
  readonly http: number;
  readonly sentence: string;
  readonly action: string;
}

const GRPC = {
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

function entry(
  kind: FaultKind,
  retry: Retry,
  grpc: keyof typeof GRPC,
  http: number,
  sentence: string,
  action: string,
): FaultEntry {
  return { kind, retry, grpc: GRPC[grpc], http, sentence, action };
}

export const FAULT_CATALOGUE = {
  // Requests that cannot be understood
  REQUEST_MALFORMED: entry('refusal', 'never', 'INVALID_ARGUMENT', 400, 'nothing was done', 'Correct the request.'),
  REQUEST_TOO_LARGE: entry('refusal', 'never', 'RESOURCE_EXHAUSTED', 413, 'nothing was done', 'Send a smaller request.'),
  DEVICE_ID_INVALID: entry('refusal', 'never', 'INVALID_ARGUMENT', 400, 'nothing was done', 'Use a linear id or a token from the device list.'),
  DEVICE_UNKNOWN: entry('refusal', 'never', 'NOT_FOUND', 404, 'nothing was done', 'Pick a device from the device list.'),
  REGISTER_UNKNOWN: entry('refusal', 'never', 'NOT_FOUND', 404, 'nothing was done', "Pick a register from the device's profile."),
  OPERATION_UNSUPPORTED: entry('refusal', 'never', 'UNIMPLEMENTED', 400, 'nothing was done', 'Choose an operation that the device supports.'),
  OPERATION_UNKNOWN: entry('refusal', 'never', 'NOT_FOUND', 404, 'nothing was done', 'Check the operation id.'),
  VALUE_MISSING: entry('refusal', 'never', 'INVALID_ARGUMENT', 400, 'nothing was written', 'Give a value for each register to write.'),
  VALUE_TOO_WIDE: entry('refusal', 'never', 'OUT_OF_RANGE', 422, 'nothing was written', 'Give a value that fits the register width.'),
  VALUE_OUT_OF_LIMITS: entry('refusal', 'never', 'OUT_OF_RANGE', 422, 'nothing was written', "Stay within the register's limits."),
  STEP_TOO_LARGE: entry('refusal', 'never', 'OUT_OF_RANGE', 422, 'nothing was written', 'Approach the value in smaller steps.'),
  RESERVED_BITS: entry('refusal', 'never', 'OUT_OF_RANGE', 422, 'nothing was written', 'Leave reserved bits as they are.'),
  REGISTER_READ_ONLY: entry('refusal', 'never', 'FAILED_PRECONDITION', 422, 'nothing was written', 'Write to a register that accepts writes.'),
  REGISTER_WRITE_ONLY: entry('refusal', 'never', 'FAILED_PRECONDITION', 422, 'nothing was read', 'Read a register that can be read.'),
  JUSTIFICATION_NEEDED: entry('refusal', 'never', 'INVALID_ARGUMENT', 400, 'nothing was done', 'Say why, in 10 to 512 characters.'),

  // Who may
  NOT_AUTHENTICATED: entry('refusal', 'never', 'UNAUTHENTICATED', 401, 'nothing was done', 'Sign in.'),
  ACCOUNT_LOCKED: entry('refusal', 'later', 'PERMISSION_DENIED', 423, 'nothing was done', 'Wait for the lock to end, or ask an administrator.'),
  CLEARANCE_TOO_LOW: entry('refusal', 'never', 'PERMISSION_DENIED', 403, 'nothing was done', 'Ask a person with the named clearance.'),
  COMPARTMENT_MISSING: entry('refusal', 'never', 'PERMISSION_DENIED', 403, 'nothing was done', 'Ask a person who holds all compartments of the device.'),
  NOT_PERMITTED: entry('refusal', 'never', 'PERMISSION_DENIED', 403, 'nothing was done', 'Ask an administrator.'),
  ORIGIN_REFUSED: entry('refusal', 'never', 'PERMISSION_DENIED', 403, 'nothing was done', 'Open the panel at its own address.'),
  DEVICE_QUARANTINED: entry('refusal', 'never', 'PERMISSION_DENIED', 403, 'the device was not touched and the attempt is recorded', 'Leave this device alone.'),
  RISK_UNKNOWN: entry('refusal', 'later', 'FAILED_PRECONDITION', 503, 'nothing was done', 'Wait until every involved track answers.'),
  CONFIRMATION_NEEDED: entry('refusal', 'now', 'FAILED_PRECONDITION', 428, 'nothing was done', 'Read the risk and confirm it.'),
  APPROVAL_NEEDED: entry('refusal', 'now', 'FAILED_PRECONDITION', 428, 'nothing was done', 'Have a second person approve the plan, then send it again.'),
  APPROVAL_INVALID: entry('refusal', 'never', 'FAILED_PRECONDITION', 412, 'nothing was done', 'Plan the operation again and have it approved.'),
  AUTHORIZATION_INVALID: entry('integrity', 'never', 'PERMISSION_DENIED', 403, 'nothing was done', 'Report this; the kernel track refused a plan that security did not sign.'),
  PLAN_UNKNOWN: entry('refusal', 'now', 'ABORTED', 412, 'nothing was done', 'Send the operation again.'),
  PLAN_CHANGED: entry('refusal', 'now', 'ABORTED', 412, 'nothing was done', 'Plan the operation again.'),

  // Load and time
  BUSY: entry('refusal', 'later', 'RESOURCE_EXHAUSTED', 409, 'nothing was done', 'Try again when the running operations are done.'),
  DEVICE_BUSY: entry('refusal', 'later', 'ABORTED', 409, 'nothing was done', 'Wait for the running operation on the device.'),
  RATE_LIMITED: entry('refusal', 'later', 'RESOURCE_EXHAUSTED', 429, 'nothing was done', 'Send fewer requests.'),
  DEADLINE_EXCEEDED: entry('operating', 'later', 'DEADLINE_EXCEEDED', 504, 'the operation was given up', 'Look at the device before trying again.'),

  // The stop
  EMERGENCY_STOPPED: entry('refusal', 'later', 'UNAVAILABLE', 503, 'nothing is written until two people reset the stop', 'Clear the cause, then reset the stop.'),
  STOPPED_MIDWAY: entry('operating', 'never', 'ABORTED', 503, 'the devices were driven to their safe values', 'Clear the cause, reset the stop and look at the device.'),
  RESET_REFUSED: entry('refusal', 'later', 'FAILED_PRECONDITION', 409, 'the stop stays engaged', 'Meet the named condition, then reset again.'),

  // Buses and devices
  BUS_ABSENT: entry('operating', 'later', 'UNAVAILABLE', 503, 'its devices cannot be reached', 'Check that the bus is present and named correctly in the board file.'),
  BUS_PERMISSION: entry('operating', 'never', 'UNAVAILABLE', 503, 'its devices cannot be reached', 'Check rights, kernel lockdown and whether a kernel driver owns the range.'),
  BUS_TIMEOUT: entry('operating', 'later', 'UNAVAILABLE', 504, 'the answer did not come in time', 'Check the device and its wiring.'),
  BUS_CORRUPT: entry('operating', 'later', 'UNAVAILABLE', 502, 'the answer was thrown away', 'Check wiring, termination and baud rate.'),
  BUS_NO_ANSWER: entry('operating', 'later', 'UNAVAILABLE', 502, 'the device did not acknowledge', 'Check that the device is powered and at its address.'),
  BUS_EXCEPTION: entry('operating', 'never', 'UNAVAILABLE', 502, 'the device refused the access', 'Check the address against the data sheet.'),
  BUS_IO: entry('operating', 'later', 'UNAVAILABLE', 502, 'the access failed', 'Check the device and the kernel log.'),
  BUS_ERROR_SIGNAL: entry('operating', 'later', 'UNAVAILABLE', 502, 'the window does not answer at this address', 'Check the window against the hardware.'),
  BUS_CIRCUIT_OPEN: entry('operating', 'later', 'UNAVAILABLE', 503, 'the device is left alone for a while after repeated failures', 'Wait, then check the device.'),
  BUS_QUEUE_FULL: entry('refusal', 'later', 'RESOURCE_EXHAUSTED', 503, 'nothing was done', 'Send fewer requests to this bus.'),
  BUS_STALE: entry('operating', 'later', 'UNAVAILABLE', 503, 'the bus is opened again', 'Try again.'),
  WINDOW_MISALIGNED: entry('refusal', 'never', 'INVALID_ARGUMENT', 422, 'nothing was touched', 'Align the address to the register width.'),
  WINDOW_EXCEEDED: entry('refusal', 'never', 'OUT_OF_RANGE', 422, 'nothing was touched', 'Stay inside the window.'),
  READ_BACK_MISMATCH: entry('operating', 'never', 'ABORTED', 502, 'the writes were undone', 'Check the device; it did not take the value.'),
  INTERLOCK_OPEN: entry('refusal', 'later', 'FAILED_PRECONDITION', 409, 'nothing was done', 'Close the interlock.'),
  IN_DOUBT: entry('integrity', 'never', 'DATA_LOSS', 500, 'the device is inhibited until a person releases it', 'Inspect the device, then release it.'),
  DEVICE_INHIBITED: entry('refusal', 'never', 'FAILED_PRECONDITION', 423, 'nothing was done', 'Inspect the device, then release it.'),

  // Inside the agent
  TRACK_UNAVAILABLE: entry('operating', 'later', 'UNAVAILABLE', 503, 'nothing was done', 'Wait until the named process is back.'),
  LINK_OVERRUN: entry('operating', 'later', 'RESOURCE_EXHAUSTED', 503, 'nothing was done', 'Send fewer requests.'),
  LINK_CORRUPT: entry('integrity', 'later', 'INTERNAL', 500, 'the frame was thrown away', 'Report this; memory between the processes was altered.'),
  LINK_PROTOCOL: entry('integrity', 'never', 'INTERNAL', 500, 'the message was thrown away', 'Report this.'),
  AUDIT_UNAVAILABLE: entry('integrity', 'later', 'UNAVAILABLE', 503, 'no operation runs until audit can be written', 'Free space on the state disk and check it.'),
  CONFIG_INVALID: entry('refusal', 'never', 'INVALID_ARGUMENT', 400, 'the file is not used', 'Correct the file at the named line.'),
  INTERNAL: entry('integrity', 'later', 'INTERNAL', 500, 'the operation was given up', 'Report this with the operation id.'),
} as const satisfies Record<string, FaultEntry>;

export type FaultCode = keyof typeof FAULT_CATALOGUE;

export function isFaultCode(value: string): value is FaultCode {
  return Object.hasOwn(FAULT_CATALOGUE, value);
}
