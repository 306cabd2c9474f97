/** One line of a build's log. */
export interface LogLine {
  /** Counted from 0 over the build's whole log, also across a restart of the server. */
  index: number;
  /** Milliseconds since 1970. */
  at: number;
  /** Undefined for what is about the build. */
  step: number | undefined;
  stream: 'stdout' | 'stderr' | 'note';
  /** Without its end of line; no secrets. */
  text: string;
}

/** What a running build writes to. Never raises: a full disk costs lines, and the next one that fits says how many. */
export interface BuildLogWriter {
  write(line: Pick<LogLine, 'step' | 'stream' | 'text'>): void;
  /** The last lines of a step's output, oldest first. */
  tail(step: number, count: number): LogLine[];
  /** Past the limit of the build; the build must be ended. */
  readonly isFull: boolean;
  /** Writes what is buffered. Followers are told of the end by `finish`, not by this. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

export interface BuildLogs {
  /** Goes on behind what an earlier server wrote. */
  open(buildId: string, options: { maxBytes: number }): Promise<BuildLogWriter>;
  /**
   * Lines from an index on. `follow` goes on until `finish` was called for the build (or `signal` aborts) and then ends behind the last
   * line; without it, ends at what is there. One that is slow costs no memory. A build without a log has no lines.
   */
  read(buildId: string, options: { from: number; follow: boolean; signal: AbortSignal }): AsyncIterable<LogLine[]>;
  /** The build has ended and nothing more is written: followers end. Idempotent. */
  finish(buildId: string): void;
  remove(buildId: string): Promise<void>;
  /** Ids of all builds that have a log. */
  list(): Promise<string[]>;
  /** Bytes on disk, by the id of the build. */
  sizes(): Promise<Map<string, number>>;
  /** What is buffered is written, and followers end; builds without `finish` can be opened again by the next server. */
  close(): Promise<void>;
}
