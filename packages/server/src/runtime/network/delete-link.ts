import { text } from 'node:stream/consumers';
import { DarkroomError } from '../../platform/errors.ts';
import type { ExitWatcher } from '../../platform/exit-watcher.ts';
import { spawnPiped } from '../../platform/piped-process.ts';

const IP_TIMEOUT_MS = 20_000;

/** Both ends of a veth pair go at once. */
export async function deleteLink(watcher: ExitWatcher, name: string): Promise<void> {
  const ip = spawnPiped(watcher, 'ip', ['link', 'delete', 'dev', name]);
  const timer = setTimeout(() => {
    if (!ip.hasEnded()) process.kill(ip.pid, 'SIGKILL');
  }, IP_TIMEOUT_MS);
  ip.stdin.end();
  ip.stdout.resume();
  try {
    const [words, { exitCode }] = await Promise.all([text(ip.stderr), ip.closed]);
    if (exitCode !== 0) throw new DarkroomError('internal', `ip link delete ${name}: ${words.trim()}`);
  } finally {
    clearTimeout(timer);
  }
}
