import { hasShare } from '../../platform/fair-share.ts';
import { PreviewProblem } from './problem.ts';

export interface AdmissionLimits {
  maxConnections: number;
  maxConnectionsPerSandbox: number;
}

/** Counts what is under way. Who comes when all places are taken hears so at once: waiting would only move the queue in here. */
export interface Admission {
  /** Resolves nothing and waits for nothing: a place, or a problem. Give it back by the returned function, once or often. */
  enter(of: { sandboxId: string; organizationId: string }): () => void;
}

export function createAdmission(limits: AdmissionLimits): Admission {
  const counts = new Map<string, number>();
  const countOf = (id: string) => counts.get(id) ?? 0;
  const change = (id: string, by: number) => {
    const now = countOf(id) + by;
    if (now > 0) counts.set(id, now);
    else counts.delete(id);
  };
  let total = 0;
  return {
    enter({ sandboxId, organizationId }) {
      const count = countOf(sandboxId);
      if (count >= limits.maxConnectionsPerSandbox) {
        throw new PreviewProblem(429, `This sandbox serves ${count} connections already, as many as it may.`, {
          retryAfterSeconds: 1,
        });
      }
      if (total >= limits.maxConnections) {
        throw new PreviewProblem(503, 'The server has as many previews open as it may.', { retryAfterSeconds: 1 });
      }
      const own = countOf(organizationId);
      if (!hasShare({ own, taken: total, all: limits.maxConnections })) {
        throw new PreviewProblem(429, `This organization has ${own} previews open, as many as leave some to others.`, {
          retryAfterSeconds: 1,
        });
      }
      for (const id of [sandboxId, organizationId]) change(id, 1);
      total += 1;
      let left = false;
      return () => {
        if (left) return;
        left = true;
        total -= 1;
        for (const id of [sandboxId, organizationId]) change(id, -1);
      };
    },
  };
}
