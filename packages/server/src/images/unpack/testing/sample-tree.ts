import {
  appendFileSync,
  chmodSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { mknod, setXattr } from '../../../platform/libc.ts';
import { setFileTime } from '../../../platform/libc-inode.ts';

/** A tree that even the oldest formats can hold. */
export function makePlainTree(root: string): void {
  mkdirSync(join(root, 'dir/sub'), { recursive: true });
  writeFileSync(join(root, 'dir/file'), 'content');
  writeFileSync(join(root, 'dir/large'), Buffer.alloc(300_000, 'large'));
  writeFileSync(join(root, 'empty'), '');
  linkSync(join(root, 'dir/file'), join(root, 'dir/sub/hard'));
  symlinkSync('../dir/file', join(root, 'dir/link'));
  chmodSync(join(root, 'dir/file'), 0o4751);
  chmodSync(join(root, 'dir/sub'), 0o2775);
  chmodSync(join(root, 'dir'), 0o1777);
  lchownSync(join(root, 'dir/link'), 12, 34);
  lchownSync(join(root, 'dir/sub'), 1000, 1001);
  lutimesSync(join(root, 'dir/link'), 1_500_000_000, 1_500_000_000);
  for (const name of ['dir/sub', 'dir', 'empty']) setFileTime(join(root, name), 1_600_000_000, 0);
}

/** A tree with everything that a root file system can have. */
export function makeFullTree(root: string): void {
  makePlainTree(root);
  const bytes = Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0xfe, 0x20, 0x0a, 0x80])]);
  writeFileSync(bytes, 'not UTF-8');
  const long = join(root, 'a'.repeat(200), 'b'.repeat(200));
  mkdirSync(long, { recursive: true });
  writeFileSync(join(long, 'c'.repeat(255)), 'long');
  symlinkSync('t'.repeat(600), join(root, 'long-link'));
  linkSync(join(long, 'c'.repeat(255)), join(root, 'hard-to-long'));
  mknod(join(root, 'pipe'), 0o010_640);
  writeFileSync(join(root, 'many-uids'), '');
  lchownSync(join(root, 'many-uids'), 60_000, 65_000);
  setFileTime(join(root, 'many-uids'), -3600, 0);
  setFileTime(join(root, 'pipe'), 1_700_000_000, 123_456_789);
  writeFileSync(join(root, 'ping'), 'elf');
  setXattr(join(root, 'ping'), 'security.capability', Buffer.from(`0100000200200000${'00'.repeat(12)}`, 'hex'));
  setXattr(join(root, 'ping'), 'user.note', Buffer.from([0, 1, 2, 0x0a, 0x3d, 0xff]));
  setXattr(join(root, 'dir'), 'user.on-directory', Buffer.from('yes'));
  for (const [index, holes] of [0, 3, 40].entries()) {
    const path = join(root, `sparse-${index}`);
    for (let hole = 0; hole < holes; hole++) {
      truncateSync(makeSure(path), (hole + 1) * 200_000);
      appendFileSync(path, `data ${hole}`);
    }
    truncateSync(makeSure(path), 10_000_000);
  }
}

function makeSure(path: string): string {
  appendFileSync(path, '');
  return path;
}
