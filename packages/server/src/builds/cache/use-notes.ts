import type { CacheRows, RowName } from './cache-rows.ts';

const DELAY_MS = 1000;

/** Notes of use, written together and behind the backs of the builds. A lost one makes a result look older, no more. */
export interface UseNotes {
  add(name: RowName): void;
  write(): Promise<void>;
  close(): Promise<void>;
}

export function createUseNotes(
  rows: Pick<CacheRows, 'noteUse'>,
  log: { warn(details: object, message: string): void },
): UseNotes {
  const pending = new Map<string, RowName>();
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();

  const write = () => {
    clearTimeout(timer);
    timer = undefined;
    const names = [...pending.values()];
    pending.clear();
    if (names.length === 0) return writing;
    writing = writing.then(() =>
      rows.noteUse(names).catch((error: unknown) => log.warn({ err: error }, 'uses of the build cache were not noted')),
    );
    return writing;
  };

  return {
    add(name) {
      pending.set(`${name.organizationId} ${name.key.toString('hex')}`, name);
      timer ??= setTimeout(() => void write(), DELAY_MS).unref();
    },
    write,
    close: write,
  };
}
