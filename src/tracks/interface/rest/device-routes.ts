// The REST routes about devices: their picture, registers, comparison, history and holds, and the conflicts about them.

import { registerToJson } from '#contract/json-answer';
import {
  DeviceListSchema,
  deviceIdFromJson,
  ReasonSchema,
  type ResolveConflictJson,
  ResolveConflictSchema,
} from '#contract/json-request';
import { Type } from '#contract/json-schema';
import {
  conflictToJson,
  deviceToJson,
  historyEntryToJson,
  holdToJson,
  seenDeviceToJson,
} from '#contract/json-state';
import { succeed } from '#foundation/outcome';
import { NO_REQUIREMENTS, OperationType } from '#model/operation';
import { RiskLevel } from '#model/risk';
import type { InterfaceService } from '../service.ts';
import type { AnswerOf } from './openapi-answers.ts';
import {
  answered,
  deviceIdOf,
  ID_PARAMS,
  LIMIT_DEFAULT,
  LIST_QUERY,
  ok,
  type RestRoute,
  receiptAnswer,
  SEQUENCE,
  strict,
} from './rest-route.ts';

export function deviceRoutes(service: InterfaceService): readonly RestRoute[] {
  const { devices } = service;
  return [
    {
      key: 'devices',
      answer: 'Devices with status, and whether the picture is stale.',
      handle: (caller) =>
        ok<AnswerOf<'devices'>>({
          stale: service.picture.stale(),
          devices: devices.devices(caller).map(deviceToJson),
        }),
    },
    {
      key: 'device',
      params: ID_PARAMS,
      answer: 'One device with its registers.',
      handle: (caller, { params }) => {
        const id = deviceIdOf(params.id ?? '');
        if (!id.ok) return id;
        return answered(
          devices.device(caller, id.value),
          (seen): AnswerOf<'device'> => ({
            ...seenDeviceToJson(seen),
            registers: seen.device.registers.map(registerToJson),
          }),
        );
      },
    },
    {
      key: 'readRegisters',
      params: ID_PARAMS,
      query: Type.Object({ names: Type.Optional(Type.String({ maxLength: 8192 })) }, strict),
      answer: 'The receipt of a READ with one reading for each register.',
      handle: async (caller, { params, query, deadline }) => {
        const id = deviceIdOf(params.id ?? '');
        if (!id.ok) return id;
        const names = query.names === undefined || query.names === '' ? [] : query.names.split(',');
        const receipt = await service.operate(
          caller,
          {
            operationId: '',
            type: OperationType.READ,
            targets: [{ deviceId: id.value, registers: names.map((register) => ({ register })) }],
            requirements: NO_REQUIREMENTS,
            justification: '',
            confirmedRisk: RiskLevel.UNKNOWN,
            dryRun: false,
            involved: [],
            claims: '',
          },
          deadline,
        );
        return receipt.ok ? succeed(receiptAnswer(receipt.value)) : receipt;
      },
    },
    {
      key: 'synchronize',
      body: Type.OrNothing(Type.Object({ devices: DeviceListSchema }, strict)),
      answer: 'Devices as all tracks together see them; `finding` says why they were not compared.',
      handle: async (caller, { body, deadline }) => {
        const asked = (body ?? {}) as { readonly devices?: readonly (number | string)[] };
        const ids = (asked.devices ?? []).map(deviceIdFromJson);
        const compared = await devices.synchronize(caller, ids, deadline);
        return answered(
          compared,
          ({ devices: seen, finding }): AnswerOf<'synchronize'> => ({
            stale: finding !== '' || service.picture.stale(),
            finding,
            devices: seen.map(seenDeviceToJson),
          }),
        );
      },
    },
    {
      key: 'history',
      params: ID_PARAMS,
      query: LIST_QUERY,
      answer: 'What changed, newest first, at most `limit` lines.',
      handle: async (caller, { params, query, deadline }) => {
        const id = deviceIdOf(params.id ?? '');
        if (!id.ok) return id;
        const limit = Number(query.limit ?? LIMIT_DEFAULT);
        const entries = await devices.history(caller, id.value, limit, deadline);
        return answered(
          entries,
          (list): AnswerOf<'history'> => ({ history: list.map(historyEntryToJson) }),
        );
      },
    },
    {
      key: 'releaseDevice',
      params: ID_PARAMS,
      body: ReasonSchema,
      answer: 'Whether the device is released or one more person has to ask.',
      handle: async (caller, { params, body, deadline }) => {
        const id = deviceIdOf(params.id ?? '');
        if (!id.ok) return id;
        const { reason } = body as { readonly reason: string };
        const progress = await devices.release(caller, id.value, reason, deadline);
        return answered(progress, (value): AnswerOf<'releaseDevice'> => value);
      },
    },
    {
      key: 'quarantineDevice',
      params: ID_PARAMS,
      body: ReasonSchema,
      answer: 'The hold; nobody touches the device until two people release it.',
      handle: async (caller, { params, body, deadline }) => {
        const id = deviceIdOf(params.id ?? '');
        if (!id.ok) return id;
        const { reason } = body as { readonly reason: string };
        return answered(await devices.quarantine(caller, id.value, reason, deadline), holdToJson);
      },
    },
  ];
}

export function conflictRoutes(service: InterfaceService): readonly RestRoute[] {
  const { devices } = service;
  return [
    {
      key: 'conflicts',
      answer: 'Conflicts that wait for a person, then the last settled ones.',
      handle: async (caller, { deadline }) =>
        answered(
          await devices.conflicts(caller, deadline),
          (list): AnswerOf<'conflicts'> => ({
            conflicts: list.map(conflictToJson),
          }),
        ),
    },
    {
      key: 'resolveConflict',
      params: Type.Object({ id: SEQUENCE }, strict),
      body: ResolveConflictSchema,
      answer: 'The conflict as it was settled.',
      handle: async (caller, { params, body, deadline }) => {
        const { answer, reason } = body as ResolveConflictJson;
        const id = Number(params.id);
        const settled = await devices.resolveConflict(caller, id, answer, reason, deadline);
        return answered(settled, conflictToJson);
      },
    },
  ];
}
