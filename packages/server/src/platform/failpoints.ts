import { readFileSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { DarkroomError } from './errors.ts';
import { FAILPOINTS, type Failpoint } from './failpoint-names.ts';

/** What happens at a failpoint: the server is killed as by `kill -9`, the call fails, or it takes longer. */
type Action = { kind: 'kill' } | { kind: 'error' } | { kind: 'pause'; ms: number };

interface Armed {
  action: Action;
  /** The pass at which it acts, from 1; the passes before and after go through. 0 is every pass. */
  atPass: number;
  passes: number;
}

type Plan = ReadonlyMap<Failpoint, Armed>;

const SHARED_KEY = 'darkroom.failpoints';
const MOST_PAUSE_MS = 600_000;
const STDERR = 2;

/** What is armed now; undefined where nothing ever is. */
let look: (() => Plan) | undefined;
let threadLooked = false;

/**
 * Arms failpoints for this process and the threads that it starts from now on. `text` is a list as `seal.renamed=kill,pull.resolved=pause:200@3`:
 * `name=action[@pass]`; the actions are `kill`, `error` and `pause:MS`; without a pass `kill` acts at the first, the others at each. Or it is
 * `@FILE`, which is read at each pass, so that a test can arm a server that runs; a file that is not there arms nothing.
 * Raises `invalid_request` for a name or an action that there is not.
 */
export function armFailpoints(text: string): void {
  look = lookerOf(text);
  setEnvironmentData(SHARED_KEY, text);
}

/** A named place where a test makes the server fail. Costs a comparison while nothing is armed. */
export function failpoint(name: Failpoint): Promise<void> | undefined {
  const action = taken(name);
  if (action?.kind === 'pause') return sleep(action.ms);
  if (action !== undefined) actNow(name, action);
  return undefined;
}

/** The same for synchronous code and for threads, which cannot wait: a pause stops the thread. */
export function failpointSync(name: Failpoint): void {
  const action = taken(name);
  if (action?.kind === 'pause') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, action.ms);
  else if (action !== undefined) actNow(name, action);
}

function taken(name: Failpoint): Action | undefined {
  if (look === undefined && !threadLooked) {
    threadLooked = true;
    const inherited = getEnvironmentData(SHARED_KEY);
    if (typeof inherited === 'string') look = lookerOf(inherited);
  }
  const point = look?.().get(name);
  if (point === undefined) return undefined;
  point.passes++;
  return point.atPass === 0 || point.passes === point.atPass ? point.action : undefined;
}

function lookerOf(text: string): typeof look {
  if (text === '') return undefined;
  if (!text.startsWith('@')) {
    const plan = parseFailpoints(text);
    return () => plan;
  }
  const file = text.slice(1);
  let last = '';
  let plan = parseFailpoints(last);
  return () => {
    const now = readIfThere(file);
    if (now !== last) {
      last = now;
      plan = parseFailpoints(now);
    }
    return plan;
  };
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function actNow(name: Failpoint, action: Action): void {
  if (action.kind === 'error') {
    throw new DarkroomError('internal', `failpoint ${name}`, { hint: 'DARKROOM_FAILPOINTS asks for this failure.' });
  }
  // For whoever looks why it ended. Not by the log, whose lines may wait in memory.
  try {
    writeSync(STDERR, `failpoint ${name}: killed\n`);
  } catch {
    // Nobody reads it.
  }
  // No handler runs and nothing is flushed, which is the point.
  process.kill(process.pid, 'SIGKILL');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, MOST_PAUSE_MS);
}

function parseFailpoints(text: string): Plan {
  const points = new Map<Failpoint, Armed>();
  for (const part of text.split(',').filter((part) => part.trim() !== '')) {
    const match = /^\s*([a-z.-]+)=(kill|error|pause:(\d{1,6}))(?:@(\d{1,6}))?\s*$/.exec(part);
    const name = FAILPOINTS.find((known) => known === match?.[1]);
    if (match === null || name === undefined) {
      throw new DarkroomError('invalid_request', `there is no failpoint "${part.trim()}"`, {
        hint: `It is NAME=kill, NAME=error or NAME=pause:MS, with @PASS at will; or the whole is @FILE. Names: ${FAILPOINTS.join(', ')}.`,
      });
    }
    const [, , word, ms, pass] = match;
    const kind = word === 'kill' || word === 'error' ? word : 'pause';
    points.set(name, {
      action: kind === 'pause' ? { kind, ms: Math.min(Number(ms), MOST_PAUSE_MS) } : { kind },
      atPass: pass === undefined ? (kind === 'kill' ? 1 : 0) : Number(pass),
      passes: 0,
    });
  }
  return points;
}
