// Fifty panels that read as fast as they are answered, in a process of their own: node panels.ts READY_FILE_TEXT.
// Prints a line once all are reading; ends with its standard input.

import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';

const PANELS = 50;
const { http, ca, token } = JSON.parse(process.argv[2] ?? '{}') as Record<string, string>;
const authority = readFileSync(ca ?? '');
const PATHS = ['devices', 'devices/0x8000/registers', 'system/status'];

let answered = 0;

async function panel(number: number): Promise<never> {
  // A connection of its own, as a panel has.
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: authority });
  for (let turn = number; ; turn++) {
    await read(agent, PATHS[turn % PATHS.length] ?? 'devices');
    answered += 1;
    if (answered === PANELS * PATHS.length) process.stdout.write('reading\n');
  }
}

function read(agent: Agent, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` };
    const call = request(`${http}/api/v1/${path}`, { agent, headers }, (response) => {
      response.resume();
      response.on('end', resolve);
    });
    call.on('error', reject);
    call.end();
  });
}

process.stdin.on('close', () => {
  process.stderr.write(`panels: ${answered} answers\n`);
  process.exit(0);
});
process.stdin.resume();
await Promise.all(Array.from({ length: PANELS }, (_, number) => panel(number)));
