import type { SessionCommand } from './command.ts';
import type { OutputPiece, OutputStream, SessionLog } from './session-log.ts';

/** What a command wrote. Every reader reads for itself, from the beginning. */
export interface CommandLogs {
  /** About how many bytes there are; undefined when nobody has counted. */
  readonly size?: number;
  /** What there is so far; of one stream, or of both in the order in which they came. */
  read(stream?: OutputStream): AsyncGenerator<Buffer>;
  /** From the beginning until the command has ended. The server holds nothing for a reader that is slow. */
  follow(signal: AbortSignal): AsyncGenerator<OutputPiece>;
}

export function commandLogs(
  log: SessionLog,
  command: Pick<SessionCommand, 'from' | 'end' | 'until' | 'state'>,
): CommandLogs {
  const position = () => (command.state === 'waiting' ? { from: log.end, to: log.end } : rangeOf(log, command));
  return {
    get size() {
      const { from, to } = position();
      return to - from;
    },
    async *read(stream) {
      const { from, to } = position();
      for await (const piece of log.read(from, to)) {
        if (stream === undefined || piece.stream === stream) yield piece.data;
      }
    },
    async *follow(signal) {
      for (let at: number | undefined; !signal.aborted; ) {
        const { version } = log.changes;
        if (command.state !== 'waiting') {
          at ??= command.from;
          const to = command.end ?? log.end;
          if (at < to) {
            for await (const piece of log.read(at, to)) {
              yield piece;
              if (signal.aborted) return;
            }
            at = to;
            continue;
          }
          if (command.end !== undefined) return;
        }
        await log.changes.changedSince(version, signal);
      }
    },
  };
}

function rangeOf(log: SessionLog, { from, until }: Pick<SessionCommand, 'from' | 'until'>) {
  return { from, to: until ?? log.end };
}
