import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { undefinedIfMissing } from '../../platform/errors.ts';
import type { NetworkPolicy } from '../types.ts';
import { type Layout, runPaths } from './layout.ts';

const mbps = z.number().positive().optional();
const policySchema = z.object({
  blockAll: z.boolean(),
  allowRanges: z.array(z.string()).optional(),
  allowDomains: z.array(z.string()).optional(),
  bandwidth: z.object({ inMbps: mbps, outMbps: mbps }).optional(),
});

/** A policy as it is written down with a running container, for a server that adopts it. Undefined when it is none. */
export function parsePolicy(text: string): NetworkPolicy | undefined {
  try {
    return policySchema.parse(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

/** What has been changed since the container's start; the description of the container has what it was started with. */
export function readPolicyChange(layout: Layout, id: string): NetworkPolicy | undefined {
  try {
    return parsePolicy(readFileSync(runPaths(layout, id).policy, 'utf8'));
  } catch (error) {
    return undefinedIfMissing(error);
  }
}

/** A reader finds the earlier or this one, whole. It lies on a tmpfs: a reboot ends the container as well. */
export function writePolicyChange(layout: Layout, id: string, policy: NetworkPolicy): void {
  const { policy: path } = runPaths(layout, id);
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 });
  writeFileSync(`${path}.new`, JSON.stringify(policy), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
