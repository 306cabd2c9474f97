import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { env } from 'node:process';
import { run } from '../../packages/server/src/platform/process.ts';

const FORWARDED = /^(PIP_INDEX_URL|PIP_EXTRA_INDEX_URL|PIP_TRUSTED_HOST)$/;
const APT = '/etc/apt';

/** What steps of builds must know of where this machine gets its packages; its CA certificates and proxies they have anyway. */
export const stepEnvironment = Object.fromEntries(
  Object.entries(env).flatMap(([name, value]) => (FORWARDED.test(name) && value !== undefined ? [[name, value]] : [])),
);

/** Why nothing can be installed from this machine's Debian mirror or package index, or undefined. */
export async function whyNoPackages(): Promise<string | undefined> {
  const mirror = await debianMirror();
  if (mirror === undefined) return 'this machine names no Debian mirror';
  const asked = ['-sS', '-f', '--max-time', '10', '-o', '/dev/null', `${mirror}/`];
  return (await whyNot('curl', asked)) ?? (await whyNot('python3', ['-m', 'pip', 'index', 'versions', 'numpy']));
}

async function debianMirror(): Promise<string | undefined> {
  const more = await readdir(join(APT, 'sources.list.d')).catch(() => []);
  const files = ['sources.list', ...more.map((name) => join('sources.list.d', name))];
  for (const name of files.filter((each) => /\.(list|sources)$/.test(each))) {
    const text = await readFile(join(APT, name), 'utf8').catch(() => '');
    const [, url] = /^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+(https?:\S*debian)\/?(?:\s|$)/m.exec(text) ?? [];
    if (url !== undefined) return url;
  }
  return undefined;
}

async function whyNot(command: string, args: readonly string[]): Promise<string | undefined> {
  const okCodes = Array.from({ length: 256 }, (_, code) => code);
  const { exitCode, stderr } = await run(command, args, { timeoutMs: 30_000, okCodes });
  return exitCode === 0 ? undefined : `${command} ${args.join(' ')}: ${stderr.trim()}`;
}
