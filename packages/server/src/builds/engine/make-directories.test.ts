import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeDirectories } from './make-directories.ts';

let upper: string;
beforeEach(() => {
  upper = mkdtempSync(join(tmpdir(), 'directories-'));
});
afterEach(() => rmSync(upper, { recursive: true, force: true }));

const make = (path: string) =>
  makeDirectories(upper, { merged: undefined, path, owner: undefined, idBase: process.getuid?.() ?? 0 });

test('a directory is made with all those above it, as deep as a path can be', () => {
  const deep = `/${Array(1900).fill('a').join('/')}`;
  make(deep);
  expect(existsSync(join(upper, deep))).toBe(true);
});

test('a path that is too long, or a name in it, is what the author of the Dockerfile can put right', () => {
  expect(() => make(`/${'a/'.repeat(5000)}`)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  expect(() => make(`/${'a'.repeat(300)}`)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
});
