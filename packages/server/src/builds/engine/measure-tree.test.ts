import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../../platform/process.ts';
import { isEmptyDirectory, measureTree } from './measure-tree.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'measure-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** What the tool says, which counts the directory itself too. */
const ofTool = async (directory: string) => {
  const { stdout } = await run('du', ['-s', '--block-size=1', directory], { timeoutMs: 10_000 });
  return Number.parseInt(stdout, 10);
};

test('few files and many are measured alike', async () => {
  const tree = join(root, 'tree');
  mkdirSync(join(tree, 'a', 'b'), { recursive: true });
  writeFileSync(join(tree, 'a', 'b', 'file'), Buffer.alloc(100_000, 1));
  linkSync(join(tree, 'a', 'b', 'file'), join(tree, 'a', 'again'));
  symlinkSync('/etc', join(tree, 'link'));
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/`), Buffer.from([0xff, 0xfe])]), 'any bytes are a name');
  // The empty directory above is not counted by ours.
  expect(await measureTree(root)).toBe(await ofTool(tree));
  for (let index = 0; index < 300; index += 1) writeFileSync(join(tree, `file-${index}`), 'x');
  expect(await measureTree(root)).toBe(await ofTool(root));
});

test('an empty directory is told from one with something in it', () => {
  expect(isEmptyDirectory(root)).toBe(true);
  writeFileSync(join(root, '.hidden'), '');
  expect(isEmptyDirectory(root)).toBe(false);
});
