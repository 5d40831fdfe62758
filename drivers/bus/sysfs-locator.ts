// Finds sysfs directories by names that survive a reboot: hwmon, thermal, LED, power supply and GPIO classes.
//
// Invariants: a directory found is inside the root after every symbolic link is followed (the kernel's own links
// stay inside /sys); names in a locator are single path components, except after `path:`.
// Faults: CONFIG_INVALID for text that is no locator; BUS_ABSENT when nothing or more than one thing matches;
// BUS_PERMISSION when it leads outside the root or the kernel keeps the GPIO line for itself.

import { readdirSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, sep } from 'node:path';
import { describeError, type FaultDetails, fault } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';
import { type Outcome, refuse, succeed } from '#foundation/outcome';

export type SysfsLocator =
  | { readonly kind: 'hwmon'; readonly name: string; readonly device: string | null }
  | { readonly kind: 'thermal'; readonly type: string }
  | { readonly kind: 'leds'; readonly name: string }
  | { readonly kind: 'power_supply'; readonly name: string }
  | { readonly kind: 'gpio'; readonly line: number }
  | { readonly kind: 'gpio-chip'; readonly label: string; readonly offset: number }
  | { readonly kind: 'path'; readonly path: string };

const GRAMMAR =
  'hwmon:NAME[@DEVICE], thermal:TYPE, leds:NAME, power_supply:NAME, gpio:LINE or path:DIRECTORY';

/** True for a name that can be appended to a directory without leaving it. */
export function isPathComponent(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name);
}

/** `undefined` for anything that is no locator. LED names hold colons, so only the first one divides. */
export function parseLocator(text: string): SysfsLocator | undefined {
  const colon = text.indexOf(':');
  const scheme = text.slice(0, Math.max(colon, 0));
  const rest = text.slice(colon + 1);
  if (scheme === 'path') {
    return rest.split('/').every(isPathComponent) ? { kind: 'path', path: rest } : undefined;
  }
  if (scheme === 'gpio') return parseGpioLine(rest);
  if (scheme === 'hwmon') {
    const at = rest.indexOf('@');
    const name = at === -1 ? rest : rest.slice(0, at);
    const device = at === -1 ? null : rest.slice(at + 1);
    const valid = isPathComponent(name) && (device === null || isPathComponent(device));
    return valid ? { kind: 'hwmon', name, device } : undefined;
  }
  if (!isPathComponent(rest)) return undefined;
  if (scheme === 'thermal') return { kind: 'thermal', type: rest };
  if (scheme === 'leds') return { kind: 'leds', name: rest };
  if (scheme === 'power_supply') return { kind: 'power_supply', name: rest };
  return undefined;
}

function parseGpioLine(text: string): SysfsLocator | undefined {
  if (/^\d{1,6}$/.test(text)) return { kind: 'gpio', line: Number(text) };
  const match = /^(.+)\/(\d{1,4})$/.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { kind: 'gpio-chip', label: match[1], offset: Number(match[2]) };
}

/** Resolves locators under one root, normally /sys; keeps nothing, so every call looks again. */
export class SysfsFinder {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  /** The real path of the directory that `text` names; `place` is for the fault. */
  find(text: string, place: string): Outcome<string> {
    const locator = parseLocator(text);
    if (locator === undefined) {
      const finding = `"${text.slice(0, 80)}" is no sysfs directory: expected ${GRAMMAR}`;
      return failed('CONFIG_INVALID', { place, finding, consequence: 'nothing was touched' });
    }
    switch (locator.kind) {
      case 'hwmon':
        return this.#inside(this.#hwmon(locator.name, locator.device, place), place);
      case 'thermal':
        return this.#inside(this.#thermal(locator.type, place), place);
      case 'leds':
      case 'power_supply':
        return this.#inside(succeed(join('class', locator.kind, locator.name)), place);
      case 'gpio':
        return this.#gpio(locator.line, place);
      case 'gpio-chip':
        return this.#gpioOfChip(locator.label, locator.offset, place);
      case 'path':
        return this.#inside(succeed(locator.path), place);
    }
  }

  #hwmon(name: string, device: string | null, place: string): Outcome<string> {
    const found = this.#entries('class/hwmon').filter((entry) => {
      const directory = join('class/hwmon', entry);
      // Before Linux 3.13 drivers put their attributes, `name` too, into the device's own directory.
      const shown =
        this.#text(join(directory, 'name')) ?? this.#text(join(directory, 'device/name'));
      return (
        shown === name && (device === null || this.#linkName(join(directory, 'device')) === device)
      );
    });
    const what = `hwmon chip ${name}${device === null ? '' : ` of device ${device}`}`;
    return only(found, 'class/hwmon', what, 'name its device after @', place);
  }

  #thermal(type: string, place: string): Outcome<string> {
    const found = this.#entries('class/thermal').filter(
      (entry) => this.#text(join('class/thermal', entry, 'type')) === type,
    );
    return only(
      found,
      'class/thermal',
      `thermal zone or cooling device of type ${type}`,
      'use path: instead',
      place,
    );
  }

  #gpioOfChip(label: string, offset: number, place: string): Outcome<string> {
    const chips = this.#entries('class/gpio').filter(
      (entry) =>
        /^gpiochip\d+$/.test(entry) && this.#text(join('class/gpio', entry, 'label')) === label,
    );
    const chip = only(
      chips,
      'class/gpio',
      `GPIO chip labelled ${label}`,
      'use line numbers',
      place,
    );
    if (!chip.ok) return chip;
    const base = Number(this.#text(join(chip.value, 'base')));
    const lines = Number(this.#text(join(chip.value, 'ngpio')));
    if (!Number.isInteger(base) || !Number.isInteger(lines) || offset >= lines) {
      const finding = `GPIO chip ${label} has ${lines} lines, so no line ${offset}`;
      return failed('BUS_ABSENT', { place, finding });
    }
    return this.#gpio(base + offset, place);
  }

  /** Documentation/admin-guide/gpio/sysfs.rst: a line has a directory once its number was written to `export`. */
  #gpio(line: number, place: string): Outcome<string> {
    const relative = `class/gpio/gpio${line}`;
    if (this.#exists(relative)) return this.#inside(succeed(relative), place);
    try {
      writeFileSync(join(this.#root, 'class/gpio/export'), `${line}\n`, { flag: 'r+' });
    } catch (error) {
      const internal = describeError(error);
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EBUSY' || code === 'EACCES' || code === 'EPERM') {
        const finding = `GPIO line ${line} cannot be exported: ${code === 'EBUSY' ? 'a kernel driver uses it' : 'permission denied'}`;
        return failed('BUS_PERMISSION', { place, finding, internal });
      }
      return failed('BUS_ABSENT', { place, finding: `GPIO line ${line} is absent`, internal });
    }
    if (!this.#exists(relative)) {
      return failed('BUS_ABSENT', {
        place,
        finding: `GPIO line ${line} was exported and did not appear`,
      });
    }
    return this.#inside(succeed(relative), place);
  }

  #inside(relative: Outcome<string>, place: string): Outcome<string> {
    if (!relative.ok) return relative;
    try {
      const root = realpathSync(this.#root);
      const real = realpathSync(join(root, relative.value));
      if (real !== root && !real.startsWith(root.endsWith(sep) ? root : root + sep)) {
        const finding = 'its directory leads outside the sysfs root';
        return failed('BUS_PERMISSION', { place, finding, internal: real });
      }
      if (!statSync(real).isDirectory()) {
        return failed('BUS_ABSENT', { place, finding: `${relative.value} is no directory` });
      }
      return succeed(real);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      const denied = code === 'EACCES' || code === 'EPERM';
      const finding = denied
        ? `${relative.value} may not be entered`
        : `${relative.value} is absent`;
      return failed(denied ? 'BUS_PERMISSION' : 'BUS_ABSENT', {
        place,
        finding,
        internal: describeError(error),
      });
    }
  }

  #entries(relative: string): string[] {
    try {
      return readdirSync(join(this.#root, relative)).sort();
    } catch {
      // A class directory exists only while a driver of the class is loaded.
      return [];
    }
  }

  #text(relative: string): string | undefined {
    try {
      return readFileSync(join(this.#root, relative), 'latin1').trim();
    } catch {
      return undefined;
    }
  }

  #linkName(relative: string): string | undefined {
    try {
      return basename(realpathSync(join(this.#root, relative)));
    } catch {
      return undefined;
    }
  }

  #exists(relative: string): boolean {
    return statSync(join(this.#root, relative), { throwIfNoEntry: false }) !== undefined;
  }
}

function only(
  found: readonly string[],
  parent: string,
  what: string,
  advice: string,
  place: string,
): Outcome<string> {
  const [first] = found;
  if (first === undefined) return failed('BUS_ABSENT', { place, finding: `there is no ${what}` });
  if (found.length === 1) return succeed(join(parent, first));
  const finding = `there are ${found.length} of ${what}; ${advice}`;
  return failed('BUS_ABSENT', { place, finding });
}

function failed(
  code: FaultCode,
  details: FaultDetails,
): { ok: false; fault: ReturnType<typeof fault> } {
  return refuse(fault(code, details));
}
