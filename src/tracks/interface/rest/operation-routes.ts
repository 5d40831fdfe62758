// The REST routes of operations: plan, perform, select, approve, and the emergency stop.

import { approvalToJson, receiptToJson, stopReportToJson } from '#contract/json-answer';
import {
  ConfirmedRiskSchema,
  confirmedRiskFromJson,
  type OperationJson,
  OperationSchema,
  operationRequestFromJson,
  ReasonSchema,
  type StopJson,
  StopSchema,
  stopRequestFromJson,
} from '#contract/json-request';
import { Type } from '#contract/json-schema';
import { acknowledgmentToJson } from '#contract/json-state';
import { succeed } from '#foundation/outcome';
import { OperationType } from '#model/operation';
import type { RiskName } from '#model/risk';
import type { InterfaceService } from '../service.ts';
import { rowOfOperation } from '../stop-desk.ts';
import type { AnswerOf } from './openapi-answers.ts';
import {
  answered,
  ID_PARAMS,
  LIMIT_DEFAULT,
  LIST_QUERY,
  type RestRoute,
  receiptAnswer,
  strict,
} from './rest-route.ts';

export function operationRoutes(service: InterfaceService): readonly RestRoute[] {
  return [
    {
      key: 'operate',
      rowOf: (body) => {
        const { operation, dryRun } = body as OperationJson;
        return rowOfOperation(OperationType[operation], dryRun === true ? 'plan' : 'act');
      },
      body: OperationSchema,
      answer: 'The receipt; for a dry run with the plan, for a selection with its end.',
      handle: async (caller, { body, deadline }) => {
        const request = operationRequestFromJson(body as OperationJson);
        if (!request.ok) return request;
        const receipt = await service.operate(caller, request.value, deadline);
        return receipt.ok ? succeed(receiptAnswer(receipt.value)) : receipt;
      },
    },
    {
      key: 'operateSelected',
      params: ID_PARAMS,
      body: Type.OrNothing(Type.Object({ confirmedRisk: ConfirmedRiskSchema }, strict)),
      answer: 'The receipt.',
      handle: async (caller, { params, body, deadline }) => {
        const { confirmedRisk } = (body ?? {}) as { readonly confirmedRisk?: RiskName };
        const risk = confirmedRiskFromJson(confirmedRisk);
        const receipt = await service.operateSelected(caller, params.id ?? '', risk, deadline);
        return receipt.ok ? succeed(receiptAnswer(receipt.value)) : receipt;
      },
    },
    {
      key: 'releaseSelected',
      params: ID_PARAMS,
      answer: 'Nothing; the devices are free.',
      handle: async (caller, { params, deadline }) =>
        answered(
          await service.releaseSelected(caller, params.id ?? '', deadline),
          (): AnswerOf<'releaseSelected'> => ({}),
        ),
    },
    {
      key: 'operations',
      query: LIST_QUERY,
      answer: 'The last receipts, at most `limit`.',
      handle: async (caller, { query, deadline }) => {
        const limit = Number(query.limit ?? LIMIT_DEFAULT);
        const receipts = await service.operations(caller, limit, deadline);
        return answered(
          receipts,
          (list): AnswerOf<'operations'> => ({ operations: list.map(receiptToJson) }),
        );
      },
    },
    {
      key: 'operation',
      params: ID_PARAMS,
      answer: 'The receipt.',
      handle: async (caller, { params, deadline }) =>
        answered(await service.operation(caller, params.id ?? '', deadline), receiptToJson),
    },
    {
      key: 'approvals',
      answer: 'Open approvals.',
      handle: async (caller, { deadline }) =>
        answered(
          await service.approvals(caller, deadline),
          (list): AnswerOf<'approvals'> => ({
            approvals: list.map(approvalToJson),
          }),
        ),
    },
    {
      key: 'approve',
      body: Type.Object({ planDigest: Type.String({ maxLength: 64 }) }, strict),
      answer: 'The approval with who gave it.',
      handle: async (caller, { body, deadline }) => {
        const { planDigest } = body as { readonly planDigest: string };
        return answered(await service.approve(caller, planDigest, deadline), approvalToJson);
      },
    },
  ];
}

export function stopRoutes(service: InterfaceService): readonly RestRoute[] {
  return [
    {
      key: 'stop',
      body: Type.OrNothing(StopSchema),
      answer: 'What stopped, what each track did, and devices that are not safe.',
      handle: async (caller, { body, deadline }) => {
        const request = stopRequestFromJson((body ?? {}) as StopJson);
        return answered(await service.stops.stop(caller, request, deadline), stopReportToJson);
      },
    },
    {
      key: 'acknowledgeStop',
      answer: 'Who has seen which stop.',
      handle: async (caller, { deadline }) =>
        answered(
          await service.stops.acknowledge(caller, deadline),
          (given): AnswerOf<'acknowledgeStop'> => ({
            acknowledgments: given.map(acknowledgmentToJson),
          }),
        ),
    },
    {
      key: 'reset',
      body: ReasonSchema,
      answer: 'Whether the stop is released or one more person has to ask.',
      handle: async (caller, { body, deadline }) => {
        const { reason } = body as { readonly reason: string };
        return answered(
          await service.stops.reset(caller, reason, deadline),
          (progress): AnswerOf<'reset'> => progress,
        );
      },
    },
  ];
}
