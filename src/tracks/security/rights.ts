// What the caller may do and, where not, everything that is missing and who could instead.
// Invariants: answered by the same rules that decide (call rule, access table), so that nothing promised here is refused for
// clearance, compartments or devices at the risk it names; of other accounts only ids are told, of quarantined devices nobody's.
// Faults: REQUEST_MALFORMED for unknown rows and for devices without an operation, DEVICE_UNKNOWN for a device that is not on the board.

import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AccountRecord, Right } from '#model/account';
import type { AdministrationRequest } from '#model/administration';
import { baseRiskOf } from '#model/base-risk';
import { callRefusal, isOperationKey } from '#model/call-rule';
import { type DeviceDescriptor, formatToken, type LinearId } from '#model/device';
import { type Intent, NO_REQUIREMENTS, OperationType, operationName } from '#model/operation';
import { OPERATION_TABLE, type OperationKey } from '#model/operation-table';
import type { Session } from '#model/orchestrator-port';
import type { Principal } from '#model/principal';
import { type RiskAssessment, RiskLevel, riskName, worseRisk } from '#model/risk';
import { type AccessExplanation, explainAccess } from './access-table.ts';
import { assessSecurityRisk } from './assess.ts';
import { principalOf } from './identity/account-book.ts';
import type { AccountPort, AdministrationHandlers } from './ports.ts';

export interface RightsParts {
  readonly accounts: AccountPort;
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly isQuarantined: (device: DeviceDescriptor) => boolean;
  readonly incidentOn: (device: DeviceDescriptor) => boolean;
  readonly underReview: (device: DeviceDescriptor) => boolean;
  /** Threat detection demands a second person on it; on none where absent. */
  readonly dualRequired?: (device: DeviceDescriptor) => boolean;
  readonly locked: (account: string) => boolean;
  /** Time that validity is judged by. */
  readonly wallMs: () => number;
  /** The site's way of making one risk of several (orchestrator). */
  readonly combine: (assessments: readonly RiskAssessment[]) => RiskLevel;
}

/** Who asks, as far as it counts. */
type Asker = Pick<Session, 'principal' | 'administrator' | 'scope'>;

const TWO_ADMINISTRATORS =
  'a second administrator has to ask for exactly the same within 300 s; both have to be people';
/** What the rows themselves demand beside the right to call them. */
const ROW_CONDUCT: Readonly<Partial<Record<OperationKey, string>>> = {
  createAccount: TWO_ADMINISTRATORS,
  inviteAccount: TWO_ADMINISTRATORS,
  issueCertificate: TWO_ADMINISTRATORS,
  rotateKey: TWO_ADMINISTRATORS,
  changeAccount: `where it gives rights ${TWO_ADMINISTRATORS}`,
  unlockAccount: `for a lock by threat detection ${TWO_ADMINISTRATORS}`,
  createToken: `for another account ${TWO_ADMINISTRATORS}`,
  startChaos: `on real hardware ${TWO_ADMINISTRATORS}`,
  releaseDevice: 'for a quarantine a second person has to ask as well',
  reset: 'a second person has to ask as well',
};

export class RightsDesk {
  readonly #parts: RightsParts;

  constructor(parts: RightsParts) {
    this.#parts = parts;
  }

  handlers(): Pick<AdministrationHandlers, 'rights'> {
    return {
      rights: async ({ session }, request) => {
        if (session !== null) return this.#answer(session, request);
        const finding = 'needs a session, and none was presented';
        return refuse(fault('NOT_AUTHENTICATED', { place: 'rights', finding }));
      },
    };
  }

  #answer(
    asker: Asker,
    { operations, devices, type }: AdministrationRequest<'rights'>,
  ): Outcome<{ readonly rights: readonly Right[] }> {
    const rows = rowsOf(operations);
    if (!rows.ok) return rows;
    const rights = rows.value.map((key) => this.#ofRow(asker, key));
    if (devices.length === 0) return succeed({ rights });
    if (type === OperationType.UNKNOWN) {
      const finding = 'devices without an operation on them';
      return refuse(fault('REQUEST_MALFORMED', { place: 'rights', finding }));
    }
    const board = this.#devicesOf(devices);
    if (!board.ok) return board;
    // What was asked for by name comes before the whole table.
    return succeed({ rights: [this.#ofDevices(asker, type, board.value), ...rights] });
  }

  #ofRow(asker: Asker, key: OperationKey): Right {
    const missing = rowFaults(key, asker);
    const permitted = missing.length === 0;
    const who = permitted ? [] : this.#who((other) => callRefusal(key, other) === null);
    const demand = ROW_CONDUCT[key];
    return {
      operation: key,
      permitted,
      missing: missing.map(sentenceOf),
      who,
      conduct: demand === undefined ? [] : [demand],
    };
  }

  #ofDevices(asker: Asker, type: OperationType, devices: readonly DeviceDescriptor[]): Right {
    const operation = operationName(type);
    const doors = doorsOf(type);
    const { missing, conduct, risk } = this.#explain(asker.principal, type, devices);
    const all = [...missing, ...doorFaults(doors, asker)];
    const could = (other: Asker) =>
      doorFaults(doors, other).length === 0 &&
      this.#explain(other.principal, type, devices).missing.length === 0;
    const open =
      risk !== RiskLevel.UNKNOWN &&
      risk !== RiskLevel.QUARANTINED &&
      !missing.some(({ code }) => code === 'DEVICE_QUARANTINED');
    const planned = `without a plan the risk is ${riskName(risk)}; the registers of the plan, what they hold and how it is asked for may raise it, and with it what is needed`;
    const stop = type === OperationType.EMERGENCY_STOP;
    return {
      operation,
      permitted: all.length === 0,
      missing: all.map(sentenceOf),
      who: all.length === 0 ? [] : this.#who(could),
      // Where it is open to nobody, nothing that anybody does helps.
      conduct: !open || stop ? [] : [...conduct.map(({ demand }) => demand), planned],
    };
  }

  #explain(
    principal: Principal,
    type: OperationType,
    devices: readonly DeviceDescriptor[],
  ): AccessExplanation & { readonly risk: RiskLevel } {
    const { isQuarantined, incidentOn, underReview, dualRequired, combine } = this.#parts;
    const level = devices
      .map(({ baseRisk }) => baseRiskOf(type, baseRisk, devices.length))
      .reduce(worseRisk, RiskLevel.SAFE);
    const view = { isQuarantined, incidentOn, underReview };
    const risk = combine([
      { track: 'kernel', level, reasons: [] },
      assessSecurityRisk(type, devices, principal, view),
    ]);
    const intent = intentOf(type, devices);
    const question = { principal, intent, devices, risk, isQuarantined };
    const watched = dualRequired === undefined ? {} : { dualRequired };
    return { ...explainAccess({ ...question, ...watched }), risk };
  }

  /** Accounts that can sign in now and could, signed in with all that they may. */
  #who(could: (other: Asker) => boolean): readonly string[] {
    const usable = this.#parts.accounts.all().filter((record) => this.#usable(record));
    return usable
      .filter((record) => {
        const { administrator } = record;
        return could({ principal: principalOf(record), administrator, scope: null });
      })
      .map(({ id }) => id)
      .sort();
  }

  #usable({ id, enabled, validFromWallMs, validUntilWallMs }: AccountRecord): boolean {
    const { locked, wallMs } = this.#parts;
    const nowMs = wallMs();
    if (!enabled || locked(id)) return false;
    return (validFromWallMs ?? nowMs) <= nowMs && nowMs < (validUntilWallMs ?? Infinity);
  }

  #devicesOf(ids: readonly LinearId[]): Outcome<readonly DeviceDescriptor[]> {
    const devices: DeviceDescriptor[] = [];
    for (const id of new Set(ids)) {
      const device = this.#parts.devices.get(id);
      if (device === undefined) {
        const finding = 'is not on the board';
        return refuse(fault('DEVICE_UNKNOWN', { place: `device ${formatToken(id)}`, finding }));
      }
      devices.push(device);
    }
    return succeed(devices);
  }
}

function rowsOf(operations: readonly string[]): Outcome<readonly OperationKey[]> {
  if (operations.length === 0) return succeed(Object.keys(OPERATION_TABLE).filter(isOperationKey));
  const unknown = operations.find((name) => !isOperationKey(name));
  if (unknown === undefined) return succeed([...new Set(operations)].filter(isOperationKey));
  const finding = `${JSON.stringify(unknown)} is no row of the operation table`;
  return refuse(fault('REQUEST_MALFORMED', { place: 'operations', finding }));
}

/** Everything that keeps this session from calling the row: the scope of its token, and its account. */
function rowFaults(key: OperationKey, asker: Asker): readonly Fault[] {
  const first = callRefusal(key, asker);
  if (first === null) return [];
  const beyondScope =
    first.code === 'SCOPE_EXCEEDED' ? callRefusal(key, { ...asker, scope: null }) : null;
  return beyondScope === null ? [first] : [first, beyondScope];
}

/** Rows that an operation on devices comes in by; one is enough. */
function doorsOf(type: OperationType): readonly OperationKey[] {
  switch (type) {
    case OperationType.EMERGENCY_STOP:
      return ['stop'];
    case OperationType.READ:
      return ['readRegisters', 'operate'];
    default:
      return ['operate'];
  }
}

/** What keeps this session from every one of these rows. */
function doorFaults(doors: readonly OperationKey[], asker: Asker): readonly Fault[] {
  const found = doors.map((key) => rowFaults(key, asker));
  return found.some((faults) => faults.length === 0) ? [] : found.flat();
}

/** Nothing said and nothing confirmed: so that all that conduct demands shows. A stop is never a plan but for show. */
function intentOf(type: OperationType, devices: readonly DeviceDescriptor[]): Intent {
  return {
    operationId: '',
    type,
    targets: devices.map(({ id }) => ({ device: id, registers: [] })),
    requirements: NO_REQUIREMENTS,
    justification: '',
    confirmedRisk: RiskLevel.UNKNOWN,
    dryRun: type === OperationType.EMERGENCY_STOP,
    involved: [],
  };
}

function sentenceOf({ place, finding }: Fault): string {
  return `${place}: ${finding}`;
}
