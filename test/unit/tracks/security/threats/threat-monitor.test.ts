import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blankRecord } from '#model/audit-entry';
import type { LinearId } from '#model/device';
import { DEFAULT_THREATS } from '#model/safety-policy';
import { SUBJECTS_MAX } from '#tracks/security/threats/threat-windows';
import { must } from '../../../../support/kernel-bench.ts';
import { ALICE, BOB, BUCKET_MS, FROM, ThreatBench, WINDOW_MS } from './threat-bench.ts';

let bench: ThreatBench;
beforeEach(() => {
  bench = new ThreatBench();
});
afterEach(() => {
  expect(bench.errors).toEqual([]);
  bench.close();
});

const beyond = (actor: string, device = 40) => bench.refused(actor, 'CLEARANCE_TOO_LOW', [device]);

describe('a person', () => {
  it('who tries a quarantined device is CRITICAL at once and locked, and nothing is stopped', async () => {
    await bench.add('QUARANTINE_PROBE', ALICE, { devices: [9] });
    expect(bench.of(ALICE)).toMatchObject({ level: 'CRITICAL', score: 90, devices: [9] });
    expect(bench.locked.get(ALICE)).toMatch(/^incident 1 \(CRITICAL\): tried a quarantined device/);
    expect(bench.of(ALICE)?.responses).toEqual([
      'put on record',
      'everything that alice asks for is put on record, reading too',
      'alice is locked until two administrators unlock the account',
      'no device was reached: nothing is stopped',
    ]);
    expect(bench.stopped).toEqual([]);
  });

  it('goes from LOW to CRITICAL by what it is refused, and is locked at HIGH', async () => {
    const levels: string[] = [];
    for (let turn = 0; turn < 22; turn++) {
      await beyond(BOB, 0);
      levels.push(`${bench.of(BOB)?.level ?? '-'}${bench.locked.has(BOB) ? ' locked' : ''}`);
    }
    const changes = levels.flatMap((level, index) =>
      index === 0 || level !== levels[index - 1] ? [`${index + 1} ${level}`] : [],
    );
    expect(changes).toEqual(['1 -', '6 LOW', '9 MEDIUM', '15 HIGH locked', '22 CRITICAL locked']);
    expect(bench.told).toEqual([
      '1 LOW opened',
      '1 MEDIUM escalated',
      '1 HIGH escalated',
      '1 CRITICAL escalated',
    ]);
  });

  it('is watched and not locked for attempts beyond the rights outside the critical groups', async () => {
    await bench.times(200, () => beyond(BOB));
    expect(bench.of(BOB)).toMatchObject({ level: 'MEDIUM', score: 51 });
    expect(bench.monitor.incidents.watches(BOB)).toBe(true);
    expect(bench.monitor.incidents.watches(ALICE)).toBe(false);
    expect(bench.locked.size).toBe(0);
  });

  it('restricts nobody else by what it is refused', async () => {
    await bench.times(40, () => beyond(BOB, 0));
    expect(bench.of(BOB)).toMatchObject({ level: 'CRITICAL', devices: [0] });
    expect(bench.monitor.incidents.openOn(0)).toBe(false);
    expect(bench.stopped).toEqual([]);
    await bench.times(5, () => bench.done(ALICE, 'WRITE', [0], 'HIGH'));
    expect(bench.of(ALICE)).toBeUndefined();
  });

  it('is not locked by sign-ins that a stranger lets fail', async () => {
    const details = { account: ALICE };
    await bench.times(60, () => bench.add('AUTHENTICATION_FAILED', 'unknown', { details }));
    expect(bench.report(ALICE)).toMatchObject({ score: 40, level: 'LOW' });
    expect(bench.locked.size).toBe(0);
    expect(bench.of('192.0.2.7', 'source')).toMatchObject({ level: 'MEDIUM', score: 60 });
    await bench.times(20, () => bench.done(ALICE, 'WRITE', [0], 'HIGH'));
    expect(bench.report(ALICE)).toMatchObject({ score: 40, level: 'LOW' });
  });

  it('who works within the rights, however much, counts for nothing', async () => {
    for (let turn = 0; turn < 400; turn++) {
      await bench.done(ALICE, turn % 3 === 0 ? 'READ' : 'WRITE', [turn % 3], 'HIGH');
      if (turn % 4 === 0) await bench.refused(ALICE, 'APPROVAL_NEEDED', [0]);
      if (turn % 100 === 0) await bench.refused(ALICE, 'VALUE_OUT_OF_LIMITS', [0]);
      await bench.clock.advance(100);
    }
    expect(bench.report(ALICE)).toMatchObject({ score: 0, level: 'NONE', indicators: [] });
    expect(bench.monitor.incidents.list(9)).toEqual([]);
  });

  it('whose name no account has is nobody: only its source counts', async () => {
    await bench.times(20, () => beyond('mallory'));
    expect(bench.of('mallory')).toBeUndefined();
    expect(bench.monitor.size('person')).toBe(0);
    expect(bench.of('192.0.2.7', 'source')).toMatchObject({ level: 'LOW' });
  });

  it('is told exactly why, with the newest entries', async () => {
    await bench.times(30, () => beyond(BOB, 0));
    const last = bench.chain.lastSequence;
    const { indicators, windowMs } = bench.report(BOB);
    expect(windowMs).toBe(WINDOW_MS);
    expect(indicators.map(({ name, points }) => [name, points])).toEqual([
      ['beyond-rights', 51],
      ['critical-group', 40],
    ]);
    expect(indicators[0]?.finding).toBe('asked 30 times for what it may not do');
    const { entries = [] } = indicators[0] ?? {};
    expect(entries).toHaveLength(16);
    const events = bench.chain.read(entries[0] ?? 0, 1).map(({ event, actor }) => [event, actor]);
    expect(events).toEqual([['OPERATION_REFUSED', BOB]]);
    expect(entries.at(-1)).toBeLessThanOrEqual(last);
  });
});

describe('a learned person', () => {
  beforeEach(() => bench.learn());

  it('does as always, and nothing is said', async () => {
    await bench.times(50, () => bench.done(ALICE, 'WRITE', [0]));
    expect(bench.report(ALICE).score).toBe(0);
  });

  it('who is on an unusual device is on record, and at an unusual hour and rate besides is locked and stopped short', async () => {
    const { clock } = bench;
    await bench.done(ALICE, 'WRITE', [2]);
    expect(bench.of(ALICE)).toMatchObject({
      level: 'LOW',
      score: 30,
      responses: ['put on record'],
    });
    await clock.advance(12 * 3_600_000);
    await bench.done(ALICE, 'WRITE', [2]);
    expect(bench.of(ALICE)).toMatchObject({ level: 'MEDIUM', score: 50, devices: [2] });
    expect(bench.monitor.incidents.reviewOn(2)).toBe(true);
    expect(bench.monitor.incidents.openOn(2)).toBe(false);
    await bench.times(300, () => bench.done(ALICE, 'WRITE', [2]));
    expect(bench.of(ALICE)).toMatchObject({ level: 'HIGH', score: 75 });
    expect(bench.locked.has(ALICE)).toBe(true);
    expect(bench.monitor.incidents.openOn(2)).toBe(true);
    expect(bench.monitor.incidents.reviewOn(2)).toBe(false);
    await bench.add('QUARANTINE_PROBE', ALICE, { devices: [9] });
    expect(bench.of(ALICE)?.level).toBe('CRITICAL');
    expect(bench.stopped).toEqual([[2]]);
    expect(bench.of(ALICE)?.responses).toContain('stop ordered for device-2');
    expect(bench.of(ALICE)?.responses.at(-1)).toBe('stopped');
  });

  it('stays at the level it reached, whatever a later and lesser window adds', async () => {
    await bench.clock.advance(12 * 3_600_000);
    await bench.times(300, () => bench.done(ALICE, 'WRITE', [2]));
    expect(bench.of(ALICE)).toMatchObject({ level: 'HIGH', score: 75 });
    await bench.clock.advance(WINDOW_MS + BUCKET_MS);
    await bench.done(ALICE, 'WRITE', [2]);
    await bench.times(4, () => bench.add('AUTHENTICATION_FAILED', ALICE));
    expect(bench.report(ALICE)).toMatchObject({ level: 'MEDIUM', score: 90 });
    expect(bench.of(ALICE)).toMatchObject({ level: 'HIGH', score: 90 });
  });

  it('has what counts against it stopped, and not what it changed as always', async () => {
    await bench.done(ALICE, 'WRITE', [0]);
    await bench.done(ALICE, 'WRITE', [2]);
    await bench.add('QUARANTINE_PROBE', ALICE, { devices: [9] });
    expect(bench.of(ALICE)).toMatchObject({ level: 'CRITICAL', devices: [2, 9] });
    expect(bench.stopped).toEqual([[2]]);
    expect([0, 2].map((id) => bench.monitor.incidents.openOn(id))).toEqual([false, true]);
  });

  it('is judged by what failed too, for the metal was touched, and nothing is learned from it', async () => {
    const failed = (device: LinearId) =>
      bench.add('OPERATION_FAILED', ALICE, { operation: 'WRITE', devices: [device], risk: 'HIGH' });
    await bench.clock.advance(12 * 3_600_000);
    await failed(40);
    expect(bench.report(ALICE).indicators.map(({ name }) => name)).toEqual([
      'unusual-device',
      'unusual-hour',
    ]);
    await bench.clock.advance(86_400_000);
    await failed(2);
    expect(bench.report(ALICE)).toMatchObject({ score: 90, level: 'CRITICAL' });
    expect(bench.stopped).toEqual([[2, 40]]);
    await bench.times(300, () => failed(1));
    expect(bench.report(ALICE).indicators.map(({ name }) => name)).toContain('rate');
  });

  it('may read what it likes whenever it likes', async () => {
    await bench.clock.advance(12 * 3_600_000);
    await bench.times(20, () => bench.done(ALICE, 'READ', [40, 41, 2]));
    expect(bench.report(ALICE).score).toBe(0);
  });

  it('is known after a restart too, and what is only in memory is learned again from the chain', async () => {
    // Nothing has swept: no baseline was ever written.
    bench = bench.reopened();
    await bench.monitor.start();
    await bench.done(ALICE, 'WRITE', [2]);
    expect(bench.report(ALICE).score).toBe(0);
    bench.close();
    bench = new ThreatBench();
    await bench.monitor.start();
    await bench.learn();
    bench = bench.reopened();
    await bench.done(ALICE, 'WRITE', [2]);
    expect(bench.report(ALICE).score).toBe(30);
  });
});

describe('a device', () => {
  it('that many are refused on is under review, and one that is changed by hand again and again', async () => {
    for (const actor of [ALICE, BOB, 'carol', 'dave', 'erin']) await beyond(actor, 41);
    expect(bench.of('41', 'device')).toMatchObject({ level: 'MEDIUM', devices: [41] });
    expect(bench.monitor.incidents.reviewOn(41)).toBe(true);
    const details = { rule: 'CHANGED_WITHOUT_OPERATION' };
    const more = { devices: [2], details, origin: null };
    await bench.times(2, () => bench.add('CONFLICT_OPENED', 'orchestrator', more));
    expect(bench.of('2', 'device')).toMatchObject({ level: 'LOW' });
    expect(bench.monitor.incidents.reviewOn(2)).toBe(false);
    await bench.times(2, () => bench.add('CONFLICT_OPENED', 'orchestrator', more));
    expect(bench.of('2', 'device')).toMatchObject({ level: 'MEDIUM' });
  });

  it('that is quarantined is never driven, though the incident is about itself', async () => {
    await bench.add('QUARANTINE_PROBE', 'kernel', { devices: [9], origin: null });
    expect(bench.of('9', 'device')).toMatchObject({ level: 'CRITICAL', devices: [9] });
    expect(bench.stopped).toEqual([]);
    expect(bench.of('9', 'device')?.responses.at(-1)).toMatch(/nothing is stopped$/);
  });

  it('is not made suspicious by one person alone', async () => {
    await bench.times(300, () => beyond(BOB, 41));
    expect(bench.of('41', 'device')).toBeUndefined();
  });
});

describe('a source', () => {
  it('that guesses and floods is CRITICAL, and nobody is locked for it', async () => {
    await bench.times(6, () => bench.add('AUTHENTICATION_FAILED', 'unknown'));
    await bench.times(350, () => bench.refused(BOB, 'BUSY'));
    expect(bench.of('192.0.2.7', 'source')).toMatchObject({ level: 'CRITICAL', score: 100 });
    expect(bench.locked.size).toBe(0);
    expect(bench.stopped).toEqual([]);
    expect(bench.of('192.0.2.7', 'source')?.responses).toContain(
      'nothing is refused to this source, for others may share it: its limits hold',
    );
  });

  it('of a flood costs bounded memory, and the least recently active goes first', async () => {
    const entry = await bench.add('AUTHENTICATION_FAILED', 'unknown');
    const from = (index: number) => ({
      ...entry,
      sequence: entry.sequence + index,
      origin: { ...FROM, peer: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}:5` },
    });
    for (let index = 1; index <= 10_000; index++) bench.monitor.observe(from(index));
    expect(bench.monitor.size('source')).toBe(SUBJECTS_MAX.source);
    expect(bench.report('10.0.0.1', 'source').score).toBe(0);
    expect(bench.report('10.0.39.16', 'source').score).toBe(10);
    await bench.clock.advance(2 * WINDOW_MS);
    void bench.monitor.start();
    await bench.clock.advance(60_000);
    expect(bench.monitor.size('source')).toBe(0);
  });
});

describe('time', () => {
  it('ends what counts exactly where the window ends', async () => {
    const { clock } = bench;
    await clock.advance(3 * BUCKET_MS + BUCKET_MS / 2);
    await bench.add('AUTHENTICATION_FAILED', 'unknown');
    const from = '192.0.2.7';
    expect(bench.report(from, 'source').score).toBe(10);
    await clock.advance(WINDOW_MS - BUCKET_MS / 2 - 1);
    expect(bench.report(from, 'source').score).toBe(10);
    await clock.advance(1);
    expect(bench.report(from, 'source')).toMatchObject({ score: 0, indicators: [] });
  });

  it('on the wall going back a day or to 1970 makes nothing older and nobody suspicious', async () => {
    await bench.times(3, () => bench.add('AUTHENTICATION_FAILED', 'unknown'));
    bench.clock.jumpWall(-86_400_000);
    await bench.add('AUTHENTICATION_FAILED', 'unknown');
    expect(bench.report('192.0.2.7', 'source').score).toBe(40);
    bench.clock.jumpWall(-bench.clock.wallMs());
    expect(bench.report('192.0.2.7', 'source').score).toBe(40);
  });
});

describe('a restart', () => {
  it('forgets nothing of the last window, and opens nothing twice', async () => {
    await bench.times(8, () => beyond(BOB, 0));
    await bench.clock.advance(5 * BUCKET_MS);
    const before = bench.report(BOB);
    expect(before.score).toBe(49);
    bench = bench.reopened();
    expect(bench.report(BOB).score).toBe(0);
    await bench.monitor.start();
    expect(bench.report(BOB)).toEqual(before);
    expect(bench.monitor.incidents.list(9)).toHaveLength(1);
    expect(bench.told).toEqual([]);
    await beyond(BOB, 0);
    expect(bench.of(BOB)).toMatchObject({ id: 1, level: 'MEDIUM' });
    expect(bench.told).toEqual(['1 MEDIUM escalated']);
  });

  it('counts entries of before a reboot by their age, those of a clock that was ahead as of now', async () => {
    await bench.add('AUTHENTICATION_FAILED', 'unknown');
    await bench.clock.advance(WINDOW_MS);
    await bench.times(2, () => bench.add('AUTHENTICATION_FAILED', 'unknown'));
    bench.clock.jumpWall(-3_600_000);
    bench = bench.reopened({ bootId: 'boot-2' });
    await bench.monitor.start();
    expect(bench.report('192.0.2.7', 'source').score).toBe(30);
  });

  it('opens the incident that a crash kept from being opened', async () => {
    // The entry is on disk; the process died before anybody looked at it.
    must(
      await bench
        .unwatchedChain()
        .append({ ...blankRecord('QUARANTINE_PROBE', ALICE), devices: [9] }),
    );
    bench = bench.reopened();
    await bench.monitor.start();
    expect(bench.of(ALICE)).toMatchObject({ level: 'CRITICAL' });
    expect(bench.locked.has(ALICE)).toBe(true);
  });

  it('does not hold against anybody what a person has closed or unlocked', async () => {
    await bench.add('QUARANTINE_PROBE', ALICE, { devices: [9] });
    await bench.add('QUARANTINE_PROBE', BOB, { devices: [9] });
    const closed = await bench.monitor.incidents.close(1, 'carol', 'a wrong number typed', null);
    expect(closed?.ok).toBe(true);
    const lockedBecause = bench.locked.get(BOB) ?? '';
    await bench.add('ACCOUNT_UNLOCKED', 'root-1', { details: { account: BOB, lockedBecause } });
    bench = bench.reopened();
    await bench.monitor.start();
    expect(bench.report(ALICE).score).toBe(0);
    expect(bench.report(BOB).score).toBe(0);
    expect(bench.told).toEqual([]);
    expect(bench.of(BOB)).toMatchObject({ level: 'CRITICAL', closedWallMs: 0 });
  });
});

describe('an unlocked account', () => {
  const unlock = (account: string, lockedBecause: string) => {
    bench.locked.delete(account);
    return bench.add('ACCOUNT_UNLOCKED', 'root-1', { details: { account, lockedBecause } });
  };

  it('begins anew, and is locked again when it goes on', async () => {
    await bench.add('QUARANTINE_PROBE', ALICE, { devices: [9] });
    await unlock(ALICE, bench.locked.get(ALICE) ?? '');
    expect(bench.report(ALICE).score).toBe(0);
    await bench.done(ALICE);
    expect(bench.locked.has(ALICE)).toBe(false);
    await bench.add('QUARANTINE_PROBE', ALICE, { devices: [9] });
    expect(bench.locked.has(ALICE)).toBe(true);
    const { responses = [] } = bench.of(ALICE) ?? {};
    expect(responses.filter((told) => told.includes('is locked until'))).toHaveLength(2);
    expect(responses).toContain('unlocked by root-1');
  });

  it('that was not locked by an incident has nothing wiped out', async () => {
    await bench.times(8, () => beyond(BOB, 0));
    await unlock(BOB, '3 failed sign-ins within 15 minutes');
    await unlock(BOB, '');
    expect(bench.report(BOB).score).toBe(49);
  });
});

it('an incident is on record with its reasons and what was done, level by level', async () => {
  await bench.times(22, () => beyond(BOB, 0));
  await bench.clock.advance(1);
  const about = bench.chain
    .read(1, 100)
    .filter(({ event }) => event.startsWith('INCIDENT_'))
    .map(({ event, decision, details }) => [event, decision, details.incident]);
  expect(about).toEqual([
    ['INCIDENT_OPENED', 'LOW', 1],
    ['INCIDENT_ESCALATED', 'MEDIUM', 1],
    ['INCIDENT_ESCALATED', 'HIGH', 1],
    ['INCIDENT_ESCALATED', 'CRITICAL', 1],
  ]);
});

it('the last administrators are locked too, and the incident says who can still unlock', async () => {
  bench.administrators.delete('root-3');
  await bench.add('QUARANTINE_PROBE', 'root-1', { devices: [9] });
  expect(bench.locked.has('root-1')).toBe(true);
  expect(bench.of('root-1')?.responses).toContain(
    'only root-2 is left to unlock accounts: root can, at the console of this machine',
  );
  await bench.add('QUARANTINE_PROBE', 'root-2', { devices: [9] });
  expect(bench.of('root-2')?.responses).toContain(
    'no unlocked administrator is left to unlock accounts: root can, at the console of this machine',
  );
});

it('a probe that no disk takes counts all the same, and is recorded when it does', async () => {
  void bench.monitor.start();
  await bench.clock.advance(1);
  bench.store.database.exec('PRAGMA max_page_count = 1');
  const filler = 'x'.repeat(4_000);
  let full = false;
  for (let turn = 0; turn < 50 && !full; turn++) {
    const record = { ...(bench.chain.read(1, 1)[0] ?? (await bench.done(ALICE))), result: filler };
    full = !(await bench.chain.append(record)).ok;
  }
  expect(full).toBe(true);
  bench.monitor.probed(9, ALICE);
  expect(bench.of(ALICE)).toMatchObject({ level: 'CRITICAL' });
  expect(bench.locked.has(ALICE)).toBe(true);
  await bench.clock.advance(1);
  bench.store.database.exec('PRAGMA max_page_count = 1000000');
  await bench.clock.advance(60_000);
  const opened = bench.chain.read(1, 1_000).filter(({ event }) => event === 'INCIDENT_OPENED');
  expect(opened).toHaveLength(1);
  const rows = bench.store.database.prepare('SELECT id FROM threat_incident').all();
  expect(rows).toHaveLength(1);
});

it('an incident whose end the disk does not take stands as before, is told again, and may close by itself', async () => {
  await bench.times(16, () => beyond(BOB));
  const { incidents } = bench.monitor;
  const id = bench.of(BOB)?.id ?? 0;
  expect(bench.of(BOB)).toMatchObject({ level: 'LOW', closedWallMs: 0 });
  const { score } = bench.report(BOB);
  // What came before the replay is not counted a second time by it.
  await bench.monitor.start();
  expect(bench.report(BOB).score).toBe(score);
  const { page_count: pages } = bench.store.database.prepare('PRAGMA page_count').get() as {
    readonly page_count: number;
  };
  bench.store.database.exec(`PRAGMA max_page_count = ${pages}`);
  const refused = await incidents.close(id, ALICE, 'x'.repeat(90_000), null);
  expect(refused?.ok).toBe(false);
  expect(bench.of(BOB)).toMatchObject({ id, closedWallMs: 0, closedBy: '' });
  expect(bench.told).toEqual([`${id} LOW opened`, `${id} LOW closed`, `${id} LOW opened`]);
  bench.store.database.exec('PRAGMA max_page_count = 1000000');
  await bench.clock.advance(59 * 60_000);
  expect(bench.of(BOB)?.closedBy).toBe('');
  await bench.clock.advance(2 * 60_000);
  expect(bench.of(BOB)?.closedBy).toBe('quiet');
});

it('a site that forgives everything still locks whoever tries a quarantined device', async () => {
  bench.close();
  const levels = { low: 997, medium: 998, high: 999, critical: 1_000 };
  bench = new ThreatBench({ policy: { ...DEFAULT_THREATS, levels } });
  await bench.times(30, () => beyond(BOB, 0));
  expect(bench.monitor.incidents.list(9)).toEqual([]);
  await bench.add('QUARANTINE_PROBE', BOB, { devices: [9] });
  expect(bench.of(BOB)?.level).toBe('CRITICAL');
  expect(bench.locked.has(BOB)).toBe(true);
});
