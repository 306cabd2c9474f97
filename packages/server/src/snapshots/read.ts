import { LRUCache } from 'lru-cache';
import type { Reader, ReadStatement } from '../platform/db/reader.ts';
import { notFound } from '../platform/errors.ts';
import { VISIBLE_SNAPSHOT_SQL, visibleSnapshotValues } from './find.ts';
import { pageStatement, pageValues } from './page-sql.ts';
import type { SnapshotQuery } from './types.ts';

/** Bytes of pages that are kept; one of 100 snapshots has about 70 KB. */
const MAX_CACHED_BYTES = 16 * 1024 * 1024;

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

const VERSION: ReadStatement = {
  name: 'snapshot-version',
  text: `select coalesce(sum(version), 0) from snapshot_versions
    where organization_id in ($1, '00000000-0000-0000-0000-000000000000')`,
};

/**
 * `render` is an SQL expression that makes the JSON text of the row `s`. A page that was read before is given again without
 * reading it, as long as the version of what the organization sees is still the same: it is asked for each time, so an answer
 * is never older than its question.
 */
export function createSnapshotReads(reader: Reader, render: string): SnapshotReads {
  const getStatement = { name: 'snapshot-get', text: `select ${render} from (${VISIBLE_SNAPSHOT_SQL}) s` };
  const pages = new LRUCache<string, SnapshotPage & { version: string }>({
    maxSize: MAX_CACHED_BYTES,
    sizeCalculation: (page) => page.items.length + 500,
  });

  async function readPage(organizationId: string, query: SnapshotQuery) {
    const [row] = await reader.query(pageStatement(query, render), pageValues(organizationId, query));
    const [version, total, items] = row ?? [];
    return { version: version ?? '0', total: Number(total ?? 0), items: items ?? '[]' };
  }

  return {
    async get(organizationId, idOrName) {
      // PostgreSQL has no text with NUL in it; so no snapshot has such a name.
      const rows = idOrName.includes('\0')
        ? []
        : await reader.query(getStatement, visibleSnapshotValues(organizationId, idOrName));
      const text = rows[0]?.[0];
      if (text == null) throw notFound(`Snapshot with name ${idOrName} not found`);
      return text;
    },
    async list(organizationId, query) {
      const key = JSON.stringify([organizationId, query]);
      const cached = pages.get(key);
      if (cached !== undefined) {
        const rows = await reader.query(VERSION, [organizationId]);
        if (rows[0]?.[0] === cached.version) return cached;
      }
      const page = await readPage(organizationId, query);
      pages.set(key, page);
      return page;
    },
  };
}
