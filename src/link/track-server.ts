// Serves a track to the process at the other end of a link: checks every body, then hands it over.

import type { Deadline } from '#foundation/deadline';
import { FaultError } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import type { KernelTrack, Track } from '#model/track';
import type { Link } from './link.ts';
import {
  assessRequestShape,
  authorizationKeysShape,
  authorizationShape,
  commitRequestShape,
  deviceIds,
  identifier,
  intentShape,
  liftRequestShape,
  prepareRequestShape,
  recoveryRequestShape,
  selectRequestShape,
  stopOrderShape,
  supervisionShape,
} from './message-schema.ts';
import { conform, type Shape } from './shape.ts';

/** Devices, or nothing for all of them. */
const someDevices: Shape<readonly number[] | undefined> = (value) =>
  value === undefined ? null : deviceIds(value);

/** Milliseconds up to a day, or nothing. */
const somePeriod: Shape<number | undefined> = (value) =>
  value === undefined ||
  (Number.isInteger(value) && Number(value) > 0 && Number(value) <= 86_400_000)
    ? null
    : ': no period';

/** Registers a handler whose body is checked first; a body that does not fit is refused and nothing is done. */
export function serveChecked<T>(
  link: Link,
  method: string,
  shape: Shape<T>,
  handle: (body: T, deadline: Deadline) => Promise<Outcome<unknown>>,
): void {
  link.serve(method, async (body, deadline) => {
    const checked = conform(shape, body, method);
    return checked.ok ? handle(checked.value, deadline) : checked;
  });
}

/** Hands a notice on once its body is checked; one that does not fit is an error of its sender, and nothing is done. */
export function listenChecked<T>(
  link: Link,
  method: string,
  shape: Shape<T>,
  listen: (body: T) => void,
): void {
  link.onNotice(method, (body) => {
    const checked = conform(shape, body, method);
    if (!checked.ok) throw new FaultError(checked.fault);
    listen(checked.value);
  });
}

export function serveTrack(link: Link, track: Track): void {
  serveChecked(link, 'track.assess', assessRequestShape, (body, deadline) =>
    track.assess(body, deadline),
  );
  serveChecked(link, 'track.prepare', prepareRequestShape, (body, deadline) =>
    track.prepare(body, deadline),
  );
  serveChecked(link, 'track.commit', commitRequestShape, (body, deadline) =>
    track.commit(body, deadline),
  );
  serveChecked(link, 'track.abort', identifier, (body, deadline) => track.abort(body, deadline));
  serveChecked(link, 'track.stop', stopOrderShape, (body, deadline) => track.stop(body, deadline));
  serveChecked(link, 'track.snapshot', someDevices, (devices, deadline) =>
    track.snapshot(deadline, devices),
  );
}

export function serveKernelTrack(link: Link, track: KernelTrack): void {
  serveTrack(link, track);
  serveChecked(link, 'track.plan', intentShape, (body, deadline) => track.plan(body, deadline));
  serveChecked(link, 'track.trust', authorizationKeysShape, (body, deadline) =>
    track.trust(body, deadline),
  );
  serveChecked(link, 'track.select', selectRequestShape, (body, deadline) =>
    track.select(body, deadline),
  );
  serveChecked(link, 'track.supervise', supervisionShape, (body, deadline) =>
    track.supervise(body, deadline),
  );
  serveChecked(link, 'track.lift', liftRequestShape, (body, deadline) =>
    track.lift(body, deadline),
  );
  serveChecked(link, 'track.recover', recoveryRequestShape, (body, deadline) =>
    track.recover(body, deadline),
  );
  serveChecked(link, 'track.observe', deviceIds, (body, deadline) => track.observe(body, deadline));
  serveChecked(link, 'track.test-stop', somePeriod, (periodMs, deadline) =>
    track.testStop(deadline, periodMs),
  );
  serveChecked(link, 'track.release-stop', authorizationShape, (body, deadline) =>
    track.releaseStop(body, deadline),
  );
}
