// What a REST route is, and the forms that several of them share.

import type { Readable } from 'node:stream';
import { administrationFromJson, administrationToJson } from '#contract/json-administration';
import { ADMINISTRATION_BODIES } from '#contract/json-administration-schema';
import { problemOf, receiptToJson } from '#contract/json-answer';
import { type JsonSchema, Type } from '#contract/json-schema';
import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AdministrationKey, AdministrationRequest } from '#model/administration';
import { CoordinationResult, type OperationReceipt } from '#model/operation';
import type { OperationKey } from '#model/operation-table';
import type { Caller, InterfaceService } from '../service.ts';

export interface RestRequest {
  readonly body: unknown;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly deadline: Deadline;
}

export interface RestAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly contentType?: string;
  readonly setCookie?: string;
  /** Of a refusal: when the same request would be taken. */
  readonly retryAfterMs?: number;
  /** Sent instead of the body, as fast as the client reads. */
  readonly stream?: Readable;
}

export interface RestRoute {
  readonly key: OperationKey;
  /** The row under which this very request is admitted, where that is another than `key`. */
  readonly rowOf?: (body: unknown) => OperationKey;
  readonly body?: object;
  readonly params?: object;
  readonly query?: object;
  /** What a good answer is, for the description. */
  readonly answer: string;
  handle(caller: Caller, request: RestRequest): Promise<Outcome<RestAnswer>> | Outcome<RestAnswer>;
}

export const strict = { additionalProperties: false } as const;
export const ID_PARAMS = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) }, strict);
export const COUNT = Type.String({ pattern: '^[0-9]{1,9}$' });
/** A number below 2^53 in a path or query. */
export const SEQUENCE = Type.String({ pattern: '^[0-9]{1,15}$' });
export const LIST_QUERY = Type.Object({ limit: Type.Optional(COUNT) }, strict);
export const LIMIT_DEFAULT = 100;

export const ok = <Body>(body: Body): Outcome<RestAnswer> => succeed({ status: 200, body });

/** Passes a good value on as the answer's body. */
export function answered<T>(
  outcome: Outcome<T>,
  shape: (value: T) => unknown,
): Outcome<RestAnswer> {
  return outcome.ok ? ok(shape(outcome.value)) : outcome;
}

export interface AdministrationRouteParts<K extends AdministrationKey> {
  /** What a good answer is. */
  readonly answer: string;
  readonly params?: JsonSchema;
  /** The members of the request that stand in the path. */
  readonly path?: (params: Readonly<Record<string, string>>) => Partial<AdministrationRequest<K>>;
}

/** A row that security answers: its body is the request without what stands in the path, its answer the answer. */
export function administrationRoute<K extends AdministrationKey>(
  service: InterfaceService,
  key: K,
  parts: AdministrationRouteParts<K>,
): RestRoute {
  const { answer, params: schema, path } = parts;
  const body = ADMINISTRATION_BODIES[key];
  return {
    key,
    ...(body === undefined ? {} : { body }),
    ...(schema === undefined ? {} : { params: schema }),
    answer,
    handle: async (caller, { body: given, params, deadline }) => {
      const request = administrationFromJson(key, given, path?.(params) ?? {});
      if (!request.ok) return request;
      const done = await service.administer(caller, key, request.value, deadline);
      return answered(done, administrationToJson);
    },
  };
}

/** The parameters of a path with one identifier of this form. */
export const idParams = (id: JsonSchema) => Type.Object({ id }, strict);

/** An operation that was not carried out is a problem that holds its whole receipt. */
export function receiptAnswer(receipt: OperationReceipt): RestAnswer {
  const operation = receiptToJson(receipt);
  if (receipt.result === CoordinationResult.SUCCESS) return { status: 200, body: operation };
  const found =
    receipt.fault ??
    fault('INTERNAL', {
      place: `operation ${receipt.operationId}`,
      finding: 'ended without saying why',
      metal: 'unknown',
    });
  const problem = problemOf(found);
  return {
    status: problem.status,
    body: { ...problem, operation },
    contentType: 'application/problem+json',
  };
}

export function deviceIdOf(text: string): Outcome<number> {
  if (/^(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10})$/.test(text)) return succeed(Number(text));
  const finding = 'is neither a linear id 0 to 83 nor a device token';
  return refuse(fault('DEVICE_ID_INVALID', { place: 'device in the path', finding }));
}
