// Profiles found by name in the profile directories, with the ones they extend folded in.
// Invariants: a profile is used only when it and all it extends are free of problems; each file is read once.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { nearestName } from '#foundation/nearest';
import type { DeviceBehaviour } from '#model/device-behaviour';
import { profile as validateProfile } from './generated/validators.js';
import { PROBLEMS_MAX, type Problem } from './problem.ts';
import { type BehaviourPieces, profileBehaviour } from './profile-behaviour.ts';
import {
  type BusFamily,
  type OperationsText,
  type Piece,
  type ProfileText,
  type RegisterText,
  type Report,
  reportAt,
} from './profile-file.ts';
import { type ProfileRegister, profileRegisters } from './profile-registers.ts';
import { checkSchema } from './schema-check.ts';
import { readYaml, type YamlDocument } from './yaml-document.ts';

export interface Profile {
  readonly id: string;
  readonly version: string;
  readonly description: string;
  readonly family: BusFamily;
  readonly registers: readonly ProfileRegister[];
  readonly behaviour: DeviceBehaviour;
  /** The profile's own file first, then those it extends. */
  readonly files: readonly { readonly id: string; readonly bytes: Buffer }[];
}

export interface CheckedProfile {
  readonly profile?: Profile;
  readonly problems: readonly Problem[];
}

interface Source {
  readonly document: YamlDocument;
  /** Undefined when the file has problems of its own. */
  readonly text: ProfileText | undefined;
}

const EXTENDS_DEPTH_MAX = 4;

export class ProfileStore {
  readonly #directories: readonly string[];
  readonly #sources = new Map<string, Source>();
  readonly #profiles = new Map<string, CheckedProfile>();

  /** The first directory that holds `<id>.yaml` wins. */
  constructor(directories: readonly string[]) {
    this.#directories = directories;
  }

  /** Undefined when no directory has it. */
  find(id: string): CheckedProfile | undefined {
    const known = this.#profiles.get(id);
    if (known !== undefined) return known;
    const file = this.#fileOf(id);
    if (file === undefined) return undefined;
    const all = this.#check(id);
    const checked = { ...all, problems: all.problems.slice(0, PROBLEMS_MAX) };
    this.#profiles.set(id, checked);
    return checked;
  }

  /** Ids of all profiles in the directories, sorted. */
  names(): readonly string[] {
    const names = new Set<string>();
    for (const directory of this.#directories) {
      try {
        for (const name of readdirSync(directory)) {
          if (name.endsWith('.yaml')) names.add(name.slice(0, -'.yaml'.length));
        }
      } catch {
        // A directory that is not there holds no profiles; the message lists those looked in.
      }
    }
    return [...names].sort();
  }

  /** ` (did you mean fan-controller?)` or the directories that were searched. */
  hintFor(id: string): string {
    const near = nearestName(id, this.names());
    if (near !== undefined) return `, did you mean ${near}?`;
    return ` in ${this.#directories.join(', ') || 'any directory, for none was given'}`;
  }

  #fileOf(id: string): string | undefined {
    // The id is part of a path, so only what a profile may be called is looked for.
    if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(id)) return undefined;
    return this.#directories.map((directory) => join(directory, `${id}.yaml`)).find(existsSync);
  }

  #check(id: string): CheckedProfile {
    const problems: Problem[] = [];
    const report: Report = (problem) => problems.push(problem);
    const chain = this.#chain(id, report);
    const own = chain[0];
    if (own?.text === undefined || problems.length > 0) return { problems };
    const family = own.text.bus;
    const sources = chain.flatMap(({ document, text }) =>
      text === undefined ? [] : [{ document, text }],
    );
    const registerPieces = mergedRegisters(sources, report);
    const registers = profileRegisters(family, registerPieces, report);
    if (problems.length > 0) return { problems };
    if (registers.length === 0) {
      return { problems: [own.document.problem([], 'the profile has no registers')] };
    }
    const specs = new Map(registers.map(({ spec }) => [spec.name, spec]));
    const pieces = mergedBehaviour(sources);
    if (pieces.observe === undefined) {
      return { problems: [own.document.problem([], 'observe is missing')] };
    }
    checkThermometer(pieces.thermal, registerPieces, sources, report);
    if (problems.length > 0) return { problems };
    const behaviour = profileBehaviour(pieces, specs, report);
    if (problems.length > 0) return { problems };
    const { version, description } = own.text;
    const files = sources.map(({ document, text }) => ({ id: text.id, bytes: document.bytes }));
    return { profile: { id, version, description, family, registers, behaviour, files }, problems };
  }

  /** The profile and what it extends, nearest first. */
  #chain(id: string, report: Report): readonly Source[] {
    const chain: Source[] = [];
    let next: string | undefined = id;
    while (next !== undefined) {
      const source = this.#source(next);
      if (source === undefined) break;
      for (const problem of source.document.problems) report(problem);
      chain.push(source);
      const { document, text }: Source = source;
      next = text?.extends;
      if (text === undefined || next === undefined) break;
      const child = chain[chain.length - 1];
      const wrong = (finding: string) => report(document.problem(['extends'], finding));
      if (chain.some((earlier) => earlier.text?.id === next) || chain.length >= EXTENDS_DEPTH_MAX) {
        wrong(
          `${next} extends this profile itself, or the chain is longer than ${EXTENDS_DEPTH_MAX}`,
        );
        break;
      }
      const parent = this.#source(next);
      if (parent === undefined) wrong(`there is no profile ${next}${this.hintFor(next)}`);
      else if (parent.text !== undefined && parent.text.bus !== child?.text?.bus) {
        wrong(`${next} is for ${parent.text.bus} buses, this profile for ${child?.text?.bus}`);
      }
    }
    return chain;
  }

  #source(id: string): Source | undefined {
    const known = this.#sources.get(id);
    if (known !== undefined) return known;
    const file = this.#fileOf(id);
    if (file === undefined) return undefined;
    const source = readSource(file, id);
    this.#sources.set(id, source);
    return source;
  }
}

function readSource(file: string, id: string): Source {
  const document = readYaml(file, null);
  if (document.problems.length > 0) return { document, text: undefined };
  const problems = [...checkSchema(validateProfile, document, document.value)];
  const text = document.value as unknown as ProfileText;
  if (problems.length === 0 && text.id !== id) {
    problems.push(document.problem(['id'], `${text.id} is not the file's name ${id}`));
  }
  if (problems.length > 0) return { document: { ...document, problems }, text: undefined };
  return { document, text };
}

type SoundSource = { readonly document: YamlDocument; readonly text: ProfileText };

/** Registers of the deepest profile first; one of the same name in a nearer profile takes its place. */
function mergedRegisters(
  sources: readonly SoundSource[],
  report: Report,
): readonly Piece<RegisterText>[] {
  const merged = new Map<string, Piece<RegisterText>>();
  for (const { document, text: profile } of [...sources].reverse()) {
    const own = new Set<string>();
    for (const [index, text] of profile.registers.entries()) {
      const path = ['registers', index];
      if (own.has(text.name)) {
        report(document.problem([...path, 'name'], `${text.name} stands twice in this profile`));
      }
      own.add(text.name);
      merged.set(text.name, { document, path, text });
    }
  }
  return [...merged.values()];
}

function mergedBehaviour(sources: readonly SoundSource[]): BehaviourPieces {
  const nearest = <T>(
    path: readonly string[],
    pick: (text: ProfileText) => T | undefined,
  ): Piece<T> | undefined => {
    for (const { document, text } of sources) {
      const found = pick(text);
      if (found !== undefined) return { document, path, text: found };
    }
    return undefined;
  };
  const operation = <Name extends keyof OperationsText>(name: Name) =>
    nearest<NonNullable<OperationsText[Name]>>(
      ['operations', name],
      (text) => text.operations?.[name] ?? undefined,
    );
  return {
    identify: nearest(['identify'], (text) => text.identify),
    observe: nearest(['observe'], (text) => text.observe),
    thermal: nearest(['thermal'], (text) => text.thermal),
    reset: operation('RESET'),
    activate: operation('ACTIVATE'),
    deactivate: operation('DEACTIVATE'),
    configure: operation('CONFIG'),
  };
}

/** A limit is raw: a profile that replaces the thermometer of one it extends has to say what its own may show. */
function checkThermometer(
  thermal: BehaviourPieces['thermal'],
  registers: readonly Piece<RegisterText>[],
  sources: readonly SoundSource[],
  report: Report,
): void {
  const thermometer = registers.find(({ text }) => text.name === thermal?.text.register);
  if (thermal === undefined || thermometer === undefined) return;
  const depthOf = (piece: Piece<unknown>) =>
    sources.findIndex(({ document }) => document === piece.document);
  if (depthOf(thermometer) >= depthOf(thermal)) return;
  const finding = `${thermometer.text.name} is replaced here, so that its inherited thermal limit means nothing; give thermal here too`;
  reportAt(report, thermometer, ['name'], finding);
}

/** Checks one profile file by its path, with what it extends looked for beside it and in `directories`. */
export function checkProfile(file: string, directories: readonly string[] = []): CheckedProfile {
  const separator = file.lastIndexOf('/');
  const directory = separator < 0 ? '.' : file.slice(0, separator);
  const name = file.slice(separator + 1);
  const id = name.endsWith('.yaml') ? name.slice(0, -'.yaml'.length) : name;
  const checked = new ProfileStore([directory, ...directories]).find(id);
  if (checked !== undefined) return checked;
  const document = readYaml(file, null);
  if (document.problems.length > 0) return { problems: document.problems };
  return { problems: [document.problem([], 'the file name is not a profile id and .yaml')] };
}
