// A client certificate with alternative names that the agent itself never writes, signed by an authority of ours.

import { type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import {
  bitString,
  element,
  explicit,
  integer,
  objectIdentifier,
  readElements,
  readMembers,
  sequence,
  Tag,
  time,
  wholeNumber,
} from '#tracks/security/certificates/der';

const ECDSA_SHA256 = sequence(objectIdentifier('1.2.840.10045.4.3.2'));
const ALTERNATIVE_NAMES = '2.5.29.17';
const HOUR_MS = 3_600_000;

export function signWithNames(
  authorityKey: KeyObject,
  authorityPem: string,
  publicKey: KeyObject,
  names: readonly Buffer[],
): string {
  const issuerBody = readMembers(Tag.SEQUENCE, new X509Certificate(authorityPem).raw)?.[0]?.body;
  const issuer = readElements(issuerBody ?? Buffer.alloc(0))?.[5]?.whole ?? Buffer.alloc(0);
  const wallMs = Date.now();
  const alternatives = element(Tag.OCTET_STRING, sequence(...names));
  const tbs = sequence(
    explicit(0, wholeNumber(2)),
    integer(Buffer.concat([Buffer.from([0x40]), randomBytes(8)])),
    ECDSA_SHA256,
    issuer,
    sequence(time(wallMs - HOUR_MS), time(wallMs + HOUR_MS)),
    sequence(),
    publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(sequence(objectIdentifier(ALTERNATIVE_NAMES), alternatives))),
  );
  const signature = bitString(sign('sha256', tbs, authorityKey));
  const der = sequence(tbs, ECDSA_SHA256, signature).toString('base64');
  return `-----BEGIN CERTIFICATE-----\n${der.match(/.{1,64}/g)?.join('\n')}\n-----END CERTIFICATE-----\n`;
}
