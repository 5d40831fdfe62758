// The log of one process: pino lines on standard output, where journald or the supervisor keeps them.

import { type Logger, pino } from 'pino';

export type ProcessLog = Logger;

export function openLog(name: string): ProcessLog {
  return pino({ name, level: process.env.DSMIL_LOG_LEVEL ?? 'info', base: { process: name } });
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
