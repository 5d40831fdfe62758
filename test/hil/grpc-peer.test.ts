// The running agent met by Debian's python3-grpcio, whose code comes from the specification's text alone.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent } from '../support/agent.ts';
import { requirePackages } from './requirement.ts';

const CLIENT = fileURLToPath(new URL('./peers/grpc_client.py', import.meta.url));
const PYTHON = '/usr/bin/python3';
const CLIENT_LIMIT_MS = 120_000;
const packages = requirePackages();

type Members = Readonly<Record<string, unknown>>;

interface Call {
  readonly call: string;
  readonly status: string;
  readonly details: string;
  readonly trailers?: Readonly<Record<string, string>>;
  readonly answer?: Members;
}

interface Event {
  readonly event_id: string;
  readonly event_type: string;
  readonly severity: string;
  readonly source_track: string;
  readonly timestamp: string;
  readonly event_data: Readonly<Record<string, string>>;
  readonly sequence_number?: number;
}

interface Story {
  readonly calls: ReadonlyMap<string, Call>;
  readonly events: readonly Event[];
}

function runClient(parameters: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(PYTHON, [CLIENT, ...parameters], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let errors = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    const limit = setTimeout(() => child.kill('SIGKILL'), CLIENT_LIMIT_MS);
    child.once('error', reject);
    child.once('exit', (code) => {
      clearTimeout(limit);
      if (code === 0) resolve(output);
      else reject(new Error(`the peer ended with ${code}\n${output.slice(-2_000)}\n${errors}`));
    });
  });
}

function storyOf(output: string): Story {
  const lines = output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Call | { readonly event: Event });
  const calls = lines.filter((line) => 'call' in line);
  return {
    calls: new Map(calls.map((line) => [line.call, line])),
    events: lines.filter((line) => 'event' in line).map((line) => line.event),
  };
}

describe.skipIf(!packages.met)('a gRPC peer that knows the specification alone', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dsmil-grpc-'));
  let agent: Agent | undefined;
  let story: Story;

  beforeAll(async () => {
    agent = await Agent.start();
    const readyFile = join(directory, 'ready.json');
    writeFileSync(readyFile, JSON.stringify(agent.ready), { mode: 0o600 });
    story = storyOf(await runClient([readyFile, directory]));
  }, CLIENT_LIMIT_MS + 60_000);

  afterAll(async () => {
    await agent?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  function call(name: string): Call {
    const found = story.calls.get(name);
    if (found === undefined) throw new Error(`the peer never made the call "${name}"`);
    return found;
  }

  it.each(['health by token', 'health by certificate'])('is served %s', (name) => {
    expect(call(name)).toMatchObject({ status: 'OK', answer: { healthy: true, state: 2 } });
  });

  it.each(['read by token', 'read by certificate'])('does a coordinated %s', (name) => {
    expect(call(name)).toMatchObject({
      status: 'OK',
      answer: { result: 'COORDINATION_SUCCESS', assessed_risk: 'RISK_SAFE' },
    });
    const tracks = call(name).answer?.track_results as readonly Members[];
    expect(tracks.map((track) => [track.track, track.success])).toEqual([
      ['TRACK_KERNEL', true],
      ['TRACK_SECURITY', true],
      ['TRACK_INTERFACE', true],
    ]);
  });

  it.each(['read by nobody', 'read by a wrong token'])('is refused a %s', (name) => {
    expect(call(name).status).toBe('UNAUTHENTICATED');
    expect(call(name).trailers?.['dsmil-fault-code']).toBe('NOT_AUTHENTICATED');
    expect(call(name).answer).toBeUndefined();
  });

  it('is refused a gap token as an invalid argument', () => {
    expect(call('read of a gap token').status).toBe('INVALID_ARGUMENT');
    expect(call('read of a gap token').trailers?.['dsmil-fault-code']).toBe('DEVICE_ID_INVALID');
  });

  it('is refused an operation without a known type', () => {
    expect(call('unknown operation').status).toBe('INVALID_ARGUMENT');
  });

  it('may not publish events', () => {
    expect(call('publish an event').status).toBe('PERMISSION_DENIED');
  });

  it('hears of the operations of both people, by the identity of their connections', () => {
    const completed = story.events.filter(
      (event) => event.event_type === 'EVENT_OPERATION_COMPLETED',
    );
    const people = agent?.ready.people.map((person) => person.id);
    expect(completed.slice(0, 2).map((event) => event.event_data.operation_id)).toEqual([
      'peer-token',
      'peer-certificate',
    ]);
    // The body claimed to be somebody else with the highest clearance.
    expect(completed.slice(0, 2).map((event) => event.event_data.actor)).toEqual(people);
    expect(completed[0]?.source_track).toBe('TRACK_ORCHESTRATOR');
    expect(Date.parse(completed[0]?.timestamp ?? '')).toBeGreaterThan(Date.now() - 600_000);
  });

  it('hears events in the order of their numbers', () => {
    const numbers = story.events
      .filter((event) => event.event_type !== 'EVENT_EMERGENCY_STOP')
      .map((event) => event.sequence_number ?? 0);
    expect(numbers.length).toBeGreaterThanOrEqual(2);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  });

  it('stops everything with one receipt for each track', () => {
    const { status, answer } = call('emergency stop');
    expect(status).toBe('OK');
    expect(answer?.success).toBe(true);
    const tracks = answer?.track_results as readonly Members[];
    expect(tracks.map((track) => track.track)).toEqual([
      'TRACK_KERNEL',
      'TRACK_SECURITY',
      'TRACK_INTERFACE',
    ]);
    expect(tracks.every((track) => track.success === true)).toBe(true);
    expect(story.events.map((event) => event.event_type)).toContain('EVENT_EMERGENCY_STOP');
  });

  it('is told that the system is stopped, and nothing is activated then', () => {
    expect(call('health after the stop').answer).toMatchObject({ state: 4 });
    expect(call('health after the stop').answer?.healthy).toBeUndefined();
    expect(call('activate after the stop').answer).toMatchObject({
      result: 'COORDINATION_EMERGENCY_STOPPED',
    });
  });

  it('is denied a quarantined device, which raises an alert and locks the session', () => {
    const { status, answer } = call('read of a quarantined device');
    const denied = status === 'PERMISSION_DENIED' || answer?.result === 'COORDINATION_DENIED';
    expect(denied, JSON.stringify(call('read of a quarantined device'))).toBe(true);
    const alerts = story.events.filter((event) => event.event_type === 'EVENT_SECURITY_ALERT');
    expect(alerts.length).toBeGreaterThan(0);
    const locked = call('read with a locked session');
    expect(locked.answer?.result).not.toBe('COORDINATION_SUCCESS');
  });

  it('never shows addresses, paths or causes of this machine to the peer', () => {
    const said = JSON.stringify([...story.calls.values()]);
    expect(said).not.toMatch(/\/dev\/|\/sys\/|\/tmp\/|\/run\/|ENOENT|EIO|node_modules/);
  });
});
