import { randomUUID } from 'node:crypto';
import type { DarkroomError } from '../../../platform/errors.ts';

/** One command of a session, as it is kept until the session is deleted. Positions are those of the session's log. */
export interface SessionCommand {
  readonly id: string;
  readonly text: string;
  /** Its input comes from the client; that of others is empty. */
  readonly isAsync: boolean;
  state: 'waiting' | 'running' | 'ended';
  exitCode: number | undefined;
  from: number;
  /** Where its output ended when it did. */
  end: number | undefined;
  /** Where the next command's begins: up to there, what comes is written by processes that it left in the background. */
  until: number | undefined;
  /** Why nobody knows its exit code. */
  failure: DarkroomError | undefined;
  readonly ended: Promise<void>;
  readonly markEnded: () => void;
}

export interface CommandInfo {
  id: string;
  command: string;
  /** Undefined while it waits or runs. */
  exitCode: number | undefined;
}

export interface SessionInfo {
  sessionId: string;
  commands: CommandInfo[];
}

export function newCommand(text: string, isAsync: boolean): SessionCommand {
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    id: randomUUID(),
    text,
    isAsync,
    state: 'waiting',
    exitCode: undefined,
    from: 0,
    end: undefined,
    until: undefined,
    failure: undefined,
    ended: promise,
    markEnded: resolve,
  };
}

export function commandInfo({ id, text, exitCode }: SessionCommand): CommandInfo {
  return { id, command: text, exitCode };
}
