import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { errnoOf, messageOf } from '../../platform/errors.ts';
import type { NetworkPolicy } from '../types.ts';
import { ENV_ANNOTATION, NETWORK_ANNOTATION, POLICY_ANNOTATION } from './container-config.ts';
import { type ContainerEngine, type ContainerProcess, type Engines, engineOf } from './engine.ts';
import { isContainerId, type Layout, runPaths } from './layout.ts';
import { parsePolicy, readPolicyChange } from './network-policy-file.ts';

/** A container that an earlier server started, as it is written down. Whether it still runs is for the kernel to say. */
export interface FoundContainer {
  id: string;
  engine: ContainerEngine;
  status: ContainerProcess;
  env: Record<string, string>;
  network: { index: number };
  policy: NetworkPolicy;
}

const configSchema = z.object({
  annotations: z.object({
    [NETWORK_ANNOTATION]: z.string().regex(/^\d+$/).transform(Number),
    [POLICY_ANNOTATION]: z.string().optional(),
    [ENV_ANNOTATION]: z
      .string()
      .transform((text, context) => {
        try {
          return JSON.parse(text);
        } catch {
          context.addIssue({ code: 'custom', message: 'is not JSON' });
          return z.NEVER;
        }
      })
      .pipe(z.record(z.string(), z.string())),
  }),
});

/** Everything that an engine or the run directory knows of: what can be adopted, and what is only left over. */
export async function findContainers(
  engines: Engines,
  layout: Layout,
): Promise<{ found: FoundContainer[]; leftovers: string[] }> {
  const lists = Object.values(engines).map((engine) => engine.list());
  lists.push(listDirectory(join(layout.runDir, 'containers')));
  const ids = new Set((await Promise.all(lists)).flat());
  const found: FoundContainer[] = [];
  const leftovers: string[] = [];
  for (const id of ids) {
    const container = await readContainer(engines, layout, id);
    if (container) found.push(container);
    else leftovers.push(id);
  }
  return { found, leftovers };
}

async function readContainer(engines: Engines, layout: Layout, id: string): Promise<FoundContainer | undefined> {
  const engine = engineOf(engines, id);
  const status = engine.status(id);
  if (status === undefined) return undefined;
  try {
    const config = configSchema.parse(JSON.parse(await readFile(runPaths(layout, id).config, 'utf8')));
    const { [NETWORK_ANNOTATION]: index, [ENV_ANNOTATION]: env } = config.annotations;
    const started = parsePolicy(config.annotations[POLICY_ANNOTATION] ?? '');
    // Closed where nobody knows what it may reach, until the server has looked it up.
    const policy = readPolicyChange(layout, id) ?? started ?? { blockAll: true };
    return { id, engine, status, env, network: { index }, policy };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw new Error(`read what is known of sandbox ${id}: ${messageOf(error)}`, { cause: error });
  }
}

async function listDirectory(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).filter(isContainerId);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
