// Reading the far end: addresses, bearer headers, and names in certificates.

import type { PeerCertificate } from 'node:tls';
import { expect, it } from 'vitest';
import {
  addressOf,
  bearerCredential,
  certificateCredential,
  networkOf,
} from '#tracks/interface/peer';

it.each([
  ['ipv4:127.0.0.1:40312', '127.0.0.1'],
  ['127.0.0.1:40312', '127.0.0.1'],
  ['ipv6:[::1]:40312', '::1'],
  ['[fe80::1%eth0]:1', 'fe80::1%eth0'],
])('takes the address of %s', (peer, address) => {
  expect(addressOf(peer)).toBe(address);
});

it.each([
  ['127.0.0.1', '127.0.0.1'],
  ['::ffff:127.0.0.1', '127.0.0.1'],
  ['::ffff:7f00:1', '127.0.0.1'],
  ['::1', '::1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
  ['2001:DB8:0001:2::a.b'.replace('a.b', '1.2.3.4'), '2001:db8:1:2::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['uid 0', 'uid 0'],
  ['unknown', 'unknown'],
])('holds %s to the limits of %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});

it.each([
  '',
  'Bearer',
  'Bearer ',
  'Bearer a b',
  'Basic abc',
  'Bearer a\nb',
  `Bearer ${'x'.repeat(4097)}`,
])('finds no token in %j', (header) => {
  expect(bearerCredential(header)).toBeNull();
});

function certificate(subjectaltname: string): PeerCertificate {
  return { subjectaltname, fingerprint256: 'AA:BB' } as PeerCertificate;
}

it('takes the one URI of a certificate and refuses several, none and quoted ones', () => {
  expect(certificateCredential(certificate('DNS:host, URI:urn:dsmil:person:a'))).toEqual({
    kind: 'certificate',
    uri: 'urn:dsmil:person:a',
    fingerprint: 'AA:BB',
  });
  // Node quotes a name that holds a separator, as an attacker's would.
  const forged = 'URI:"urn:x\\u002c URI:urn:dsmil:person:a"';
  for (const names of ['', 'DNS:host', 'URI:a, URI:b', forged, 'URI:']) {
    expect(certificateCredential(certificate(names))).toBeNull();
  }
});
