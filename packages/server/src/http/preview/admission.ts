import { PreviewProblem } from './problem.ts';

export interface AdmissionLimits {
  maxConnections: number;
  maxConnectionsPerSandbox: number;
}

/** Counts what is under way. Who comes when all places are taken hears so at once: waiting would only move the queue in here. */
export interface Admission {
  /** Resolves nothing and waits for nothing: a place, or a problem. Give it back by the returned function, once or often. */
  enter(sandboxId: string): () => void;
}

export function createAdmission(limits: AdmissionLimits): Admission {
  const counts = new Map<string, number>();
  let total = 0;
  return {
    enter(sandboxId) {
      const count = counts.get(sandboxId) ?? 0;
      if (count >= limits.maxConnectionsPerSandbox) {
        throw new PreviewProblem(429, `This sandbox serves ${count} connections already, as many as it may.`, {
          retryAfterSeconds: 1,
        });
      }
      if (total >= limits.maxConnections) {
        throw new PreviewProblem(503, 'The server has as many previews open as it may.', { retryAfterSeconds: 1 });
      }
      counts.set(sandboxId, count + 1);
      total += 1;
      let left = false;
      return () => {
        if (left) return;
        left = true;
        total -= 1;
        const now = (counts.get(sandboxId) ?? 1) - 1;
        if (now > 0) counts.set(sandboxId, now);
        else counts.delete(sandboxId);
      };
    },
  };
}
