// What the simulator's control socket understands: one JSON object a line each way; described in README.md here.

/** Member of every request that names what to do. */
export type ControlVerb = ControlRequest['do'];

/** Numbers as text: decimal, negative decimal for signed registers, or 0x hexadecimal. */
export type NumberText = string;

export type ControlRequest =
  | { readonly do: 'ping' }
  | { readonly do: 'devices' }
  | { readonly do: 'get'; readonly device: string; readonly register: string }
  | {
      readonly do: 'set';
      readonly device: string;
      readonly register: string;
      readonly value: NumberText;
    }
  | FaultRequest
  | { readonly do: 'faults' }
  | { readonly do: 'clear' }
  | { readonly do: 'log'; readonly count?: number; readonly device?: string }
  | { readonly do: 'forget' }
  | { readonly do: 'canaries' };

/** `restore` and its synonym `return` end the lasting faults of the target; the others begin one. */
export interface FaultRequest {
  readonly do: 'fault';
  /** Slug, linear id or token; or name a bus instead. */
  readonly device?: string;
  readonly bus?: string;
  readonly register?: string;
  readonly kind: string;
  /** Accesses to spoil, 1..1000000; without it every access until cleared. */
  readonly count?: number;
  /** Milliseconds until the fault ends by itself. */
  readonly durationMs?: number;
  /** `late`: delay of the answer, 1..60000. */
  readonly ms?: number;
  /** `exception`: Modbus exception code 1..255. */
  readonly code?: number;
  /** `stuck-bits`: which bits, and what they show. */
  readonly mask?: NumberText;
  readonly value?: NumberText;
  /** `truncate`: bytes that remain of the file; 0 without it. */
  readonly sizeBytes?: number;
}

export interface LoggedWrite {
  readonly sequence: number;
  readonly atMs: number;
  readonly device: string;
  readonly register: string;
  /** `0x...` at the register's width. */
  readonly value: string;
  readonly taken: boolean;
}

export interface ListedFault {
  readonly bus: string;
  readonly device: string | null;
  readonly register: string | null;
  readonly kind: string;
  readonly remaining: number | null;
}

export interface ListedDevice {
  readonly id: number;
  readonly device: string;
  readonly bus: string;
  readonly registers: readonly string[];
  readonly quarantined: boolean;
}

/** The members an answer carries beside `ok: true`. */
export interface ControlResults {
  readonly ping: { readonly nowMs: number; readonly devices: number };
  readonly devices: { readonly devices: readonly ListedDevice[] };
  readonly get: { readonly value: string; readonly hex: string };
  readonly set: { readonly value: string; readonly hex: string };
  readonly fault: { readonly ended: number };
  readonly faults: { readonly faults: readonly ListedFault[] };
  readonly clear: { readonly ended: number };
  readonly log: { readonly total: number; readonly writes: readonly LoggedWrite[] };
  readonly forget: Readonly<Record<never, never>>;
  readonly canaries: {
    readonly quarantined: readonly string[];
    readonly touched: readonly string[];
  };
}

export type ControlAnswer =
  | ({ readonly ok: true } & ControlResults[ControlVerb])
  | { readonly ok: false; readonly error: string };

export const CONTROL_LINE_MAX = 65_536;
