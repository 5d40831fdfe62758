// Where the agent keeps its files: a state directory that lasts and a run directory for one boot.

import { join } from 'node:path';
import type { TrackName } from '#model/track-name';

export interface Layout {
  readonly stateDirectory: string;
  readonly runDirectory: string;
  /** Audit chain, journal and stop causes; security only. */
  readonly database: string;
  /** Signs audit checkpoints; security only. */
  readonly checkpointKey: string;
  /** Seals secrets in the database; security only. */
  readonly sealingKey: string;
  readonly pki: {
    /** The authority's certificate, for panels; public. */
    readonly authority: string;
    /** Security only. */
    readonly authorityKey: string;
    /** Key and certificate of the TLS servers with what they judge clients by; interface only. */
    readonly server: string;
    /** Client certificates of the people of a demonstration. */
    readonly peopleDirectory: string;
  };
  readonly localSocket: string;
  /** Security's own door for people at this machine, when interface does not answer. */
  readonly securityConsole: string;
  /** Kernel's own door for the administrator of this machine, when security does not answer either. */
  readonly kernelConsole: string;
  /** Devices quarantined at run time, for a kernel process that starts again; kernel only. */
  readonly quarantine: string;
  /** What `dsmil-safe-drive` does when kernel is gone; kernel only. */
  readonly safeDrivePlan: string;
  /** The stop latch; one directory in it for each track, and one for people. */
  readonly stopDirectory: string;
}

export function layoutOf(stateDirectory: string, runDirectory: string): Layout {
  const state = (...parts: string[]) => join(stateDirectory, ...parts);
  const run = (...parts: string[]) => join(runDirectory, ...parts);
  return {
    stateDirectory,
    runDirectory,
    database: state('security', 'agent.db'),
    checkpointKey: state('security', 'checkpoint-key.pem'),
    sealingKey: state('security', 'sealing-key'),
    pki: {
      authority: state('pki', 'ca.pem'),
      authorityKey: state('security', 'ca-key.pem'),
      server: state('interface', 'server.json'),
      peopleDirectory: state('pki', 'people'),
    },
    localSocket: run('interface', 'agent.sock'),
    quarantine: run('kernel', 'quarantine.json'),
    safeDrivePlan: run('kernel', 'safe-drive.plan'),
    stopDirectory: run('stop'),
    ...consolesIn(runDirectory),
  };
}

/** Also for whoever knows the run directory alone, as the command line does. */
export function consolesIn(
  runDirectory: string,
): Pick<Layout, 'securityConsole' | 'kernelConsole'> {
  return {
    securityConsole: join(runDirectory, 'security', 'security.sock'),
    kernelConsole: join(runDirectory, 'kernel', 'kernel.sock'),
  };
}

/** Where interface says at which addresses it listens; for people at this machine. */
export function doorsIn(runDirectory: string): string {
  return join(runDirectory, 'interface', 'doors.json');
}

/** The directory of one link's files; the earlier of kernel, security, interface comes first in its name. */
export function linkDirectoryOf(
  runDirectory: string,
  pair: 'kernel-security' | 'security-interface',
): string {
  return join(runDirectory, 'links', pair);
}

/** Groups of users: who shares the link of kernel and security, that of security and interface, the latch; and people. */
export const RUN_GROUPS = ['authority', 'requests', 'stop', 'people'] as const;
export type RunGroup = (typeof RUN_GROUPS)[number];

/** The groups each track's user belongs to; `people` are members of none of these. */
export const RUN_GROUPS_OF: Readonly<Record<TrackName, readonly RunGroup[]>> = {
  kernel: ['authority', 'stop'],
  security: ['authority', 'requests', 'stop'],
  interface: ['requests', 'stop'],
};

/** One directory below the run directory, as systemd/tmpfiles.d-dsmil.conf makes it. */
export interface RunPlace {
  /** Relative to the run directory; empty for itself. */
  readonly path: string;
  readonly owner: 'root' | TrackName;
  /** Whose files are in it; null for the owner's own group. */
  readonly group: RunGroup | null;
  /** With set-group-id what is made inside belongs to the group; sticky where two users make files. */
  readonly mode: number;
}

export const RUN_PLACES: readonly RunPlace[] = [
  { path: '', owner: 'root', group: null, mode: 0o755 },
  { path: 'kernel', owner: 'kernel', group: null, mode: 0o700 },
  { path: 'security', owner: 'security', group: 'people', mode: 0o2755 },
  { path: 'interface', owner: 'interface', group: 'people', mode: 0o2755 },
  { path: 'links', owner: 'root', group: null, mode: 0o755 },
  { path: 'links/kernel-security', owner: 'root', group: 'authority', mode: 0o3770 },
  { path: 'links/security-interface', owner: 'root', group: 'requests', mode: 0o3770 },
  { path: 'stop', owner: 'root', group: null, mode: 0o755 },
  { path: 'stop/kernel', owner: 'kernel', group: 'stop', mode: 0o2750 },
  { path: 'stop/security', owner: 'security', group: 'stop', mode: 0o2750 },
  { path: 'stop/interface', owner: 'interface', group: 'stop', mode: 0o2750 },
  { path: 'stop/people', owner: 'kernel', group: 'people', mode: 0o2755 },
];
