import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { commandText, quote, setupText, supervisorArgv } from './shell-program.ts';

test.each(["it's", '', "'", "a\nb'c''d", '$x `y` \\ "z"', '\x81\x88 ü'])('%j is one word for a shell', async (word) => {
  const child = spawn('/bin/sh', ['-c', `printf %s ${quote(word)}`], { stdio: ['ignore', 'pipe', 'inherit'] });
  expect(await text(child.stdout)).toBe(word);
});

test.each(['/bin/bash', '/bin/sh'])('%s tells the end of each command, and its own', async (shell) => {
  const [program = '', ...args] = supervisorArgv(shell);
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
  const { stdin, stdout, stderr } = child;
  if (stdin === null || stdout === null || stderr === null) throw new Error('no pipes');
  const outputs = { stdout: '', stderr: '' };
  stdout.on('data', (data) => {
    outputs.stdout += data;
  });
  stderr.on('data', (data) => {
    outputs.stderr += data;
  });
  const command = (number: number, words: string) =>
    commandText({ shell, token: 'token', number, readsInput: false }, words);
  stdin.write(
    `${setupText('token')}${command(1, 'echo a; echo b >&2; false')}${command(2, 'echo "open')}${command(3, 'exit 9')}`,
  );
  await expect
    .poll(() => [outputs.stdout, outputs.stderr.replace(/^.*(quote|EOF).*\n/m, 'its own words\n')])
    .toEqual([
      'a\n\x1etoken 1 1\n\x1etoken 2 2\n\x1etoken end 9\n',
      'b\n\x1etoken 1 0\nits own words\n\x1etoken 2 0\n\x1etoken end 9\n',
    ]);
  // What was started under it must be there to be killed, also when its input has ended.
  expect(child.exitCode).toBeNull();
  child.kill('SIGKILL');
});
