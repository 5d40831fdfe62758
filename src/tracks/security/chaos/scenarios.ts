// The ten attacks that can be tried, as data: what each does and the most it may do.
// Invariants: the numbers here are what the attacks are held to and what people read; no exercise lasts longer than ten minutes.

import type { ChaosScenario } from '#model/exercise';

export const EXERCISE_SECONDS_MAX = 600;

export const SCENARIO_IDS = [
  'brute-force',
  'privilege-escalation',
  'authorization-bypass',
  'audit-tampering',
  'log-flooding',
  'network-intrusion',
  'denial-of-service',
  'hardware-tampering',
  'side-channel',
  'staged-intrusion',
] as const;
export type ScenarioId = (typeof SCENARIO_IDS)[number];

export interface ScenarioPlan {
  readonly id: ScenarioId;
  readonly summary: string;
  /** Requests, connections without one and messages, all together. */
  readonly requestsMax: number;
  /** Connections open at once. */
  readonly connectionsMax: number;
  /** Devices that may change; of those that are not quarantined and below HIGH risk. */
  readonly devicesMax: number;
  readonly durationSecondsMax: number;
  readonly board: 'any' | 'simulated';
  /** What else it keeps to, each a sentence. */
  readonly further: readonly string[];
}

export const SCENARIOS: readonly ScenarioPlan[] = [
  {
    id: 'brute-force',
    summary:
      'guesses passwords of its own account until it is locked, then tries the right token at every door',
    requestsMax: 60,
    connectionsMax: 4,
    devicesMax: 0,
    durationSecondsMax: 120,
    board: 'any',
    further: ['guesses at the account of the exercise alone'],
  },
  {
    id: 'privilege-escalation',
    summary:
      'asks with the lowest clearance for administration and for rows of SECRET, and claims more rights in its requests',
    requestsMax: 120,
    connectionsMax: 4,
    devicesMax: 0,
    durationSecondsMax: 120,
    board: 'any',
    further: ['names no account but its own'],
  },
  {
    id: 'authorization-bypass',
    summary:
      'tries to approve its own plan, approvals that are none, a replay, another digest, and an operation nobody confirmed',
    requestsMax: 60,
    connectionsMax: 4,
    devicesMax: 0,
    durationSecondsMax: 120,
    board: 'any',
    further: [
      'asks for operations on devices below HIGH risk only, and expects each to be refused',
    ],
  },
  {
    id: 'audit-tampering',
    summary:
      'damages copies of the audit chain in five ways for the verifier to name, and tries to write to the chain through every door',
    requestsMax: 80,
    connectionsMax: 4,
    devicesMax: 0,
    durationSecondsMax: 300,
    board: 'any',
    further: ['changes copies in memory only, of the last entries of the chain'],
  },
  {
    id: 'log-flooding',
    summary: 'sends hundreds of requests that are refused, to fill the audit chain and its disk',
    requestsMax: 700,
    connectionsMax: 8,
    devicesMax: 0,
    durationSecondsMax: 180,
    board: 'any',
    further: [
      'leaves at most one entry in the audit chain for each request, beside those of its incidents',
    ],
  },
  {
    id: 'network-intrusion',
    summary:
      'certificates of a foreign authority, pages of another site, tokens in URLs, and bytes that are no TLS, HTTP or WebSocket',
    requestsMax: 80,
    connectionsMax: 4,
    devicesMax: 0,
    durationSecondsMax: 180,
    board: 'any',
    further: [],
  },
  {
    id: 'denial-of-service',
    summary:
      'floods the doors with connections and requests while another person looks at the status and the stop path is tested',
    requestsMax: 8_000,
    connectionsMax: 200,
    devicesMax: 0,
    durationSecondsMax: 120,
    board: 'any',
    further: ['leaves connections free for others', 'engages no stop'],
  },
  {
    id: 'hardware-tampering',
    summary: 'changes a register behind the back of the agent, and puts it back',
    requestsMax: 40,
    connectionsMax: 2,
    devicesMax: 1,
    durationSecondsMax: 120,
    board: 'simulated',
    further: ['writes through the simulator, and so runs on simulated boards only'],
  },
  {
    id: 'side-channel',
    summary:
      'measures whether sign-in takes another time for names and tokens that exist than for those that do not',
    requestsMax: 2_000,
    connectionsMax: 4,
    devicesMax: 0,
    durationSecondsMax: 300,
    board: 'any',
    further: ['signs in under invented names, and guesses at the account of the exercise alone'],
  },
  {
    id: 'staged-intrusion',
    summary:
      'looks around, asks for more than it may, and in the end for a quarantined device, which is never touched',
    requestsMax: 160,
    connectionsMax: 4,
    devicesMax: 0,
    durationSecondsMax: 120,
    board: 'any',
    further: ['asks for one quarantined device, once; the request goes no further than interface'],
  },
];

export function scenarioPlan(id: string): ScenarioPlan | undefined {
  return SCENARIOS.find((plan) => plan.id === id);
}

/** As people read it before they permit it. */
export function scenarioView(plan: ScenarioPlan): ChaosScenario {
  const { id, summary, durationSecondsMax } = plan;
  return { id, summary, limits: limitsOf(plan), durationSecondsMax };
}

function limitsOf(plan: ScenarioPlan): readonly string[] {
  const { requestsMax, connectionsMax, devicesMax, durationSecondsMax, further } = plan;
  const devices =
    devicesMax === 0
      ? 'changes no device'
      : `changes ${devicesMax} device${devicesMax === 1 ? '' : 's'}, not quarantined and below HIGH risk`;
  return [
    `at most ${requestsMax} requests`,
    `at most ${connectionsMax} connections at once`,
    `at most ${durationSecondsMax} s`,
    devices,
    ...further,
  ];
}
