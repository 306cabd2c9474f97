import { messageOf } from '../platform/errors.ts';

/** What has been started, to be ended in the opposite order; also when a later start fails. */
export interface Closers {
  add(name: string, close: () => Promise<void> | void): void;
  closeAll(): Promise<void>;
}

export function createClosers(log: { error(details: object, message: string): void }): Closers {
  const entries: { name: string; close: () => Promise<void> | void }[] = [];
  return {
    add: (name, close) => void entries.push({ name, close }),
    async closeAll() {
      for (const { name, close } of entries.splice(0).reverse()) {
        try {
          await close();
        } catch (error) {
          // The others must be ended all the same.
          log.error({ err: error }, `${name} did not end as it should: ${messageOf(error)}`);
        }
      }
    },
  };
}
