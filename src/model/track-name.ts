// The three tracks and the orchestrator, with the specification's numbers, always in this order.

export const TRACKS = ['kernel', 'security', 'interface'] as const;
export type TrackName = (typeof TRACKS)[number];
export type EventSource = TrackName | 'orchestrator';

export const SOURCE_NUMBER: Readonly<Record<EventSource, number>> = {
  kernel: 1,
  security: 2,
  interface: 3,
  orchestrator: 4,
};
