import { createHash } from 'node:crypto';
import type { Layer } from '../../images/types.ts';
import type { Scope } from '../dockerfile/scope.ts';

/** Of anything that JSON has; what was secret in it cannot be read out of it. */
export function digestOf(value: unknown): string {
  return `sha256:${createHash('sha256').update(JSON.stringify(value)).digest('hex')}`;
}

/** Layers that were built have random names, so that the same names are the same files. */
export function chainOf(layers: readonly Layer[]): string {
  return digestOf(layers.map(({ diffId }) => diffId));
}

/** The variables of a step, by whose they are. As in Docker, proxies that are given without an ARG are not among them: they change no result. */
export function variableParts(scope: Scope): { 'the environment': string; 'the build arguments': string } {
  const args = [...scope.args].filter(([name]) => !scope.env.has(name));
  return { 'the environment': digestOf(sorted([...scope.env])), 'the build arguments': digestOf(sorted(args)) };
}

function sorted(pairs: readonly (readonly [string, string])[]) {
  return pairs.toSorted(([a], [b]) => (a < b ? -1 : 1));
}
