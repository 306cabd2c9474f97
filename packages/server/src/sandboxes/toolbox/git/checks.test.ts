import { expect, test } from 'vitest';
import { checkBranch, checkConfigKey, checkRemote, checkRevision, checkUrl } from './checks.ts';

test.each(['main', 'feature/a-b_c', 'v1.2', 'ünï', 'a@b'])('%j is a branch', (name) => {
  expect(() => checkBranch(name)).not.toThrow();
});

test.each([
  '',
  '-f',
  '--upload-pack=x',
  'a b',
  'a:b',
  '+a',
  'a..b',
  'a^',
  'a~1',
  'a.lock',
  'a/',
  '@',
  'a\nb',
  'a\\b',
  '.a',
])('%j is none', (name) => {
  expect(() => checkBranch(name)).toThrow();
});

test.each([
  'https://host/a.git',
  'ssh://git@host/a',
  'git@host:a/b.git',
  '/srv/a.git',
  '../a',
  'file:///srv/a',
  '[::1]:a',
])('%j may be cloned', (url) => {
  expect(() => checkUrl(url)).not.toThrow();
});

test.each(['', ' ', '--upload-pack=touch /tmp/x', '-u', 'ext::sh -c id', 'fd::17', 'file::/a', 'a\nb'])(
  '%j may not',
  (url) => {
    expect(() => checkUrl(url)).toThrow();
  },
);

test('revisions, remotes and keys that git would read as options are refused', () => {
  expect(() => checkRevision('HEAD~1')).not.toThrow();
  expect(() => checkRevision('--output=/x')).toThrow();
  expect(() => checkRemote('origin')).not.toThrow();
  expect(() => checkRemote('https://user:password@host/a')).toThrow();
  expect(() => checkConfigKey('credential.https://host.helper')).not.toThrow();
  expect(() => checkConfigKey('--global')).toThrow();
  expect(() => checkConfigKey('user')).toThrow();
});
