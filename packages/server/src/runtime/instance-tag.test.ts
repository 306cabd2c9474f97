import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { instanceTag } from './instance-tag.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'darkroom-tag-'));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

test('a tag is eight hex digits', () => {
  expect(instanceTag(directory)).toMatch(/^[0-9a-f]{8}$/);
});

test('two state directories have two tags', () => {
  expect(instanceTag(join(directory, 'a'))).not.toBe(instanceTag(join(directory, 'b')));
});

test('the way to a directory does not change its tag', () => {
  const link = join(directory, 'link');
  symlinkSync(directory, link);
  expect(instanceTag(link)).toBe(instanceTag(directory));
  expect(instanceTag(`${directory}/x/..//`)).toBe(instanceTag(directory));
  expect(instanceTag(join(link, 'not-made-yet'))).toBe(instanceTag(join(directory, 'not-made-yet')));
});
