import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import type { AuditEntry } from './audit-entry.ts';
import { openAuditJournal } from './audit-journal.ts';
import { createAuditWriter } from './audit-writer.ts';

let database: TestDatabase;
let stateDir: string;
beforeAll(async () => {
  database = await startTestDatabase();
}, 60_000);
afterAll(() => database?.stop());
beforeEach(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'darkroom-audit-'));
  await database.reset();
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

const log = { error() {} };
const entry = (targetId: string): AuditEntry => ({
  ...{ id: crypto.randomUUID(), organizationId: crypto.randomUUID(), userId: crypto.randomUUID() },
  ...{ keyId: crypto.randomUUID(), action: 'create', targetType: 'snapshot', targetId, statusCode: 200 },
  ...{ errorMessage: undefined, ipAddress: '127.0.0.1', userAgent: undefined, source: undefined },
  ...{ metadata: { name: targetId }, at: new Date() },
});
const written = async () =>
  (await database.db.selectFrom('audit_logs').select('target_id').orderBy('number').execute()).map(
    (row) => row.target_id,
  );
const file = () => readFileSync(join(stateDir, 'audit.journal'), 'utf8');

it('has what is not in the database yet, and nothing else', async () => {
  const audit = createAuditWriter({ db: database.db, journal: openAuditJournal(stateDir), log });
  audit.record(entry('one'));
  expect(file()).toContain('"one"');
  await audit.flush();
  expect(await written()).toEqual(['one']);
  expect(file()).toBe('');
  await audit.close();
});

it('gives the next server what a killed one had answered, once, and passes over half a line', async () => {
  const [first, second] = [entry('first'), entry('second')];
  const killed = openAuditJournal(stateDir);
  killed.add(first);
  killed.add(second);
  appendFileSync(join(stateDir, 'audit.journal'), '{"id":"half');
  const before = createAuditWriter({ db: database.db, log });
  before.record(first);
  await before.close();
  const audit = createAuditWriter({ db: database.db, journal: openAuditJournal(stateDir), log });
  await audit.flush();
  expect(await written()).toEqual(['first', 'second']);
  await audit.close();
  expect(openAuditJournal(stateDir).read()).toEqual([]);
});

it('writes down what a request had in it, however deep', async () => {
  const audit = createAuditWriter({ db: database.db, journal: openAuditJournal(stateDir), log });
  const deep: unknown = JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`);
  audit.record({ ...entry('deep'), metadata: { name: deep, cpu: 1, long: 'x'.repeat(10_000_000) } });
  expect(file()).toContain('"deep"');
  expect(file().length).toBeLessThan(10_000);
  await audit.flush();
  expect(await written()).toEqual(['deep']);
  await audit.close();
});
