// Has a server listen at an address or path, and says so when it cannot.
// Faults: CONFIG_INVALID with the place when the address cannot be bound.

import type { ListenOptions, Server } from 'node:net';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';

export async function listenOn(
  server: Server,
  options: ListenOptions,
  place: string,
): Promise<Outcome<void>> {
  return new Promise((resolve) => {
    const failed = (error: Error): void => {
      const finding = 'the address cannot be bound';
      resolve(refuse(fault('CONFIG_INVALID', { place, finding, internal: describeError(error) })));
    };
    server.once('error', failed);
    server.listen(options, () => {
      server.off('error', failed);
      resolve(succeed(undefined));
    });
  });
}
