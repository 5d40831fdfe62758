// Where the doors of a running agent are: interface says so in the run directory, and who works at the machine reads it.
// Invariants: written whole or not at all; holds no secret; a reader takes nothing from it but addresses.
// Faults: TRACK_UNAVAILABLE where there is none or it cannot be read.

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { doorsIn } from '#config/layout';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { parseHostPort } from './command-line.ts';

export interface DoorsFile {
  /** `https://HOST:PORT`, as interface listens. */
  readonly http: string;
  /** `HOST:PORT`. */
  readonly grpc: string;
  /** Directory of the simulator that serves every bus; null for real hardware. */
  readonly simulator: string | null;
}

export interface Door {
  readonly host: string;
  readonly port: number;
}

export interface Doors {
  readonly http: Door;
  readonly grpc: Door;
  readonly simulator: string | null;
}

/** People who may use the local socket may read it; its group is that of the directory. */
const MODE = 0o640;

export function writeDoors(runDirectory: string, doors: DoorsFile): void {
  const path = doorsIn(runDirectory);
  writeFileSync(`${path}.new`, `${JSON.stringify(doors)}\n`, { mode: MODE });
  renameSync(`${path}.new`, path);
}

export function readDoors(runDirectory: string): Outcome<Doors> {
  try {
    const text = readFileSync(doorsIn(runDirectory), 'utf8');
    const { http, grpc, simulator } = JSON.parse(text) as DoorsFile;
    return succeed({
      http: reachable(parseHostPort(http.replace(/^https:\/\//, ''))),
      grpc: reachable(parseHostPort(grpc)),
      simulator: typeof simulator === 'string' ? simulator : null,
    });
  } catch (error) {
    const finding = 'says nothing of the addresses of its doors';
    const internal = describeError(error);
    return refuse(fault('TRACK_UNAVAILABLE', { place: 'interface', finding, internal }));
  }
}

/** A door on all addresses is tried at the one that is always there. */
function reachable({ host, port }: Door): Door {
  if (host === '0.0.0.0' || host === '::' || host === 'localhost')
    return { host: '127.0.0.1', port };
  return { host, port };
}
