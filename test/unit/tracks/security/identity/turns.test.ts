// Changes one after another: never two at once, none too late, none for ever.

import { describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import { Turns } from '#tracks/security/identity/turns';
import { codeOf, must } from '../../../../support/kernel-bench.ts';

/** A change that is made when the test says so. */
function slow() {
  const held = Promise.withResolvers<Outcome<string>>();
  return { change: () => held.promise, end: () => held.resolve(succeed('made')), held };
}

describe('turns', () => {
  const clock = new VirtualClock();
  const soon = () => Deadline.after(clock, 1_000);

  it('let one change begin when the one before has ended, in the order of asking', async () => {
    const turns = new Turns();
    const first = slow();
    const begun: string[] = [];
    const one = turns.take('test', soon(), first.change);
    const others = ['second', 'third'].map((name) =>
      turns.take('test', soon(), async () => {
        begun.push(name);
        return succeed(name);
      }),
    );
    await clock.advance(10);
    expect(begun).toEqual([]);
    first.end();
    expect(must(await one)).toBe('made');
    expect((await Promise.all(others)).map(must)).toEqual(['second', 'third']);
    expect(begun).toEqual(['second', 'third']);
  });

  it('begin nothing whose time is over', async () => {
    const turns = new Turns();
    const first = slow();
    const one = turns.take('test', soon(), first.change);
    let begun = false;
    const late = turns.take('test', soon(), async () => {
      begun = true;
      return succeed('late');
    });
    await clock.advance(1_000);
    first.end();
    expect(must(await one)).toBe('made');
    expect(codeOf(await late)).toBe('DEADLINE_EXCEEDED');
    expect(begun).toBe(false);
  });

  it('go on after a change that threw', async () => {
    const turns = new Turns();
    const broken = turns.take('test', soon(), () => Promise.reject(new Error('broken')));
    const next = turns.take('test', soon(), async () => succeed('next'));
    await expect(broken).rejects.toThrow('broken');
    expect(must(await next)).toBe('next');
  });

  it('have 64 wait and no more, and room again when they have gone', async () => {
    const turns = new Turns();
    const first = slow();
    const one = turns.take('test', soon(), first.change);
    await clock.advance(1);
    const ask = () => turns.take('test', soon(), async () => succeed('made'));
    const waiting = Array.from({ length: 64 }, ask);
    expect(codeOf(await ask())).toBe('BUSY');
    expect(turns.waiting).toBe(64);
    first.end();
    expect(must(await one)).toBe('made');
    expect((await Promise.all(waiting)).map(codeOf)).toEqual(Array(64).fill('no fault'));
    expect(must(await ask())).toBe('made');
  });
});
