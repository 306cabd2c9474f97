import { afterAll, beforeAll, expect, it } from 'vitest';
import { addOrganization } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { sweepOldRows } from './old-rows.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await startTestDatabase();
}, 60_000);
afterAll(() => database?.stop());

it('deletes events that are older than they are kept, and no others', async () => {
  const { db } = database;
  const organizationId = await addOrganization(db);
  const event = (days: number) => ({
    organization_id: organizationId,
    subject_type: 'snapshot' as const,
    subject_id: crypto.randomUUID(),
    to_state: 'active',
    actor: 'test',
    at: new Date(Date.now() - days * 24 * 60 * 60 * 1000),
  });
  await db
    .insertInto('events')
    .values([event(100), event(91), event(89), event(0)])
    .execute();
  const keep = { eventDays: 90, auditDays: 365, webhookDays: 30 };
  expect(await sweepOldRows(db, keep)).toBe(2);
  expect(await sweepOldRows(db, keep)).toBe(0);
  expect(await db.selectFrom('events').select('id').execute()).toHaveLength(2);
});
