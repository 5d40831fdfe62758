// The bounded queue keeps order, keeps its bound and counts what it turned away.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { BoundedQueue } from '#foundation/bounded-queue';

it('is a plain queue up to its bound, whatever is done to it', () => {
  const step = fc.oneof(fc.nat(), fc.constant('shift' as const), fc.constant('drain' as const));
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5 }), fc.array(step), (capacity, steps) => {
      const queue = new BoundedQueue<number>(capacity);
      let model: number[] = [];
      let refused = 0;
      for (const action of steps) {
        if (action === 'shift') expect(queue.shift()).toBe(model.shift());
        else if (action === 'drain') {
          expect(queue.drain()).toEqual(model);
          model = [];
        } else {
          const fits = model.length < capacity;
          expect(queue.push(action)).toBe(fits);
          if (fits) model.push(action);
          else refused += 1;
        }
        expect([queue.length, queue.refused]).toEqual([model.length, refused]);
      }
    }),
  );
});
