import type { Readable } from 'node:stream';

/** The outputs of commands that have ended, which processes in the background still hold open. */
export interface BackgroundOutputs {
  keep(sandboxId: string, outputs: readonly Readable[]): void;
}

/**
 * Each costs the server a descriptor. Processes of a sandbox can pass theirs on to one another, so that their number is no
 * bound; past this one the oldest are closed.
 */
export function createBackgroundOutputs(maxPerSandbox: number): BackgroundOutputs {
  const kept = new Map<string, Set<Readable>>();

  function forget(sandboxId: string, output: Readable): void {
    const own = kept.get(sandboxId);
    own?.delete(output);
    if (own?.size === 0) kept.delete(sandboxId);
  }

  return {
    keep(sandboxId, outputs) {
      const open = outputs.filter((output) => !output.destroyed);
      if (open.length === 0) return;
      const own = kept.get(sandboxId) ?? new Set();
      kept.set(sandboxId, own);
      for (const output of open) {
        own.add(output);
        output.once('close', () => forget(sandboxId, output));
      }
      for (const oldest of [...own].slice(0, Math.max(0, own.size - maxPerSandbox))) oldest.destroy();
    },
  };
}
