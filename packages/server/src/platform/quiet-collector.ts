import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { libc } from './libc.ts';

export interface QuietCollectorOptions {
  log: { debug(details: object, message: string): void };
  /** Bytes. */
  resident?(): number;
  /** Which part of the time since it was asked last the event loop was at work, from 0 to 1. */
  utilization?(): number;
  collect?(): void;
  firstLookMs?: number;
  lookMs?: number;
}

const FIRST_LOOK_MS = 5_000;
const LOOK_MS = 10_000;
/** Between two: a trickle of requests, which looks quiet, waits for each. */
const REST_MS = 60_000;
/** Leases, jobs and the like take a fraction of it. */
const QUIET = 0.05;
/** What is not worth a pause. */
const WORTH_BYTES = 16 * 1024 * 1024;

/**
 * What the start, or a busy time, left behind is given back to the machine when nothing happens: V8 itself keeps it for the next
 * busy time, which may never come. It takes some tenths of a second, so never while there is work.
 */
export function startQuietCollector(options: QuietCollectorOptions): { close(): void } {
  const {
    log,
    resident = process.memoryUsage.rss,
    utilization = createUtilization(),
    collect = collectAll,
    firstLookMs = FIRST_LOOK_MS,
    lookMs = LOOK_MS,
  } = options;
  let least = 0;
  let timer = setTimeout(look, firstLookMs).unref();
  utilization();

  function look(): void {
    timer = setTimeout(look, lookMs).unref();
    const before = resident();
    if (utilization() > QUIET || before < least + WORTH_BYTES) return;
    collect();
    clearTimeout(timer);
    timer = setTimeout(look, REST_MS).unref();
    least = resident();
    // The pause itself is no work.
    utilization();
    log.debug({ before, after: least }, 'memory that nothing needs was given back');
  }

  return { close: () => clearTimeout(timer) };
}

function createUtilization(): () => number {
  let last = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, last);
    last = now;
    return utilization;
  };
}

const mallocTrim = libc.func('int malloc_trim(size_t pad)');
let gc: ((options: { type: 'major'; flavor: 'last-resort' }) => void) | undefined;

function collectAll(): void {
  if (gc === undefined) {
    // There is no other way to ask for a collection that also gives pages back.
    setFlagsFromString('--expose-gc');
    gc = runInNewContext('gc');
    setFlagsFromString('--no-expose-gc');
  }
  gc?.({ type: 'major', flavor: 'last-resort' });
  mallocTrim(0);
}
