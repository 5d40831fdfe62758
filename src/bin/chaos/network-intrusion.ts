// Comes over the network with what should open nothing: certificates of a foreign authority, pages of another site,
// tokens in URLs, stolen-looking tokens, and bytes that are no TLS, no HTTP and no WebSocket.

import { randomBytes } from 'node:crypto';
import { REST_BASE } from '#model/operation-table';
import { certificateUri } from '#tracks/security/certificates/authority';
import type { Attack, Ground } from './attack.ts';
import type { Attacker } from './attacker.ts';
import { foreignCertificate } from './foreign-authority.ts';
import { INCIDENT, refusedWith } from './signs.ts';

interface Tried {
  readonly what: string;
  /** Whether it was kept out. */
  readonly out: boolean;
  readonly how: string;
}

/** Security writes entries in groups, some milliseconds after their cause. */
const SETTLE_MS = 150;

export const networkIntrusion: Attack = {
  scenario: 'network-intrusion',
  async run(ground: Ground) {
    const { signs, progress, exercise, observer } = ground;
    const attacker = ground.attacker(0);
    signs.began();
    const groups: readonly (readonly [string, () => Promise<readonly Tried[]>])[] = [
      ['tokens that were never given', () => foreignTokens(attacker)],
      [
        'a certificate of a foreign authority',
        () => foreignCertificates(attacker, exercise.startedBy),
      ],
      ['pages of another site, and tokens in URLs', () => foreignPages(attacker, exercise.token)],
      ['bytes that are no TLS, no HTTP and no WebSocket', () => malformedBytes(ground, attacker)],
    ];
    const tried: Tried[] = [];
    const traces: string[] = [];
    for (const [what, attempt] of groups) {
      progress(what);
      const before = await countOurs(ground);
      tried.push(...(await attempt()));
      const left = (await countOurs(ground)) - before;
      traces.push(`${what}: ${left === 0 ? 'no entry of its own' : `${left} entries on record`}`);
    }
    const looked = await signs.look([
      {
        what: 'credentials that are worth nothing',
        matches: ({ event }) => event === 'AUTHENTICATION_FAILED',
      },
      {
        what: 'a certificate of a foreign authority',
        matches: refusedWith('CERTIFICATE_REFUSED'),
      },
      { what: 'pages of another site', matches: refusedWith('ORIGIN_REFUSED') },
      INCIDENT,
    ]);
    const alive = await observer.status();
    const inside = tried.filter(({ out }) => !out);
    return {
      detected: looked.all,
      evidence: [
        ...looked.evidence,
        ...(await signs.incidentSentences()),
        ...traces,
        ...tried.map(({ what, how }) => `${what}: ${how}`),
      ],
      responseMs: signs.responseMs,
      contained: inside.length === 0 && alive.auditSequence > 0,
      containment:
        inside.length === 0
          ? `all ${tried.length} ways in were closed, and the agent answers as before`
          : `LET IN: ${inside.map(({ what }) => what).join(', ')}`,
    };
  },
};

/** Entries of this attack so far; those of the last moment may still be on their way. */
async function countOurs({ observer, signs }: Ground): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  return (await observer.entries()).filter((entry) => signs.isOurs(entry)).length;
}

async function foreignTokens(attacker: Attacker): Promise<readonly Tried[]> {
  const tokens = [
    randomBytes(32).toString('base64url'),
    `dsmil_${randomBytes(32).toString('base64url')}`,
    'null',
    '../../etc/passwd',
  ];
  const tried: Tried[] = [];
  for (const [index, token] of tokens.entries()) {
    const { status, code } = await attacker.call({ path: 'auth/me', token, fresh: true });
    tried.push({
      what: `an invented token (${index + 1})`,
      out: status === 401 || status === 400,
      how: `${status} ${code}`,
    });
  }
  return tried;
}

/** In the name of who started the exercise: a certificate counts by its authority, not by what it says. */
async function foreignCertificates(attacker: Attacker, account: string): Promise<readonly Tried[]> {
  const certificate = await foreignCertificate(certificateUri(account));
  const calls = [
    { what: 'a foreign certificate, to see oneself', path: 'auth/me' },
    { what: 'a foreign certificate, to see accounts', path: 'accounts' },
  ];
  const tried: Tried[] = [];
  for (const { what, path } of calls) {
    const { status, code } = await attacker.call({ path, token: null, certificate });
    tried.push({
      what,
      out: status !== 200,
      how: status === 0 ? `the connection was cut (${code})` : `${status} ${code}`,
    });
  }
  return tried;
}

async function foreignPages(attacker: Attacker, token: string): Promise<readonly Tried[]> {
  const origin = 'https://pages.invalid';
  const tried: Tried[] = [];
  const page = await attacker.webSocket({ headers: { origin } });
  tried.push({
    what: 'a WebSocket of another site',
    out: !page.upgraded,
    how: `${page.status} ${page.code}`,
  });
  const fetched = await attacker.call({ path: 'auth/me', headers: { origin } });
  tried.push({
    what: 'a request of another site',
    out: fetched.status === 403,
    how: `${fetched.status} ${fetched.code}`,
  });
  const quiet = await attacker.call({
    path: 'auth/me',
    headers: { 'sec-fetch-site': 'cross-site' },
  });
  tried.push({
    what: 'a request that a browser calls cross-site',
    out: quiet.status === 403,
    how: `${quiet.status} ${quiet.code}`,
  });
  // An invented token: what stands in a URL is in logs, and the one of the exercise is worth something.
  const shown = randomBytes(token.length).toString('base64url');
  for (const name of ['token', 'access_token', 'Session']) {
    const inUrl = await attacker.call({ path: `auth/me?${name}=${shown}`, token: null });
    tried.push({
      what: `a URL with ${name} in it`,
      out: inUrl.status === 400,
      how: `${inUrl.status} ${inUrl.code}`,
    });
  }
  const upgrade = await attacker.webSocket({ path: `${REST_BASE}/ws?token=${shown}`, token: null });
  tried.push({
    what: 'a WebSocket with a token in its URL',
    out: !upgrade.upgraded,
    how: `${upgrade.status} ${upgrade.code}`,
  });
  return tried;
}

async function malformedBytes(ground: Ground, attacker: Attacker): Promise<readonly Tried[]> {
  const { host, port } = ground.doors.http;
  const line = (text: string) => Buffer.from(`${text}\r\nHost: ${host}:${port}\r\n`);
  const upgrade = Buffer.concat([
    line(`GET ${REST_BASE}/ws HTTP/1.1`),
    Buffer.from(
      `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
    ),
  ]);
  const smuggled = `Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET ${REST_BASE}/accounts HTTP/1.1\r\n\r\n`;
  const cases: readonly (readonly [string, Buffer, 'tls' | 'tcp', ('http' | 'grpc')?])[] = [
    ['bytes that are no TLS', randomBytes(256), 'tcp'],
    ['HTTP without TLS', Buffer.concat([line('GET / HTTP/1.1'), Buffer.from('\r\n')]), 'tcp'],
    ['a TLS record that is cut short', Buffer.from('160301ffff0100', 'hex'), 'tcp'],
    ['bytes that are no HTTP', randomBytes(512), 'tls'],
    [
      'two lengths in one request',
      Buffer.concat([line(`POST ${REST_BASE}/auth/login HTTP/1.1`), Buffer.from(smuggled)]),
      'tls',
    ],
    [
      'a header that is too long',
      Buffer.concat([line('GET / HTTP/1.1'), Buffer.alloc(64 * 1024, 'a')]),
      'tls',
    ],
    [
      'a chunk that is no number',
      Buffer.concat([
        line(`POST ${REST_BASE}/auth/login HTTP/1.1`),
        Buffer.from('Transfer-Encoding: chunked\r\n\r\nxyz\r\n'),
      ]),
      'tls',
    ],
    [
      'a WebSocket frame with reserved bits',
      Buffer.concat([upgrade, Buffer.from('f18400000000', 'hex')]),
      'tls',
    ],
    [
      'a WebSocket frame without a mask',
      Buffer.concat([upgrade, Buffer.from('8105', 'hex'), Buffer.from('hello')]),
      'tls',
    ],
    [
      'a WebSocket frame of 2^63 bytes',
      Buffer.concat([upgrade, Buffer.from('81ffffffffffffffffff00000000', 'hex')]),
      'tls',
    ],
    ['bytes that are no HTTP/2', randomBytes(512), 'tls', 'grpc'],
  ];
  const tried: Tried[] = [];
  for (const [what, bytes, layer, door] of cases) {
    const { end, text } = await attacker.raw(bytes, {
      layer,
      ...(door === undefined ? {} : { door }),
    });
    const accepted = /^HTTP\/1\.1 2\d\d/m.test(text);
    const status = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1];
    const answer = status === undefined ? '' : `${status}, `;
    tried.push({
      what,
      out: !accepted && end !== 'open',
      how: `${answer}the connection was ${end === 'open' ? 'LEFT open' : end}`,
    });
  }
  return tried;
}
