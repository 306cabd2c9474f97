import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client';

/** What is asked at each scrape, since it is known elsewhere. */
export interface MetricSources {
  /** Snapshots and sandboxes by state (`readStateCounts`). */
  states(): Promise<{ subjectType: 'snapshot' | 'sandbox'; state: string; count: number }[]>;
  disk(): Promise<{ usedBytes: number; freeBytes: number }>;
  /** 0 below the marks of the disk, 1 above the low one, 2 above the high one. */
  pressure?(): Promise<0 | 1 | 2 | undefined>;
  /** What all sandboxes take together. */
  sandboxes?(): Promise<{ memoryBytes: number; cpuMicros: number; pids: number } | undefined>;
}

export interface Metrics {
  observeRequest(request: { method: string; route: string; status: number; seconds: number }): void;
  /** From the request to a running sandbox. */
  observeStart(start: { outcome: 'started' | 'failed'; seconds: number }): void;
  observePull(pull: { outcome: 'done' | 'failed' | 'cancelled'; seconds: number }): void;
  /** From its turn to its end. */
  observeBuild(build: { outcome: 'done' | 'failed' | 'cancelled'; seconds: number }): void;
  /** `cache` says where the step's result came from. */
  addBuildStep(cache: string): void;
  addOomKills(kills: number): void;
  addDownloadedBytes(bytes: number): void;
  addUnpackedBytes(bytes: number): void;
  /** Garbage was removed. */
  addCollected(items: readonly { kind: string; sizeBytes?: number | undefined }[]): void;
  /** Work was refused because the disk is nearly full. */
  addDiskRefusal(): void;
  /** The text of the Prometheus exposition format. A source that fails leaves out its own metric and no other. */
  expose(): Promise<{ contentType: string; body: string }>;
  close(): void;
}

const REQUEST_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300];
const START_BUCKETS = [0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 5, 30, 60];
const PULL_BUCKETS = [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];
/** A scrape does not wait longer for a source. */
const SOURCE_TIMEOUT_MS = 5_000;

export function createMetrics(sources: MetricSources): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  const requests = new Histogram({
    name: 'darkroom_http_request_duration_seconds',
    help: 'Requests by method, route and status.',
    labelNames: ['method', 'route', 'status'],
    buckets: REQUEST_BUCKETS,
    registers,
  });
  const starts = new Histogram({
    name: 'darkroom_sandbox_start_duration_seconds',
    help: 'Time from the request until a sandbox runs.',
    labelNames: ['outcome'],
    buckets: START_BUCKETS,
    registers,
  });
  const pulls = new Histogram({
    name: 'darkroom_image_pull_duration_seconds',
    help: 'Pulls of images by outcome.',
    labelNames: ['outcome'],
    buckets: PULL_BUCKETS,
    registers,
  });
  const builds = new Histogram({
    name: 'darkroom_build_duration_seconds',
    help: 'Builds by outcome, from their turn to their end.',
    labelNames: ['outcome'],
    buckets: PULL_BUCKETS,
    registers,
  });
  const buildSteps = new Counter({
    name: 'darkroom_build_steps_total',
    help: 'Steps of builds, by where their result came from.',
    labelNames: ['cache'],
    registers,
  });
  const downloaded = new Counter({
    name: 'darkroom_image_downloaded_bytes_total',
    help: 'Bytes fetched from registries.',
    registers,
  });
  const unpacked = new Counter({
    name: 'darkroom_image_unpacked_bytes_total',
    help: 'Bytes of layers as they lie on disk, written by pulls.',
    registers,
  });
  const gauges = {
    snapshot: new Gauge({ name: 'darkroom_snapshots', help: 'Snapshots by state.', labelNames: ['state'], registers }),
    sandbox: new Gauge({ name: 'darkroom_sandboxes', help: 'Sandboxes by state.', labelNames: ['state'], registers }),
  };
  const disk = new Gauge({
    name: 'darkroom_disk_bytes',
    help: 'Disk of layers and sandboxes.',
    labelNames: ['kind'],
    registers,
  });

  const pressure = new Gauge({
    name: 'darkroom_disk_pressure',
    help: '0 below the marks of the disk, 1 where caches give way, 2 where new work is refused.',
    registers,
  });
  const refusals = new Counter({
    name: 'darkroom_disk_refusals_total',
    help: 'Work that was refused because the disk was nearly full.',
    registers,
  });
  const collected = new Counter({
    name: 'darkroom_gc_removed_total',
    help: 'What garbage collection has removed, by kind.',
    labelNames: ['kind'],
    registers,
  });
  const collectedBytes = new Counter({
    name: 'darkroom_gc_removed_bytes_total',
    help: 'Bytes of it, as far as they were counted.',
    labelNames: ['kind'],
    registers,
  });

  const oomKills = new Counter({
    name: 'darkroom_sandbox_oom_kills_total',
    help: 'Processes of sandboxes that were seen killed at a memory limit.',
    registers,
  });
  const totals = {
    memoryBytes: new Gauge({ name: 'darkroom_sandboxes_memory_bytes', help: 'Memory of all sandboxes.', registers }),
    cpuMicros: new Gauge({ name: 'darkroom_sandboxes_cpu_seconds', help: 'CPU of all sandboxes so far.', registers }),
    pids: new Gauge({ name: 'darkroom_sandboxes_processes', help: 'Processes of all sandboxes.', registers }),
  };

  async function readTotals(): Promise<void> {
    const read = sources.sandboxes === undefined ? undefined : await bounded(sources.sandboxes);
    totals.memoryBytes.set(read?.memoryBytes ?? 0);
    totals.cpuMicros.set((read?.cpuMicros ?? 0) / 1e6);
    totals.pids.set(read?.pids ?? 0);
  }

  async function readStates(): Promise<void> {
    const rows = await bounded(sources.states);
    for (const gauge of Object.values(gauges)) gauge.reset();
    for (const { subjectType, state, count } of rows ?? []) gauges[subjectType].inc({ state }, count);
  }

  async function readDisk(): Promise<void> {
    const answer = await bounded(sources.disk);
    pressure.set((sources.pressure && (await bounded(sources.pressure))) ?? 0);
    disk.reset();
    if (answer === undefined) return;
    disk.set({ kind: 'used' }, answer.usedBytes);
    disk.set({ kind: 'free' }, answer.freeBytes);
  }

  return {
    observeRequest: ({ method, route, status, seconds }) => requests.observe({ method, route, status }, seconds),
    observeStart: ({ outcome, seconds }) => starts.observe({ outcome }, seconds),
    observePull: ({ outcome, seconds }) => pulls.observe({ outcome }, seconds),
    observeBuild: ({ outcome, seconds }) => builds.observe({ outcome }, seconds),
    addBuildStep: (cache) => buildSteps.inc({ cache }),
    addOomKills: (kills) => oomKills.inc(kills),
    addDownloadedBytes: (bytes) => downloaded.inc(bytes),
    addCollected(items) {
      for (const { kind, sizeBytes = 0 } of items) {
        collected.inc({ kind });
        collectedBytes.inc({ kind }, sizeBytes);
      }
    },
    addDiskRefusal: () => refusals.inc(),
    addUnpackedBytes: (bytes) => unpacked.inc(bytes),
    async expose() {
      await Promise.all([readStates(), readDisk(), readTotals()]);
      return { contentType: registry.contentType, body: await registry.metrics() };
    },
    close: () => registry.clear(),
  };
}

async function bounded<T>(ask: () => Promise<T>): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), SOURCE_TIMEOUT_MS);
  try {
    return await Promise.race([ask(), late]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
