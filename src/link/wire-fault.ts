// Faults as they travel over a link: checked on arrival, stripped of machine details towards the network.

import type { Fault, Metal } from '#foundation/fault';
import { fault } from '#foundation/fault';
import { isFaultCode } from '#foundation/fault-catalogue';
import type { TrackName } from '#model/track-name';

const TEXT_MAX = 4096;

/** The interface process talks to the network, so errno and paths stay on this side of it. */
export function faultForPeer(value: Fault, peer: TrackName): Fault {
  if (peer !== 'interface' || value.internal === undefined) return value;
  const { internal: _internal, ...rest } = value;
  return rest;
}

function isMetal(value: unknown): value is Metal {
  return value === 'untouched' || value === 'touched' || value === 'unknown';
}

function text(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TEXT_MAX;
}

/** The fault a peer sent; anything that is not one from the catalogue becomes LINK_PROTOCOL. */
export function faultFromPeer(value: unknown, peer: TrackName): Fault {
  const given = (typeof value === 'object' && value !== null ? value : {}) as Record<
    string,
    unknown
  >;
  const { code, place, finding, consequence, metal, internal } = given;
  const known = typeof code === 'string' && isFaultCode(code);
  if (!known || !isMetal(metal) || !text(place) || !text(finding) || !text(consequence)) {
    const named = typeof code === 'string' ? code.slice(0, 64) : typeof code;
    return fault('LINK_PROTOCOL', {
      place: `${peer} track`,
      finding: `answered with a fault outside the catalogue (${named})`,
      metal: 'unknown',
    });
  }
  const base = { code, place, finding, consequence, metal } satisfies Fault;
  return text(internal) ? { ...base, internal } : base;
}
