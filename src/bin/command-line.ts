// What every process of the agent is told at its start: directories, board and how to say that it is ready.

import { writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Layout, layoutOf } from '#config/layout';
import { sdNotify } from '#drivers/native/host';

export interface ProcessArguments {
  readonly layout: Layout;
  readonly board: string;
  /** The safety policy that was asked for; absent for the site's own, if there is one. */
  readonly safety?: string;
  /** `${NAME}` in the board file. */
  readonly variables: Readonly<Record<string, string>>;
  readonly http: HostPort;
  readonly grpc: HostPort;
  /** Open at once over the network doors of interface, in all and from one address; absent for the usual numbers. */
  readonly connections?: { readonly total: number; readonly perAddress: number };
  /** Host names and addresses that panels reach this machine under, beside its own name; for security. */
  readonly names: readonly string[];
  /** Where interface posts the checkpoints of the audit chain to. */
  readonly witness?: string;
}

/** Profiles shipped with the agent first, then the site's own. */
export const PROFILE_DIRECTORIES: readonly string[] = [
  fileURLToPath(new URL('../../drivers/profiles', import.meta.url)),
  '/etc/dsmil/profiles',
];

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** `127.0.0.1:8443` or `[::1]:0`; port 0 picks a free one. */
export function parseHostPort(text: string): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535)
    throw new Error(`${text}: not HOST:PORT with a port of 0 to 65535`);
  return { host: match[1] ?? match[2] ?? '', port };
}

/** The unit of interface allows 4,096 open files, which are not for connections alone. */
const CONNECTIONS_MAX = 3_000;

/** `768:256`: so many connections in all, so many of them from one address. */
export function parseConnections(text: string): {
  readonly total: number;
  readonly perAddress: number;
} {
  const match = /^(\d{1,5}):(\d{1,5})$/.exec(text);
  const [total, perAddress] = [Number(match?.[1]), Number(match?.[2])];
  if (!(perAddress >= 1 && perAddress <= total && total <= CONNECTIONS_MAX)) {
    const wanted = `not TOTAL:PER-ADDRESS with 1 <= PER-ADDRESS <= TOTAL <= ${CONNECTIONS_MAX}`;
    throw new Error(`--connections ${text}: ${wanted}`);
  }
  return { total, perAddress };
}

export function readProcessArguments(): ProcessArguments {
  const { values } = parseArgs({
    options: {
      'state-dir': { type: 'string', default: '/var/lib/dsmil' },
      'run-dir': { type: 'string', default: '/run/dsmil' },
      board: { type: 'string', default: '/etc/dsmil/board.yaml' },
      safety: { type: 'string' },
      variable: { type: 'string', multiple: true, default: [] },
      http: { type: 'string', default: '0.0.0.0:8443' },
      grpc: { type: 'string', default: '0.0.0.0:8444' },
      connections: { type: 'string' },
      name: { type: 'string', multiple: true, default: [] },
      witness: { type: 'string' },
    },
  });
  const variables: Record<string, string> = {};
  for (const pair of values.variable) {
    const at = pair.indexOf('=');
    if (at < 1) throw new Error(`--variable ${pair}: not NAME=VALUE`);
    variables[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return {
    layout: layoutOf(values['state-dir'], values['run-dir']),
    board: values.board,
    ...(values.safety === undefined ? {} : { safety: values.safety }),
    variables,
    http: parseHostPort(values.http),
    grpc: parseHostPort(values.grpc),
    ...(values.connections === undefined
      ? {}
      : { connections: parseConnections(values.connections) }),
    names: values.name,
    ...(values.witness === undefined ? {} : { witness: values.witness }),
  };
}

/** A signal, or the end of the development supervisor. */
export type EndReason = 'asked' | 'orphaned';

/**
 * Calls `end` once: at SIGTERM or SIGINT, and under the development supervisor (`DSMIL_SUPERVISED=stdin`) when its end
 * of standard input closes, so that nothing it started outlives it however it ended.
 */
export function endOnRequest(end: (reason: EndReason) => void): void {
  let ending = false;
  const once = (reason: EndReason) => {
    if (ending) return;
    ending = true;
    end(reason);
  };
  const ask = () => once('asked');
  const orphan = () => once('orphaned');
  // Stay registered: a second Ctrl-C must not cut short the way to the safe values.
  process.on('SIGTERM', ask);
  process.on('SIGINT', ask);
  if (process.env.DSMIL_SUPERVISED !== 'stdin') return;
  process.stdin.on('error', orphan);
  process.stdin.on('close', orphan);
  process.stdin.resume();
}

/** Tells systemd (sd_notify(3)), or the supervisor on the descriptor it named, that this process answers. */
export function announceReady(facts: Readonly<Record<string, string | number>>): void {
  sdNotify('READY=1');
  const descriptor = Number(process.env.DSMIL_READY_FD ?? Number.NaN);
  if (Number.isInteger(descriptor)) writeSync(descriptor, `${JSON.stringify(facts)}\n`);
}
