// Registers turned by hand on the real processes: found, settled as the site wants it, answered by people, never forgotten.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { JUSTIFICATION, RestPerson } from './support/rest-person.ts';
import { eventually, Scene } from './support/scene.ts';

/** People decide about these two; the policy's default holds for the third. */
const ASKED = '0x8003';
const UNANSWERED = '0x8021';
const REVIEWED = '0x8000';
const POLICY = `conflicts:
  - rule: CHANGED_WITHOUT_OPERATION
    method: USER_MEDIATED
    devices: [${ASKED}, ${UNANSWERED}]
    deadlineSeconds: 10
`;
const DEADLINE_MS = 10_000;

interface Shown {
  readonly id: number;
  readonly token: string;
  readonly rule: string;
  readonly finding: string;
  readonly answer: string | null;
  readonly resolvedBy: string;
}

let scene: Scene;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-policy-'));
  writeFileSync(join(directory, 'safety.yaml'), POLICY);
  scene = await Scene.open(['--safety', join(directory, 'safety.yaml')]);
  // The first look at a register is no change of it.
  await scene.first.call('POST', 'devices/synchronize');
});
afterAll(async () => {
  await scene?.close();
  rmSync(directory, { recursive: true, force: true });
});

async function conflictOn(
  token: string,
  holds: (conflict: Shown) => boolean = () => true,
): Promise<Shown> {
  return eventually(`a conflict on ${token}`, async () => {
    const { conflicts } = await scene.first.get('conflicts');
    return (conflicts as Shown[]).find((each) => each.token === token && holds(each));
  });
}

it('asks people about a register that was turned by hand, and takes the answer of one who may give it', async () => {
  await scene.metal.set(ASKED, 'CONFIG', '0x55');
  const open = await conflictOn(ASKED);
  expect(open).toMatchObject({ rule: 'CHANGED_WITHOUT_OPERATION', answer: null, resolvedBy: '' });
  expect(open.finding).toContain('CONFIG 0x00000000 to 0x00000055');
  expect((await scene.first.get('system/status')).conflictsOpen).toBe(1);
  const path = `conflicts/${open.id}/resolve`;
  const reason = 'the technician turned it at the rack';
  const refused = await scene.second.call('POST', path, { answer: 'SHOW_STALE', reason });
  expect(refused.status).toBeGreaterThanOrEqual(400);
  const accepted = await scene.second.call('POST', path, { answer: 'ACCEPT', reason });
  expect([accepted.status, accepted.json.answer]).toEqual([200, 'ACCEPT']);
  const settled = await conflictOn(ASKED, ({ answer }) => answer !== null);
  expect(settled).toMatchObject({ id: open.id, answer: 'ACCEPT', resolvedBy: 'demo-supervisor' });
  expect((await scene.first.get('system/status')).conflictsOpen).toBe(0);
  const events = (await scene.auditSince(0))
    .filter(({ event }) => event.startsWith('CONFLICT_'))
    .map(({ event, actor }) => `${event} ${actor}`);
  expect(events).toHaveLength(2);
  expect(events[1]).toBe('CONFLICT_RESOLVED demo-supervisor');
});

it('puts a device under review where the site says nothing else, and raises the risk of what follows', async () => {
  const plan = {
    operation: 'WRITE',
    device: REVIEWED,
    registers: [{ name: 'DATA', value: 1 }],
    justification: JUSTIFICATION,
    dryRun: true,
  };
  const before = (await scene.first.operate(plan)).receipt;
  await scene.metal.set(REVIEWED, 'CONFIG', '0x77');
  const settled = await conflictOn(REVIEWED);
  expect(settled).toMatchObject({ answer: 'REVIEW', resolvedBy: 'CONSERVATIVE' });
  const after = await eventually('the review to count', async () => {
    const { receipt } = await scene.first.operate(plan);
    return receipt?.reasons.some((reason) => reason.includes('review')) ? receipt : undefined;
  });
  expect(before?.reasons.some((reason) => reason.includes('review'))).toBe(false);
  expect(after.state).toBe('COMPLETED');
  const device = await scene.first.get(`devices/${REVIEWED}`);
  expect(device.unified.security.status).toBe('UNDER_REVIEW');
  const { history } = await scene.first.get(`devices/${REVIEWED}/history?limit=100`);
  expect(JSON.stringify(history)).toContain('CHANGED_WITHOUT_OPERATION');
});

it('keeps a question over a restart of security, and answers it itself when nobody does', async () => {
  await scene.metal.set(UNANSWERED, 'CONFIG', '0x11');
  const asked = await conflictOn(UNANSWERED);
  expect(asked.answer).toBeNull();
  const { security } = scene.agent.ready.pids;
  process.kill(security, 'SIGKILL');
  await scene.agent.waitUntil('security', () => scene.agent.ready.pids.security !== security);
  const again = new RestPerson(scene.agent.ready, 0);
  const settled = await eventually(
    'the answer at the deadline',
    async () => {
      const { status, json } = await again.call('GET', 'conflicts');
      const list = (status === 200 ? json.conflicts : []) as Shown[];
      return list.find(({ id, answer }) => id === asked.id && answer !== null);
    },
    DEADLINE_MS * 4,
  );
  again.close();
  expect(settled).toMatchObject({ token: UNANSWERED, resolvedBy: 'deadline' });
  expect(['REVIEW', 'INHIBIT']).toContain(settled.answer);
});
