// Which passwords may be chosen (NIST SP 800-63B section 5.1.1.2): long enough, not the commonest, not the account's own name.
// Invariants: pure; no rule about letters, digits or signs, which make passwords worse; the same text typed another way is the
// same password (Unicode normalisation form C).

export const PASSWORD_LENGTH_MIN = 12;
export const PASSWORD_LENGTH_MAX = 128;

/**
 * The commonest of 12 characters and more in published lists of leaked passwords, without their digits and signs at the end:
 * shorter ones are refused by length.
 */
const COMMON: ReadonlySet<string> = new Set([
  'abcdefghijkl',
  'abcdefghijklm',
  'abcdefghijklmnop',
  'abcdefghijklmnopqrstuvwxyz',
  'administrator',
  'administration',
  'appliance',
  'changeme',
  'changemenow',
  'correcthorsebatterystaple',
  'correct horse battery staple',
  'correct-horse-battery-staple',
  'dsmil',
  'iloveyou',
  'letmein',
  'letmeinplease',
  'motdepasse',
  'operator',
  'passphrase',
  'password',
  'passwordpassword',
  'passwort',
  'p@ssw0rd',
  'p@ssword',
  'passw0rd',
  'qwertyuiop',
  'qwertyuiopas',
  'qwertyuiopasdfgh',
  'qwertyuiopasdfghjkl',
  'qwertyuiopasdfghjklzxcvbnm',
  'qazwsxedcrfv',
  'qazwsxedcrfvtgb',
  'azertyuiopqs',
  'asdfghjkl',
  'asdfghjklqwertyuiop',
  'supervisor',
  'technician',
  'trustno',
  'thisisapassword',
  'thisismypassword',
  'welcome',
  'zaq12wsxcde3',
  '1q2w3e4r5t6y',
  '1qaz2wsx3edc',
  '1qaz2wsx3edc4rfv',
  'q1w2e3r4t5y6',
]);

/** As it is hashed: the same letters in another encoding are the same password. */
export function normalPassword(password: string): string {
  return password.normalize('NFC');
}

/** Why it may not be chosen, to be read after "the password"; null when it may. */
export function passwordFinding(password: string, account: string): string | null {
  const text = normalPassword(password);
  // As people count, not as UTF-16 does.
  const length = [...text].length;
  if (!text.isWellFormed()) return 'holds half a character';
  if (length < PASSWORD_LENGTH_MIN)
    return `has ${length} characters, at least ${PASSWORD_LENGTH_MIN} are needed`;
  if (length > PASSWORD_LENGTH_MAX)
    return `has ${length} characters, at most ${PASSWORD_LENGTH_MAX} are taken`;
  const plain = text.toLowerCase();
  const core = plain.replace(/^[\d\W_]+|[\d\W_]+$/gu, '');
  if (repeats(plain) || isRow(plain)) return 'is a row or a repetition';
  if (COMMON.has(plain) || COMMON.has(core)) return 'is one of the commonest passwords';
  const name = account.toLowerCase();
  if (core === name || core === name.replaceAll('-', '') || plain === `${name}${name}`)
    return 'is little more than the name of the account';
  return null;
}

/** `aaaa...`, `abab...`, up to four characters over and over. */
function repeats(text: string): boolean {
  return [1, 2, 3, 4].some((period) =>
    [...text].every((_, at, all) => at < period || all[at] === all[at - period]),
  );
}

/** `abcdefgh...`, `123456789012`, and the same backwards. */
function isRow(text: string): boolean {
  const steps = [...text].slice(1).map((character, at) => {
    const step = (character.codePointAt(0) ?? 0) - (text.charCodeAt(at) ?? 0);
    return step === -9 || step === 9 ? -Math.sign(step) : step;
  });
  return steps.every((step) => step === 1) || steps.every((step) => step === -1);
}
