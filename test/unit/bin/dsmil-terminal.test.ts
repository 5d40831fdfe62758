// The `dsmil` command at a terminal (script(1) gives it a pseudo terminal): what is typed as a secret never shows.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { peerCredentials } from '#drivers/native/host';
import { systemClock } from '#foundation/clock';
import { LocalServer } from '#tracks/interface/local/local-server';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { InterfaceService } from '#tracks/interface/service';
import { ScriptedOrchestrator } from '../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../support/small-board.ts';

const SCRIPT = new URL('../../../src/bin/dsmil.ts', import.meta.url).pathname;
const LIMIT_MS = 20_000;
const PASSWORD = 'correct-horse-battery';
const INVITATION = 'INVI-TATI-ON99';

let directory: string;
let orchestrator: ScriptedOrchestrator;
let service: InterfaceService;
let app: RestApp;
let server: LocalServer;
let terminals: ChildProcess[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-tty-'));
  terminals = [];
  orchestrator = new ScriptedOrchestrator();
  orchestrator.administrators.add('technician');
  service = new InterfaceService({ orchestrator, board: smallBoard(), clock: systemClock });
  app = await RestApp.start(service);
  server = new LocalServer(app, join(directory, 'agent.sock'), peerCredentials);
  const listening = await server.listen();
  if (!listening.ok) throw new Error(listening.fault.finding);
});

afterEach(async () => {
  for (const terminal of terminals) terminal.kill('SIGKILL');
  await server.close();
  await app.close();
  service.close();
  rmSync(directory, { recursive: true });
});

class Terminal {
  readonly #child: ChildProcess;
  readonly ended: Promise<number | null>;
  #screen = '';
  #heard: () => void = () => undefined;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on('data', (part: Buffer) => {
      this.#screen += part;
      this.#heard();
    });
    this.ended = new Promise((resolve) => child.on('close', resolve));
  }

  get screen(): string {
    return this.#screen;
  }

  /** Types, and Enter, when the question stands at the end of the screen. */
  async answer(question: string, text: string): Promise<void> {
    const started = Date.now();
    while (!this.#screen.trimEnd().endsWith(question)) {
      if (Date.now() - started > LIMIT_MS) throw new Error(`no ${question} in:\n${this.#screen}`);
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
        setTimeout(resolve, 100);
      });
    }
    // What is typed before the terminal is raw would be echoed by the terminal itself.
    await new Promise((resolve) => setTimeout(resolve, 100));
    this.#child.stdin?.write(text);
  }
}

function dsmil(...args: readonly string[]): Terminal {
  const command = `stty cols 80 rows 40; ${[process.execPath, SCRIPT, ...args].join(' ')}; code=$?; stty -a | grep -o -- '-\\?echo ' ; exit $code`;
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: {
      ...process.env,
      SHELL: '/bin/sh',
      TERM: 'xterm',
      XDG_RUNTIME_DIR: directory,
      DSMIL_SOCKET: join(directory, 'agent.sock'),
    },
  });
  terminals.push(child);
  return new Terminal(child);
}

it('enrols: the secrets do not show, the code does, and a mistyped password is asked for again', async () => {
  const uri = 'otpauth://totp/dsmil:carol?secret=ABCDEFGH2345ABCD&issuer=dsmil';
  orchestrator.answers.set('enrol', { account: 'carol', secret: 'ABCDEFGH2345ABCD', uri });
  orchestrator.answers.set('confirmEnrolment', { account: 'carol' });
  const terminal = dsmil('enrol');
  await terminal.answer('Invitation:', `${INVITATION}\r`);
  await terminal.answer('Password:', `${PASSWORD}\r`);
  await terminal.answer('The same again:', 'correct-horse-bat\r');
  await terminal.answer('Password:', `${PASSWORD}X\x7f\r`);
  await terminal.answer('The same again:', `${PASSWORD}\r`);
  await terminal.answer('First code:', '123456\r');
  expect(await terminal.ended).toBe(0);
  const { screen } = terminal;
  expect(screen).not.toMatch(/horse|INVI/);
  expect(screen).toContain('the two are not the same');
  expect(screen).toContain('ABCD EFGH 2345 ABCD');
  expect(screen).toContain('█');
  expect(screen).toContain('First code: 123456');
  // The terminal is as it was.
  expect(screen.trimEnd()).toMatch(/[^-]echo$/);
  expect(orchestrator.administered.map(({ request }) => request)).toEqual([
    { invitation: INVITATION, password: PASSWORD },
    { invitation: INVITATION, code: '123456' },
  ]);
});

it('leaves the terminal as it was when a password is broken off, and sends nothing', async () => {
  const terminal = dsmil('login', 'carol');
  await terminal.answer('Password:', 'half-a-pass\x03');
  expect(await terminal.ended).toBe(2);
  expect(terminal.screen).toContain('nothing was sent');
  expect(terminal.screen).not.toContain('half');
  expect(terminal.screen.trimEnd()).toMatch(/[^-]echo$/);
  expect(orchestrator.administered).toEqual([]);
  expect(readdirSync(join(directory, 'dsmil'))).toEqual([]);
});

it('shows a change within 80 columns and makes it only after a yes', async () => {
  const account = {
    id: 'bob',
    name: 'Bob Example of the night shift in the second building',
    kind: 'person',
    clearance: 'CONFIDENTIAL',
    compartments: ['MAINT'],
    devices: [0, 1, 2, 3, 4, 5, 6],
    administrator: false,
    enabled: true,
    underReview: false,
    validFromWallMs: null,
    validUntilWallMs: null,
    certificateUris: [],
    localUids: [],
    enrolled: true,
    lockedUntilWallMs: 0,
    lockedBecause: '',
    sessions: 0,
    tokens: 0,
  };
  orchestrator.answers.set('accounts', { accounts: [account] });
  orchestrator.answers.set('changeAccount', { done: true, message: 'bob is CONFIDENTIAL no more' });
  const asked = () => orchestrator.administered.filter(({ key }) => key === 'changeAccount').length;
  const change = [
    'account',
    'change',
    'bob',
    '--devices',
    '0x8003',
    '--name',
    'Bob',
    '--reason',
    'x',
  ];
  const no = dsmil(...change);
  await no.answer('Type yes to do it:', 'no\r');
  expect(await no.ended).toBe(1);
  expect(no.screen).toContain('nothing was sent');
  expect(asked()).toBe(0);
  const lines = no.screen.split(/\r?\n/);
  expect(lines.every((line) => line.length <= 80)).toBe(true);
  const yes = dsmil(...change);
  await yes.answer('Type yes to do it:', 'yes\r');
  expect(await yes.ended).toBe(0);
  expect(asked()).toBe(1);
});
