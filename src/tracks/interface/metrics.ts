// Counters and latencies of the interface track in a registry of its own: Prometheus text and samples.

import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { FaultCode } from '#foundation/fault-catalogue';
import type { OperationKey } from '#model/operation-table';
import type { Transport } from '#model/principal';
import type { BusState } from '#model/snapshot';
import type { WitnessCounts } from './checkpoint-witness.ts';
import type { ConnectionGate } from './connection-gate.ts';
import { STRANGE_KINDS, type StrangerReports } from './stranger-reports.ts';

export interface MetricSources {
  readonly sessions: () => number;
  readonly running: () => number;
  readonly listeners: () => number;
  readonly limited: () => number;
  readonly pictureAgeMs: () => number;
  readonly buses: () => readonly BusState[];
}

export interface MetricSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const LATENCY_BUCKETS_S = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5];

export class InterfaceMetrics {
  readonly #registry = new Registry();
  readonly #calls: Counter<'operation' | 'transport' | 'result'>;
  readonly #seconds: Histogram<'operation' | 'transport'>;
  readonly #refusals: Counter<'code'>;
  readonly #slowClients: Counter;

  constructor(sources: MetricSources) {
    const registers = [this.#registry];
    this.#calls = new Counter({
      name: 'dsmil_interface_calls_total',
      help: 'Calls by row of the operation table, transport and result (ok or fault code).',
      labelNames: ['operation', 'transport', 'result'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'dsmil_interface_call_seconds',
      help: 'Time from the decoded request to the answer.',
      labelNames: ['operation', 'transport'],
      buckets: LATENCY_BUCKETS_S,
      registers,
    });
    this.#refusals = new Counter({
      name: 'dsmil_interface_refusals_total',
      help: 'Attempts that the interface refused by itself.',
      labelNames: ['code'],
      registers,
    });
    this.#slowClients = new Counter({
      name: 'dsmil_interface_slow_clients_total',
      help: 'Clients cut off because they did not read what was sent to them.',
      registers,
    });
    this.#gauge('dsmil_interface_sessions', 'Signed-in connections.', sources.sessions);
    this.#gauge('dsmil_interface_operations_running', 'Operations in flight.', sources.running);
    this.#gauge(
      'dsmil_interface_event_listeners',
      'Clients that receive events.',
      sources.listeners,
    );
    this.#gauge('dsmil_interface_limited', 'Requests refused for their rate.', sources.limited);
    this.#gauge('dsmil_interface_picture_age_seconds', 'Age of the device picture.', () => {
      const ageMs = sources.pictureAgeMs();
      return Number.isFinite(ageMs) ? ageMs / 1000 : -1;
    });
    this.#busGauges(sources.buses);
  }

  called(
    operation: OperationKey,
    transport: Transport,
    result: 'ok' | FaultCode,
    ms: number,
  ): void {
    this.#calls.inc({ operation, transport, result });
    this.#seconds.observe({ operation, transport }, ms / 1000);
  }

  refused(code: FaultCode): void {
    this.#refusals.inc({ code });
  }

  slowClient(): void {
    this.#slowClients.inc();
  }

  /** Where checkpoints of the audit chain are posted to a witness. */
  countWitness(counts: () => WitnessCounts): void {
    const name = (what: string) => `dsmil_interface_witness_${what}`;
    this.#gauge(name('posted'), 'Checkpoints that the witness took.', () => counts().posted);
    this.#gauge(name('failed'), 'Attempts that the witness did not take.', () => counts().failed);
    this.#gauge(name('dropped'), 'Checkpoints given up for newer ones.', () => counts().dropped);
    this.#gauge(name('waiting'), 'Checkpoints that wait for the witness.', () => counts().waiting);
  }

  /** Connections at the network doors, and what came there that was foreign. */
  countDoors(gate: ConnectionGate, strangers: StrangerReports): void {
    const name = (what: string) => `dsmil_interface_connections${what}`;
    const { total, perAddress } = gate.limits;
    this.#gauge(name('_total_max'), 'Places for connections in all.', () => total);
    this.#gauge(name('_address_max'), 'Places for connections of one address.', () => perAddress);
    this.#gauge(name('_addresses'), 'Addresses that are connected.', () => gate.counts.addresses);
    this.#labelled(name(''), 'Open connections at the network doors.', 'state', () => {
      const { known, strangers } = gate.counts;
      return [
        ['known', known],
        ['stranger', strangers],
      ];
    });
    this.#labelled(name('_refused'), 'Connections that the gate refused or cut.', 'reason', () => {
      const { refusedForAddress, refusedForTotal, displaced } = gate.counts;
      return [
        ['address', refusedForAddress],
        ['total', refusedForTotal],
        ['displaced', displaced],
      ];
    });
    const help = 'What came to the network doors that was foreign.';
    this.#labelled('dsmil_interface_strange', help, 'kind', () =>
      STRANGE_KINDS.map((kind) => [kind, strangers.counts.get(kind) ?? 0]),
    );
  }

  /** Prometheus text exposition format 0.0.4. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All samples, or those of the named metrics. */
  async samples(names: readonly string[]): Promise<readonly MetricSample[]> {
    const metrics = await this.#registry.getMetricsAsJSON();
    return metrics
      .filter((metric) => names.length === 0 || names.includes(metric.name))
      .flatMap((metric) =>
        metric.values.map((sample) => ({
          name: (sample as { metricName?: string }).metricName ?? metric.name,
          labels: Object.fromEntries(
            Object.entries(sample.labels).map(([key, value]) => [key, String(value)]),
          ),
          value: sample.value,
        })),
      );
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read());
      },
    });
  }

  #labelled(
    name: string,
    help: string,
    label: string,
    read: () => readonly (readonly [string, number])[],
  ): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [this.#registry],
      collect() {
        for (const [value, count] of read()) this.set({ [label]: value }, count);
      },
    });
  }

  #busGauges(buses: () => readonly BusState[]): void {
    const registers = [this.#registry];
    new Gauge({
      name: 'dsmil_bus_queue_length',
      help: 'Accesses waiting, by bus.',
      labelNames: ['bus'],
      registers,
      collect() {
        this.reset();
        for (const bus of buses()) this.set({ bus: bus.id }, bus.queueLength);
      },
    });
    new Gauge({
      name: 'dsmil_bus_count',
      help: 'Counters of each bus as the kernel track last reported them.',
      labelNames: ['bus', 'counter'],
      registers,
      collect() {
        this.reset();
        for (const bus of buses()) {
          for (const [counter, value] of Object.entries(bus.counters)) {
            this.set({ bus: bus.id, counter }, Number(value));
          }
        }
      },
    });
  }
}
