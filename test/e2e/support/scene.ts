// One running agent for a test file: its people, the simulator's own view, the audit chain, and its processes.

import { ControlClient } from '#drivers/bus/simulated/control-client';
import type { AuditEntry } from '#model/audit-entry';
import { Agent } from '../../support/agent.ts';
import { RestPerson } from './rest-person.ts';

export interface RegisterJson {
  readonly name: string;
  readonly widthBits: number;
  readonly access: string;
  readonly signed: boolean;
  readonly precious: boolean;
  readonly limits: { readonly minimum: string; readonly maximum: string } | null;
  readonly maxStep: string | null;
  readonly reservedMask: string;
  readonly safeValue: string | null;
  readonly riskFloor: string;
}

export interface DeviceWithRegisters {
  readonly id: number;
  readonly token: string;
  readonly slug: string;
  readonly bus: string;
  readonly profile: string;
  readonly baseRisk: string;
  readonly quarantined: boolean;
  readonly registers: readonly RegisterJson[];
}

export class Scene {
  readonly agent: Agent;
  /** The two demonstration people on REST connections of their own. */
  readonly first: RestPerson;
  readonly second: RestPerson;
  readonly metal: ControlClient;
  readonly #pids: string;

  private constructor(agent: Agent, metal: ControlClient) {
    this.agent = agent;
    this.metal = metal;
    this.first = new RestPerson(agent.ready, 0);
    this.second = new RestPerson(agent.ready, 1);
    this.#pids = JSON.stringify(agent.ready.pids);
  }

  static async open(extra: readonly string[] = []): Promise<Scene> {
    const agent = await Agent.start(extra);
    const { simulator } = agent.ready;
    if (simulator === null) throw new Error('the agent runs without its simulator');
    return new Scene(agent, await ControlClient.connect(simulator.control));
  }

  async close(): Promise<void> {
    this.first.close();
    this.second.close();
    this.metal.close();
    await this.agent.stop();
  }

  /** True while every process is the one that was started first. */
  get undisturbed(): boolean {
    return JSON.stringify(this.agent.ready.pids) === this.#pids;
  }

  /** The register's content as the simulator has it, once it shows `expected`; waits for the looks of shared memory. */
  async held(
    device: string,
    register: string,
    expected: bigint,
    limitMs = 10_000,
  ): Promise<bigint> {
    const untilMs = performance.now() + limitMs;
    for (;;) {
      const { hex } = await this.metal.get(device, register);
      const value = BigInt(hex);
      if (value === expected || performance.now() > untilMs) return value;
      await pause(10);
    }
  }

  /** How many writes the devices have seen, after the simulator has looked at its memory once more. */
  async writes(device?: string): Promise<number> {
    await pause(30);
    return (await this.metal.log(device, 10_000)).length;
  }

  async auditSince(sequence: number): Promise<readonly AuditEntry[]> {
    const entries: AuditEntry[] = [];
    for (;;) {
      const from = sequence + entries.length + 1;
      const page = (await this.first.get(`audit?from=${from}&limit=1000`)).entries;
      entries.push(...(page as AuditEntry[]));
      if (page.length < 1000) return entries;
    }
  }

  async auditSequence(): Promise<number> {
    return (await this.first.get('system/status')).auditSequence as number;
  }

  async devices(): Promise<readonly DeviceWithRegisters[]> {
    const { devices } = await this.first.get('devices');
    const all: DeviceWithRegisters[] = [];
    for (const { id } of devices) all.push(await this.first.get(`devices/${id}`));
    return all;
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Tries again until `take` gives something other than undefined. */
export async function eventually<T>(
  what: string,
  take: () => Promise<T | undefined> | T | undefined,
  limitMs = 30_000,
): Promise<T> {
  const untilMs = performance.now() + limitMs;
  for (;;) {
    const value = await take();
    if (value !== undefined) return value;
    if (performance.now() > untilMs) throw new Error(`waited ${limitMs} ms for ${what}`);
    await pause(25);
  }
}
