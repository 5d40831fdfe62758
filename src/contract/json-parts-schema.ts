// Schemas of the small forms that every JSON answer is made of: times, devices, register contents, risks and faults.

import type { Metal } from '#foundation/fault';
import { FAULT_CATALOGUE, type FaultCode, type Retry } from '#foundation/fault-catalogue';
import { CLEARANCE_NAMES, COMPARTMENTS } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { type EventSource, TRACKS } from '#model/track-name';
import type { deviceRef } from './json-parts.ts';
import { Answer, named, type Schema, type SentBy } from './typed-schema.ts';

const { Text, Integer, Names, NamesOf, OrNull, List } = Answer;

export const TimeSchema = named(
  'Time',
  Text({
    format: 'date-time',
    description: 'RFC 3339 in UTC, by the wall clock of the appliance.',
  }),
);
export const TimeOrNullSchema = OrNull(TimeSchema, 'null for never, or for an open end.');
/** A length of time, milliseconds. */
export const durationMs = (description: string) =>
  Answer.Number({ minimum: 0, description: `${description} Milliseconds, with fractions.` });

/** Raw register content. */
export const WordTextSchema = named(
  'Word',
  Text({
    pattern: '^0x[0-9A-F]{1,16}$',
    description: 'Raw content of a register: unsigned, at most 64 bits, as 0x-hexadecimal text.',
  }),
);
export const TokenTextSchema = named(
  'DeviceToken',
  Text({
    pattern: '^0x[0-9A-F]{4}$',
    description: 'Token of a device: 0x8000 + group * 0x10 + index.',
  }),
);
export const LinearIdSchema = named(
  'LinearId',
  Integer({ maximum: 83, description: 'Linear id of a device: group * 12 + index.' }),
);
/** What names the device in whatever is about one. */
export const deviceMembers = { device: LinearIdSchema, token: TokenTextSchema };
export const DeviceRefSchema = named(
  'DeviceReference',
  Answer.Object(deviceMembers, 'A device by both of its numbers.') satisfies Schema<
    SentBy<typeof deviceRef>
  >,
);

export const RiskNameSchema = named(
  'Risk',
  NamesOf(RiskLevel, 'UNKNOWN counts as worse than everything else.'),
);
export const ClearanceNameSchema = named('Clearance', Names(CLEARANCE_NAMES, 'The lowest first.'));
export const CompartmentsSchema = List(named('Compartment', Names(COMPARTMENTS)));
export const TrackNameSchema = named('Track', Names(TRACKS));
export const EventSourceSchema = named(
  'Source',
  Names([...TRACKS, 'orchestrator']) satisfies Schema<EventSource>,
);
export const SentencesSchema = List(Text());
export const SequenceSchema = Integer('Sequence of an entry of the audit chain.');

export const MetalSchema = named(
  'Metal',
  Names(
    ['untouched', 'touched', 'unknown'],
    'Whether a register may have been written before this came about.',
  ) satisfies Schema<Metal>,
);
export const FaultCodeSchema = named(
  'FaultCode',
  Names(
    Object.keys(FAULT_CATALOGUE) as FaultCode[],
    'Stable; `dsmil explain CODE` says what it means and what to do.',
  ),
);
export const RetrySchema = Names(
  ['now', 'later', 'never'],
  'Whether the same request can succeed: at once, after a while, or never.',
) satisfies Schema<Retry>;

/** What a problem and a fault inside an answer have in common. */
export const faultMembers = {
  code: FaultCodeSchema,
  place: Text('Where: a device, a register, a member of the request.'),
  finding: Text('What was found there, with units.'),
  consequence: Text('What follows for the person or the device.'),
  metal: MetalSchema,
};
