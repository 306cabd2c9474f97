import { expect, test } from 'vitest';
import { contentDisposition } from './content-disposition.ts';

const disposition = (filename: string) => contentDisposition('form-data', { name: 'file', filename });

test('a plain path is given back as it was asked for', () => {
  expect(disposition('/home/a b/x.txt')).toBe('form-data; name="file"; filename="/home/a b/x.txt"');
});

test('what a quoted string cannot carry has an extended name', () => {
  expect(disposition('/tmp/ü"\n.txt')).toBe(
    `form-data; name="file"; filename="/tmp/Ã¼\\"_.txt"; filename*=UTF-8''%2Ftmp%2F%C3%BC%22%0A.txt`,
  );
});

test('a name cannot end the header', () => {
  expect(disposition('a\r\nX-Evil: 1')).not.toMatch(/[\r\n]/);
});
