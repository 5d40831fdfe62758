// The identify, observe, thermal and operations sections of a profile as device behaviour, checked against its registers.

import { nearestName } from '#foundation/nearest';
import type {
  BehaviourWrite,
  DeviceBehaviour,
  RegisterCondition,
  StateRule,
  ThermalLimit,
} from '#model/device-behaviour';
import { type RegisterSpec, readable, type Word, widthMask, writable } from '#model/register';
import { OverallStatus, PowerState } from '#model/snapshot';
import type {
  ConditionText,
  ObserveText,
  OperationsText,
  Piece,
  Report,
  RuleText,
  ThermalText,
  WriteText,
} from './profile-file.ts';
import { reportAt } from './profile-file.ts';
import { outsideBits } from './profile-registers.ts';
import { bitsOf, hexadecimal, integerOf, rangeOf, wordOf } from './words.ts';

export interface BehaviourPieces {
  readonly identify: Piece<readonly ConditionText[]> | undefined;
  readonly observe: Piece<ObserveText> | undefined;
  readonly thermal: Piece<ThermalText> | undefined;
  readonly reset: Piece<readonly WriteText[]> | undefined;
  readonly activate: Piece<readonly WriteText[]> | undefined;
  readonly deactivate: Piece<readonly WriteText[]> | undefined;
  readonly configure: Piece<NonNullable<OperationsText['CONFIG']>> | undefined;
}

export function profileBehaviour(
  pieces: BehaviourPieces,
  specs: ReadonlyMap<string, RegisterSpec>,
  report: Report,
): DeviceBehaviour {
  const reader = new BehaviourReader(specs, report);
  const thermal = reader.thermal(pieces.thermal);
  return {
    ...(thermal === undefined ? {} : { thermal }),
    identify: reader.identify(pieces.identify),
    observe: reader.observe(pieces.observe),
    operations: {
      reset: reader.writes(pieces.reset),
      activate: reader.writes(pieces.activate),
      deactivate: reader.writes(pieces.deactivate),
      configure: reader.configure(pieces.configure),
    },
  };
}

/** A single condition outside a profile's own sections; undefined when something is wrong with it. */
export function registerCondition(
  piece: Piece<ConditionText>,
  specs: ReadonlyMap<string, RegisterSpec>,
  report: Report,
): RegisterCondition | undefined {
  return new BehaviourReader(specs, report).condition(piece);
}

type Where = readonly (string | number)[];

class BehaviourReader {
  readonly #specs: ReadonlyMap<string, RegisterSpec>;
  readonly #report: Report;

  constructor(specs: ReadonlyMap<string, RegisterSpec>, report: Report) {
    this.#specs = specs;
    this.#report = report;
  }

  condition(piece: Piece<ConditionText>): RegisterCondition | undefined {
    return this.#condition(piece, [], piece.text);
  }

  identify(piece: BehaviourPieces['identify']): readonly RegisterCondition[] {
    if (piece === undefined) return [];
    return piece.text.flatMap((text, index) => this.#condition(piece, [index], text) ?? []);
  }

  observe(piece: BehaviourPieces['observe']): DeviceBehaviour['observe'] {
    if (piece === undefined) return { registers: [], power: [], status: [] };
    const registers: string[] = [];
    for (const [index, name] of piece.text.registers.entries()) {
      const spec = this.#readable(piece, ['registers', index], name);
      if (spec !== undefined) registers.push(name);
    }
    const polled = new Set(piece.text.registers);
    const rules = <State>(member: 'power' | 'status', states: Readonly<Record<string, State>>) =>
      piece.text[member].flatMap((rule, index) =>
        this.#rule(piece, [member, index], rule, { polled, states }),
      );
    return {
      registers,
      power: rules<PowerState>('power', PowerState),
      status: rules<OverallStatus>('status', OverallStatus),
    };
  }

  thermal(piece: BehaviourPieces['thermal']): ThermalLimit | undefined {
    if (piece === undefined) return undefined;
    const spec = this.#readable(piece, ['register'], piece.text.register);
    if (spec === undefined) return undefined;
    const range = rangeOf(spec.widthBits, spec.signed ? 'signed' : 'unsigned');
    const given = integerOf(piece.text.maximum);
    const maximum = Number(given);
    const held = given >= range.minimum && given <= range.maximum;
    if (held && Number.isSafeInteger(maximum)) return { register: spec.name, maximum };
    reportAt(this.#report, piece, ['maximum'], `${given} can never be held by ${spec.name}`);
    return undefined;
  }

  writes(piece: Piece<readonly WriteText[]> | undefined): readonly BehaviourWrite[] | null {
    if (piece === undefined) return null;
    return piece.text.flatMap((text, index) => this.#write(piece, [index], text) ?? []);
  }

  configure(piece: BehaviourPieces['configure']): readonly string[] | null {
    if (piece === undefined) return null;
    return piece.text.registers.filter(
      (name, index) => this.#writable(piece, ['registers', index], name) !== undefined,
    );
  }

  #rule<State>(
    piece: Piece<unknown>,
    at: Where,
    rule: RuleText,
    known: {
      readonly polled: ReadonlySet<string>;
      readonly states: Readonly<Record<string, State>>;
    },
  ): readonly StateRule<State>[] {
    const when = rule.when.flatMap((text, index) => {
      const where = [...at, 'when', index];
      if (this.#specs.has(text.register) && !known.polled.has(text.register)) {
        const finding = `${text.register} is not among the polled registers of observe`;
        reportAt(this.#report, piece, [...where, 'register'], finding);
      }
      return this.#condition(piece, where, text) ?? [];
    });
    const state = known.states[rule.state];
    return state === undefined ? [] : [{ when, state }];
  }

  #condition(piece: Piece<unknown>, at: Where, text: ConditionText): RegisterCondition | undefined {
    const spec = this.#readable(piece, [...at, 'register'], text.register);
    if (spec === undefined) return undefined;
    const wrong = (member: string, finding: string): undefined => {
      reportAt(this.#report, piece, [...at, member], finding);
    };
    if (text.bits !== undefined && text.mask !== undefined)
      return wrong('mask', 'give bits or mask, not both');
    const ranged = text.minimum !== undefined || text.maximum !== undefined;
    if (ranged === (text.value !== undefined)) {
      return wrong('register', 'give a value, or a minimum or maximum or both');
    }
    const all = widthMask(spec.widthBits);
    const bits = text.bits === undefined ? undefined : bitsOf(text.bits, spec.widthBits);
    if (text.bits !== undefined && bits === undefined) {
      return wrong('bits', outsideBits(text.bits, spec.widthBits));
    }
    const mask = bits?.mask ?? (text.mask === undefined ? all : integerOf(text.mask));
    if (mask <= 0n || mask > all) {
      return wrong('mask', `${hexadecimal(mask)} selects no bits or more than ${spec.widthBits}`);
    }
    const shift = BigInt(bits?.low ?? 0);
    const signed = spec.signed && mask === all ? 'signed' : 'unsigned';
    const range =
      signed === 'signed' ? rangeOf(spec.widthBits, signed) : { minimum: 0n, maximum: mask };
    const bound = (
      member: 'value' | 'minimum' | 'maximum',
      otherwise: bigint,
    ): bigint | undefined => {
      const given = text[member];
      if (given === undefined) return otherwise;
      const value = integerOf(given) << shift;
      if (value >= range.minimum && value <= range.maximum) return value;
      return wrong(member, `${integerOf(given)} can never be held by these bits`);
    };
    const value = text.value === undefined ? undefined : bound('value', 0n);
    if (text.value !== undefined && value === undefined) return undefined;
    if (value !== undefined && signed === 'unsigned' && (value & ~mask) !== 0n) {
      return wrong('value', `${hexadecimal(value)} has bits outside the mask ${hexadecimal(mask)}`);
    }
    const minimum = value ?? bound('minimum', range.minimum);
    const maximum = value ?? bound('maximum', range.maximum);
    if (minimum === undefined || maximum === undefined) return undefined;
    if (minimum > maximum) return wrong('minimum', 'the minimum is above the maximum');
    return { register: spec.name, mask, minimum, maximum };
  }

  #write(piece: Piece<unknown>, at: Where, text: WriteText): BehaviourWrite | undefined {
    const spec = this.#writable(piece, [...at, 'register'], text.register);
    if (spec === undefined) return undefined;
    const wrong = (member: string, finding: string): undefined => {
      reportAt(this.#report, piece, [...at, member], finding);
    };
    const whole = wholeMask(spec);
    const mask = text.mask === undefined ? whole : integerOf(text.mask);
    if (mask <= 0n || (mask & ~whole) !== 0n) {
      return wrong(
        'mask',
        `${hexadecimal(mask)} is not a part of the writable bits ${hexadecimal(whole)}`,
      );
    }
    if (mask !== whole && spec.access !== 'rw') {
      return wrong('mask', `a register that is ${spec.access} is always written whole`);
    }
    if (mask !== whole && spec.limits !== null) {
      return wrong('mask', 'a register with limits is always written whole');
    }
    const given = integerOf(text.value);
    const signed = spec.signed && mask === whole ? 'signed' : 'unsigned';
    const value = wordOf(given, spec.widthBits, signed);
    if (value === undefined) return wrong('value', `${given} does not fit ${spec.widthBits} bits`);
    const outside = value & (~mask | spec.reservedMask);
    if (outside !== 0n) {
      return wrong(
        'value',
        `sets bits ${hexadecimal(outside)} that are reserved or outside the mask`,
      );
    }
    const meant = spec.signed ? BigInt.asIntN(spec.widthBits, value) : value;
    const { limits } = spec;
    if (limits !== null && (meant < limits.minimum || meant > limits.maximum)) {
      return wrong(
        'value',
        `${meant} is outside the limits ${limits.minimum} .. ${limits.maximum}`,
      );
    }
    return { register: spec.name, mask, value };
  }

  #readable(piece: Piece<unknown>, at: Where, name: string): RegisterSpec | undefined {
    const spec = this.#known(piece, at, name);
    if (spec === undefined) return undefined;
    if (readable(spec) && !spec.precious) return spec;
    reportAt(
      this.#report,
      piece,
      at,
      `${name} is ${spec.precious ? 'precious' : 'wo'} and never polled`,
    );
    return undefined;
  }

  #writable(piece: Piece<unknown>, at: Where, name: string): RegisterSpec | undefined {
    const spec = this.#known(piece, at, name);
    if (spec === undefined || writable(spec)) return spec;
    reportAt(this.#report, piece, at, `${name} is ${spec.access} and cannot be written`);
    return undefined;
  }

  #known(piece: Piece<unknown>, at: Where, name: string): RegisterSpec | undefined {
    const spec = this.#specs.get(name);
    if (spec !== undefined) return spec;
    const near = nearestName(name, this.#specs.keys());
    const hint = near === undefined ? '' : `, did you mean ${near}?`;
    reportAt(this.#report, piece, at, `there is no register ${name}${hint}`);
    return undefined;
  }
}

/** The bits one write of the register covers: w1c and wo cannot be merged, so they are written whole. */
function wholeMask(spec: RegisterSpec): Word {
  const all = widthMask(spec.widthBits);
  return spec.access === 'rw' ? all & ~spec.reservedMask : all;
}
