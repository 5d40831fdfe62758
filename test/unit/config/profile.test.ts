import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkBoard } from '#config/board';
import { formatProblem } from '#config/problem';
import { checkProfile, type Profile, ProfileStore } from '#config/profile';
import type { RegisterSpec } from '#model/register';

const ROOT = join(import.meta.dirname, '../../..');
const SHIPPED = join(ROOT, 'drivers/profiles');
const FIXTURES = join(ROOT, 'test/fixtures/boards/profiles');

function profileOf(id: string, directory = FIXTURES): Profile {
  const checked = new ProfileStore([directory]).find(id);
  if (checked?.profile === undefined) throw new Error(JSON.stringify(checked?.problems));
  return checked.profile;
}

function specOf(profile: Profile, name: string): RegisterSpec {
  const register = profile.registers.find(({ spec }) => spec.name === name);
  if (register === undefined) throw new Error(`no ${name}`);
  return register.spec;
}

describe('shipped profiles', () => {
  const files = readdirSync(SHIPPED).filter((name) => name.endsWith('.yaml'));
  test.each(files)('%s has no problems', (name) => {
    const { profile, problems } = checkProfile(join(SHIPPED, name));
    expect(problems.map(formatProblem)).toEqual([]);
    expect(profile?.id).toBe(name.replace('.yaml', ''));
  });

  test.each(files)('%s has a thermal limit if it has a thermometer, above a warm room', (name) => {
    const { profile } = checkProfile(join(SHIPPED, name));
    const warm = profile?.registers.find(
      ({ spec }) => spec.access === 'ro' && spec.unit.endsWith('degC'),
    )?.spec;
    const thermal = profile?.behaviour.thermal;
    expect(thermal !== undefined).toBe(warm !== undefined);
    if (profile === undefined || thermal === undefined) return;
    const { unit, scale } = specOf(profile, thermal.register);
    const degrees = (thermal.maximum * scale) / (unit === 'milli-degC' ? 1_000 : 1);
    expect(degrees).toBeGreaterThanOrEqual(60);
    expect(degrees).toBeLessThanOrEqual(110);
  });

  test('let every device of the default board be watched for its temperature', () => {
    const file = join(SHIPPED, 'boards/default.yaml');
    const options = { variables: { SIMULATOR: '/run/sim' }, profileDirectories: [SHIPPED] };
    const without = checkBoard(file, options).board?.devices.filter(
      ({ behaviour }) => behaviour.thermal === undefined,
    );
    expect(without).toEqual([]);
  });

  test('QEMU edu is recognised by the low byte of its identification', () => {
    const { behaviour } = profileOf('qemu-edu', SHIPPED);
    expect(behaviour.identify).toEqual([
      { register: 'identification', mask: 0xffn, minimum: 0xedn, maximum: 0xedn },
    ]);
  });
});

describe('a profile', () => {
  test('holds 64-bit numbers exactly', () => {
    const wide = specOf(profileOf('everything'), 'wide');
    expect(wide.limits).toEqual({ minimum: 0x10n, maximum: 0xffff_ffff_ffff_fff0n });
    expect(wide.readBackMask).toBe(0xffff_ffff_ffff_ffffn);
    expect(wide.fields).toEqual([{ name: 'top', bitLow: 60, bitHigh: 63 }]);
  });

  test('gives each access its defaults', () => {
    const profile = profileOf('everything');
    const defaults = (name: string) => {
      const { volatile, precious, readBackMask } = specOf(profile, name);
      return { volatile, precious, readBackMask };
    };
    expect(defaults('control')).toEqual({ volatile: false, precious: false, readBackMask: 0xfdn });
    expect(defaults('status')).toEqual({ volatile: true, precious: false, readBackMask: 0n });
    expect(defaults('pending')).toEqual({ volatile: true, precious: false, readBackMask: 0x7fn });
    expect(defaults('causes')).toEqual({ volatile: true, precious: true, readBackMask: 0n });
    expect(defaults('trigger')).toEqual({ volatile: false, precious: false, readBackMask: 0n });
    expect(defaults('lossy').readBackMask).toBe(0xff00n);
  });

  test("takes a negative safe value as the register's two's complement", () => {
    expect(specOf(profileOf('everything'), 'level').safeValue).toBe(0xfffen);
  });

  test('says how warm its device may be, in the signed raw unit of the thermometer', () => {
    expect(profileOf('warm').behaviour.thermal).toEqual({ register: 'heat', maximum: -5 });
    expect(profileOf('everything').behaviour.thermal).toBeUndefined();
  });

  test('that extends another replaces registers of the same name in place and adds its own', () => {
    const child = profileOf('child');
    expect(child.registers.map(({ spec, placement }) => [spec.name, placement])).toEqual([
      ['duty', { kind: 'sysfs', attribute: 'pwm3' }],
      ['speed', { kind: 'sysfs', attribute: 'fan1_input' }],
      ['alarm', { kind: 'sysfs', attribute: 'fan1_alarm' }],
    ]);
    expect(specOf(child, 'duty').safeValue).toBe(255n);
    expect(child.behaviour.observe.registers).toEqual(['duty']);
    expect(child.files.map(({ id }) => id)).toEqual(['child', 'fan']);
  });

  test('is found in the first directory that has it, and never outside of one', () => {
    const store = new ProfileStore([FIXTURES, SHIPPED]);
    expect(store.find('block')?.profile?.description).toBe('A profile for tests.');
    expect(store.find('standard-block')?.profile?.family).toBe('memory');
    expect(store.find('../profiles/block')).toBeUndefined();
    expect(store.find('boards/default')).toBeUndefined();
  });
});
