import { type GcPlanDto, gcPlanSchema } from '@darkroom/contract';
import { type LoadConfigOptions, loadConfig } from '@darkroom/server/machine';
import { askServer } from './ask-server.ts';

const MB = 1_000_000;

/** `darkroom gc --dry-run`: what the server that runs would take away, and why. Sweeps come by themselves. */
export async function gc(options: LoadConfigOptions & { json: boolean }): Promise<number> {
  const plan = gcPlanSchema.parse(await askServer(loadConfig(options).stateDir, '/api/admin/gc'));
  process.stdout.write(options.json ? `${JSON.stringify(plan, null, 2)}\n` : renderPlan(plan));
  return 0;
}

export function renderPlan({ items }: GcPlanDto): string {
  const lines = items.map(({ goes, kind, sizeBytes, id, why }) =>
    [goes.padEnd(8), kind.padEnd(9), size(sizeBytes).padStart(10), ` ${id}: ${why}`].join(' '),
  );
  const sweep = items.filter(({ goes }) => goes === 'sweep');
  const bytes = sweep.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0);
  return `${[...lines, `${sweep.length} of ${items.length} would go with the next sweep, ${size(bytes)}`].join('\n')}\n`;
}

const size = (bytes: number | undefined) => (bytes === undefined ? '' : `${(bytes / MB).toFixed(1)} MB`);
