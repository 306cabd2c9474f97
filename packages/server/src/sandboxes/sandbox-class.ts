import { sql } from 'kysely';
import type { SandboxClass } from '../runtime/types.ts';
import type { SandboxRow } from './types.ts';

/** A sandbox outlives its snapshot: its class lies with what else it has of it. */
export function withClass(image: object, sandboxClass: string): object {
  return { ...image, sandboxClass };
}

export function classOf({ image }: Pick<SandboxRow, 'image'>): SandboxClass {
  return 'sandboxClass' in image && image.sandboxClass === 'gvisor' ? 'gvisor' : 'container';
}

export const CLASS_SQL = sql<string>`coalesce(image->>'sandboxClass', 'container')`;
