import type { ToolboxFile } from '../../../sandboxes/toolbox/index.ts';
import { toFileInfo } from './file-info.ts';

/** A directory of more entries is given in the order of the disk. */
const MAX_SORTED = 10_000;
/** Of one write into the answer. */
const BATCH = 100;

/**
 * A JSON array of any length, by path. Nothing is given before the first entries are there, so that what cannot be listed at all
 * is still an error of its own.
 */
export async function listing(entries: AsyncIterable<ToolboxFile>): Promise<AsyncIterable<string>> {
  const iterator = entries[Symbol.asyncIterator]();
  const first: ToolboxFile[] = [];
  let ended = false;
  while (!ended && first.length < MAX_SORTED) {
    const { value, done } = await iterator.next();
    if (done === true) ended = true;
    else first.push(value);
  }
  first.sort((a, b) => (a.path < b.path ? -1 : 1));

  async function* pieces(): AsyncGenerator<string> {
    try {
      let batch: string[] = [];
      let separator = '[';
      for await (const entry of followed(first, ended ? undefined : iterator)) {
        batch.push(JSON.stringify(toFileInfo(entry)));
        if (batch.length < BATCH) continue;
        yield separator + batch.join(',');
        separator = ',';
        batch = [];
      }
      yield `${batch.length > 0 || separator === '[' ? separator : ''}${batch.join(',')}]`;
    } finally {
      await iterator.return?.();
    }
  }
  return pieces();
}

async function* followed<T>(first: readonly T[], rest: AsyncIterator<T> | undefined): AsyncGenerator<T> {
  yield* first;
  if (rest === undefined) return;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
