import type { AcceptConnection, ServerChannel, Session } from 'ssh2';
import { DarkroomError } from '../platform/errors.ts';
import type { TerminalProcess } from '../runtime/types.ts';
import type { SshSandbox } from '../sandboxes/ssh-sandbox.ts';
import { refuseOnChannel, runOnChannel, runOnTerminal } from './run-on-channel.ts';
import type { TakeFile } from './sftp/handles.ts';
import { serveSftp } from './sftp/serve.ts';

const MAX_VARIABLES = 128;
/** Control characters that a terminal turns into signals. */
const TYPED = { INT: '\x03', QUIT: '\x1c', TSTP: '\x1a' } as const;
const MAX_SIZE = 4096;

export interface SessionContext {
  /** The connection has ended. */
  disconnected: Promise<void>;
  /** Looks whether it runs now. */
  sandbox(): Promise<SshSandbox>;
  /** For one more open file of the server. */
  takeFile: TakeFile;
  /** Never rejects; waited for when the connection ends. */
  background(work: Promise<void>): void;
}

/** One session channel: settings first, then one shell, command or subsystem. */
export function serveSession(session: Session, { sandbox, takeFile, background, disconnected }: SessionContext): void {
  const closed = new Promise<void>((resolve) => session.once('close', () => resolve()));
  const gone = Promise.race([closed, disconnected]);
  const env: Record<string, string> = {};
  let size: { cols: number; rows: number } | undefined;
  let terminal: TerminalProcess | undefined;
  let kill: (() => void) | undefined;

  session.on('pty', (accept, _reject, info) => {
    size = sizeOf(info);
    if (info.term) env.TERM = info.term;
    accept?.();
  });
  session.on('window-change', (accept, _reject, info) => {
    size = sizeOf(info);
    terminal?.resize(size);
    accept?.();
  });
  session.on('env', (accept, reject, { key, val }) => {
    if (Object.keys(env).length >= MAX_VARIABLES || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(key)) return reject?.();
    env[key] = val;
    accept?.();
  });
  session.on('signal', (accept, _reject, { name }) => {
    const typed = Object.entries(TYPED).find(([signal]) => signal === name)?.[1];
    if (terminal !== undefined && typed !== undefined) terminal.stream.write(typed);
    else if (['INT', 'QUIT', 'TERM', 'HUP', 'KILL'].includes(name)) kill?.();
    accept?.();
  });

  async function start(channel: ServerChannel, command: string | undefined): Promise<void> {
    const inside = await sandbox();
    if (size === undefined) {
      const child = await inside.run(command, env);
      kill = () => background(child.killTree().catch(() => {}));
      return runOnChannel(channel, child, gone);
    }
    terminal = await inside.terminal(command, env, size);
    const { killTree } = terminal;
    kill = () => background(killTree().catch(() => {}));
    // It may have changed while the terminal was made.
    terminal.resize(size);
    return runOnTerminal(channel, terminal, gone);
  }

  const begin = (accept: AcceptConnection<ServerChannel>, work: (channel: ServerChannel) => Promise<void>) => {
    const channel = accept();
    // Undefined for a second program of one session, which the protocol does not allow.
    if (!channel) return;
    channel.on('error', () => {});
    const begun = work(channel).catch(async (error: unknown) => {
      const known = error instanceof DarkroomError && error.isUserError;
      await refuseOnChannel(channel, known ? error.message : 'internal error', gone);
      if (!known) throw error;
    });
    background(begun);
  };
  session.on('shell', (accept) => begin(accept, (channel) => start(channel, undefined)));
  session.on('exec', (accept, _reject, { command }) => begin(accept, (channel) => start(channel, command)));
  session.on('subsystem', (accept, reject, { name }) => {
    if (name !== 'sftp') return reject?.();
    begin(accept, async (channel) => serveSftp(channel, { sandbox: await sandbox(), takeFile, gone }));
  });
}

function sizeOf({ cols, rows }: { cols: number; rows: number }): { cols: number; rows: number } {
  const within = (value: number, missing: number) => Math.min(value > 0 ? value : missing, MAX_SIZE);
  return { cols: within(cols, 80), rows: within(rows, 24) };
}
