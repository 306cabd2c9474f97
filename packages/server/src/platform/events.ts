/** The NOTIFY channel of changes of state. */
export const STATE_CHANNEL = 'darkroom_state';

/** A change of state, as waiters see it. Sent by the database (NOTIFY) at the commit of the change. */
export interface StateChange {
  subjectType: 'snapshot' | 'sandbox';
  subjectId: string;
  organizationId: string;
  from: string | null;
  to: string;
}

export interface EventBus {
  /** Calls back for each change, from this or another server process, within milliseconds of its commit. Returns the way to stop. */
  subscribe(listener: (change: StateChange) => void): () => void;
  /**
   * Resolves with the first non-undefined answer of `check`, which is asked at once and after each change of the subject
   * (also after a reconnect, when changes may have been missed). Raises `timeout` when the time is over.
   */
  waitFor<T>(
    subjectId: string,
    check: () => Promise<T | undefined>,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<T>;
  close(): Promise<void>;
}
