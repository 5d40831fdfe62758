// What no request may hold, whatever its schema: names of object machinery, and texts that are not what they look like.
// Invariants: pure; bounded in depth; what a caller proves itself with is never looked into.

/** What is wrong with one place of a request. */
export interface TextFinding {
  readonly place: string;
  readonly finding: string;
}

const DEPTH_MAX = 32;
/** Keys with which a copy of a body could change every object (prototype pollution). */
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);
/** Control characters but tab and line ends, line separators, and marks that turn the writing direction around. */
const HIDDEN = /[^\P{Cc}\t\n\r]|[\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069\ufeff]/u;
const LINES = /[\t\n\r]/;

interface Visit {
  readonly value: unknown;
  readonly place: string;
  readonly depth: number;
}

/**
 * keys: those and the depth alone, for a stop, which is never refused for its wording. texts may have lines and tabs,
 * names may not.
 */
export type TextCheck = 'keys' | 'keys and texts' | 'keys and names';

/** The first thing that is wrong, or null. Members named in `opaque` are not looked into. */
export function findHiddenText(
  request: unknown,
  place: string,
  check: TextCheck,
  opaque: readonly string[] = [],
): TextFinding | null {
  const visits: Visit[] = [{ value: request, place, depth: 0 }];
  for (let visit = visits.pop(); visit !== undefined; visit = visits.pop()) {
    const { value, depth } = visit;
    if (typeof value === 'string') {
      const finding = check === 'keys' ? null : hiddenIn(value, check);
      if (finding !== null) return { place: visit.place, finding };
    } else if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) {
      if (depth >= DEPTH_MAX) {
        return { place, finding: `is nested in more than ${DEPTH_MAX} levels` };
      }
      for (const [name, member] of Object.entries(value)) {
        if (FORBIDDEN_KEYS.has(name)) {
          return { place: visit.place, finding: 'has a member named like a part of every object' };
        }
        if (opaque.includes(name)) continue;
        // A name from outside is shown only when it is an ordinary word.
        const shown = /^\w{1,64}$/.test(name) ? name : '?';
        visits.push({ value: member, place: `${visit.place}.${shown}`, depth: depth + 1 });
      }
    }
  }
  return null;
}

function hiddenIn(text: string, check: TextCheck): string | null {
  if (!text.isWellFormed()) return 'holds half of a character';
  if (HIDDEN.test(text) || (check === 'keys and names' && LINES.test(text)))
    return 'holds control characters or marks that cannot be seen';
  return text.normalize('NFC') === text ? null : 'is not in the normal form of Unicode (NFC)';
}

/** The first identifier of a path or query that could climb out of its place, or null. */
export function findClimbing(
  members: Readonly<Record<string, unknown>>,
  place: string,
): TextFinding | null {
  const climbing = Object.entries(members).find(
    ([, value]) => typeof value === 'string' && (value.includes('..') || value.includes('\\')),
  );
  if (climbing === undefined) return null;
  return { place: `${place}.${climbing[0]}`, finding: 'holds a way to somewhere else' };
}
