// Serves the sysfs devices of one bus as files: shows register contents, takes written text in as register writes.
// Invariants: an attribute is looked at when inotify names it, never polled; text that is no number, a write to a
// read-only attribute and stuck bits are put right at once, padding only after the writer has paused.
// Limits: two writes between two looks count as one, and writing the value that is shown already is not seen.

import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import {
  formatAttribute,
  NAMED_VALUES,
  type NamedValues,
  parseAttribute,
} from '#drivers/bus/sysfs-text';
import type { Cancel } from '#foundation/clock';
import type { RegisterSpec, Word } from '#model/register';
import { AttributeFile } from './attribute-file.ts';
import type { DeviceModel } from './device-model.ts';
import type { FaultTarget, StateFault } from './fault-plan.ts';
import type { SimulatedHardware } from './hardware.ts';
import type { Mechanism } from './mechanism.ts';
import { SysfsTree } from './sysfs-tree.ts';

/** A writer that has been quiet this long is not about to write again: padding may be restored. */
const PAUSE_MS = 100;

interface Shown {
  readonly model: DeviceModel;
  readonly spec: RegisterSpec;
  readonly attribute: AttributeFile;
  readonly names: NamedValues | undefined;
}

export class SysfsMechanism implements Mechanism {
  readonly #busId: string;
  readonly #root: string;
  readonly #hardware: SimulatedHardware;
  readonly #shown: Shown[] = [];
  readonly #byPath = new Map<string, Shown>();
  readonly #watchers: FSWatcher[] = [];
  readonly #written = new Set<Shown>();
  #tree: SysfsTree | null = null;
  #cancelMend: Cancel = () => undefined;

  constructor(busId: string, root: string, hardware: SimulatedHardware) {
    this.#busId = busId;
    this.#root = root;
    this.#hardware = hardware;
    hardware.listen(busId, (model) => this.#publish(model));
    hardware.faults.listen({
      apply: (target, fault) => this.#break(target, fault, 'break'),
      undo: (target, fault) => this.#break(target, fault, 'restore'),
    });
  }

  async open(): Promise<void> {
    const tree = new SysfsTree(this.#root);
    this.#tree = tree;
    for (const model of this.#hardware.on(this.#busId)) {
      for (const { spec, location } of model.device.registers) {
        if (location.kind !== 'sysfs') continue;
        const path = join(
          tree.directory(location.directory, model.device.slug),
          location.attribute,
        );
        const writable = spec.access !== 'ro' && spec.access !== 'rc';
        const attribute = new AttributeFile(path, writable ? 'writable' : 'read-only');
        const names = NAMED_VALUES[`${location.directory.split(':', 1)[0]}:${location.attribute}`];
        const shown = { model, spec, attribute, names };
        attribute.open(textOf(shown));
        this.#shown.push(shown);
        this.#byPath.set(path, shown);
      }
    }
    for (const directory of new Set(this.#shown.map((shown) => dirname(shown.attribute.path)))) {
      const watcher = watch(directory, (_event, name) => {
        const shown = name === null ? undefined : this.#byPath.get(join(directory, basename(name)));
        if (shown !== undefined) this.#look(shown);
      });
      // The directory itself goes away at close; what is left of the watch is of no use then.
      watcher.on('error', () => watcher.close());
      this.#watchers.push(watcher);
    }
  }

  flush(): void {
    for (const shown of this.#shown) this.#look(shown);
  }

  touched(): readonly string[] {
    const changed = this.#shown.filter(
      (shown) => shown.model.device.quarantined && shown.attribute.firstLine() !== textOf(shown),
    );
    return [...new Set(changed.map(({ model }) => model.device.slug))];
  }

  async close(): Promise<void> {
    this.#cancelMend();
    for (const watcher of this.#watchers) watcher.close();
    for (const { attribute } of this.#shown) attribute.close();
    this.#tree?.remove();
  }

  #look(shown: Shown): void {
    const { model, spec, attribute } = shown;
    const line = attribute.firstLine();
    // A quarantined attribute stays as it was left, as evidence.
    if (line === null || model.device.quarantined) return;
    if (line !== textOf(shown)) {
      const word = parseWord(shown, line);
      if (word !== null) model.write(spec.name, word);
      if (line === textOf(shown)) attribute.accept(line);
      else attribute.mend(textOf(shown));
      this.#publish(model);
    }
    this.#mendLater(shown);
  }

  /** Padding that a shorter value left behind goes when nobody is writing. */
  #mendLater(shown: Shown): void {
    this.#written.add(shown);
    this.#cancelMend();
    this.#cancelMend = this.#hardware.clock.after(PAUSE_MS, () => {
      for (const written of this.#written) {
        const text = textOf(written);
        if (written.attribute.firstLine() === text) written.attribute.mend(text);
      }
      this.#written.clear();
    });
  }

  #publish(model: DeviceModel): void {
    if (model.device.quarantined) return;
    for (const shown of this.#shown) {
      if (shown.model === model) shown.attribute.show(textOf(shown));
    }
  }

  #break(target: FaultTarget, fault: StateFault, action: 'break' | 'restore'): void {
    if (target.busId !== this.#busId) return;
    const { kind } = fault;
    if (kind !== 'eio' && kind !== 'absent' && kind !== 'garbage') return;
    for (const { model, spec, attribute } of this.#shown) {
      if (model.device.slug !== target.device) continue;
      if (target.register !== null && spec.name !== target.register) continue;
      if (action === 'break') attribute.breakAs(kind);
      else attribute.restore();
    }
  }
}

/** What the model holds, as the kernel prints it: decimal with a sign, or the word that stands for the number. */
function textOf({ model, spec, names }: Shown): string {
  // A write-only attribute stays blank, so that the same order given twice is seen twice.
  if (spec.access === 'wo') return '';
  const signedness = spec.signed ? 'signed' : 'unsigned';
  return formatAttribute(model.peek(spec.name), spec.widthBits, signedness, names).trimEnd();
}

/** Null for text that the kernel would refuse with EINVAL. */
function parseWord({ spec, names }: Shown, text: string): Word | null {
  const bytes = Buffer.from(text, 'latin1');
  const word = parseAttribute(bytes, bytes.length, spec.widthBits, names);
  return typeof word === 'bigint' ? word : null;
}
