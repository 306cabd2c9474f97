import { expect, test } from 'vitest';
import { parseDockerfile } from '../dockerfile/parse.ts';
import { runCommand } from './run-command.ts';

const state = {
  shell: ['/bin/sh', '-c'],
  scope: { escapeChar: '\\', env: new Map<string, string>(), args: new Map<string, string>() },
} as const;

function commandOf(text: string) {
  const [instruction] = parseDockerfile(`FROM x\n${text}\n`).stages[0].instructions;
  if (instruction?.kind !== 'run') throw new Error(`${text} is no RUN`);
  return runCommand(instruction, state);
}

test('the shell form goes to the shell, the other form is started as it is', () => {
  expect(commandOf('RUN echo $A | cat').argv).toEqual(['/bin/sh', '-c', 'echo $A | cat']);
  expect(commandOf('RUN ["echo", "$A"]').argv).toEqual(['echo', '$A']);
});

test('a heredoc alone is the script', () => {
  expect(commandOf('RUN <<EOF\necho a\necho $B\nEOF')).toEqual({
    argv: ['/bin/sh', '-c', 'echo a\necho $B\n'],
    script: undefined,
  });
  expect(commandOf('RUN <<-"EOF"\n\techo a\n\tEOF').argv).toEqual(['/bin/sh', '-c', 'echo a\n']);
});

test('one that begins with #! is a program of its own', () => {
  expect(commandOf('RUN <<a/b\n#!/usr/bin/env python3\nprint(1)\na/b')).toEqual({
    argv: ['/bin/sh', '-c', '/dev/pipes/a_b'],
    script: { target: '/dev/pipes/a_b', content: '#!/usr/bin/env python3\nprint(1)\n' },
  });
});

test('behind a command heredocs are left to the shell', () => {
  expect(commandOf('RUN cat <<A && cat <<"B" > /x\na $X\nA\nb\nB').argv).toEqual([
    '/bin/sh',
    '-c',
    'cat <<A && cat <<"B" > /x\na $X\nA\nb\nB',
  ]);
});
