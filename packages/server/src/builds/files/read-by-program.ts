import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { invalidRequest } from '../../platform/errors.ts';
import { findProgram } from '../../platform/find-program.ts';

/** An hour of work for a slow machine; one that hangs is ended. */
const LIMIT_MS = 60 * 60_000;
/** Nobody on this machine: the program reads what a stranger wrote. */
const NOBODY = 65534;
const ARGS = {
  bzip2: ['-d', '-c', '-q'],
  // The window of `xz -9` needs 65 MiB.
  xz: ['-d', '-c', '-q', '--memlimit-decompress=512MiB'],
} as const;

function start(program: string, args: readonly string[], input: number) {
  const ids = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  try {
    const child = spawn(program, args, { ...ids, stdio: [input, 'pipe', 'pipe'], env: {}, cwd: '/' });
    const { stdout, stderr } = child;
    if (stdout === null || stderr === null) throw new Error(`${program} has no pipes`);
    return Object.assign(child, { stdout, stderr });
  } finally {
    closeSync(input);
  }
}

/** Decompresses what Node cannot, by the program of the machine, without rights of any kind. */
export async function readByProgram(
  name: keyof typeof ARGS,
  file: string | Buffer,
  consume: (chunk: Buffer) => void,
): Promise<void> {
  const program = findProgram(name);
  const input = openSync(file, 'r');
  const child = start(program, ARGS[name], input);
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (words.length < 2000) words += text;
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  try {
    for await (const chunk of child.stdout) {
      const bytes: Buffer = chunk;
      consume(bytes);
    }
    const code = await ended;
    if (code !== 0) throw invalidRequest(`${name} could not read it: ${words.trim() || `exit code ${code}`}`);
  } finally {
    clearTimeout(timer);
    child.kill('SIGKILL');
    ended.catch(() => {});
  }
}
