import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { ImagePuller, PulledImage } from '../images/types.ts';
import { insertSnapshot, type SnapshotRow } from '../lifecycle/move.ts';
import type { JobContext } from '../platform/jobs.ts';
import { newSnapshot } from '../test-support/rows.ts';
import { startTestApi, type TestApi } from '../test-support/test-api.ts';
import { pullSnapshot } from './pull-job.ts';

let api: TestApi;
let row: SnapshotRow;
beforeAll(async () => {
  api = await startTestApi();
}, 60_000);
afterAll(() => api?.stop());
beforeEach(async () => {
  row = await insertSnapshot(api.db, newSnapshot(await api.addOrganization()), { actor: 'test' });
});

const PULLED: PulledImage = {
  resolved: `docker.io/library/alpine@sha256:${'a'.repeat(64)}`,
  layers: [],
  sizeBytes: 0,
  config: {
    env: [],
    entrypoint: [],
    cmd: [],
    workingDir: '',
    user: '',
    labels: {},
    exposedPorts: [],
    volumes: [],
    stopSignal: undefined,
  },
};

function run(pull: ImagePuller['pull'], context: Partial<JobContext> = {}): Promise<void> {
  const { db, layers, instanceId } = api;
  const quiet = { error: () => {} };
  const sweeper = { makeRoom: async () => 0 };
  const credentialsFor = () => async () => undefined;
  return pullSnapshot(
    { db, layers, instanceId, runnerId: 'here', sweeper, credentialsFor, puller: { pull }, log: quiet },
    { snapshotId: row.id },
    { signal: new AbortController().signal, attempt: 1, isLastAttempt: false, ...context },
  );
}
const now = () => api.db.selectFrom('snapshots').selectAll().where('id', '=', row.id).executeTakeFirstOrThrow();

it('is tried again when the database was away for a moment', async () => {
  const lost = run(() => Promise.reject(new Error('Connection terminated unexpectedly')));
  await expect(lost).rejects.toMatchObject({ code: 'unavailable', retryable: true });
  expect((await now()).state).toBe('pulling');
  await run(async () => PULLED);
  expect(await now()).toMatchObject({ state: 'active', runner_id: 'here' });
});

it('leaves a snapshot alone that was given to another server meanwhile', async () => {
  const other = randomUUID();
  const giveAway = () => api.db.updateTable('snapshots').set({ owner_id: other }).where('id', '=', row.id).execute();
  await run(async () => {
    await giveAway();
    return PULLED;
  });
  expect(await now()).toMatchObject({ state: 'pulling', owner_id: other });
});

it('fails a snapshot only while it is its own', async () => {
  await run(
    async () => {
      await api.db.updateTable('snapshots').set({ owner_id: randomUUID() }).where('id', '=', row.id).execute();
      throw new Error('broken');
    },
    { isLastAttempt: true },
  );
  expect((await now()).state).toBe('pulling');
});
