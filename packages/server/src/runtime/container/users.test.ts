import { describe, expect, test } from 'vitest';
import { parseGroup, parsePasswd, pickUser } from './users.ts';

const accounts = parsePasswd(
  [
    'root:x:0:0:root:/root:/bin/sh',
    'app:x:1000:1001:App:/home/app:/bin/sh',
    '1000:x:5:5::/five:',
    '# comment:x:1:1',
    'broken',
    'neg:x:-1:0::/:',
    'rel:x:7:7::home:',
    '',
  ].join('\n'),
);
const groups = parseGroup(
  'root:x:0:\napp:x:1001:\nstaff:x:50:app,root\nbad:x:y:app\nwheel:x:10:app\nfar:x:4000000000:app\n',
);
const pick = (user: string) => pickUser(user, accounts, groups, 1_000_000);

describe('a user of a sandbox', () => {
  test('is root when none is named, also without a passwd file', () => {
    expect(pick('')).toEqual({ uid: 0, gid: 0, additionalGids: [50], home: '/root', name: 'root' });
    expect(pickUser('', [], [], 1_000_000)).toEqual({ uid: 0, gid: 0, additionalGids: [], home: '/root', name: '0' });
  });

  test('by name has its group, its further groups within the sandbox’s range, and its home', () => {
    expect(pick('app')).toEqual({ uid: 1000, gid: 1001, additionalGids: [50, 10], home: '/home/app', name: 'app' });
  });

  test('by number needs no entry, and a name that looks like a number goes first', () => {
    expect(pick('4242')).toEqual({ uid: 4242, gid: 0, additionalGids: [], home: '/', name: '4242' });
    expect(pick('1000')).toMatchObject({ uid: 5, home: '/five' });
  });

  test('of a name that no database could hold is none, and of such a home has none', () => {
    const hostile = parsePasswd(`a\0b:x:5:5::/five:\n${'n'.repeat(300)}:x:6:6::/six:\nodd:x:7:7::/se\0ven:/bin/sh\r\n`);
    expect(hostile).toEqual([{ name: 'odd', uid: 7, gid: 7, home: '/' }]);
  });

  test('with a group has that one only', () => {
    expect(pick('app:staff')).toMatchObject({ uid: 1000, gid: 50, additionalGids: [] });
    expect(pick('12:34')).toMatchObject({ uid: 12, gid: 34 });
  });

  test('is unknown when the name or the group is', () => {
    expect(pick('nobody')).toBeUndefined();
    expect(pick('app:nobody')).toBeUndefined();
    expect(pick('neg')).toBeUndefined();
  });

  test('outside the range of ids, or written in no known way, is refused', () => {
    expect(() => pick('1000000')).toThrow(/below 1000000/);
    expect(() => pick('1:1000000')).toThrow(/below 1000000/);
    expect(() => pick('a:b:c')).toThrow(/is not a user/);
  });

  test('has an absolute home', () => {
    expect(pick('rel')).toMatchObject({ home: '/' });
  });
});
