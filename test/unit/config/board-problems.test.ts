// Every way a board file can be wrong, with the exact line, column and words a person gets.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkBoard } from '#config/board';
import { formatProblem } from '#config/problem';

const FIXTURES = join(import.meta.dirname, '../../fixtures/boards');
const OPTIONS = { variables: { ROOT: '/r' }, profileDirectories: [join(FIXTURES, 'profiles')] };

// The profile directory of this machine stands in one message; everything else is the same everywhere.
const BOARDS: Readonly<Record<string, readonly string[]>> = {
  'alias-bomb': ['1:41: the file expands to more than 100000 values'],
  'alias-cycle': ['3:5: name[0][0]: values are nested more than 32 deep'],
  'bad-directory': [
    '13:22: devices[0].at.directory: "path:../../etc" is not a valid directory locator (hwmon:NAME, hwmon:NAME@DEVICE, thermal:TYPE, leds:NAME, power_supply:NAME, gpio:LINE or path:relative/dir)',
  ],
  'duplicate-bus': ['8:11: buses[4].id: bus memory is already described at 4:5'],
  'duplicate-chip': ['19:17: devices[1].at.chip: chip 0x20 is already the chip of First at 13:17'],
  'duplicate-id': ['15:9: devices[1].id: 0x8000 (id 0) is already the number of First at 9:12'],
  'duplicate-key': ['15:5: devices[0].risk: the same key stands twice in one mapping'],
  'duplicate-name': [
    '16:11: devices[1].name: fan-controller is already the name of Fan Controller at 10:11',
  ],
  empty: ['1:1: must be a mapping, not empty'],
  'gap-token': ['9:12: devices[0].token: 0x800C is a gap token'],
  'id-out-of-range': ['9:9: devices[0].id: must be at most 83, not 84'],
  'lifted-quarantine': [
    '15:18: devices[0].quarantined: quarantine of 0x8009 is permanent and cannot be lifted',
  ],
  'linear-id-as-token': ['9:12: devices[0].token: 0x5 is not a token (0x8000 to 0x806B)'],
  'misaligned-window': [
    '13:19: devices[0].at.window: 0x1002 is not aligned to the 4 bytes of register control',
  ],
  'missing-member': ['9:5: devices[0]: risk is missing'],
  'modbus-beyond': ['13:26: devices[0].at.base: register value would be at 65536, beyond 65535'],
  'modbus-overlap': [
    '19:17: devices[1].at.unit: unit 3, holding address 1 (value) is already value of First at 13:17',
  ],
  'not-a-mapping': ['1:1: must be a mapping, not a list'],
  'not-a-token': ['9:12: devices[0].token: 0x8070 is not a token (0x8000 to 0x806B)'],
  'overlapping-windows': [
    '19:19: devices[1].at.window: window 0x1800 .. 0x27FF overlaps 0x1000 .. 0x1FFF of First at 13:19',
  ],
  'register-beyond-window': [
    '13:19: devices[0].at.window: register wide (8 bytes at 0x8) is beyond the window of 0x8 bytes',
  ],
  'reserved-chip': ['13:17: devices[0].at.chip: must be at most 119, not 0x78'],
  'same-wire': ['8:5: buses[4]: is physically the same as bus serial-0 at 6:5'],
  several: [
    '7:24: buses[3].kind: must be one of memory, pci, uio, sysfs, i2c, serial, modbus-tcp, not spi',
    '9:12: devices[0].token: 0x800F is a gap token',
    '20:11: devices[1].risk: must be one of SAFE, LOW, MODERATE, HIGH, CRITICAL, QUARANTINED, not MILD',
    '24:14: devices[2].profile: there is no profile "nothing-like-it" in PROFILES',
  ],
  'shared-attribute': [
    '19:22: devices[1].at.directory: hwmon:fan pwm1 (duty) is already duty of First at 13:22',
  ],
  'stop-inputs': [
    '10:13: stopInputs[1].name: "button" is already a stop input',
    '11:27: stopInputs[2].device: there is no device "frist", did you mean first?',
    '12:28: stopInputs[3].device: 0x8009 is quarantined and never read',
    '13:26: stopInputs[4].device: no device of this board has this number',
    '14:40: stopInputs[5].register: first has no register contrl, did you mean control?',
    '15:59: stopInputs[6].healthy: give a value, or a minimum or maximum or both',
    '16:66: stopInputs[7].healthy.bits: 40 is not a bit range (high:low) within 32 bits',
    '17:74: stopInputs[8].healthy.mask: give bits or mask, not both',
    '18:82: stopInputs[9].healthy.minimum: the minimum is above the maximum',
  ],
  'stop-stage': [
    '12:16: devices[0].stopStage: must be at most 15, not 16',
    '14:88: stopInputs[0].periodMs: must be at least 10, not 1',
    '15:5: stopInputs[1]: healthy is missing',
  ],
  syntax: [
    '11:5: YAML: Flow sequence in block collection must be sufficiently indented and end with a ]',
  ],
  'token-and-id': ['15:9: devices[0].id: give token or id, not both'],
  'token-missing': ['9:5: devices[0]: token is missing'],
  'unknown-bus-kind': [
    '7:24: buses[3].kind: must be one of memory, pci, uio, sysfs, i2c, serial, modbus-tcp, not spi',
  ],
  'unknown-bus': ['11:10: devices[0].bus: there is no bus "memroy", did you mean memory?'],
  'unknown-member': [
    '15:5: devices[0].compartmnts: device has no such member, did you mean compartments?',
  ],
  'unknown-override': [
    '13:55: devices[0].at.registers.dutty: profile fan has no register dutty, did you mean duty?',
  ],
  'unknown-profile': [
    '12:14: devices[0].profile: there is no profile "blokc", did you mean block?',
  ],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the message shows the variable as the file has it
  'unknown-variable': ['4:39: buses[0].path: variable ${SIMULATR} is not set (set: ROOT)'],
  'window-before-origin': [
    '13:19: devices[0].at.window: 0x1000 is before the bus origin 0x60000000',
  ],
  'wrong-family': [
    '12:14: devices[0].profile: profile block is for memory registers, bus serial-0 is a serial bus',
  ],
  'wrong-type': ['9:12: devices[0].token: must be an integer, not first'],
  'wrong-value': [
    '14:11: devices[0].risk: must be one of SAFE, LOW, MODERATE, HIGH, CRITICAL, QUARANTINED, not MODRATE, did you mean MODERATE?',
  ],
};

for (const name of readdirSync(join(FIXTURES, 'bad')).sort()) {
  const stem = name.replace('.yaml', '');
  test(`the board ${stem} is refused where it is wrong`, () => {
    const file = join(FIXTURES, 'bad', name);
    const { board, problems } = checkBoard(file, OPTIONS);
    expect(board).toBeUndefined();
    const expected = (BOARDS[stem] ?? []).map((text) => `${file}:${text}; the file is not used`);
    const found = problems
      .map(formatProblem)
      .map((text) => text.replace(`${FIXTURES}/profiles`, 'PROFILES'));
    expect(found).toEqual(expected);
    expect(expected.length).toBeGreaterThan(0);
  });
}
