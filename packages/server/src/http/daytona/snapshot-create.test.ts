import type { ValidateFunction } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadSnapshotSchema, startTestApi, type TestApi } from '../../test-support/test-api.ts';

let api: TestApi;
let isSnapshot: ValidateFunction;
let organizationId: string;
let key: string;
beforeAll(async () => {
  api = await startTestApi();
  isSnapshot = await loadSnapshotSchema();
}, 60_000);
afterAll(() => api?.stop());
beforeEach(async () => {
  organizationId = await api.addOrganization();
  key = await api.addKey(organizationId);
});

const create = (body: unknown) => api.ask('POST', '/api/snapshots', { key, body });
const get = (idOrName: string) => api.ask('GET', `/api/snapshots/${encodeURIComponent(idOrName)}`, { key });
const IMAGE = { imageName: 'registry.example.com/team/app:1.2' };

describe('creating a snapshot', () => {
  it('answers 200 with every key that clients need, and the snapshot is pending', async () => {
    const { status, body } = await create({ name: 'base', ...IMAGE, memory: 2, entrypoint: ['', 'run', ' '] });
    expect(status).toBe(200);
    expect(isSnapshot(body), JSON.stringify(isSnapshot.errors)).toBe(true);
    expect(body).toMatchObject({
      organizationId,
      general: false,
      name: 'base',
      imageName: IMAGE.imageName,
      state: 'pending',
      size: null,
      entrypoint: ['run'],
      cpu: 1,
      gpu: 0,
      mem: 2,
      disk: 3,
      errorReason: null,
      lastUsedAt: null,
      regionIds: ['local'],
      sandboxClass: 'container',
      sourceSandboxId: null,
    });
  });

  it('is found by its id and by its name at once, with the same answer', async () => {
    const { body } = await create({ name: 'base', ...IMAGE });
    expect((await get('base')).body).toEqual(body);
    expect((await get(body.id)).body).toEqual(body);
  });

  it('drops members that nobody knows and takes null as absent', async () => {
    const { status, body } = await create({
      name: 'base',
      ...IMAGE,
      cpu: null,
      entrypoint: null,
      buildInfo: null,
      regionId: null,
      color: 'red',
    });
    expect([status, body.cpu, body.entrypoint]).toEqual([200, 1, null]);
  });

  it.each([
    'my/snap:1',
    'a.b-c_d',
    'UPPER',
    `x@sha256:${'a'.repeat(64)}`,
    '5724c7e8-49d6-4f71-ae4f-e32b7b6c37b9',
    'data',
  ])('takes %s as a name', async (name) => {
    expect((await create({ name, ...IMAGE })).status).toBe(200);
    expect((await get(name)).body.name).toBe(name);
  });

  it.each([
    ['a name that is missing', IMAGE, 'name is required and must be a string'],
    ['a name that is a number', { name: 1, ...IMAGE }, 'name must be a string'],
    [
      'markup in a name',
      { name: '<b>x</b>', ...IMAGE },
      'name must not contain HTML tags, URLs, or control characters',
    ],
    ['an address as a name', { name: 'https://x', ...IMAGE }, /must not contain HTML tags, URLs/],
    ['a script as a name', { name: 'javascript:x', ...IMAGE }, /must not contain HTML tags, URLs/],
    [
      'a name with a blank',
      { name: 'a b', ...IMAGE },
      'Invalid snapshot name format. May contain letters, digits, dots, colons, and dashes',
    ],
    ['a name with an empty part', { name: 'a//b', ...IMAGE }, /^Invalid snapshot name format/],
    ['an empty name', { name: '', ...IMAGE }, /^Invalid snapshot name format/],
    ['a name that no index can hold', { name: 'a'.repeat(5000), ...IMAGE }, /too long/],
    [
      'an image and a build',
      { name: 'a', ...IMAGE, buildInfo: { dockerfileContent: 'FROM x' } },
      'Cannot specify an image name when using a build info entry',
    ],
    [
      'an entrypoint and a build',
      { name: 'a', entrypoint: ['x'], buildInfo: { dockerfileContent: 'FROM x' } },
      'Cannot specify an entrypoint when using a build info entry',
    ],
    ['neither image nor build', { name: 'a' }, 'Must specify an image name when not using a build info entry'],
    ['an empty Dockerfile', { name: 'a', buildInfo: { dockerfileContent: '' } }, /buildInfo.dockerfileContent/],
    [
      'an image without a tag',
      { name: 'a', imageName: 'ubuntu' },
      'Image name must include a tag (e.g., ubuntu:22.04) or digest (@sha256:...)',
    ],
    ['a port that is no tag', { name: 'a', imageName: 'registry:5000/img' }, /^Image name must include a tag/],
    ['an image that ends in a colon', { name: 'a', imageName: 'ubuntu:' }, /^Image name must include a tag/],
    ['the tag latest', { name: 'a', imageName: 'ubuntu:latest' }, 'Images with tag ":latest" are not allowed'],
    [
      'a broken digest',
      { name: 'a', imageName: 'ubuntu@sha256:abc' },
      'Invalid digest format. Must be image@sha256:64_hex_characters',
    ],
    ['blanks in an image', { name: 'a', imageName: 'ubu ntu:22' }, /^Invalid image name format/],
    ['an image in upper case', { name: 'a', imageName: 'Team/App:1' }, /must be lower case/],
    ['a negative amount', { name: 'a', ...IMAGE, cpu: -1 }, /^cpu/],
    [
      'too many cores',
      { name: 'a', ...IMAGE, cpu: 5 },
      /^CPU request 5 exceeds maximum allowed per sandbox \(4\)\.\nNeed higher/,
    ],
    [
      'too much memory',
      { name: 'a', ...IMAGE, memory: 9 },
      /^Memory request 9GB exceeds maximum allowed per sandbox \(8GB\)\.\n/,
    ],
    [
      'too much disk',
      { name: 'a', ...IMAGE, disk: 11 },
      /^Disk request 11GB exceeds maximum allowed per sandbox \(10GB\)\.\n/,
    ],
    ['a GPU', { name: 'a', ...IMAGE, gpu: 1 }, 'GPU quota exceeded. Maximum allowed: 0.'],
    [
      'Windows',
      { name: 'a', ...IMAGE, sandboxClass: 'windows' },
      /^Windows snapshots cannot be created via this endpoint/,
    ],
    [
      'a class that nothing runs',
      { name: 'a', ...IMAGE, sandboxClass: 'linux-vm' },
      "No runners are configured in region 'local' for sandbox class 'linux-vm'. Try a different region or sandbox class.",
    ],
    [
      'gVisor',
      { name: 'a', ...IMAGE, sandboxClass: 'gvisor' },
      /^This server runs no sandboxes under gVisor: it is turned off/,
    ],
    ['a class that nobody knows', { name: 'a', ...IMAGE, sandboxClass: 'toaster' }, /^sandboxClass/],
    ['text that PostgreSQL cannot hold', { name: 'a', ...IMAGE, entrypoint: ['a\0b'] }, /NUL/],
    ['half of a surrogate pair', { name: 'a', ...IMAGE, entrypoint: ['\ud800'] }, /broken Unicode/],
    [
      'an entrypoint that no process can have',
      { name: 'a', ...IMAGE, entrypoint: ['x'.repeat(600_000)] },
      /^entrypoint/,
    ],
    ['megabytes of a name', { name: 'a/'.repeat(4_000_000), ...IMAGE }, /too long/],
    ['megabytes of opened tags', { name: '<'.repeat(8_000_000), ...IMAGE }, /too long/],
    ['megabytes of an image', { name: 'a', imageName: `${'/a'.repeat(4_000_000)}:1` }, /longer than/],
  ])('refuses %s', async (_what, body, message) => {
    const answer = await create(body);
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ path: '/api/snapshots', statusCode: 400, error: 'Bad Request' });
    expect(answer.body.message).toEqual(typeof message === 'string' ? message : expect.stringMatching(message));
  });

  it('answers 404 for a region that is not there', async () => {
    const { status, body } = await create({ name: 'a', ...IMAGE, regionId: 'mars' });
    expect([status, body.message]).toEqual([404, 'Region not found']);
  });

  it('answers 409 for a name that is taken, also when two ask at once', async () => {
    const answers = await Promise.all([create({ name: 'twin', ...IMAGE }), create({ name: 'twin', ...IMAGE })]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
    expect(answers.find(({ status }) => status === 409)?.body.message).toBe(
      'Snapshot with name "twin" already exists for this organization',
    );
  });

  it('lets two organizations have the same name', async () => {
    await create({ name: 'same', ...IMAGE });
    const other = await api.addKey(await api.addOrganization());
    expect((await api.ask('POST', '/api/snapshots', { key: other, body: { name: 'same', ...IMAGE } })).status).toBe(
      200,
    );
  });

  it('holds the quota against creations at the same time', async () => {
    await api.db.updateTable('organizations').set({ snapshot_quota: 3 }).where('id', '=', organizationId).execute();
    const answers = await Promise.all(Array.from({ length: 8 }, (_, index) => create({ name: `s${index}`, ...IMAGE })));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(3);
    expect(answers.filter(({ status }) => status === 400).map(({ body }) => body.message)).toEqual(
      Array(5).fill('Snapshot quota exceeded. Maximum allowed: 3'),
    );
  });

  it('refuses a suspended organization, with the reason', async () => {
    await api.db
      .updateTable('organizations')
      .set({ suspended_at: new Date(), suspension_reason: 'unpaid' })
      .where('id', '=', organizationId)
      .execute();
    const { status, body } = await create({ name: 'a', ...IMAGE });
    expect([status, body.message]).toEqual([403, 'Organization is suspended: unpaid']);
  });
});
