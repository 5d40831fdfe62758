// Asks with the lowest clearance for administration and for rows of SECRET, and claims more rights in headers and bodies.
// Invariants: what is asked for would do no harm if it were granted, but for rights of the exercise's own account.

import type { Attack, Ground } from './attack.ts';
import type { Answer, Attacker, Call } from './attacker.ts';
import { INCIDENT, refusedWith } from './signs.ts';

interface Attempt {
  readonly what: string;
  readonly call: Call;
}

const REASON = 'a drill of the chaos exercise';
const BEYOND = ['CLEARANCE_TOO_LOW', 'NOT_PERMITTED', 'SCOPE_EXCEEDED', 'COMPARTMENT_MISSING'];

export const privilegeEscalation: Attack = {
  scenario: 'privilege-escalation',
  async run(ground: Ground) {
    const { exercise, signs, progress } = ground;
    const attacker = ground.attacker(0);
    signs.began();
    progress('asking for what only others may');
    const granted: string[] = [];
    const answers = new Map<string, number>();
    const beyond = attempts(exercise.account);
    for (const { what, call } of beyond) {
      const { status, code } = await attacker.call(call);
      if (status >= 200 && status < 300) granted.push(what);
      const answer = `${status} ${code}`;
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
    const told = [...answers].map(([answer, count]) => `${count} times ${answer}`).join(', ');
    progress('claiming to be somebody else');
    const claims = await claimAll(attacker);
    granted.push(...claims.believed);
    const grpc = await (await import('./grpc-call.ts')).grpcOperation(ground, exercise.token, {
      deviceId: 0x8000,
      operationType: 2,
      registers: [{ name: 'CONFIG', value: 1n }],
      justification: REASON,
      authContext: { userId: 'demo-operator', clearanceLevel: 7, authenticated: true },
    });
    if (grpc.code === 'OK') granted.push('a write over gRPC with a claimed clearance');
    const looked = await signs.look([
      { what: 'requests beyond the rights of the account', matches: refusedWith(...BEYOND) },
      INCIDENT,
    ]);
    const after = await attacker.call({ path: 'auth/me' });
    const me = after.json as { readonly clearance?: string; readonly administrator?: boolean };
    const raised =
      after.status === 200 && (me.clearance !== 'RESTRICTED' || me.administrator === true);
    const state =
      after.status === 200 ? `it still has ${String(me.clearance)}` : `it is out: ${after.code}`;
    return {
      detected: looked.all,
      evidence: [
        ...looked.evidence,
        `requests beyond the rights were answered ${told}`,
        ...(await signs.incidentSentences()),
      ],
      responseMs: signs.responseMs,
      contained: granted.length === 0 && !raised,
      containment:
        granted.length === 0
          ? `${beyond.length} requests beyond its rights and ${claims.tried + 1} claims were refused or not believed; ${state}`
          : `GRANTED: ${granted.join(', ')}`,
    };
  },
};

/** Rows for administrators and for SECRET; none of them would harm anything. */
function attempts(account: string): readonly Attempt[] {
  const get = (what: string, path: string): Attempt => ({ what, call: { path } });
  const post = (what: string, path: string, body: unknown): Attempt => ({
    what,
    call: { method: 'POST', path, body },
  });
  return [
    get('the list of accounts', 'accounts'),
    get('the list of certificates', 'certificates'),
    get('the audit chain', 'audit?from=1&limit=10'),
    get('the whole audit chain', 'audit/export'),
    get('a check of the audit chain', 'audit/verify'),
    get('the list of incidents', 'incidents'),
    get('its own score', `threats/person/${account}`),
    get('the list of exercises', 'chaos'),
    post('the rights of an administrator', `accounts/${account}`, {
      change: { administrator: true },
      reason: REASON,
    }),
    post('a higher clearance', `accounts/${account}`, {
      change: { clearance: 'TOP_SECRET' },
      reason: REASON,
    }),
    post('the freedom of its account', `accounts/${account}/unlock`, { reason: REASON }),
    post('an invitation', `accounts/${account}/invite`, { reason: REASON }),
    post('a token without bounds', 'tokens', {
      account,
      name: 'mine',
      scope: null,
      lifetimeDays: 365,
    }),
    post('an exercise of its own', 'chaos', { scenario: 'brute-force', reason: REASON }),
    post('the end of an incident', 'incidents/999999999/close', { reason: REASON }),
    post('the end of a stop', 'emergency-stop/reset', { reason: REASON }),
  ];
}

/** Claims in headers and bodies, and which of them the agent believed. */
async function claimAll(attacker: Attacker) {
  const headers = [
    { 'x-forwarded-user': 'root', 'x-remote-user': 'root' },
    { 'x-client-cert': 'urn:dsmil:principal:demo-operator', 'x-ssl-client-verify': 'SUCCESS' },
    { 'x-clearance': 'TOP_SECRET', 'x-administrator': 'true' },
    { 'x-forwarded-for': '127.0.0.1', forwarded: 'for=127.0.0.1;by=agent' },
    { 'x-http-method-override': 'DELETE', 'x-original-url': '/api/v1/accounts' },
  ];
  const believed: string[] = [];
  let tried = 0;
  for (const claimed of headers) {
    tried += 1;
    const { json } = await attacker.call({ path: 'auth/me', headers: claimed });
    const { clearance, administrator } = json as { clearance?: string; administrator?: boolean };
    if ((clearance ?? 'RESTRICTED') !== 'RESTRICTED' || administrator === true) {
      believed.push(`the header ${Object.keys(claimed).join(', ')}`);
    }
  }
  const write = {
    operation: 'WRITE',
    device: '0x8000',
    registers: [{ name: 'CONFIG', value: 1 }],
    justification: REASON,
    confirmedRisk: 'CRITICAL',
  };
  const bodies: readonly (readonly [string, unknown])[] = [
    ['auth_context', { ...write, auth_context: { clearance: 'TOP_SECRET' } }],
    ['principal', { ...write, principal: { id: 'root', clearance: 7 } }],
    ['triggered_by', { ...write, triggered_by: 'demo-operator' }],
    ['__proto__', `{"__proto__":{"administrator":true},${JSON.stringify(write).slice(1)}`],
    ['constructor', { ...write, constructor: { prototype: { administrator: true } } }],
    ['requiredClearance', { ...write, requirements: { requiredClearance: 'UNCLASSIFIED' } }],
    ['nothing but the wish', write],
  ];
  for (const [member, body] of bodies) {
    tried += 1;
    const answer: Answer = await attacker.call({ method: 'POST', path: 'operations', body });
    if (answer.status === 200) believed.push(`a write with ${member} in its body`);
  }
  return { believed, tried };
}
