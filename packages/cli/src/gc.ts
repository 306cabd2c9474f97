import { clearedCacheSchema, collectedSchema, type GcItemDto, type GcPlanDto, gcPlanSchema } from '@darkroom/contract';
import { type LoadConfigOptions, loadConfig, printable } from '@darkroom/server/machine';
import { askServer } from './ask-server.ts';

const MB = 1_000_000;
/** Layers of a machine that was not swept for long; all are measured. */
const COLLECT_MS = 60 * 60_000;

export interface GcOptions extends LoadConfigOptions {
  dryRun: boolean;
  /** False: what nothing needs goes without waiting. */
  grace: boolean;
  json: boolean;
}

/** `darkroom gc`: what the server that runs would take away and why, or took away just now. */
export async function gc({ dryRun, grace, json, ...options }: GcOptions): Promise<number> {
  const { stateDir } = loadConfig(options);
  const plan = async () => gcPlanSchema.parse(await askServer(stateDir, '/api/admin/gc', { waitMs: COLLECT_MS }));
  if (dryRun) {
    const planned = await plan();
    process.stdout.write(json ? toJson(planned) : renderPlan(planned, { grace }));
    return 0;
  }
  const asked = { method: 'POST', body: { withoutGrace: !grace }, waitMs: COLLECT_MS } as const;
  const collected = collectedSchema.parse(await askServer(stateDir, '/api/admin/gc', asked));
  process.stdout.write(json ? toJson(collected) : renderCollected(collected.items, await plan()));
  for (const failure of json ? [] : collected.failures) process.stderr.write(`darkroom: ${printable(failure)}\n`);
  return collected.failures.length === 0 ? 0 : 1;
}

export interface ClearCacheOptions extends LoadConfigOptions {
  /** Without one that of all. */
  organization: string | undefined;
  json: boolean;
}

/** `darkroom cache clear`: the server that runs forgets what builds have kept. */
export async function clearCache({ organization, json, ...options }: ClearCacheOptions): Promise<number> {
  const query = organization === undefined ? '' : `?organizationId=${encodeURIComponent(organization)}`;
  const path = `/api/admin/build-cache${query}`;
  const cleared = clearedCacheSchema.parse(await askServer(loadConfig(options).stateDir, path, { method: 'DELETE' }));
  const text = `${cleared.removed} results of steps and base images forgotten; \`darkroom gc\` removes their layers\n`;
  process.stdout.write(json ? toJson(cleared) : text);
  return 0;
}

/** Without grace what waits for its own goes as well. */
export function renderPlan({ items }: GcPlanDto, { grace }: { grace: boolean }): string {
  const sweep = items.filter(({ goes }) => goes === 'sweep' || (goes === 'grace' && !grace));
  const lines = items.map((item) => `${item.goes.padEnd(8)} ${line(item)}`);
  return text([
    ...lines,
    `${sweep.length} of ${items.length} would go ${grace ? 'with the next sweep' : 'without grace'}, ${total(sweep)}`,
  ]);
}

/** `left` is what there is afterwards. */
export function renderCollected(items: readonly GcItemDto[], left: GcPlanDto): string {
  const waiting = left.items.filter(({ goes }) => goes === 'grace');
  const later = `${waiting.length} more wait for their grace, ${total(waiting)} (--no-grace takes them now)`;
  return text([...items.map(line), `${items.length} removed, ${total(items)}`, ...(waiting.length > 0 ? [later] : [])]);
}

const line = ({ kind, sizeBytes, id, why }: GcItemDto) =>
  [kind.padEnd(14), size(sizeBytes).padStart(10), ` ${id}: ${why}`].join(' ');
const text = (lines: readonly string[]) => `${lines.map(printable).join('\n')}\n`;
const toJson = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
/** A layer that results of builds have is told with each of them. */
const total = (items: readonly GcItemDto[]) =>
  size(
    items
      .filter(({ kind }) => kind !== 'build-cache' && kind !== 'base-image')
      .reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0),
  );
const size = (bytes: number | undefined) => (bytes === undefined ? '' : `${(bytes / MB).toFixed(1)} MB`);
