import { spawn } from 'node:child_process';
import { DarkroomError } from './errors.ts';

export interface RunOptions {
  /** Written to the standard input, which is then closed. */
  input?: string | Buffer;
  /** SIGKILL after this; every call has a bound. */
  timeoutMs: number;
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  signal?: AbortSignal;
  /** Exit codes that are an answer and not a failure; only 0 by default. */
  okCodes?: readonly number[];
}

export interface RunResult {
  exitCode: number;
  stdout: string;
  stderr: string;
}

const MAX_OUTPUT = 4 * 1024 * 1024;

/** Runs a tool of the host to its end. A failure's message has the command and its last words. */
export function run(command: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env,
      signal: options.signal,
      killSignal: 'SIGKILL',
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    // Not spawn's own time-out: its timer outlives a command that could not be started.
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      // What it started may live on with our pipes, and then they would never close.
      child.stdout.destroy();
      child.stderr.destroy();
    }, options.timeoutMs);
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        if (output[name].length < MAX_OUTPUT) output[name] += text;
      });
    }
    child.once('error', (cause) => {
      clearTimeout(timer);
      reject(toolError(command, args, messageFor(cause), cause));
    });
    child.once('close', (code, killedBy) => {
      clearTimeout(timer);
      const exitCode = code ?? -1;
      if ((options.okCodes ?? [0]).includes(exitCode)) return resolve({ exitCode, ...output });
      const ending =
        killedBy === null ? `exit code ${exitCode}` : `ended by ${killedBy} (limit ${options.timeoutMs} ms)`;
      reject(
        toolError(
          command,
          args,
          `${ending}: ${output.stderr.trim().slice(-2000) || output.stdout.trim().slice(-2000)}`,
        ),
      );
    });
    // The tool may end without reading its input; its exit code says what that meant.
    child.stdin.on('error', () => {});
    child.stdin.end(options.input);
  });
}

function messageFor(cause: NodeJS.ErrnoException): string {
  return cause.code === 'ENOENT' ? 'is not installed (run `darkroom doctor`)' : cause.message;
}

function toolError(command: string, args: readonly string[], what: string, cause?: unknown): DarkroomError {
  return new DarkroomError('internal', `${command} ${args.slice(0, 4).join(' ')}: ${what}`, { cause });
}
