// JSON requests of REST, WebSocket and the command line: schemas, and what they become.
// Invariants: register contents are text (`0x2A` or decimal) or safe integers, never rounded floating point.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import {
  NO_REQUIREMENTS,
  OPERATION_NAMES,
  OperationType,
  type RegisterAccessRequest,
  type SafetyRequirements,
} from '#model/operation';
import { CLEARANCE_NAMES, ClearanceLevel, COMPARTMENTS } from '#model/principal';
import { RiskLevel, type RiskName } from '#model/risk';
import { EmergencyPriority } from '#model/stop';
import { TRACKS, type TrackName } from '#model/track-name';
import { CONFLICT_ANSWERS, type ConflictAnswer } from '#model/unified-state';
import { Type } from './json-schema.ts';
import {
  type OperationRequest,
  type RequestedTarget,
  SELECT_SECONDS_MAX,
  type StopRequestMessage,
} from './operation-request.ts';

const WORD_TEXT = '^(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})$';
const strict = { additionalProperties: false } as const;
const choice = (names: readonly string[]) => Type.Union(names.map((name) => Type.Literal(name)));

/** A register's raw content: hexadecimal or decimal text, or a whole number up to 2^53 - 1. */
export const WordSchema = Type.Union(
  [
    Type.String({ pattern: WORD_TEXT }),
    Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  ],
  { description: 'Raw register content: 0x-hexadecimal or decimal text, or a safe integer.' },
);

/** Linear id or token, as a number or as text. */
export const DeviceIdSchema = Type.Union(
  [
    Type.Integer({ minimum: 0, maximum: 0xffff_ffff }),
    Type.String({ pattern: '^(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10})$' }),
  ],
  { description: 'Linear id 0 to 83, or token 0x8000 + group * 0x10 + index.' },
);

const RegisterSchema = Type.Object(
  { name: Type.String({ minLength: 1, maxLength: 128 }), value: Type.Optional(WordSchema) },
  strict,
);
const RegistersSchema = Type.Array(RegisterSchema, { maxItems: 64 });

/** Linear ids or tokens of a synchronization; none means all of them. */
export const DeviceListSchema = Type.Optional(Type.Array(DeviceIdSchema, { maxItems: 84 }));
/** The risk a person was shown and accepted. */
export const ConfirmedRiskSchema = Type.Optional(choice(Object.keys(RiskLevel)));

export const OperationSchema = Type.Object(
  {
    operationId: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    operation: choice(OPERATION_NAMES.filter((name) => name !== 'UNKNOWN')),
    device: Type.Optional(DeviceIdSchema),
    registers: Type.Optional(RegistersSchema),
    targets: Type.Optional(
      Type.Array(
        Type.Object({ device: DeviceIdSchema, registers: Type.Optional(RegistersSchema) }, strict),
        { minItems: 1, maxItems: 84 },
      ),
    ),
    // Its length is refused with a word on what is needed, and never for a stop.
    justification: Type.Optional(Type.String()),
    confirmedRisk: ConfirmedRiskSchema,
    dryRun: Type.Optional(Type.Boolean()),
    selectForSeconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: SELECT_SECONDS_MAX,
        description: 'Holds the devices for so long and writes nothing until `operate`.',
      }),
    ),
    involved: Type.Optional(Type.Array(choice(TRACKS), { maxItems: 3 })),
    requirements: Type.Optional(
      Type.Object(
        {
          memoryProtectionRequired: Type.Optional(Type.Boolean()),
          thermalMonitoringRequired: Type.Optional(Type.Boolean()),
          maxExecutionTimeMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffff_ffff })),
          rollbackCapabilityRequired: Type.Optional(Type.Boolean()),
          requiredClearance: Type.Optional(choice(CLEARANCE_NAMES)),
          dualAuthorizationRequired: Type.Optional(Type.Boolean()),
          auditRequired: Type.Optional(Type.Boolean()),
          requiredCompartments: Type.Optional(Type.Array(choice(COMPARTMENTS), { maxItems: 8 })),
          userConfirmationRequired: Type.Optional(Type.Boolean()),
          riskDisclosureRequired: Type.Optional(Type.Boolean()),
          confirmationTimeoutSeconds: Type.Optional(
            Type.Integer({ minimum: 0, maximum: 0xffff_ffff }),
          ),
        },
        strict,
      ),
    ),
  },
  {
    ...strict,
    description:
      'One operation on one device, or on several as one transaction; an EMERGENCY_STOP of none stops all.',
  },
);

/**
 * Only what says *what* stops is checked: a stop is never refused for its wording, so a reason, a priority or a member
 * that is not understood is no reason to let things run.
 */
export const StopSchema = Type.Object(
  {
    reason: Type.Optional(Type.Any('Why, for people; cut at 512 characters.')),
    priority: Type.Optional(
      Type.Any(`${Object.keys(EmergencyPriority).join(', ')}; anything else counts as UNKNOWN.`),
    ),
    devices: Type.Optional(Type.Array(DeviceIdSchema, { maxItems: 84 })),
    groups: Type.Optional(
      Type.Array(Type.Integer({ minimum: 0, maximum: 0xffff_ffff }), { maxItems: 84 }),
    ),
  },
  { description: 'With neither devices nor groups the whole system stops.' },
);

export const ReasonSchema = Type.Object({ reason: Type.String({ maxLength: 4096 }) }, strict);

export const ResolveConflictSchema = Type.Object(
  { answer: choice(CONFLICT_ANSWERS), reason: Type.String({ maxLength: 4096 }) },
  strict,
);

/** What `OperationSchema` lets through. */
export interface OperationJson {
  readonly operationId?: string;
  readonly operation: keyof typeof OperationType;
  readonly device?: number | string;
  readonly registers?: readonly RegisterJson[];
  readonly targets?: readonly {
    readonly device: number | string;
    readonly registers?: readonly RegisterJson[];
  }[];
  readonly justification?: string;
  readonly confirmedRisk?: RiskName;
  readonly dryRun?: boolean;
  readonly selectForSeconds?: number;
  readonly involved?: readonly TrackName[];
  readonly requirements?: Partial<Omit<SafetyRequirements, 'requiredClearance'>> & {
    readonly requiredClearance?: keyof typeof ClearanceLevel;
  };
}

export interface RegisterJson {
  readonly name: string;
  readonly value?: string | number;
}

export interface StopJson {
  readonly reason?: unknown;
  readonly priority?: unknown;
  readonly devices?: readonly (number | string)[];
  readonly groups?: readonly number[];
}

export function confirmedRiskFromJson(name: RiskName = 'UNKNOWN'): RiskLevel {
  return RiskLevel[name];
}

export interface ResolveConflictJson {
  readonly answer: ConflictAnswer;
  readonly reason: string;
}

/** The number for a device id that fits `DeviceIdSchema`. */
export function deviceIdFromJson(value: number | string): number {
  return typeof value === 'number' ? value : Number(value);
}

/** The word for text that fits `WORD_TEXT`, or a fault for a value of more than 64 bits. */
export function wordFromJson(value: string | number, place: string): Outcome<bigint> {
  const word = typeof value === 'string' || Number.isSafeInteger(value) ? BigInt(value) : -1n;
  if (word >= 0n && word <= 0xffff_ffff_ffff_ffffn) return succeed(word);
  return refuse(fault('VALUE_TOO_WIDE', { place, finding: 'the value has more than 64 bits' }));
}

function targetFromJson(
  device: number | string,
  registers: readonly RegisterJson[],
): Outcome<RequestedTarget> {
  const accesses: RegisterAccessRequest[] = [];
  for (const { name, value } of registers) {
    if (value === undefined) {
      accesses.push({ register: name });
      continue;
    }
    const word = wordFromJson(value, 'registers');
    if (!word.ok) return word;
    accesses.push({ register: name, value: word.value });
  }
  return succeed({ deviceId: deviceIdFromJson(device), registers: accesses });
}

export function operationRequestFromJson(body: OperationJson): Outcome<OperationRequest> {
  const malformed = (finding: string) =>
    refuse(fault('REQUEST_MALFORMED', { place: 'operation', finding }));
  const { device, targets: several } = body;
  const none = device === undefined && several === undefined;
  const stopsAll = none && body.operation === 'EMERGENCY_STOP';
  if (!stopsAll && (none || (device !== undefined && several !== undefined))) {
    return malformed('names neither device nor targets, or both');
  }
  if (several !== undefined && body.registers !== undefined) {
    return malformed('has registers beside targets, which name their own');
  }
  const asked =
    several ?? (device === undefined ? [] : [{ device, registers: body.registers ?? [] }]);
  const targets: RequestedTarget[] = [];
  for (const one of asked) {
    const target = targetFromJson(one.device, one.registers ?? []);
    if (!target.ok) return target;
    targets.push(target.value);
  }
  const { requiredClearance, ...requirements } = body.requirements ?? {};
  return succeed({
    operationId: body.operationId ?? '',
    type: OperationType[body.operation],
    targets,
    requirements: {
      ...NO_REQUIREMENTS,
      ...requirements,
      requiredClearance: requiredClearance === undefined ? 0 : ClearanceLevel[requiredClearance],
    },
    justification: body.justification ?? '',
    confirmedRisk: confirmedRiskFromJson(body.confirmedRisk),
    dryRun: body.dryRun ?? false,
    ...(body.selectForSeconds === undefined ? {} : { selectForSeconds: body.selectForSeconds }),
    involved: body.involved ?? [],
    claims: '',
  });
}

function priorityFromJson(value: unknown): number {
  if (value === undefined) return EmergencyPriority.IMMEDIATE;
  const known = Object.entries(EmergencyPriority).find(([name]) => name === value);
  return known?.[1] ?? EmergencyPriority.UNKNOWN;
}

/** Whatever came as the reason, as text. */
function reasonFromJson(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A stop that says nothing at all stops the whole system. */
export function stopRequestFromJson(body: StopJson = {}): StopRequestMessage {
  return {
    deviceIds: (body.devices ?? []).map(deviceIdFromJson),
    groups: body.groups ?? [],
    reason: reasonFromJson(body.reason),
    priority: priorityFromJson(body.priority),
    claims: '',
  };
}
