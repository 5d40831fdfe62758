// The calling end of the consoles, for the command line: a link to security's or kernel's door, and kernel as it is there.

import { consolesIn } from '#config/layout';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import { kernelConsoleClient } from '#link/kernel-console';
import { SocketLink } from '#link/socket-link';
import { connectToPath } from '#link/unix-socket';
import type { TrackName } from '#model/track-name';
import type { UnsupervisedKernel } from '#tracks/interface/cli/cli-parts';

const clock = systemClock;
/** A console that does not answer within this time is not there. */
export const ANSWER_MS_MAX = 1_000;
const READ_MS_MAX = 5_000;
const STOP_MS_MAX = 6_000;
/** The other side is trusted here, and sends events at its own pace. */
const FRAMES_PER_SECOND_MAX = 100_000;

export type Report = (error: unknown, where: string) => void;

export async function openConsoleLink(
  path: string,
  peer: TrackName,
  onError: Report,
): Promise<Outcome<SocketLink>> {
  const stream = await connectToPath(path, ANSWER_MS_MAX);
  if (!stream.ok) return stream;
  const framesPerSecondMax = FRAMES_PER_SECOND_MAX;
  const parts = { stream: stream.value, self: 'interface', peer, clock, onError } as const;
  return succeed(new SocketLink({ ...parts, framesPerSecondMax }));
}

export async function openKernelConsole(
  runDirectory: string,
  onError: Report,
): Promise<Outcome<UnsupervisedKernel>> {
  const opened = await openConsoleLink(consolesIn(runDirectory).kernelConsole, 'kernel', onError);
  if (!opened.ok) return opened;
  const link = opened.value;
  const console = kernelConsoleClient(link);
  const within = (limitMs: number) => Deadline.after(clock, limitMs);
  return succeed({
    status: () => console.status(within(ANSWER_MS_MAX)),
    read: (device, registers) => console.read({ device, registers }, within(READ_MS_MAX)),
    stop: (reason) => console.stop(reason, within(STOP_MS_MAX)),
    close: () => link.close(),
  });
}
