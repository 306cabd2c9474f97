import { z } from 'zod';
import { invalidRequest } from '../../../platform/errors.ts';
import type { TerminalEnd } from '../../../sandboxes/toolbox/terminals/index.ts';

/** Offered by clients that know the control message of an exit; older ones would show it as output. */
const EXIT_CONTROL = 'X-Daytona-Pty-Exit-Control';
/** Before the base64url of the environment, in JSON: a header that logs of proxies leave out. */
const ENVIRONMENT = 'X-Daytona-Pty-Envs~';
/** What a close frame has room for. */
const MAX_REASON_BYTES = 123;

/** The sub-protocols that a client offers. */
export function offeredProtocols(header: string | undefined): string[] {
  return (header ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

/** One must be answered where any is offered; never the one that holds secrets, where there is another. */
export function chooseProtocol(offered: ReadonlySet<string>): string | false {
  const names = [...offered];
  if (names.includes(EXIT_CONTROL)) return EXIT_CONTROL;
  return names.find((name) => !name.startsWith(ENVIRONMENT)) ?? names[0] ?? false;
}

export function knowsExitControl(offered: readonly string[]): boolean {
  return offered.includes(EXIT_CONTROL);
}

/** The environment among the offered sub-protocols; undefined when there is none. */
export function offeredEnvironment(offered: readonly string[]): Record<string, string> | undefined {
  const token = offered.find((name) => name.startsWith(ENVIRONMENT));
  if (token === undefined) return undefined;
  const text = Buffer.from(token.slice(ENVIRONMENT.length), 'base64url').toString('utf8');
  try {
    return z.record(z.string(), z.string()).parse(JSON.parse(text));
  } catch (cause) {
    throw invalidRequest('The environment of the PTY session is not the base64url of a JSON object of strings', {
      cause,
    });
  }
}

export const CONNECTED = JSON.stringify({ type: 'control', status: 'connected' });

export function exitedMessage({ exitCode, reason }: TerminalEnd): string {
  return JSON.stringify({ type: 'control', status: 'exited', exitCode, ...(reason && { exitReason: reason }) });
}

/** For the close frame, where clients of every age look for the exit code. */
export function exitReason({ exitCode, reason }: TerminalEnd): string {
  const whole = JSON.stringify({ exitCode, ...(reason && { exitReason: reason }) });
  return Buffer.byteLength(whole) <= MAX_REASON_BYTES ? whole : JSON.stringify({ exitCode });
}
