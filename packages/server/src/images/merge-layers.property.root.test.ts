import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MNT_DETACH, mknod, mount, removeXattr, setXattr, unmount } from '../platform/libc.ts';
import { setFileTime } from '../platform/libc-inode.ts';
import { crcOfFile, walkTree } from './health/walk-tree.ts';
import { mergeLayers } from './merge-layers.ts';

const RUNS = 40;
const S_IFCHR = 0o020000;
const S_IFIFO = 0o010000;

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'merge-property-'));
  mount('tmpfs', root, 'tmpfs', 0, 'size=256m');
});
afterEach(() => {
  unmount(root, MNT_DETACH);
  rmSync(root, { recursive: true, force: true });
});

/** Few names, so that changes meet. */
const path = fc
  .array(fc.constantFrom('a', 'b', 'c', 'd\n'), { minLength: 1, maxLength: 3 })
  .map((names) => names.join('/'));
const bytes = fc.string({ maxLength: 8 });
/** Version 2 of `struct vfs_cap_data`: CAP_NET_BIND_SERVICE, effective. */
const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex');
/** `posix_acl_xattr`: rwx for the owner, r-x for user 7, for the group, the mask and others. */
const aclFor = (user: number) =>
  Buffer.concat([
    Buffer.from('02000000', 'hex'),
    ...[
      [1, 7, -1],
      [2, 5, user],
      [4, 5, -1],
      [16, 5, -1],
      [32, 5, -1],
    ].map(([tag = 0, mode = 0, id = 0]) => {
      const entry = Buffer.alloc(8);
      entry.writeUInt16LE(tag, 0);
      entry.writeUInt16LE(mode, 2);
      entry.writeInt32LE(id, 4);
      return entry;
    }),
  ]);

/** Each is carried out in the mounted tree where it can be; what cannot be is no change. */
const change = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('write' as const), path, bytes }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('mkdir' as const), path }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('remove' as const), path }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('move' as const), path, to: path }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('link' as const), path, to: path }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('symlink' as const), path, to: path }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('node' as const), path, type: fc.constantFrom(S_IFIFO, S_IFCHR) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('sparse' as const), path, size: fc.integer({ min: 0, max: 100_000 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('chmod' as const),
      path,
      mode: fc.constantFrom(0o700, 0o4755, 0o1777, 0o2750),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('chown' as const), path, id: fc.integer({ min: 0, max: 99 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('time' as const), path, at: fc.integer({ min: 0, max: 999_999_999 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('set' as const),
      path,
      name: fc.constantFrom('trusted.k', 'trusted.l'),
      bytes,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('unset' as const),
      path,
      name: fc.constantFrom(
        'trusted.k',
        'trusted.l',
        'system.posix_acl_access',
        'system.posix_acl_default',
        'security.capability',
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('capability' as const), path }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('acl' as const),
      path,
      name: fc.constantFrom('system.posix_acl_access', 'system.posix_acl_default'),
      id: fc.integer({ min: 0, max: 9 }),
    }),
  },
);
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function carryOut(tree: string, it: Change): void {
  const at = join(tree, it.path);
  try {
    if (it.do === 'write') write(at, it.bytes);
    else if (it.do === 'mkdir') mkdirSync(at);
    else if (it.do === 'remove') rmSync(at, { recursive: true });
    else if (it.do === 'move') move(at, join(tree, it.to));
    else if (it.do === 'link') linkSync(at, join(tree, it.to));
    else if (it.do === 'symlink') symlinkSync(it.to, at);
    else if (it.do === 'node') mknod(at, it.type | 0o640, it.type === S_IFCHR ? 0x0103 : 0);
    else if (it.do === 'sparse') truncateSync(at, it.size);
    // What a link points to is its own path.
    else if (lstatSync(at).isSymbolicLink()) return;
    else if (it.do === 'chmod') chmodSync(at, it.mode);
    else if (it.do === 'chown') chownSync(at, it.id, it.id + 1);
    else if (it.do === 'time') setFileTime(at, 1_000_000_000, it.at);
    else if (it.do === 'set') setXattr(at, it.name, Buffer.from(it.bytes));
    else if (it.do === 'unset') removeXattr(at, it.name);
    else if (it.do === 'capability') setXattr(at, 'security.capability', CAPABILITY);
    else setXattr(at, it.name, aclFor(it.id));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
  }
}

/** A pipe would wait for who reads it. */
function write(at: string, bytes: string): void {
  const before = lstatSync(at, { throwIfNoEntry: false });
  if (before === undefined || before.isFile()) writeFileSync(at, bytes);
}

/** As programs do it where a directory of a lower layer cannot be renamed. */
function move(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EXDEV')) throw error;
    execFileSync('mv', ['--no-target-directory', from, to], { stdio: 'ignore' });
  }
}

let count = 0;
const fresh = (name: string) => {
  const made = join(root, `${name}-${count++}`);
  mkdirSync(made);
  return made;
};

const OPTIONS = 'redirect_dir=nofollow,metacopy=off,index=off';

function layersOf(all: readonly (readonly Change[])[]): string[] {
  const layers = [fresh('base')];
  const [base = ''] = layers;
  for (const [index, changes] of all.entries()) {
    if (index === 0) {
      for (const each of changes) carryOut(base, each);
      continue;
    }
    const [upper, work, target] = [fresh('u'), fresh('w'), fresh('t')];
    mount(
      'overlay',
      target,
      'overlay',
      0,
      `lowerdir=${layers.toReversed().join(':')},upperdir=${upper},workdir=${work},${OPTIONS}`,
    );
    try {
      for (const each of changes) carryOut(target, each);
    } finally {
      unmount(target, MNT_DETACH);
    }
    layers.push(upper);
  }
  return layers;
}

function seen(layers: readonly string[]): unknown[] {
  const target = fresh('seen');
  mount(
    'overlay',
    target,
    'overlay',
    1,
    `lowerdir=${[...layers.toReversed(), fresh('empty')].join(':')},redirect_dir=nofollow`,
  );
  try {
    return [...walkTree(target, { crcOf: (_path, location) => crcOfFile(location, () => {}), check: () => {} })];
  } finally {
    unmount(target, MNT_DETACH);
  }
}

async function merged(layers: readonly string[]): Promise<string> {
  const directory = fresh('merged');
  await mergeLayers(layers, directory, AbortSignal.timeout(30_000));
  return directory;
}

test('whatever layers do, over their base one layer shows what they show, and so does one of one and the rest', async () => {
  const layers = fc.array(fc.array(change, { minLength: 1, maxLength: 12 }), { minLength: 3, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(layers, async (all) => {
      const [base = '', ...above] = layersOf(all);
      const before = seen([base, ...above]);
      expect(seen([base, await merged(above)])).toEqual(before);
      const first = await merged(above.slice(0, 2));
      expect(seen([base, await merged([first, ...above.slice(2)])])).toEqual(before);
    }),
    { numRuns: RUNS, interruptAfterTimeLimit: 20_000 },
  );
});
