import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { crcOfFile, type TreeEntry, walkTree } from '../images/health/walk-tree.ts';
import { createLayerStore, type OpenLayerStore } from '../images/layer-store.ts';
import { mknod, setXattr } from '../platform/libc.ts';
import { setFileTime } from '../platform/libc-inode.ts';
import { ID_BASE, MIB, openLab, type SandboxLab } from '../runtime/testing/sandbox-lab.ts';
import { capturedLayer } from './captured-files.ts';

let lab: SandboxLab;
let store: OpenLayerStore;
beforeAll(async () => {
  lab = await openLab(undefined, { imageBytes: 1024 * MIB });
  store = await createLayerStore(join(lab.poolRoot, 'store'));
  for (const path of ['work/renamed/deep', 'work/opaque/below', 'work/replaced', 'work/gone', 'work/kept'])
    mkdirSync(join(lab.baseLayer, path), { recursive: true });
  for (const path of ['renamed/deep/file', 'opaque/below/file', 'replaced/file', 'gone/file', 'kept/one', 'kept/two'])
    writeFileSync(join(lab.baseLayer, 'work', path), path);
  execFileSync('chown', ['-R', `${ID_BASE}:${ID_BASE}`, join(lab.baseLayer, 'work')]);
});
afterAll(async () => {
  await store?.close();
  await lab?.close();
});

const S_IFIFO = 0o010000;
const S_IFSOCK = 0o140000;
/** Version 3 of `struct vfs_cap_data`, as programs in a user namespace get it: CAP_NET_BIND_SERVICE for its root. */
const capability = Buffer.from('010000030004000000000000000000000000000000000000', 'hex');
capability.writeUInt32LE(ID_BASE, 20);
const acl = (user: number) =>
  Buffer.concat([
    Buffer.from('02000000', 'hex'),
    ...[
      [1, 7, -1],
      [2, 5, user],
      [4, 5, -1],
      [16, 7, -1],
      [32, 0, -1],
    ].map(([tag = 0, mode = 0, id = 0]) => {
      const entry = Buffer.alloc(8);
      entry.writeUInt16LE(tag, 0);
      entry.writeUInt16LE(mode, 2);
      entry.writeInt32LE(id, 4);
      return entry;
    }),
  ]);

/** Everything that a file can be, made through the root of a running sandbox. */
function makeAll(work: string): void {
  const at = (name: string) => join(work, name);
  mkdirSync(at('new'));
  writeFileSync(at('new/setuid'), 'x', { mode: 0o755 });
  chownSync(at('new/setuid'), ID_BASE + 1000, ID_BASE + 33);
  chmodSync(at('new/setuid'), 0o6755);
  mkdirSync(at('new/sticky'));
  chmodSync(at('new/sticky'), 0o3777);
  for (const name of ['one', 'two', 'three']) {
    if (name === 'one') writeFileSync(at('new/one'), 'linked');
    else linkSync(at('new/one'), at(`new/${name}`));
  }
  const sparse = openSync(at('new/sparse'), 'w');
  writeSync(sparse, 'begin', 0);
  writeSync(sparse, 'end', 40 * MIB);
  closeSync(sparse);
  truncateSync(at('new/sparse'), 64 * MIB);
  writeFileSync(at(`new/${'n'.repeat(255)}`), 'long');
  writeFileSync(Buffer.concat([Buffer.from(at('new/')), Buffer.from([0xff, 0x0a, 0xfe])]), 'bytes');
  symlinkSync(`../${'t'.repeat(1000)}`, at('new/link'));
  mknod(at('new/pipe'), S_IFIFO | 0o620);
  mknod(at('new/socket'), S_IFSOCK | 0o750);
  writeFileSync(at('new/capable'), 'x', { mode: 0o755 });
  setXattr(at('new/capable'), 'security.capability', capability);
  setXattr(at('new/capable'), 'user.note', Buffer.from([0, 1, 255]));
  setXattr(at('new/sticky'), 'system.posix_acl_default', acl(ID_BASE + 7));
  setXattr(at('new/one'), 'system.posix_acl_access', acl(ID_BASE + 8));
  setFileTime(at('new/setuid'), 1_111_111_111, 123_456_789);
  setFileTime(at('kept'), 1_222_222_222, 987_654_321);
  chmodSync(at('kept/two'), 0o604);
}

const CHANGES =
  'cd /work && mv renamed moved && rm -r opaque && mkdir opaque && echo new > opaque/own && rm -r replaced && echo file > replaced && rm -r gone kept/one';

async function workOf(id: string): Promise<string> {
  const pid = (await lab.runtime.list()).find((status) => status.id === id)?.pid;
  return `/proc/${pid}/root/work`;
}

const treeOf = (work: string): TreeEntry[] => [
  ...walkTree(work, { crcOf: (_path, location) => crcOfFile(location, () => {}), check: () => {} }),
];

const disk = { cpu: 1, memoryBytes: 256 * MIB, pids: 128, diskBytes: 128 * MIB };
const plain = { cpu: 1, memoryBytes: 256 * MIB, pids: 128 };

test.each([
  ['started', 'a disk', disk],
  ['stopped', 'a disk', disk],
  ['started', 'a plain directory', plain],
  ['stopped', 'a plain directory', plain],
])(
  'a sandbox from a capture of one that is %s, with %s, has every property of every file',
  async (state, what, limits) => {
    const source = `source-${state}-${what.replaceAll(' ', '-')}`;
    await lab.start(source, { limits });
    expect(await lab.sh(source, CHANGES)).toMatchObject({ exitCode: 0, stderr: '' });
    makeAll(await workOf(source));
    const before = treeOf(await workOf(source));
    const sparse = lstatSync(join(await workOf(source), 'new/sparse')).blocks;
    if (state === 'stopped') await lab.runtime.stop(source, { graceMs: 0 });

    const captured = await lab.runtime.capture(source);
    const layer = await capturedLayer(store, captured, undefined);
    await captured.release();
    const copy = `copy-${source}`;
    await lab.start(copy, { limits, layers: [lab.baseLayer, layer?.path ?? ''] });
    expect(treeOf(await workOf(copy))).toEqual(before);
    const again = lstatSync(join(await workOf(copy), 'new/sparse'));
    expect([again.size, again.blocks <= sparse + 16]).toEqual([64 * MIB, true]);
    expect(await lab.sh(copy, 'cd /work; cat moved/deep/file opaque/own replaced; ls opaque kept')).toMatchObject({
      stdout: 'renamed/deep/filenew\nfile\nkept:\ntwo\n\nopaque:\nown\n',
    });
    for (const id of [copy, source]) await lab.runtime.remove(id);
  },
);
