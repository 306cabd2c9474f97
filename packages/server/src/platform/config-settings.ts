import { z } from 'zod';
import { configSchema } from './config-schema.ts';

/** One setting, found by walking the schema. */
export interface Setting {
  path: readonly string[];
  /** `network.cidr`. */
  name: string;
  /** `DARKROOM_NETWORK_CIDR`. */
  variable: string;
  schema: z.ZodType;
  description: string;
}

/** Settings in the order of the schema. */
export function listSettings(): Setting[] {
  return settingsIn(configSchema, []);
}

function settingsIn(schema: z.ZodObject, path: readonly string[]): Setting[] {
  return Object.entries(schema.shape).flatMap(([key, value]) => {
    if (!(value instanceof z.ZodType)) return [];
    const here = [...path, key];
    const inner = unwrap(value);
    if (inner instanceof z.ZodObject) return settingsIn(inner, here);
    return [
      {
        path: here,
        name: here.join('.'),
        variable: variableOf(here),
        schema: value,
        description: value.description ?? '',
      },
    ];
  });
}

/** The type behind defaults and `optional`. */
export function unwrap(schema: z.ZodType): z.ZodType {
  const wrapped = schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional;
  if (!wrapped) return schema;
  const inner = schema.unwrap();
  return inner instanceof z.ZodType ? unwrap(inner) : schema;
}

function variableOf(path: readonly string[]): string {
  return `DARKROOM_${path.map((part) => part.replace(/[A-Z]/g, (letter) => `_${letter}`)).join('_')}`.toUpperCase();
}

/** The name among `names` that was probably meant; undefined when none is near. */
export function nearestName(name: string, names: readonly string[]): string | undefined {
  const ranked = names
    .map((candidate) => ({ candidate, distance: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best !== undefined && best.distance <= Math.max(2, name.length / 3) ? best.candidate : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const change = (row[j] ?? 0) + (letter === b[j] ? 0 : 1);
      next.push(Math.min(change, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
