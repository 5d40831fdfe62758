// What a WebSocket is told when its session ends: one of a few fixed texts, because a close frame is no place for more.
// The whole sentence goes in an ERROR message right before it.

/** The first word that a reason holds decides. */
const TEXTS: readonly (readonly [RegExp, string])[] = [
  [/\block/i, 'Account locked'],
  [/\bdisabled\b|\bgone\b|\bvalid(ity)?\b/i, 'Account disabled'],
  [/\bpassword\b.*\bchanged\b|\bchanged\b.*\bpassword\b|\binvitation\b/i, 'Password changed'],
  [/\brevoked\b/i, 'Credential revoked'],
  [/\bsigned out\b/i, 'Signed out'],
  [/\bhours old\b|\bits end\b|\bnot used\b|\bexpired\b/i, 'Session expired'],
];

export const CLOSE_TEXTS: readonly string[] = [...TEXTS.map(([, text]) => text), 'Session ended'];

export function closeTextOf(reason: string): string {
  return TEXTS.find(([words]) => words.test(reason))?.[1] ?? 'Session ended';
}
