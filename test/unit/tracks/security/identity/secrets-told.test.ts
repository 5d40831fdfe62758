// Nothing that was ever shown or typed as a secret is in the audit chain, an event, a fault or a list: searched for over a
// whole life of an appliance, from its first setup to the recovery of an administrator.

import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import type {
  AdministrationAnswer,
  AdministrationKey,
  AdministrationRequest,
} from '#model/administration';
import type { Credential } from '#model/principal';
import { Authority } from '#tracks/security/certificates/authority';
import { codeAt, fromBase32, STEP_MS, stepAt } from '#tracks/security/identity/one-time-codes';
import { passwordFinding } from '#tracks/security/identity/password-rules';
import { certificateLibrary } from '../../../../../src/bin/certificate-library.ts';
import { makeRequest, newKey, privateKeyPem } from '../../../../support/certificate-requests.ts';
import { must } from '../../../../support/kernel-bench.ts';
import { AgentBench, ORIGIN } from '../../../orchestrator/agent-bench.ts';
import { recordOf } from './records.ts';

const RUNS = 3;
const LIMIT_MS = 120_000;
const REASON = 'a test of what is told';
/** Shorter ones without their spaces are found by chance. */
const BARE_LENGTH_MIN = 12;
/** Looked for as digits that stand alone: six in a row are in any time. */
const CODE = /^\d{6}$/;

/** One appliance, what was secret in its life, and what was told to those who may not know it. */
class Life {
  readonly agent: AgentBench;
  readonly secrets = new Set<string>();
  readonly told: unknown[] = [];

  constructor(agent: AgentBench) {
    this.agent = agent;
  }

  secret<T extends string>(text: T): T {
    this.secrets.add(text);
    return text;
  }

  get clock() {
    return this.agent.kernelBench.clock;
  }

  /** Faults are told; of answers only those of lists. */
  async ask<K extends AdministrationKey>(
    session: string | null,
    key: K,
    request: AdministrationRequest<K>,
  ): Promise<Outcome<AdministrationAnswer<K>>> {
    const deadline = Deadline.after(this.clock, 5_000);
    const { orchestrator } = this.agent;
    const answer = await this.agent.settle(
      orchestrator.administer(session, key, request, ORIGIN, deadline),
    );
    if (!answer.ok) this.told.push(answer.fault);
    return answer;
  }

  async open(credential: Credential): Promise<string> {
    const { orchestrator } = this.agent;
    const session = await this.agent.settle(orchestrator.authenticate(credential, ORIGIN));
    if (!session.ok) this.told.push(session.fault);
    return this.secret(must(session).id);
  }

  code(secret: string): string {
    return this.secret(codeAt(fromBase32(secret), stepAt(this.clock.wallMs())));
  }

  async enrol(invitation: string, password: string): Promise<string> {
    const { secret } = must(await this.ask(null, 'enrol', { invitation, password }));
    this.secret(secret);
    must(await this.ask(null, 'confirmEnrolment', { invitation, code: this.code(secret) }));
    return secret;
  }

  async login(account: string, password: string, codes: string): Promise<string> {
    await this.clock.advance(STEP_MS);
    const request = { account, password, code: this.code(codes) };
    const { token } = must(await this.ask(null, 'login', request));
    return this.open({ kind: 'token', token: this.secret(token) });
  }

  /** All that anybody may read, the chain as it lies on the disk too. */
  async everythingTold(administrator: string): Promise<string> {
    for (const key of ['accounts', 'proposals', 'tokens', 'sessions', 'certificates'] as const)
      this.told.push(must(await this.ask(administrator, key, {})));
    const { store, events } = this.agent;
    const onDisk = store.database.prepare('SELECT * FROM audit').all();
    const bodies = onDisk.map(({ body }) => JSON.parse(String(body)) as unknown);
    return textsOf([this.agent.entries(), bodies, events, this.told]).join('\n');
  }
}

/** Every text at any depth, names of members too: as they are, not as JSON writes them. */
function textsOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [String(value)];
  return Object.entries(value).flatMap(([name, member]) => [name, ...textsOf(member)]);
}

/** Whether the text holds it, however it may have been written down. */
function holds(told: string, secret: string): boolean {
  if (CODE.test(secret)) return new RegExp(`(?<![0-9a-z])${secret}(?![0-9a-z])`, 'i').test(told);
  const bare = secret.replace(/[\s-]/g, '');
  const encoded = Buffer.from(secret).toString('base64');
  const forms = [secret, encoded, ...(bare.length < BARE_LENGTH_MIN ? [] : [bare])];
  const text = told.toLowerCase();
  return forms.some((form) => text.includes(form.toLowerCase()));
}

async function openLife(): Promise<Life> {
  const key = newKey();
  const authority = must(
    await Authority.begin(key, 'told', Date.UTC(2026, 0, 1), certificateLibrary),
  );
  const agent = await AgentBench.open({
    material: {
      authority,
      names: ['localhost'],
      newCheckpointKey: () => succeed(generateKeyPairSync('ed25519').privateKey),
      settleCheckpointKey: () => undefined,
    },
  });
  const life = new Life(agent);
  life.secret(privateKeyPem(key));
  return life;
}

const anyPassword = fc
  .string({ unit: 'grapheme', minLength: 14, maxLength: 40 })
  .filter((text) => ['ada', 'grace', 'eve'].every((who) => passwordFinding(text, who) === null));

async function live(life: Life, [first, second, third, fourth]: readonly string[]): Promise<void> {
  const [adas, graces, eves, next] = [first, second, third, fourth].map((password = '') =>
    life.secret(password),
  ) as [string, string, string, string];
  const { security } = life.agent;
  const atConsole = () => {
    const deadline = Deadline.after(life.clock, 10_000);
    return { session: null, credential: '', origin: ORIGIN, deadline };
  };
  const people = { first: { id: 'ada', name: 'Ada' }, second: { id: 'grace', name: 'Grace' } };
  const setUp = must(
    await life.agent.settle(security.firstRun.perform(people, atConsole(), 'uid 0')),
  );
  const [forAda = '', forGrace = ''] = setUp.invitations.map(({ invitation }) =>
    life.secret(invitation),
  );
  const ada = await life.login('ada', adas, await life.enrol(forAda, adas));
  const grace = await life.login('grace', graces, await life.enrol(forGrace, graces));

  async function twice<K extends AdministrationKey>(key: K, request: AdministrationRequest<K>) {
    const one = must(await life.ask(ada, key, request));
    life.told.push(must(await life.ask(grace, 'proposals', {})));
    return [one, must(await life.ask(grace, key, request))] as const;
  }
  const account = recordOf('eve', { certificateUris: ['urn:dsmil:principal:eve'] });
  const halves = (await twice('createAccount', { account, reason: REASON })).map(({ invitation }) =>
    life.secret(invitation),
  );
  const [half = ''] = halves;
  await life.ask(null, 'enrol', { invitation: half, password: eves });
  await life.ask(null, 'enrol', { invitation: halves.join(' '), password: life.secret('zq7!') });
  const codes = await life.enrol(halves.join(' '), eves);
  const wrong = life.secret('not at all the right one');
  await life.ask(null, 'login', { account: 'eve', password: wrong, code: life.code(codes) });
  // A password in the field of the name.
  await life.ask(null, 'login', { account: eves, password: eves, code: life.code(codes) });
  const eve = await life.login('eve', eves, codes);
  await life.clock.advance(STEP_MS);
  await life.ask(eve, 'changePassword', { password: wrong, code: life.code(codes), next });
  const change = { password: eves, code: life.code(codes), next };
  must(await life.ask(eve, 'changePassword', change));

  const wish = { name: 'script', scope: ['status'], lifetimeDays: 1 };
  const own = must(await life.ask(eve, 'createToken', { account: 'eve', ...wish }));
  await life.open({ kind: 'token', token: life.secret(own.token) });
  const [, machines] = await twice('createToken', { account: 'machine', ...wish });
  life.secret(machines.token);
  // The token where its id belongs, and one that was never made.
  await life.ask(eve, 'revokeToken', { id: own.token, reason: REASON });
  await life.ask(eve, 'revokeSession', { handle: own.token });
  must(await life.ask(eve, 'revokeToken', { id: own.id, reason: REASON }));
  const guess: Credential = { kind: 'token', token: life.secret('dsmil_guessed-by-somebody') };
  const guessed = await life.agent.settle(life.agent.orchestrator.authenticate(guess, ORIGIN));
  if (!guessed.ok) life.told.push(guessed.fault);

  const { pem: requestPem, key } = await makeRequest();
  life.secret(privateKeyPem(key));
  await twice('issueCertificate', { account: 'eve', requestPem, reason: REASON });
  for (const { invitation } of await twice('inviteAccount', { id: 'eve', reason: REASON }))
    life.secret(invitation);
  // One that waits, and its half.
  const waits = must(await life.ask(ada, 'inviteAccount', { id: 'eve', reason: 'once more' }));
  life.secret(waits.invitation);
  const recovered = must(
    await life.agent.settle(security.administratorRecovery.perform('ada', atConsole(), 'uid 0')),
  );
  await life.enrol(life.secret(recovered.invitation), next);

  const told = await life.everythingTold(grace);
  for (const event of ['SIGNED_IN', 'ACCOUNT_ENROLLED', 'TOKEN_CREATED', 'CERTIFICATE_ISSUED'])
    expect(told).toContain(event);
  expect(life.secrets.size).toBeGreaterThan(30);
  const found = [...life.secrets].filter((secret) => {
    expect(secret).not.toBe('');
    return holds(told, secret);
  });
  expect(found).toEqual([]);
}

it(
  'tells no secret in the audit chain, an event, a fault or a list',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(anyPassword, { minLength: 4, maxLength: 4 }), async (all) => {
        const life = await openLife();
        try {
          await live(life, all);
        } finally {
          await life.agent.close();
        }
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  },
  LIMIT_MS,
);

it('would find one, however it was written down', () => {
  const half = 'ABCD-EFGH-IJKL-MNOP';
  for (const told of [`is ${half} now`, 'abcdefghijklmnop', Buffer.from(half).toString('base64')])
    expect(holds(told, half)).toBe(true);
  expect(holds('code: 123456.', '123456')).toBe(true);
  expect(holds('at 1123456789', '123456')).toBe(false);
  expect(textsOf({ a: [{ 'b"c': 'd\\e' }] })).toEqual(['a', '0', 'b"c', 'd\\e']);
});
