import { DarkroomError } from '../../platform/errors.ts';
import type { ExitWatcher } from '../../platform/exit-watcher.ts';
import { spawnPiped } from '../../platform/piped-process.ts';

/** One call of the nft program; a refusal is an answer, anything else raises. */
export type Nft = (args: readonly string[], input?: string) => Promise<{ ok: boolean; stdout: string; stderr: string }>;

// nft takes milliseconds; a kernel that unregisters many interfaces at once holds it up for longer.
const NFT_TIMEOUT_MS = 20_000;
const MAX_OUTPUT = 64 * 1024 * 1024;

export function createNft(watcher: ExitWatcher): Nft {
  return async (args, input) => {
    const nft = spawnPiped(watcher, 'nft', args);
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      nft[name].setEncoding('utf8').on('data', (text: string) => {
        if (output[name].length < MAX_OUTPUT) output[name] += text;
      });
    }
    // It may end without reading its input; its exit code says what that meant.
    nft.stdin.on('error', () => {});
    nft.stdin.end(input);
    const timer = setTimeout(() => {
      if (!nft.hasEnded()) process.kill(nft.pid, 'SIGKILL');
    }, NFT_TIMEOUT_MS);
    const { exitCode, signal } = await nft.closed.finally(() => clearTimeout(timer));
    if (exitCode === 0 || exitCode === 1) return { ok: exitCode === 0, ...output };
    const ending =
      signal === undefined ? `exit code ${exitCode}` : `ended by signal ${signal} (limit ${NFT_TIMEOUT_MS} ms)`;
    throw new DarkroomError(
      'unavailable',
      `nft ${args.slice(0, 4).join(' ')}: ${ending}: ${output.stderr.slice(-1000)}`,
      {
        retryable: true,
      },
    );
  };
}

/** A transaction: all of it, or an error that says which line was refused. */
export async function nftTransaction(nft: Nft, lines: string): Promise<void> {
  const { ok, stderr } = await nft(['-f', '-'], lines);
  if (!ok) throw new DarkroomError('internal', `nft refused a change of the firewall: ${stderr.trim().slice(0, 1000)}`);
}
