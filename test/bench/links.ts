// The round trip of 256 bytes between two processes, beside a unix socket and beside two C processes on a futex.

import {
  measureFutexPair,
  measureLinkRequest,
  measureLinkRoundTrip,
  measureSocketRoundTrip,
  type RoundTrips,
} from './link-round-trip.ts';
import { type BenchRow, rowOf, scaled } from './row.ts';

const COUNT = 20_000;

export async function benchLinks(): Promise<readonly BenchRow[]> {
  const link = await measureLinkRoundTrip({ count: COUNT });
  const request = await measureLinkRequest({ count: COUNT });
  const socket = await measureSocketRoundTrip({ count: COUNT });
  const apart = await measureFutexPair({ count: COUNT, placement: 'apart' });
  const any = await measureFutexPair({ count: COUNT });
  const row = (
    name: string,
    figure: RoundTrips,
    beside: string,
    limit: RoundTrips,
    goal?: number,
  ) =>
    rowOf({
      name,
      bus: 'link',
      unit: 'us',
      n: figure.n,
      figure: scaled(figure, 1_000),
      beside: { name: beside, ...scaled(limit, 1_000) },
      ...(goal === undefined
        ? {}
        : {
            goal: {
              text: `P95 <= ${goal} x`,
              reached: (_: unknown, ratio: number) => ratio <= goal,
            },
          }),
    });
  return [
    row('link frame round trip, 256 bytes', link, 'C futex pair on two processors', apart, 1.3),
    row('link frame round trip, 256 bytes', link, 'C futex pair where the scheduler puts it', any),
    row('link frame round trip, 256 bytes', link, 'unix socket between two Node processes', socket),
    row(
      'link request with codec and deadline',
      request,
      'unix socket between two Node processes',
      socket,
    ),
  ];
}
