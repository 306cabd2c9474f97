import { setTimeout as delay } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { SandboxUsage } from '../runtime/types.ts';
import type { SandboxContext, SandboxRow } from './types.ts';

/** What a sandbox takes of what it may take. */
export interface SandboxMetrics {
  at: Date;
  cores: number;
  /** 0 to 100, of all its cores together; over the time since somebody asked before, or over a moment. */
  cpuPercent: number;
  memory: { totalBytes: number; usedBytes: number; cacheBytes: number };
  disk: { totalBytes: number; usedBytes: number };
  network: { rxBytes: number; txBytes: number };
  pids: number;
  oomKills: number;
}

export interface MetricsReader {
  read(row: SandboxRow): Promise<SandboxMetrics>;
}

const GIB = 1024 ** 3;
const MAX_SAMPLES = 10_000;
/** Between two samples. Less is noise; longer ago says nothing of now. */
const MIN_INTERVAL_MS = 100;
const MAX_INTERVAL_MS = 60_000;

interface Sample {
  at: number;
  cpuMicros: number;
}

export function createMetricsReader(context: Pick<SandboxContext, 'runtime'>): MetricsReader {
  const samples = new LRUCache<string, Sample>({ max: MAX_SAMPLES });

  async function sample(id: string): Promise<{ usage: SandboxUsage; sample: Sample }> {
    const usage = await context.runtime.usage(id);
    return { usage, sample: { at: performance.now(), cpuMicros: usage.run?.cpuMicros ?? 0 } };
  }

  async function baseline(id: string): Promise<Sample> {
    const known = samples.get(id);
    const age = known === undefined ? Number.POSITIVE_INFINITY : performance.now() - known.at;
    if (known !== undefined && age >= MIN_INTERVAL_MS && age <= MAX_INTERVAL_MS) return known;
    const first = await sample(id);
    await delay(MIN_INTERVAL_MS);
    return first.sample;
  }

  return {
    async read(row) {
      let before = await baseline(row.id);
      const { usage, sample: now } = await sample(row.id);
      // Started anew since: the counter began at nothing.
      if (now.cpuMicros < before.cpuMicros) before = { ...before, cpuMicros: 0 };
      samples.set(row.id, now);
      const share = (now.cpuMicros - before.cpuMicros) / ((now.at - before.at) * 1000 * row.cpu);
      const run = usage.run;
      return {
        at: new Date(),
        cores: row.cpu,
        cpuPercent: Math.min(100, Math.round(share * 10_000) / 100),
        memory: {
          totalBytes: run?.memoryLimitBytes ?? Math.round(row.memory * GIB),
          usedBytes: Math.max(0, (run?.memoryBytes ?? 0) - (run?.cacheBytes ?? 0)),
          cacheBytes: run?.cacheBytes ?? 0,
        },
        disk: usage.disk ?? { totalBytes: Math.round(row.disk * GIB), usedBytes: 0 },
        network: { rxBytes: run?.rxBytes ?? 0, txBytes: run?.txBytes ?? 0 },
        pids: run?.pids ?? 0,
        oomKills: run?.oomKills ?? 0,
      };
    },
  };
}
