// Lays out a sysfs-like tree: device directories under devices/, and class directories that link to them as the
// kernel makes them (Documentation/admin-guide/sysfs-rules.rst).
// Invariants: every directory asked for is real and inside the root; numbers are given in order of asking.

import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { parseLocator, type SysfsLocator } from '#drivers/bus/sysfs-locator';

/** First line number of a simulated GPIO chip; the kernel too counts dynamic chips from 512. */
const GPIO_BASE_FIRST = 512;
const GPIO_LINES_PER_CHIP = 64;

/** Lies in the root of every tree made here: only such a tree is ever removed. */
export const SYSFS_TREE_MARK = '.simulated';

export class SysfsTree {
  readonly #root: string;
  readonly #directories = new Map<string, string>();
  readonly #gpioBases = new Map<string, number>();
  readonly #next = new Map<string, number>();

  constructor(root: string) {
    this.#root = root;
    this.remove();
    mkdirSync(root, { recursive: true });
    writeFileSync(join(root, SYSFS_TREE_MARK), '');
    for (const name of ['hwmon', 'thermal', 'leds', 'power_supply', 'gpio']) {
      mkdirSync(join(root, 'class', name), { recursive: true });
    }
    // An export file that takes any number: every line the board names is exported already.
    writeFileSync(join(root, 'class/gpio/export'), '');
  }

  /** The real directory that a locator names, made on first asking; throws on text that is no locator. */
  directory(locatorText: string, slug: string): string {
    const known = this.#directories.get(locatorText);
    if (known !== undefined) return known;
    const locator = parseLocator(locatorText);
    if (locator === undefined)
      throw new RangeError(`${slug}: "${locatorText}" is no sysfs locator`);
    const made = this.#make(locator, slug);
    this.#directories.set(locatorText, made);
    return made;
  }

  remove(): void {
    if (!existsSync(join(this.#root, SYSFS_TREE_MARK))) return;
    rmSync(this.#root, { recursive: true, force: true });
  }

  #make(locator: SysfsLocator, slug: string): string {
    switch (locator.kind) {
      case 'hwmon': {
        const device = join('devices/platform', locator.device ?? slug);
        const made = this.#classed('hwmon', this.#numbered('hwmon'), join(device, 'hwmon'));
        this.#link(join(made, 'device'), join(this.#root, device));
        writeFileSync(join(made, 'name'), `${locator.name}\n`);
        return made;
      }
      case 'thermal': {
        const made = this.#classed(
          'thermal',
          this.#numbered('thermal_zone'),
          'devices/virtual/thermal',
        );
        writeFileSync(join(made, 'type'), `${locator.type}\n`);
        writeFileSync(join(made, 'mode'), 'enabled\n');
        return made;
      }
      case 'leds':
        return this.#classed('leds', locator.name, join('devices/platform', slug, 'leds'));
      case 'power_supply': {
        const made = this.#classed(
          'power_supply',
          locator.name,
          join('devices/platform', slug, 'power_supply'),
        );
        writeFileSync(join(made, 'type'), 'Battery\n');
        return made;
      }
      case 'gpio':
        return this.#gpioLine(locator.line);
      case 'gpio-chip':
        return this.#gpioLine(this.#gpioBase(locator.label) + locator.offset);
      case 'path': {
        const made = join(this.#root, locator.path);
        mkdirSync(made, { recursive: true });
        return made;
      }
    }
  }

  #gpioLine(line: number): string {
    const made = this.#classed('gpio', `gpio${line}`, 'devices/platform/gpio/gpio');
    writeFileSync(join(made, 'direction'), 'in\n');
    return made;
  }

  #gpioBase(label: string): number {
    const known = this.#gpioBases.get(label);
    if (known !== undefined) return known;
    const base = GPIO_BASE_FIRST + this.#gpioBases.size * GPIO_LINES_PER_CHIP;
    const made = this.#classed('gpio', `gpiochip${base}`, 'devices/platform/gpio/gpio');
    writeFileSync(join(made, 'label'), `${label}\n`);
    writeFileSync(join(made, 'base'), `${base}\n`);
    writeFileSync(join(made, 'ngpio'), `${GPIO_LINES_PER_CHIP}\n`);
    this.#gpioBases.set(label, base);
    return base;
  }

  #numbered(prefix: string): string {
    const number = this.#next.get(prefix) ?? 0;
    this.#next.set(prefix, number + 1);
    return `${prefix}${number}`;
  }

  /** A directory under devices/ and the class's link to it. */
  #classed(className: string, name: string, parent: string): string {
    const real = join(this.#root, parent, name);
    mkdirSync(real, { recursive: true });
    this.#link(join(this.#root, 'class', className, name), real);
    return real;
  }

  #link(path: string, target: string): void {
    symlinkSync(relative(dirname(path), target), path);
  }
}
