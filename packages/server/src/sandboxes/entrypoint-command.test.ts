import { expect, test } from 'vitest';
import { entrypointCommand } from './entrypoint-command.ts';

const image = (values: { entrypoint?: string[]; cmd?: string[] }) => ({ env: [], ...values });
const commandOf = (entrypoint: string[] | null, values: { entrypoint?: string[]; cmd?: string[] } = {}) =>
  entrypointCommand({ entrypoint, image: image(values) });

test('an entry point of the snapshot is run as it is, without the image CMD', () => {
  expect(commandOf(['/serve', '--port', '80'], { entrypoint: ['/init'], cmd: ['x'] })).toEqual([
    '/serve',
    '--port',
    '80',
  ]);
});

test('the ENTRYPOINT of the image gets its CMD, also where the snapshot carries a copy of it', () => {
  expect(commandOf(null, { entrypoint: ['/init'], cmd: ['nginx'] })).toEqual(['/init', 'nginx']);
  expect(commandOf(['/init'], { entrypoint: ['/init'], cmd: ['nginx'] })).toEqual(['/init', 'nginx']);
});

test('a CMD that is a program is run', () => {
  expect(commandOf(null, { cmd: ['nginx', '-g', 'daemon off;'] })).toEqual(['nginx', '-g', 'daemon off;']);
  expect(commandOf(null, { cmd: ['python3', 'app.py'] })).toEqual(['python3', 'app.py']);
});

test('a shell or an interpreter without a program is not started: it would end at once', () => {
  for (const cmd of [['bash'], ['/bin/sh'], ['python3'], ['node'], ['bash', '-l'], []]) {
    expect(commandOf(null, { cmd })).toEqual([]);
  }
});

test('sleep infinity is not started: the sandbox lives without it', () => {
  expect(commandOf(['sleep', 'infinity'])).toEqual([]);
});
