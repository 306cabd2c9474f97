import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { DarkroomError, errnoOf, messageOf, undefinedIfMissing } from '../../../platform/errors.ts';
import type { ContainerProcess } from '../engine.ts';
import { isContainerId } from '../layout.ts';
import { processStat } from '../live-container.ts';
import { runscName } from './runsc-name.ts';

const noteSchema = z.object({ pid: z.int().positive(), startTime: z.int(), rootPid: z.int().positive() });
/** What is read of runsc's own file about a container. */
const stateSchema = z.object({ goferPid: z.int().positive(), sandbox: z.object({ pid: z.int().positive() }) });

/** Our own note of each container, beside what runsc writes about it. */
export interface GvisorState {
  /** From here on it is gVisor's, also when it dies half made. */
  begin(id: string): void;
  /** Reads what runsc wrote, and notes it for this server and the next. */
  complete(id: string): void;
  status(id: string): ContainerProcess | undefined;
  isKnown(id: string): boolean;
  list(): string[];
  forget(id: string): void;
}

export function gvisorState(root: string): GvisorState {
  const note = (id: string) => join(root, `${id}.json`);
  const own = (id: string, end: string) => join(root, `${runscName(id)}_sandbox:${runscName(id)}.${end}`);

  function read(id: string): string | undefined {
    try {
      return readFileSync(note(id), 'utf8');
    } catch (error) {
      return undefinedIfMissing(error);
    }
  }

  return {
    begin(id) {
      mkdirSync(root, { recursive: true, mode: 0o700 });
      writeFileSync(note(id), '{}', { mode: 0o600 });
    },
    complete(id) {
      try {
        const { goferPid, sandbox } = stateSchema.parse(JSON.parse(readFileSync(own(id, 'state'), 'utf8')));
        const stat = processStat(sandbox.pid);
        // Ended already; nobody holds what has no note.
        if (stat === undefined) return;
        const process: ContainerProcess = { pid: sandbox.pid, startTime: stat.startTime, rootPid: goferPid };
        writeFileSync(note(id), JSON.stringify(process), { mode: 0o600 });
      } catch (cause) {
        throw new DarkroomError('internal', `what runsc wrote about sandbox ${id}: ${messageOf(cause)}`, { cause });
      }
    },
    status(id) {
      const text = read(id);
      if (text === undefined) return undefined;
      const parsed = noteSchema.safeParse(jsonOf(text));
      return parsed.success ? parsed.data : undefined;
    },
    isKnown: (id) => read(id) !== undefined,
    list() {
      try {
        return readdirSync(root)
          .filter((name) => name.endsWith('.json'))
          .map((name) => name.slice(0, -'.json'.length))
          .filter(isContainerId);
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return [];
        throw error;
      }
    },
    forget(id) {
      // The note last: until then the next server tries again.
      for (const file of [own(id, 'state'), own(id, 'lock'), join(root, `runsc-${runscName(id)}.sock`)]) {
        rmSync(file, { force: true });
      }
      rmSync(note(id), { force: true });
    },
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
