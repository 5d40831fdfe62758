// The log of one process: pino lines on standard output, where journald or the supervisor keeps them.

import { type Logger, pino } from 'pino';
import { LogSink } from './log-sink.ts';

export type ProcessLog = Logger;

export function openLog(name: string): ProcessLog {
  const level = process.env.DSMIL_LOG_LEVEL ?? 'info';
  const sink = new LogSink(1);
  process.once('exit', () => sink.flushSync());
  return pino({ name, level, base: { process: name } }, sink);
}

/** An error nobody foresaw ends the process, so that the supervisor starts it again from a known state. */
export function dieOnSurprise(log: ProcessLog): void {
  const die = (error: unknown) => {
    log.fatal({ err: error }, 'ending after an unexpected error');
    process.exit(70);
  };
  process.on('uncaughtException', die);
  process.on('unhandledRejection', die);
}
