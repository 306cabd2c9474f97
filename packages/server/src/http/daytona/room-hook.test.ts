import { afterAll, beforeAll, expect, it } from 'vitest';
import { DarkroomError } from '../../platform/errors.ts';
import { startTestApi, type TestApi } from '../../test-support/test-api.ts';

let api: TestApi;
let isFull = true;
beforeAll(async () => {
  const assertRoom = async () => {
    if (isFull) throw new DarkroomError('insufficient_storage', 'The disk is full', { hint: 'Delete something.' });
  };
  api = await startTestApi({}, { assertRoom });
}, 60_000);
afterAll(() => api?.stop(), 60_000);

it('refuses new work on a full disk, after what is wrong in any case, and lets go on what takes nothing', async () => {
  const key = await api.addKey(await api.addOrganization());
  const create = (body: object, as: string | null = key) => api.ask('POST', '/api/snapshots', { key: as, body });
  const good = { name: 'a', imageName: 'alpine:3.21' };
  const refused = await create(good);
  expect(refused.status).toBe(507);
  expect(refused.body).toMatchObject({ statusCode: 507, message: 'The disk is full. Delete something.' });
  expect((await create({ name: '<b>' })).status).toBe(400);
  expect((await create(good, null)).status).toBe(401);
  expect((await api.ask('GET', '/api/snapshots', { key })).status).toBe(200);
  expect((await api.ask('DELETE', '/api/snapshots/none', { key })).status).toBe(404);
  isFull = false;
  expect((await create(good)).status).toBe(200);
});
