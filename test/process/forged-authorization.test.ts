// A kernel process of its own whose peer plays security and cheats: nothing is written without security's signature.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Rings } from '#drivers/native/rings';
import { Doorbell } from '#drivers/native/signal';
import { type Clock, systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import { SharedLink, SLOTS_DEFAULT } from '#link/shared-link';
import { kernelTrackClient } from '#link/track-client';
import { type Authorization, type AuthorizationKeys, RELEASE_STOP_ACT } from '#model/authorization';
import { NO_REQUIREMENTS, OperationType } from '#model/operation';
import type { RegisterPlan } from '#model/plan';
import type { KernelTrack } from '#model/track';
import { SOURCE_NUMBER } from '#model/track-name';
import { AuthorizationSigner } from '#tracks/security/authorization';
import { NODE, REPOSITORY } from '../support/agent.ts';
import { alive } from './watch.ts';

const BOARD = `format: 1
name: one-window
groups: [Only group]
buses:
  - { id: memory, kind: memory, path: "\${WINDOW}", origin: 0x60000000 }
devices:
  - token: 0x8000
    name: Plain Block
    bus: memory
    profile: standard-block
    at: { window: 0x60000000, length: 0x1000 }
    risk: LOW
`;
/** Of CONFIG in the window. */
const CONFIG_OFFSET = 0x08;
const PEOPLE = ['one', 'two'];
const LIFETIME_MS = 60_000;

let directory: string;
let child: ChildProcess;
let link: SharedLink;
let kernel: KernelTrack;
let signer: AuthorizationSigner;
let counter = 0;

const soon = () => Deadline.after(systemClock, 5_000);
const window = () => readFileSync(join(directory, 'window'));
const linkDirectory = () => join(directory, 'links/kernel-security');

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > untilMs) throw new Error(`waited for ${what}`);
    await systemClock.sleep(10);
  }
}

/** Attaches as security with a new key of its own, as every start of security does. */
async function becomeSecurity(): Promise<void> {
  signer = new AuthorizationSigner(systemClock);
  link = new SharedLink({
    directory: linkDirectory(),
    self: 'security',
    peer: 'kernel',
    clock: systemClock,
    onError: (error) => {
      throw error;
    },
  });
  kernel = kernelTrackClient(link);
  await until('kernel', () => link.peerState === 'up');
  expect(await kernel.trust(signer.keys(), soon())).toMatchObject({ ok: true });
  // Kernel writes nothing for a security that has not taken charge.
  await until('kernel to be supervised', async () => {
    const order = { holds: [], writes: 'allow', accounted: [] } as const;
    return (await kernel.supervise(order, soon())).ok;
  });
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-forged-'));
  for (const path of [linkDirectory(), join(directory, 'security')])
    mkdirSync(path, { recursive: true, mode: 0o700 });
  writeFileSync(join(directory, 'board.yaml'), BOARD);
  writeFileSync(join(directory, 'window'), Buffer.alloc(0x1000));
  let output = '';
  child = spawn(
    NODE,
    [
      ...[join(REPOSITORY, 'src/bin/kernel.ts'), '--board', join(directory, 'board.yaml')],
      ...['--state-dir', directory, '--run-dir', directory],
      ...['--variable', `WINDOW=${join(directory, 'window')}`],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  await until('kernel to be ready', () => {
    if (child.exitCode !== null) throw new Error(output);
    return output.includes('"msg":"ready"');
  });
});
beforeEach(becomeSecurity);
afterEach(() => link.close());
afterAll(async () => {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
  rmSync(directory, { recursive: true });
});

function newId(): string {
  counter += 1;
  return `operation-${counter}`;
}

async function planToWrite(value: bigint): Promise<RegisterPlan> {
  const planned = await kernel.plan(
    {
      operationId: newId(),
      type: OperationType.WRITE,
      targets: [{ device: 0, registers: [{ register: 'CONFIG', value }] }],
      requirements: NO_REQUIREMENTS,
      justification: 'a test',
      confirmedRisk: 0,
      dryRun: false,
      involved: [],
    },
    soon(),
  );
  if (!planned.ok) throw new Error(JSON.stringify(planned.fault));
  return planned.value;
}

function prepare(authorization: Authorization, act: Act): Promise<Outcome<unknown>> {
  return kernel.prepare({ ...act, authorization }, soon());
}

function commit(authorization: Authorization, act: Act): Promise<Outcome<unknown>> {
  const deadlineMs = systemClock.nowMs() + 5_000;
  return kernel.commit({ ...act, authorization, deadlineMs }, soon());
}

interface Act {
  readonly operationId: string;
  readonly planDigest: string;
}

function codeOf(outcome: Outcome<unknown>): string {
  return outcome.ok ? 'ok' : outcome.fault.code;
}

/** An earlier time: what is granted under it has expired. */
const pastClock: Clock = {
  nowMs: () => systemClock.nowMs() - LIFETIME_MS,
  wallMs: () => systemClock.wallMs(),
  after: (ms, action) => systemClock.after(ms, action),
  sleep: (ms) => systemClock.sleep(ms),
};

describe('a plan sent straight into the kernel ring', () => {
  it('is written with an authorization under the key of security, once', async () => {
    const { digest } = await planToWrite(0x5an);
    const act = { operationId: newId(), planDigest: digest };
    const authorization = signer.grant(act.operationId, digest, PEOPLE);
    expect(codeOf(await prepare(authorization, act))).toBe('ok');
    expect(window().readUInt32LE(CONFIG_OFFSET)).toBe(0);
    expect(codeOf(await commit(authorization, act))).toBe('ok');
    expect(window().readUInt32LE(CONFIG_OFFSET)).toBe(0x5a);

    // Someone else changed it; the same words must not do it again.
    const changed = window();
    changed.writeUInt32LE(0x11, CONFIG_OFFSET);
    writeFileSync(join(directory, 'window'), changed, { flag: 'r+' });
    expect(codeOf(await prepare(authorization, act))).toBe('AUTHORIZATION_INVALID');
    expect(codeOf(await commit(authorization, act))).toBe('AUTHORIZATION_INVALID');
    expect(window()).toEqual(changed);
  });

  const forgeries: readonly [string, (act: Act) => Authorization][] = [
    [
      'without a signature',
      (act) => ({ ...signer.grant(act.operationId, act.planDigest, PEOPLE), signature: '====' }),
    ],
    [
      'signed with another key',
      (act) => new AuthorizationSigner(systemClock).grant(act.operationId, act.planDigest, PEOPLE),
    ],
    [
      'with one bit of the signature turned',
      (act) => {
        const good = signer.grant(act.operationId, act.planDigest, PEOPLE);
        const bytes = Buffer.from(good.signature, 'base64');
        bytes.writeUInt8(bytes.readUInt8(0) ^ 1, 0);
        return { ...good, signature: bytes.toString('base64') };
      },
    ],
    ['for another operation', (act) => signer.grant('another', act.planDigest, PEOPLE)],
    ['for another plan', (act) => signer.grant(act.operationId, '0'.repeat(64), PEOPLE)],
    [
      'whose life was made longer',
      (act) => {
        const good = signer.grant(act.operationId, act.planDigest, PEOPLE);
        return { ...good, expiresAtMs: good.expiresAtMs + LIFETIME_MS };
      },
    ],
    [
      'of other people',
      (act) => ({
        ...signer.grant(act.operationId, act.planDigest, PEOPLE),
        grantedTo: ['somebody'],
      }),
    ],
  ];
  it.each(forgeries)('%s is refused and no byte changes', async (_name, forge) => {
    const { digest } = await planToWrite(0xdeadn);
    const act = { operationId: newId(), planDigest: digest };
    const before = window();
    expect(codeOf(await prepare(forge(act), act))).toBe('AUTHORIZATION_INVALID');
    expect(codeOf(await commit(forge(act), act))).toBe('AUTHORIZATION_INVALID');
    // Prepared in good order, so that only the authorization of the commit stands in the way.
    const good = signer.grant(act.operationId, digest, PEOPLE);
    expect(codeOf(await prepare(good, act))).toBe('ok');
    expect(codeOf(await commit(forge(act), act))).toBe('AUTHORIZATION_INVALID');
    await kernel.abort(act.operationId, soon());
    expect(window()).toEqual(before);
  });

  it('with an empty signature does not even pass as a message', async () => {
    const { digest } = await planToWrite(0xdeadn);
    const act = { operationId: newId(), planDigest: digest };
    const before = window();
    const empty = { ...signer.grant(act.operationId, digest, PEOPLE), signature: '' };
    expect(codeOf(await prepare(empty, act))).toBe('LINK_PROTOCOL');
    expect(codeOf(await commit(empty, act))).toBe('LINK_PROTOCOL');
    expect(window()).toEqual(before);
  });

  it('with an authorization that has expired is refused and no byte changes', async () => {
    const { digest } = await planToWrite(0xdeadn);
    const act = { operationId: newId(), planDigest: digest };
    const before = window();
    const expired = new AuthorizationSigner(pastClock);
    link.close();
    await attachAgain();
    expect(await kernel.trust(expired.keys(), soon())).toMatchObject({ ok: true });
    const late = expired.grant(act.operationId, digest, PEOPLE);
    expect(codeOf(await prepare(late, act))).toBe('AUTHORIZATION_INVALID');
    expect(codeOf(await commit(late, act))).toBe('AUTHORIZATION_INVALID');
    expect(window()).toEqual(before);
  });

  it('is refused under the key of the life before', async () => {
    const { digest } = await planToWrite(0xdeadn);
    const act = { operationId: newId(), planDigest: digest };
    const old = signer.grant(act.operationId, digest, PEOPLE);
    link.close();
    await becomeSecurity();
    const before = window();
    expect(codeOf(await prepare(old, act))).toBe('AUTHORIZATION_INVALID');
    expect(codeOf(await commit(old, act))).toBe('AUTHORIZATION_INVALID');
    expect(window()).toEqual(before);
  });

  it.each([
    ['a moment ago still counts', 0, 'ok'],
    ['more than 30 s ago is refused', 31_000, 'AUTHORIZATION_INVALID'],
  ])(
    'under a key that was replaced %s, though it has not expired itself',
    async (_when, agoMs, code) => {
      let backMs = 0;
      const clock = { ...pastClock, nowMs: () => systemClock.nowMs() - backMs };
      const rotating = new AuthorizationSigner(clock);
      const offer = (keys: AuthorizationKeys) => kernel.trust(keys, soon());
      expect(await offer(rotating.keys())).toMatchObject({ ok: true });
      const { digest } = await planToWrite(0x3cn);
      const act = { operationId: newId(), planDigest: digest };
      const old = rotating.grant(act.operationId, digest, PEOPLE);
      backMs = agoMs;
      expect(await rotating.rotate(offer, async () => succeed(undefined))).toMatchObject({
        ok: true,
      });
      expect(await offer(rotating.keys())).toMatchObject({ ok: true });
      backMs = 0;
      const before = window();
      expect(codeOf(await prepare(old, act))).toBe(code);
      if (code === 'ok') await kernel.abort(act.operationId, soon());
      else expect(codeOf(await commit(old, act))).toBe(code);
      expect(window()).toEqual(before);
      // Nor does the old key's name help a new signature, nor the new name the old one.
      const next = rotating.grant(act.operationId, digest, PEOPLE);
      expect(next.keyId).not.toBe(old.keyId);
      for (const forged of [
        { ...next, keyId: old.keyId },
        { ...old, keyId: next.keyId },
      ]) {
        expect(codeOf(await prepare(forged, act))).toBe('AUTHORIZATION_INVALID');
      }
      expect(codeOf(await prepare(next, act))).toBe('ok');
      await kernel.abort(act.operationId, soon());
    },
  );

  it('is refused without a prepare, however well it is signed', async () => {
    const { digest } = await planToWrite(0xdeadn);
    const act = { operationId: newId(), planDigest: digest };
    const before = window();
    const good = signer.grant(act.operationId, digest, PEOPLE);
    expect(codeOf(await commit(good, act))).toBe('PLAN_UNKNOWN');
    expect(window()).toEqual(before);
  });
});

describe('a transaction to settle, sent straight into the kernel ring', () => {
  it('is undone only under an authorization of security for recovery', async () => {
    const plan = await planToWrite(0x77n);
    const operationId = newId();
    // As another life of kernel left it.
    const held = window();
    held.writeUInt32LE(0x77, CONFIG_OFFSET);
    writeFileSync(join(directory, 'window'), held, { flag: 'r+' });
    const priors = [{ device: 0, register: 'CONFIG', value: 0x11n }];
    const settle = (authorization: Authorization, changed: RegisterPlan = plan) =>
      kernel.recover({ operationId, plan: changed, priors, authorization }, soon());
    const good = signer.grant(operationId, plan.digest, ['recovery']);
    const unsigned = { ...good, signature: Buffer.alloc(64).toString('base64') };
    expect(codeOf(await settle(unsigned))).toBe('AUTHORIZATION_INVALID');
    const toCommit = signer.grant(operationId, plan.digest, PEOPLE);
    expect(codeOf(await settle(toCommit))).toBe('AUTHORIZATION_INVALID');
    const other = await planToWrite(0x78n);
    const swapped = { ...other, digest: plan.digest };
    expect(codeOf(await settle(good, swapped))).toBe('PLAN_CHANGED');
    expect(window()).toEqual(held);
    expect(await settle(good)).toMatchObject({ ok: true, value: { effect: 'committed' } });
    expect(codeOf(await settle(good))).toBe('AUTHORIZATION_INVALID');
  });
});

/** The key file is as it was left; only the link is made again. */
async function attachAgain(): Promise<void> {
  link = new SharedLink({
    directory: linkDirectory(),
    self: 'security',
    peer: 'kernel',
    clock: systemClock,
    onError: (error) => {
      throw error;
    },
  });
  kernel = kernelTrackClient(link);
  await until('kernel', () => link.peerState === 'up');
}

async function stopEngaged(): Promise<boolean> {
  const snapshot = await kernel.snapshot(soon());
  return snapshot.ok && snapshot.value.track === 'kernel' && snapshot.value.stopEngaged;
}

describe('a peer that sends garbage with a good checksum', () => {
  it('has kernel stop, live on, and serve the next peer; the stop needs two signed people', async () => {
    link.close();
    const ownBell = new Doorbell(join(linkDirectory(), 'kernel-security.security.bell'));
    const kernelBell = new Doorbell(join(linkDirectory(), 'kernel-security.kernel.bell'));
    const rings = new Rings({
      path: join(linkDirectory(), 'kernel-security.link'),
      slots: SLOTS_DEFAULT,
      side: 1,
      ownTrack: SOURCE_NUMBER.security,
      peerTrack: SOURCE_NUMBER.kernel,
      peerBell: kernelBell.descriptor,
    });
    rings.beat();
    await systemClock.sleep(50);
    const pushed: string[] = [];
    for (let frame = 0; frame < 50; frame++) {
      for (let at = 0; at < 512; at++) rings.send.writeUInt8((at * 31 + frame * 7) & 0xff, at);
      pushed.push(rings.push(frame % 9, 512));
    }
    expect(new Set(pushed)).toEqual(new Set(['sent']));
    await systemClock.sleep(200);
    rings.close();
    ownBell.close();
    kernelBell.close();
    expect(alive(child.pid ?? 0)).toBe(true);

    await attachAgain();
    expect(await stopEngaged()).toBe(true);
    const grant = (people: readonly string[]) => signer.grant(newId(), RELEASE_STOP_ACT, people);
    expect(codeOf(await kernel.releaseStop(grant(['one']), soon()))).toBe('RESET_REFUSED');
    expect(codeOf(await kernel.releaseStop(grant(['one', 'one']), soon()))).toBe('RESET_REFUSED');
    const forged = { ...grant(PEOPLE), signature: Buffer.alloc(64).toString('base64') };
    expect(codeOf(await kernel.releaseStop(forged, soon()))).toBe('AUTHORIZATION_INVALID');
    expect(await stopEngaged()).toBe(true);
    expect(codeOf(await kernel.releaseStop(grant(PEOPLE), soon()))).toBe('ok');
    expect(await stopEngaged()).toBe(false);
  });
});
