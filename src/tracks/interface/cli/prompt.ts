// What a person types: lines of standard input, secrets without an echo on a terminal.
// Invariants: a line is bounded; on a terminal a secret is never echoed, not even its length; outside of a prompt nothing
// is read; the terminal is left as it was found, and nothing typed ahead is lost between two prompts.

import { StringDecoder } from 'node:string_decoder';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';

export type Echo = 'shown' | 'hidden';

/** Standard input, as far as it is needed. */
export interface Keyboard {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
  on(event: 'data', listener: (part: Buffer) => void): unknown;
  on(event: 'end' | 'error', listener: () => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

/** Longer than any secret that security takes; an invitation or a password is no file. */
export const LINE_LENGTH_MAX = 4_096;

const ENTER = /[\r\n]/;
/** CSI and SS3 sequences of cursor and function keys, and the marks of a bracketed paste (xterm ctlseqs). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: what keys send begins with ESC.
const KEY_SEQUENCE = /^\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O[@-~])/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the beginning of such a sequence.
const KEY_SEQUENCE_BEGUN = /^\x1b(?:\[[0-9;?]*[ -/]*|O)?$/;
const INTERRUPT = '\u0003';
const END_OF_INPUT = '\u0004';
const ERASE_LINE = '\u0015';
const ERASE = ['\u0008', '\u007f'];

interface Waiting {
  readonly raw: boolean;
  readonly settle: (line: Outcome<string>) => void;
}

export class Prompt {
  readonly #keyboard: () => Keyboard;
  readonly #show: (text: string) => void;
  readonly #decoder = new StringDecoder('utf8');
  #open: Keyboard | null = null;
  /** Arrived and not yet part of a line. */
  #pending = '';
  /** The line so far, in raw mode. */
  #line = '';
  /** The last line ended with a carriage return whose line feed may still come. */
  #afterReturn = false;
  #ended = false;
  #waiting: Waiting | null = null;

  /** `keyboard` is asked for at the first prompt: most commands never read. */
  constructor(keyboard: () => Keyboard, show: (text: string) => void) {
    this.#keyboard = keyboard;
    this.#show = show;
  }

  /** Whether a person can be asked again after a mistake. */
  get interactive(): boolean {
    return this.#keyboard().isTTY === true;
  }

  /** The next line without its end. Refused when there is none, when it is too long, and when the person breaks off. */
  ask(question: string, echo: Echo): Promise<Outcome<string>> {
    const keyboard = this.#opened();
    const terminal = keyboard.isTTY === true;
    if (terminal) this.#show(question);
    const raw = terminal && echo === 'hidden' && keyboard.setRawMode !== undefined;
    this.#line = '';
    return new Promise((resolve) => {
      const settle = (line: Outcome<string>): void => {
        this.#waiting = null;
        keyboard.pause();
        if (raw) {
          keyboard.setRawMode?.(false);
          this.#show('\n');
        }
        resolve(line);
      };
      this.#waiting = { raw, settle };
      if (raw) keyboard.setRawMode?.(true);
      if (!this.#advance()) keyboard.resume();
    });
  }

  close(): void {
    this.#open?.pause();
  }

  #opened(): Keyboard {
    if (this.#open !== null) return this.#open;
    const keyboard = this.#keyboard();
    this.#open = keyboard;
    keyboard.on('data', (part) => {
      this.#pending += this.#decoder.write(part);
      this.#advance();
    });
    const end = () => {
      this.#ended = true;
      this.#advance();
    };
    keyboard.on('end', end);
    keyboard.on('error', end);
    return keyboard;
  }

  /** True when the waiting prompt has its answer. */
  #advance(): boolean {
    const waiting = this.#waiting;
    if (waiting === null) return false;
    if (this.#afterReturn && this.#pending !== '') {
      if (this.#pending.startsWith('\n')) this.#pending = this.#pending.slice(1);
      this.#afterReturn = false;
    }
    const line = waiting.raw ? this.#rawLine() : this.#cookedLine();
    if (line === null) return false;
    waiting.settle(line);
    return true;
  }

  #cookedLine(): Outcome<string> | null {
    const at = this.#pending.search(ENTER);
    if (at < 0) {
      if (this.#pending.length > LINE_LENGTH_MAX) return refuse(tooLong());
      if (!this.#ended) return null;
      if (this.#pending === '') return refuse(brokenOff('standard input has ended'));
      return this.#take(this.#pending.length);
    }
    return at > LINE_LENGTH_MAX ? refuse(tooLong()) : this.#take(at);
  }

  /** So many characters as the line, and its end. */
  #take(length: number): Outcome<string> {
    const line = this.#pending.slice(0, length);
    this.#endLine(length);
    return succeed(line);
  }

  #endLine(at: number): void {
    this.#afterReturn = this.#pending[at] === '\r';
    this.#pending = this.#pending.slice(at + 1);
  }

  #rawLine(): Outcome<string> | null {
    while (this.#pending !== '') {
      const sequence = KEY_SEQUENCE.exec(this.#pending);
      if (sequence !== null) {
        this.#pending = this.#pending.slice(sequence[0].length);
        continue;
      }
      if (KEY_SEQUENCE_BEGUN.test(this.#pending) && !this.#ended) return null;
      const key = String.fromCodePoint(this.#pending.codePointAt(0) ?? 0);
      if (ENTER.test(key)) {
        this.#endLine(0);
        return succeed(this.#line);
      }
      this.#pending = this.#pending.slice(key.length);
      if (key === INTERRUPT) return refuse(brokenOff('was broken off'));
      if (key === END_OF_INPUT) return refuse(brokenOff('has ended'));
      if (key === ERASE_LINE) this.#line = '';
      else if (ERASE.includes(key)) this.#line = [...this.#line].slice(0, -1).join('');
      else if (!/\p{Cc}/u.test(key)) this.#line += key;
      if (this.#line.length > LINE_LENGTH_MAX) return refuse(tooLong());
    }
    return this.#ended ? refuse(brokenOff('standard input has ended')) : null;
  }
}

function brokenOff(finding: string) {
  return fault('REQUEST_MALFORMED', { place: 'input', finding, consequence: 'nothing was sent' });
}

function tooLong() {
  const finding = `the line is longer than ${LINE_LENGTH_MAX} characters`;
  return fault('REQUEST_TOO_LARGE', { place: 'input', finding, consequence: 'nothing was sent' });
}
