// Runs one permitted exercise: opens the ground, lets the attack happen, and makes its report.
// Invariants: the report says what the limits were and what was used of them, whatever became of the attack.
// Source addresses are 127.x.y.z, chosen from the id of the exercise: two exercises do not answer for each other.

import { createHash } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { describeError, FaultError } from '#foundation/fault';
import type { Exercise, ExerciseReport } from '#model/exercise';
import type { ExerciseContext } from '#tracks/interface/cli/cli-parts';
import { type ScenarioId, scenarioPlan } from '#tracks/security/chaos/scenarios';
import { readDoors } from '../doors-file.ts';
import type { Attack, Findings, Ground } from './attack.ts';
import { Attacker } from './attacker.ts';
import { Limits } from './limits.ts';
import { Observer } from './observer.ts';
import { Signs } from './signs.ts';

/** Each is loaded when it is asked for. */
const ATTACKS: Readonly<Record<ScenarioId, () => Promise<Attack>>> = {
  'brute-force': async () => (await import('./brute-force.ts')).bruteForce,
  'privilege-escalation': async () =>
    (await import('./privilege-escalation.ts')).privilegeEscalation,
  'authorization-bypass': async () =>
    (await import('./authorization-bypass.ts')).authorizationBypass,
  'audit-tampering': async () => (await import('./audit-tampering.ts')).auditTampering,
  'log-flooding': async () => (await import('./log-flooding.ts')).logFlooding,
  'network-intrusion': async () => (await import('./network-intrusion.ts')).networkIntrusion,
  'denial-of-service': async () => (await import('./denial-of-service.ts')).denialOfService,
  'hardware-tampering': async () => (await import('./hardware-tampering.ts')).hardwareTampering,
  'side-channel': async () => (await import('./side-channel.ts')).sideChannel,
  'staged-intrusion': async () => (await import('./staged-intrusion.ts')).stagedIntrusion,
};

/** What the link takes of one sentence, and of how many. */
const SENTENCE_MAX = 1_000;
const SENTENCES_MAX = 60;

export async function runExercise(
  exercise: Exercise,
  context: ExerciseContext,
): Promise<ExerciseReport> {
  const plan = scenarioPlan(exercise.scenario);
  if (plan === undefined) throw new Error(`no attack here is called ${exercise.scenario}`);
  const attack = await ATTACKS[plan.id]();
  const doors = readDoors(context.runDirectory);
  if (!doors.ok) throw new FaultError(doors.fault);
  const observer = new Observer(context);
  const limits = new Limits(plan, () => performance.now());
  const signs = new Signs(observer, exercise.account);
  const attackers: Attacker[] = [];
  try {
    await observer.open();
    const { certificatePem } = await observer.get<{ readonly certificatePem: string }>(
      'certificates/authority',
    );
    const ground: Ground = {
      exercise,
      plan,
      doors: doors.value,
      observer,
      limits,
      signs,
      attacker: (index) => {
        context.signal.throwIfAborted();
        const source = sourceAddress(exercise.id, index);
        signs.addSource(source);
        const { token } = exercise;
        const parts = { doors: doors.value, authority: certificatePem, source, token, limits };
        const attacker = new Attacker(parts);
        attackers.push(attacker);
        return attacker;
      },
      progress: (step) => {
        context.signal.throwIfAborted();
        context.onProgress(step);
      },
      signal: context.signal,
    };
    const found = await attack.run(ground).catch(brokenOff);
    const { detected, responseMs, contained, containment } = found;
    const where = `attacked as ${exercise.account} from ${sourceAddress(exercise.id, 0)} and the addresses after it`;
    return {
      scenario: plan.id,
      detected,
      evidence: [...found.evidence, where].slice(0, SENTENCES_MAX).map(cut),
      responseMs: responseMs === null ? null : Math.round(responseMs),
      contained,
      containment: cut(containment),
      limitsKept: limits.kept,
      limits: limits.sentences().map(cut),
    };
  } finally {
    for (const attacker of attackers) attacker.close();
    observer.close();
  }
}

/** What is known of an attack that did not come to its end; its limits hold all the same. */
function brokenOff(error: unknown): Findings {
  return {
    detected: false,
    evidence: [`the exercise broke off: ${describeError(error)}`],
    responseMs: null,
    contained: false,
    containment: 'not known, because the exercise broke off',
  };
}

/** From 127.100.0.1 on, four thousand in a row for each exercise (the whole of 127/8 is the machine itself, RFC 6890). */
export function sourceAddress(exerciseId: string, index: number): string {
  const digest = createHash('sha256').update(exerciseId).digest();
  const host = (digest.readUInt8(1) % 16) * SOURCES_MAX + (index % SOURCES_MAX);
  return `127.${100 + (digest.readUInt8(0) % 128)}.${Math.floor(host / 254)}.${1 + (host % 254)}`;
}

const SOURCES_MAX = 4_000;

function cut(sentence: string): string {
  return sentence.slice(0, SENTENCE_MAX);
}
