import { LRUCache } from 'lru-cache';
import type { Reader, ReadStatement } from '../platform/db/reader.ts';
import { notFound } from '../platform/errors.ts';
import { VISIBLE_SNAPSHOT_SQL, visibleSnapshotValues } from './find.ts';
import { pageStatement, pageValues } from './page-sql.ts';
import type { SnapshotQuery } from './types.ts';

/** Bytes of answers that are kept; a page of 100 snapshots has about 70 KB, one snapshot 700 bytes. */
const MAX_CACHED_BYTES = 16 * 1024 * 1024;
/** What an entry takes besides its text. */
const ENTRY_BYTES = 500;

/** What clients poll. Answers are the text of JSON, rendered by the database. */
export interface SnapshotReads {
  /** Own name, own id, general name, general id. Raises `not_found`. */
  get(organizationId: string, idOrName: string): Promise<string>;
  /** Own snapshots, then general ones of others. `items` is the text of a JSON array. */
  list(organizationId: string, query: SnapshotQuery): Promise<SnapshotPage>;
}

export interface SnapshotPage {
  items: string;
  total: number;
}

/** Of one moment: the answer, and the version of what the organization saw then. */
interface Answer extends SnapshotPage {
  version: string;
}

const VERSION_SQL = `(select coalesce(sum(version), 0) from snapshot_versions
  where organization_id in ($1, '00000000-0000-0000-0000-000000000000'))`;
const VERSION: ReadStatement = { name: 'snapshot-version', text: `select ${VERSION_SQL}` };

/**
 * `render` is an SQL expression that makes the JSON text of the row `s`. An answer that was given before is given again without
 * reading it, as long as the version of what the organization sees is still the same: it is asked for each time, so that an
 * answer is never older than its question.
 */
export function createSnapshotReads(reader: Reader, render: string): SnapshotReads {
  const getStatement = {
    name: 'snapshot-get',
    text: `select ${VERSION_SQL}, ${render} from (${VISIBLE_SNAPSHOT_SQL}) s`,
  };
  const answers = new LRUCache<string, Answer>({
    maxSize: MAX_CACHED_BYTES,
    sizeCalculation: ({ items }, key) => items.length + key.length + ENTRY_BYTES,
  });

  async function isCurrent(organizationId: string, answer: Answer): Promise<boolean> {
    const rows = await reader.query(VERSION, [organizationId]);
    return rows[0]?.[0] === answer.version;
  }

  async function cached(organizationId: string, what: unknown, read: () => Promise<Answer>): Promise<Answer> {
    const key = JSON.stringify([organizationId, what]);
    const known = answers.get(key);
    if (known !== undefined && (await isCurrent(organizationId, known))) return known;
    const answer = await read();
    answers.set(key, answer);
    return answer;
  }

  async function readOne(organizationId: string, idOrName: string): Promise<Answer> {
    // PostgreSQL has no text with NUL in it; so no snapshot has such a name.
    const rows = idOrName.includes('\0')
      ? []
      : await reader.query(getStatement, visibleSnapshotValues(organizationId, idOrName));
    const [version, text] = rows[0] ?? [];
    if (text == null) throw notFound(`Snapshot with name ${idOrName} not found`);
    return { version: version ?? '0', items: text, total: 1 };
  }

  async function readPage(organizationId: string, query: SnapshotQuery): Promise<Answer> {
    const [row] = await reader.query(pageStatement(query, render, VERSION_SQL), pageValues(organizationId, query));
    const [version, total, items] = row ?? [];
    return { version: version ?? '0', total: Number(total ?? 0), items: items ?? '[]' };
  }

  return {
    get: async (organizationId, idOrName) =>
      (await cached(organizationId, idOrName, () => readOne(organizationId, idOrName))).items,
    list: (organizationId, query) => cached(organizationId, query, () => readPage(organizationId, query)),
  };
}
