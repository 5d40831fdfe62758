// Loads a board file with the profiles it names, or says everything that is wrong with it, each with its place.
// Invariants: a board is used whole or not at all; the five permanently quarantined tokens stay quarantined
// whatever the file says; no driver code is reachable from here, so every process may load the same file.

import { createHash } from 'node:crypto';
import { nearestName, quoted } from '#foundation/nearest';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Board, BusDescription, StopInput } from '#model/board';
import {
  DEVICE_COUNT_MAX,
  DEVICES_PER_GROUP,
  type DeviceDescriptor,
  formatToken,
  GROUP_COUNT,
  linearIdOf,
  permanentlyQuarantined,
  tokenOf,
} from '#model/device';
import { ClearanceLevel } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { busConflicts, type DeviceEntry, deviceConflicts, type Entry } from './board-conflicts.ts';
import type { BoardText, DeviceText } from './board-file.ts';
import { FAMILY_OF_KIND, placeDevice } from './board-placement.ts';
import { simulatorDirectoryOf } from './board-simulated.ts';
import { stopInputs } from './board-stop-inputs.ts';
import { board as validateBoard } from './generated/validators.js';
import {
  type DocumentPath,
  formatPath,
  PROBLEMS_MAX,
  type Problem,
  ProblemList,
  problemsFault,
} from './problem.ts';
import { type Profile, ProfileStore } from './profile.ts';
import { checkSchema } from './schema-check.ts';
import { hexadecimal } from './words.ts';
import { readYaml, type Variables, type YamlDocument } from './yaml-document.ts';

export interface BoardOptions {
  /** Values for `${NAME}` in the board file; none by default. */
  readonly variables?: Variables;
  /** Searched in order for `<profile>.yaml`. */
  readonly profileDirectories: readonly string[];
}

export interface CheckedBoard {
  /** Present exactly when there are no problems. */
  readonly board?: Board;
  /** At most 100, by file, line and column. */
  readonly problems: readonly Problem[];
}

/** The board, or CONFIG_INVALID that names the first problem and holds all of them in `internal`. */
export function loadBoard(file: string, options: BoardOptions): Outcome<Board> {
  const { board, problems } = checkBoard(file, options);
  return board === undefined ? refuse(problemsFault(problems)) : succeed(board);
}

export function checkBoard(file: string, options: BoardOptions): CheckedBoard {
  return new BoardReader(file, options).read();
}

class BoardReader {
  readonly #document: YamlDocument;
  readonly #profiles: ProfileStore;
  readonly #problems = new ProblemList();
  readonly #used = new Map<string, Profile>();
  readonly #variables: Variables;

  constructor(file: string, options: BoardOptions) {
    this.#variables = options.variables ?? {};
    this.#document = readYaml(file, this.#variables);
    this.#profiles = new ProfileStore(options.profileDirectories);
  }

  read(): CheckedBoard {
    const document = this.#document;
    this.#problems.add(...document.problems);
    if (document.value === null && document.problems.length > 0) return this.#refused();
    const broken = checkSchema(validateBoard, document, document.value);
    this.#problems.add(...broken);
    // Which entries are sound is not known where some problems were left out.
    if (broken.length >= PROBLEMS_MAX) return this.#refused();
    const text = document.value as unknown as BoardText | null;
    if (text === null || !Array.isArray(text.buses) || !Array.isArray(text.devices)) {
      return this.#refused();
    }
    // Entries that break the schema are left out, so that the rest is still checked in the same run.
    const unsound = new Set(this.#problems.paths().map((path) => /^\w+\[\d+\]/.exec(path)?.[0]));
    const sound = (path: DocumentPath) => !unsound.has(formatPath(path));
    const buses = text.buses
      .map((bus, index) => ({ value: copyOf(bus), path: ['buses', index] }))
      .filter(({ path }) => sound(path));
    busConflicts(document, buses, (problem) => this.#problems.add(problem));
    const busNames = text.buses.map((bus) => bus?.id).filter((id) => typeof id === 'string');
    const devices = text.devices.flatMap((device, index) => {
      const path = ['devices', index];
      if (!sound(path)) return [];
      return this.#device(device, path, { buses, busNames, groups: text.groups ?? [] }) ?? [];
    });
    deviceConflicts(document, devices, (problem) => this.#problems.add(problem));
    const inputs = this.#stopInputs(
      text,
      sound,
      devices.map(({ value }) => value),
    );
    if (this.#problems.count > 0) return this.#refused();
    const simulated = simulatorDirectoryOf(document, buses, this.#variables);
    return {
      board: {
        name: text.name,
        file: document.file,
        digest: this.#digest(),
        buses: buses.map(({ value }) => value),
        devices: devices.map(({ value }) => value).sort((left, right) => left.id - right.id),
        ...(inputs.length > 0 ? { stopInputs: inputs } : {}),
        ...(simulated === undefined ? {} : { simulated }),
      },
      problems: [],
    };
  }

  #refused(): CheckedBoard {
    return { problems: this.#problems.sorted() };
  }

  #stopInputs(
    text: BoardText,
    sound: (path: DocumentPath) => boolean,
    devices: readonly DeviceDescriptor[],
  ): readonly StopInput[] {
    // Where devices are wrong, an input that names one of them would be reported for their fault.
    if (!Array.isArray(text.stopInputs) || devices.length < text.devices.length) return [];
    const entries = text.stopInputs
      .map((input, index) => ({ text: input, path: ['stopInputs', index] }))
      .filter(({ path }) => sound(path));
    return stopInputs(this.#document, entries, devices, (problem) => this.#problems.add(problem));
  }

  #device(text: DeviceText, path: DocumentPath, known: KnownBoard): DeviceEntry | undefined {
    const member = text.token === undefined ? 'id' : 'token';
    const id = this.#number(text, path);
    if (id !== undefined && permanentlyQuarantined(id) && lifts(text.quarantined)) {
      const finding = `quarantine of ${formatToken(id)} is permanent and cannot be lifted`;
      this.#wrong([...path, 'quarantined'], finding);
    }
    const bus = this.#bus(text, path, known);
    const profile = this.#profile(text, path);
    if (bus === undefined || profile === undefined) return undefined;
    if (FAMILY_OF_KIND[bus.kind] !== profile.family) {
      const finding = `profile ${profile.id} is for ${profile.family} registers, bus ${bus.id} is a ${bus.kind} bus`;
      return this.#wrong([...path, 'profile'], finding);
    }
    const context = { document: this.#document, path: [...path, 'at'], bus };
    const placed = placeDevice(context, text.at, profile, (problem) => this.#problems.add(problem));
    if (placed === undefined || id === undefined) return undefined;
    const group = Math.floor(id / DEVICES_PER_GROUP);
    const value: DeviceDescriptor = {
      id,
      token: tokenOf(id),
      name: text.name,
      slug: slugOf(text.name),
      group,
      index: id % DEVICES_PER_GROUP,
      groupName: known.groups[group] ?? `Group ${group}`,
      busKind: bus.kind,
      busId: bus.id,
      profile: profile.id,
      baseRisk: RiskLevel[text.risk],
      quarantined: permanentlyQuarantined(id) || isQuarantined(text),
      clearanceMinimum: ClearanceLevel[text.clearance],
      compartments: [...text.compartments],
      ...(text.stopStage === 0 ? {} : { stopStage: text.stopStage }),
      behaviour: profile.behaviour,
      ...placed,
    };
    return { value, path, idMember: member };
  }

  /** The linear id that `token` or `id` stands for. */
  #number(text: DeviceText, path: DocumentPath): number | undefined {
    const { token, id } = text;
    if (token !== undefined && id !== undefined) {
      return this.#wrong([...path, 'id'], 'give token or id, not both');
    }
    if (id !== undefined) {
      if (id < DEVICE_COUNT_MAX) return id;
      return this.#wrong([...path, 'id'], `must be at most ${DEVICE_COUNT_MAX - 1}, not ${id}`);
    }
    if (token === undefined) return this.#wrong(path, 'token is missing');
    const linear = token < tokenOf(0) ? undefined : linearIdOf(token);
    if (linear !== undefined) return linear;
    const offset = token - tokenOf(0);
    const gap = offset >= 0 && offset < GROUP_COUNT * 0x10;
    const last = formatToken(DEVICE_COUNT_MAX - 1);
    const why = gap ? 'a gap token' : `not a token (${formatToken(0)} to ${last})`;
    return this.#wrong([...path, 'token'], `${hexadecimal(BigInt(token))} is ${why}`);
  }

  #bus(text: DeviceText, path: DocumentPath, known: KnownBoard): BusDescription | undefined {
    const bus = known.buses.find(({ value }) => value.id === text.bus)?.value;
    // A bus that stands in the file but has problems of its own is reported there alone.
    if (bus !== undefined || known.busNames.includes(text.bus)) return bus;
    const near = nearestName(text.bus, known.busNames);
    const hint = near === undefined ? '' : `, did you mean ${near}?`;
    return this.#wrong([...path, 'bus'], `there is no bus ${quoted(text.bus)}${hint}`);
  }

  #profile(text: DeviceText, path: DocumentPath): Profile | undefined {
    const checked = this.#profiles.find(text.profile);
    if (checked === undefined) {
      const hint = this.#profiles.hintFor(text.profile);
      return this.#wrong(
        [...path, 'profile'],
        `there is no profile ${quoted(text.profile)}${hint}`,
      );
    }
    const { profile, problems } = checked;
    this.#problems.add(...problems);
    if (profile !== undefined) this.#used.set(profile.id, profile);
    return profile;
  }

  #wrong(path: DocumentPath, finding: string): undefined {
    this.#problems.add(this.#document.problem(path, finding));
  }

  /** SHA-256 over the digests of the board file and of each profile file in use, by profile id. */
  #digest(): string {
    const files = new Map<string, Buffer>();
    for (const profile of this.#used.values()) {
      for (const { id, bytes } of profile.files) files.set(id, bytes);
    }
    const hash = createHash('sha256').update(sha256(this.#document.bytes));
    for (const id of [...files.keys()].sort()) {
      hash.update(id).update(sha256(files.get(id) ?? Buffer.alloc(0)));
    }
    return hash.digest('hex');
  }
}

interface KnownBoard {
  readonly buses: readonly Entry<BusDescription>[];
  readonly busNames: readonly string[];
  readonly groups: readonly string[];
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Plain objects in place of the document's prototype-free ones, so that a board compares and prints as data. */
function copyOf(bus: BusDescription): BusDescription {
  return structuredClone({ ...bus });
}

function isQuarantined(text: DeviceText): boolean {
  return text.quarantined === true || text.quarantined === 'yes' || text.risk === 'QUARANTINED';
}

function lifts(quarantined: DeviceText['quarantined']): boolean {
  return quarantined === false || quarantined === 'no';
}

/** `Fan Controller` -> `fan-controller`. */
export function slugOf(name: string): string {
  return name.toLowerCase().replaceAll(' ', '-');
}
