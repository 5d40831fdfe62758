// Where the agent keeps its files: a state directory that lasts and a run directory for one boot.

import { join } from 'node:path';

export interface Layout {
  readonly stateDirectory: string;
  readonly runDirectory: string;
  /** Audit chain, journal and stop causes; security only. */
  readonly database: string;
  readonly accounts: string;
  /** Signs audit checkpoints; security only. */
  readonly checkpointKey: string;
  readonly pki: {
    readonly authority: string;
    readonly authorityKey: string;
    readonly server: string;
    readonly serverKey: string;
    readonly peopleDirectory: string;
  };
  /** Security's public key of this boot, for kernel. */
  readonly authorizationKey: string;
  readonly localSocket: string;
  /** Security's own door for people at this machine, when interface does not answer. */
  readonly securityConsole: string;
  /** Kernel's own door for the administrator of this machine, when security does not answer either. */
  readonly kernelConsole: string;
  /** Devices quarantined at run time, for a kernel process that starts again; kernel only. */
  readonly quarantine: string;
}

export function layoutOf(stateDirectory: string, runDirectory: string): Layout {
  const state = (...parts: string[]) => join(stateDirectory, ...parts);
  return {
    stateDirectory,
    runDirectory,
    database: state('security', 'agent.db'),
    accounts: state('security', 'accounts.json'),
    checkpointKey: state('security', 'checkpoint-key.pem'),
    pki: {
      authority: state('pki', 'ca.pem'),
      authorityKey: state('security', 'ca-key.pem'),
      server: state('interface', 'server.pem'),
      serverKey: state('interface', 'server-key.pem'),
      peopleDirectory: state('pki', 'people'),
    },
    authorizationKey: join(runDirectory, 'authorization-key.pem'),
    localSocket: join(runDirectory, 'agent.sock'),
    quarantine: join(runDirectory, 'quarantine.json'),
    ...consolesIn(runDirectory),
  };
}

/** Also for whoever knows the run directory alone, as the command line does. */
export function consolesIn(
  runDirectory: string,
): Pick<Layout, 'securityConsole' | 'kernelConsole'> {
  return {
    securityConsole: join(runDirectory, 'security.sock'),
    kernelConsole: join(runDirectory, 'kernel.sock'),
  };
}
