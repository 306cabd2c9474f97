import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseStatus } from './status.ts';

const OBJECT = 'a'.repeat(40);
const MODES = '100644 100644 100644';

test('branch, upstream and counts are read', () => {
  const headers = [`branch.oid ${OBJECT}`, 'branch.head main', 'branch.upstream origin/main', 'branch.ab +2 -13'];
  expect(parseStatus(headers.map((line) => `# ${line}\0`).join(''))).toEqual({
    branch: 'main',
    upstream: 'origin/main',
    counts: { ahead: 2, behind: 13 },
    files: [],
  });
});

test('a detached HEAD is on no branch, and an upstream that is not fetched has no counts', () => {
  expect(parseStatus('# branch.head (detached)\0').branch).toBeUndefined();
  expect(parseStatus('# branch.head a\0# branch.upstream origin/a\0')).toMatchObject({
    upstream: 'origin/a',
    counts: undefined,
  });
});

test('renames, conflicts and files that nobody tracks are told apart', () => {
  const output = [
    `2 RM N... ${MODES} ${OBJECT} ${OBJECT} R100 new name`,
    'old name',
    `u UU N... 100644 ${MODES} ${OBJECT} ${OBJECT} ${OBJECT} both`,
    '? un tracked',
    '',
  ].join('\0');
  expect(parseStatus(output).files).toEqual([
    { path: 'new name', from: 'old name', staging: 'Renamed', worktree: 'Modified' },
    { path: 'both', from: undefined, staging: 'Updated but unmerged', worktree: 'Updated but unmerged' },
    { path: 'un tracked', from: undefined, staging: 'Untracked', worktree: 'Untracked' },
  ]);
});

test('whatever a path is made of, it comes back', () => {
  const path = fc.string({ unit: 'binary', minLength: 1 }).filter((value) => !value.includes('\0'));
  const entry = fc.oneof(
    path.map((name) => ({ record: `1 .M N... ${MODES} ${OBJECT} ${OBJECT} ${name}\0`, path: name })),
    fc.tuple(path, path).map(([name, old]) => ({
      record: `2 R. N... ${MODES} ${OBJECT} ${OBJECT} R90 ${name}\0${old}\0`,
      path: name,
    })),
    path.map((name) => ({ record: `u AA N... 0 ${MODES} ${OBJECT} ${OBJECT} ${OBJECT} ${name}\0`, path: name })),
    path.map((name) => ({ record: `? ${name}\0`, path: name })),
  );
  fc.assert(
    fc.property(fc.array(entry), (entries) => {
      const { files } = parseStatus(entries.map(({ record }) => record).join(''));
      expect(files.map((file) => file.path)).toEqual(entries.map((one) => one.path));
    }),
  );
});

test('no output brings it down', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (output) => void parseStatus(output)));
});
