// Every way a profile can be wrong, with the exact line, column and words a person gets.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { formatProblem } from '#config/problem';
import { checkProfile } from '#config/profile';

const FIXTURES = join(import.meta.dirname, '../../fixtures/boards');

const PROFILES: Readonly<Record<string, readonly string[]>> = {
  'bad-word': [
    '7:80: registers[0].reserved: "12f" is not a valid integer (decimal or 0x hexadecimal, at most 64 bits)',
  ],
  'extends-itself': [
    '6:10: extends: extends-itself extends this profile itself, or the chain is longer than 4',
  ],
  'extends-nothing': ['6:10: extends: there is no profile blcok, did you mean block?'],
  'extends-other-bus': ['6:10: extends: chip is for i2c buses, this profile for memory'],
  'field-beyond-width': [
    '7:98: registers[0].fields[0].bits: 32:30 is not a bit range (high:low) within 32 bits',
  ],
  'id-mismatch': ["2:5: id: something-else is not the file's name id-mismatch"],
  'impossible-condition': ['9:44: identify[0].value: 16 can never be held by these bits'],
  'limits-beyond-width': [
    '7:78: registers[0].limits: 0 .. 65536 is beyond the 16-bit range 0 .. 65535',
  ],
  'limits-reversed': ['7:78: registers[0].limits: the minimum 5 is above the maximum 4'],
  'mask-beyond-width': ['7:79: registers[0].reserved: 0x1FF does not fit 8 bits'],
  'misaligned-register': ['7:67: registers[0].offset: 0x2 is not aligned to 4 bytes'],
  'no-observe': ['1:1: observe is missing'],
  'no-placement': ['7:5: registers[0]: offset is missing'],
  'operation-beyond-limits': [
    '14:33: operations.ACTIVATE[0].value: 3 is outside the limits 0 .. 2',
  ],
  'operation-beyond-mask': [
    '14:44: operations.ACTIVATE[0].value: sets bits 0x2 that are reserved or outside the mask',
  ],
  'operation-read-only': [
    '14:19: operations.ACTIVATE[0].register: value is ro and cannot be written',
  ],
  'overlapping-registers': ['8:13: registers[1].name: low lies on value'],
  'partial-under-limits': [
    '14:32: operations.ACTIVATE[0].mask: a register with limits is always written whole',
  ],
  'partial-write-only': [
    '15:33: operations.ACTIVATE[0].mask: a register that is wo is always written whole',
  ],
  'precious-observed': ['9:15: observe.registers[0]: value is precious and never polled'],
  'read-only-safe': ['7:81: registers[0].safeValue: a register that is ro is never written'],
  'safe-beyond-limits': ['7:117: registers[0].safeValue: 4 is outside the limits 5 .. 9'],
  'safe-beyond-width': ['7:80: registers[0].safeValue: 256 does not fit 8 bits'],
  'safe-reserved': ['7:97: registers[0].safeValue: sets reserved bits 0x10'],
  'self-clearing-reserved': ['7:99: registers[0].selfClearing: bits 0x2 are also reserved'],
  'signed-limits': ['7:91: registers[0].limits: -129 .. 0 is beyond the 8-bit range -128 .. 127'],
  'step-unreadable': [
    '7:79: registers[0].maxStep: a step is judged from what the register holds, and this one is not read',
  ],
  'thermal-beyond-width': ['12:38: thermal.maximum: 128 can never be held by value'],
  'thermal-precious': ['13:22: thermal.register: heat is precious and never polled'],
  'thermal-replaced': [
    '8:13: registers[0].name: heat is replaced here, so that its inherited thermal limit means nothing; give thermal here too',
  ],
  'thermal-unknown': ['12:22: thermal.register: there is no register valeu, did you mean value?'],
  'thermal-without-maximum': ['12:1: thermal: maximum is missing'],
  'thermal-write-only': ['13:22: thermal.register: heat is wo and never polled'],
  'twice-named': ['8:13: registers[1].name: value stands twice in this profile'],
  'unknown-operation-register': [
    '14:19: operations.ACTIVATE[0].register: there is no register valeu, did you mean value?',
  ],
  'unpolled-rule': [
    '12:28: observe.power[0].when[0].register: other is not among the polled registers of observe',
  ],
  'wide-coil': ['7:52: registers[0].width: table coil needs the width 8, value 0 or 1'],
  'written-input': ['7:65: registers[0].access: table input can only be read'],
  'wrong-placement': ['7:31: registers[0].command: does not belong here'],
  'wrong-protocol-width': ['7:55: registers[0].width: protocol word moves 16 bits, not 32'],
};

for (const name of readdirSync(join(FIXTURES, 'bad-profiles')).sort()) {
  const stem = name.replace('.yaml', '');
  test(`the profile ${stem} is refused where it is wrong`, () => {
    const file = join(FIXTURES, 'bad-profiles', name);
    const { profile, problems } = checkProfile(file, [join(FIXTURES, 'profiles')]);
    expect(profile).toBeUndefined();
    const expected = (PROFILES[stem] ?? []).map((text) => `${file}:${text}; the file is not used`);
    expect(problems.map(formatProblem)).toEqual(expected);
    expect(expected.length).toBeGreaterThan(0);
  });
}
