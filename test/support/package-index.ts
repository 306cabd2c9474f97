import { env } from 'node:process';
import { run } from '../../packages/server/src/platform/process.ts';

const FORWARDED = /^(PIP_INDEX_URL|PIP_EXTRA_INDEX_URL|PIP_TRUSTED_HOST)$/;
const TRIES = ['http://deb.debian.org/debian/', `${env.PIP_INDEX_URL ?? 'https://pypi.org/simple'}/numpy/`];

/** What steps of builds must know of where this machine gets its packages; its CA certificates and proxies they have anyway. */
export const stepEnvironment = Object.fromEntries(
  Object.entries(env).flatMap(([name, value]) => (FORWARDED.test(name) && value !== undefined ? [[name, value]] : [])),
);

/** Why nothing can be installed from a Debian mirror or a package index here, or undefined. */
export async function whyNoPackages(): Promise<string | undefined> {
  for (const url of TRIES) {
    const asked = ['-sS', '-f', '--max-time', '10', '-o', '/dev/null', url];
    const { exitCode, stderr } = await run('curl', asked, {
      timeoutMs: 15_000,
      okCodes: Array.from({ length: 100 }, (_, code) => code),
    });
    if (exitCode !== 0) return `${url}: ${stderr.trim()}`;
  }
  return undefined;
}
