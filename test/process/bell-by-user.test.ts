// A bell that two users make at the same moment: as interface and security do when the appliance starts for the first time.

import { execFile } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { NODE, REPOSITORY } from '../support/agent.ts';

const run = promisify(execFile);
const USERS = [64_801, 64_802] as const;
const GROUP = 64_800;
const BELLS = 400;
const APART_MS = 2;

it.runIf(process.getuid?.() === 0)(
  'is found whole by whoever comes second, and never twice',
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'dsmil-bells-'));
    try {
      chownSync(directory, 0, GROUP);
      chmodSync(directory, 0o2770);
      const startMs = Date.now() + 1_500;
      const script = join(REPOSITORY, 'test/process/bell-maker.ts');
      const made = USERS.map((uid) =>
        run(NODE, [
          script,
          directory,
          `${uid}`,
          `${GROUP}`,
          `${startMs}`,
          `${BELLS}`,
          `${APART_MS}`,
        ]),
      );
      const said = await Promise.all(made);
      expect(said.map(({ stdout }) => stdout)).toEqual(['', '']);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
);
