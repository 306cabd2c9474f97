import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  ftruncateSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { buildTar } from '../../images/tar/testing/build-tar.ts';
import { ID_BASE, ID_COUNT } from '../../images/unpack/testing/layer-blob.ts';
import { describeTree } from '../../images/unpack/testing/tree.ts';
import { getXattr } from '../../platform/libc.ts';
import { type BuildFiles, createBuildFiles } from './build-files.ts';
import { createTransferLab, type TransferLab } from './testing/transfer-lab.ts';
import type { SourceTree, TransferRequest } from './transfer-types.ts';

let lab: TransferLab;
let files: BuildFiles;
beforeAll(async () => {
  lab = await createTransferLab();
  files = createBuildFiles({ idBase: ID_BASE, idCount: ID_COUNT });
});
afterAll(async () => {
  await files.close();
  lab.close();
});

const live = () => new AbortController().signal;

describe('in a thread of its own', () => {
  let uppers = 0;
  function request(text: string, options: Partial<TransferRequest> = {}): TransferRequest {
    uppers += 1;
    const upper = join(lab.root, `own-${uppers}`);
    mkdirSync(upper);
    return { ...lab.request(text), upper, ...options };
  }

  test('an instruction is carried out', async () => {
    const asked = request('COPY --from=other /opt/suid /usr/bin/');
    const result = await files.transfer(asked, live());
    expect(result).toEqual({ sizeBytes: 4, entries: 2, warnings: [] });
    // The layer has only what is new, and the directories above it as they are below.
    expect(Object.keys(describeTree(asked.upper))).toEqual(['', '/usr', '/usr/bin', '/usr/bin/suid']);
    expect(lstatSync(join(asked.upper, 'usr/bin/suid'))).toMatchObject({ uid: ID_BASE + 1000, mode: 0o106755 });
  });

  test('one that was started ahead serves the first call', async () => {
    const own = createBuildFiles({ idBase: ID_BASE, idCount: ID_COUNT });
    try {
      own.warm();
      await expect(own.transfer(request('COPY one.txt /x'), live())).resolves.toMatchObject({ entries: 1 });
    } finally {
      await own.close();
    }
    own.warm();
    await expect(own.transfer(request('COPY one.txt /x'), live())).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('many at once', async () => {
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, index) => files.transfer(request(`COPY dir /d${index}`), live())),
    );
    expect(new Set(results.map(({ entries }) => entries)).size).toBe(1);
  });

  test('a failure says what it is, and leaves nothing', async () => {
    const asked = request('COPY dir nope /x/');
    await expect(files.transfer(asked, live())).rejects.toMatchObject({
      code: 'invalid_request',
      message: '/nope was not found in the build’s context',
    });
    expect(readdirSync(asked.upper)).toEqual([]);
  });

  test('near names are told', async () => {
    await expect(files.transfer(request('COPY onetxt /x/'), live())).rejects.toMatchObject({
      hint: 'Near it there are /one.txt.',
    });
    await expect(files.transfer(request('COPY c.txt /x/'), live())).rejects.toMatchObject({
      details: { near: expect.arrayContaining(['/dir/sub/c.txt', '/other/sub/c.txt']) },
    });
  });

  test('a heredoc that is called like no file is refused', async () => {
    const asked = { ...request('COPY dir /x/') };
    const instruction = { ...asked.instruction, sources: [], heredocs: [{ name: '..', content: '' }] };
    await expect(files.transfer({ ...asked, instruction }, live())).rejects.toMatchObject({ code: 'invalid_request' });
  });

  test('an abort ends it with its reason, and leaves nothing', async () => {
    const reason = new Error('cancelled');
    const asked = request('COPY dir /x/');
    await expect(files.transfer(asked, AbortSignal.abort(reason))).rejects.toBe(reason);
    const controller = new AbortController();
    const running = files.transfer(request('COPY . /x/'), controller.signal);
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
    await expect(files.transfer(request('COPY dir /x/'), live())).resolves.toMatchObject({ warnings: [] });
  });

  test('more than is allowed is refused', async () => {
    await expect(files.transfer(request('COPY . /x/', { maxBytes: 1000 }), live())).rejects.toMatchObject({
      code: 'quota_exceeded',
    });
    await expect(files.transfer(request('ADD archives/a.tgz /x/', { maxBytes: 10 }), live())).rejects.toMatchObject({
      code: 'quota_exceeded',
    });
  });

  test('what is lost or left out is said', async () => {
    const { warnings } = await files.transfer(request('COPY one.txt two.txt nothing* /x'), live());
    expect(warnings).toEqual([
      'nothing* matches nothing in the build’s context',
      expect.stringContaining('only the last is left'),
    ]);
  });

  test('what was fetched for ADD is a file, or is unpacked when that is asked for', async () => {
    const directory = join(lab.root, 'fetched');
    mkdirSync(directory, { recursive: true });
    writeFileSync(
      join(directory, 'a.tar'),
      buildTar([{ name: 'inside', data: Buffer.from('x'), mode: 0o640, uid: 3 }]),
      {
        mode: 0o600,
      },
    );
    chownSync(join(directory, 'a.tar'), ID_BASE, ID_BASE);
    const fetched = new Map([[0, { directory, name: 'a.tar', sha256: 'f'.repeat(64) }]]);
    const kept = request('ADD https://example.com/a.tar /x/', { fetched });
    await files.transfer(kept, live());
    expect(describeTree(kept.upper, { idBase: ID_BASE })['/x/a.tar']).toMatchObject({ mode: '600', uid: 0 });
    const unpacked = request('ADD --unpack=true https://example.com/a.tar /x/', { fetched });
    await files.transfer(unpacked, live());
    expect(describeTree(unpacked.upper, { idBase: ID_BASE })['/x/inside']).toMatchObject({ mode: '640', uid: 3 });
  });

  test('URLs of COPY are refused by name, and what was not fetched', async () => {
    for (const [text, code] of [
      ['COPY https://example.com/x /x', 'invalid_request'],
      ['ADD https://example.com/repo.git#main:dir /x', 'internal'],
    ] as const) {
      await expect(files.transfer(request(text), live())).rejects.toMatchObject({ code });
    }
  });
});

describe('over what is below', () => {
  test('a directory in the place of a removed one hides it', async () => {
    // The archive has a file where the base has a directory, then a directory where that has a file.
    const { merged, upper } = await lab.run('ADD archives/plain.tar /');
    expect(lstatSync(join(merged, 'replaced')).isFile()).toBe(true);
    expect(readdirSync(join(merged, 'file'))).toEqual(['inside']);
    expect(readdirSync(join(merged, 'usr/lib')).sort()).toEqual(['added', 'libc']);
    expect(getXattr(join(upper, 'usr'), 'trusted.overlay.opaque')).toBeUndefined();
  });

  test('the same without a layer below', async () => {
    const asked = { ...lab.request('COPY --chown=3 dir /a/b'), parent: undefined, upper: join(lab.root, 'scratch') };
    mkdirSync(asked.upper);
    await files.transfer(asked, live());
    const tree = describeTree(asked.upper, { idBase: ID_BASE });
    expect(tree['']).toMatchObject({ uid: 0, gid: 0, mode: '755' });
    expect(tree['/a/b/sub/c.txt']).toMatchObject({ uid: 3, gid: 3 });
  });
});

describe('an ignore file', () => {
  const names = async (ignore: string, text = 'COPY . /x') => {
    const { merged } = await lab.run(text, { context: { ignore } });
    return Object.keys(describeTree(join(merged, 'x')));
  };

  test('leaves out what it names, and takes back in', async () => {
    expect(await names('*\n!dir/sub/**/d.txt\n!one.txt')).toEqual([
      '',
      '/dir',
      '/dir/sub',
      '/dir/sub/deep',
      '/dir/sub/deep/d.txt',
      '/one.txt',
    ]);
  });

  test('hides from names and patterns', async () => {
    await expect(names('one.txt', 'COPY one.txt /x/')).rejects.toMatchObject({
      message: '/one.txt was left out of the build’s context by its .dockerignore',
      hint: expect.stringContaining('!one.txt'),
    });
    await expect(names('one.txt', 'COPY three.txt /x/')).rejects.toThrow('/three.txt was not found');
    expect(await names('one.txt', 'COPY *.txt /x/')).toEqual(['', '/two.txt']);
  });
});

describe('the digest of what is read', () => {
  let directory: string;
  let source: SourceTree;
  beforeEach(() => {
    directory = join(lab.root, 'digest');
    mkdirSync(join(directory, 'd'), { recursive: true });
    writeFileSync(join(directory, 'd/a'), 'a');
    writeFileSync(join(directory, 'b'), 'b');
    source = { directory: openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY), what: 'the tree' };
  });
  afterEach(() => closeSync(source.directory));
  const digest = (text: string, more: Partial<SourceTree> = {}) =>
    files.digest({ ...lab.request(text), source: { ...source, ...more } }, live());

  test('changes with bytes, names and modes, not with times', async () => {
    const before = await digest('COPY d /x');
    lutimesSync(join(directory, 'd/a'), 1, 1);
    expect(await digest('COPY d /y')).toBe(before);
    chmodSync(join(directory, 'd/a'), 0o600);
    const modes = await digest('COPY d /x');
    writeFileSync(join(directory, 'd/a'), 'A');
    const bytes = await digest('COPY d /x');
    writeFileSync(join(directory, 'd/new'), '');
    const more = await digest('COPY d /x');
    expect(new Set([before, modes, bytes, more]).size).toBe(4);
  });

  test('only of what is taken', async () => {
    const before = await digest('COPY --exclude=new d /x');
    writeFileSync(join(directory, 'd/new'), 'not taken');
    writeFileSync(join(directory, 'b'), 'changed');
    expect(await digest('COPY --exclude=new d /x')).toBe(before);
    expect(await digest('COPY d /x', { ignore: 'd/new' })).toBe(before);
  });

  test('of heredocs too', async () => {
    expect(await digest('COPY <<E /x\n1\nE')).not.toBe(await digest('COPY <<E /x\n2\nE'));
  });

  test('of more than may be copied is refused, unread', async () => {
    const file = openSync(join(directory, 'd/holes'), 'w');
    ftruncateSync(file, 2 ** 43);
    closeSync(file);
    const asked = { ...lab.request('COPY d /x'), source, maxBytes: 2 ** 40 };
    await expect(files.digest(asked, live())).rejects.toMatchObject({ code: 'quota_exceeded' });
  });

  test('is remembered for a tree with an identity', async () => {
    const before = await digest('COPY b /x', { identity: 'tree 1' });
    writeFileSync(join(directory, 'b'), 'changed again');
    expect(await digest('COPY b /x', { identity: 'tree 1' })).toBe(before);
    expect(await digest('COPY b /x', { identity: 'tree 2' })).not.toBe(before);
  });

  test('is refused for what is not there', async () => {
    await expect(digest('COPY nothing /x')).rejects.toThrow('/nothing was not found in the tree');
    await expect(digest(`COPY ${'a'.repeat(300)} /x`)).rejects.toMatchObject({ code: 'invalid_request' });
  });
});

test('large files share their blocks where the file system can do that, and are whole in any case', async () => {
  const bytes = Buffer.alloc(3 * 1024 * 1024 + 17, 'large');
  const directory = join(lab.root, 'large');
  mkdirSync(directory);
  writeFileSync(join(directory, 'large'), bytes);
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const { merged } = await lab.run('COPY large /', { context: { directory: fd } });
    expect(readFileSync(join(merged, 'large')).equals(bytes)).toBe(true);
  } finally {
    closeSync(fd);
  }
});
