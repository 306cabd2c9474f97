import { invalidRequest } from '../../../platform/errors.ts';
import { checkBranch, checkConfigKey, checkNoNul } from './checks.ts';
import { credentialsFrom } from './credentials.ts';
import type { GitWork } from './git-work.ts';

const SCOPES = ['global', 'local', 'system'];

function scopeOption(scope = 'global', path?: string): string {
  if (!SCOPES.includes(scope)) throw invalidRequest(`scope must be one of ${SCOPES.join(', ')}`);
  if (scope === 'local' && path === undefined) throw invalidRequest('path is required for the local scope');
  return `--${scope}`;
}

export interface Scoped {
  scope?: string | undefined;
  path?: string | undefined;
}

export async function setConfig(work: GitWork, request: Scoped & { key: string; value: string }): Promise<void> {
  const { key, value } = request;
  checkConfigKey(key);
  checkNoNul('value', value);
  await work.git({ args: ['config', scopeOption(request.scope, request.path), '--replace-all', key, value] });
}

/** Undefined where it is not set. */
export async function getConfig(work: GitWork, request: Scoped & { key: string }): Promise<string | undefined> {
  checkConfigKey(request.key);
  const { exitCode, stdout } = await work.git({
    args: ['config', scopeOption(request.scope, request.path), '-z', '--get', request.key],
    expects: [1],
  });
  return exitCode === 0 ? stdout.replace(/\0$/, '') : undefined;
}

export async function configureUser(work: GitWork, request: Scoped & { name: string; email: string }): Promise<void> {
  if (request.name.trim() === '') throw invalidRequest('name is required');
  await setConfig(work, { ...request, key: 'user.name', value: request.name });
  await setConfig(work, { ...request, key: 'user.email', value: request.email });
}

export interface AuthenticateRequest {
  username: string;
  password: string;
  host?: string | undefined;
  protocol?: string | undefined;
}

/** Keeps a password in the user's home, in plain text, as the caller asked for. */
export async function authenticate(work: GitWork, request: AuthenticateRequest): Promise<void> {
  const { host = 'github.com', protocol = 'https' } = request;
  if (request.username === '' || request.password === '') throw invalidRequest('username and password are required');
  const values = credentialsFrom(request.username, request.password);
  if (!/^https?$/.test(protocol)) throw invalidRequest('protocol must be https or http');
  if (!/^[A-Za-z0-9.[\]:-]+$/.test(host)) throw invalidRequest(`${JSON.stringify(host)} is no host`);
  const lines = [
    `protocol=${protocol}`,
    `host=${host}`,
    `username=${values?.username}`,
    `password=${values?.password}`,
  ];
  const { stdout } = await work.git({ args: ['config', '--global', '--get-all', 'credential.helper'], expects: [1] });
  if (!stdout.split('\n').includes('store')) {
    await work.git({ args: ['config', '--global', '--add', 'credential.helper', 'store'] });
  }
  await work.git({ args: ['credential', 'approve'], input: `${lines.join('\n')}\n\n` });
}

export async function init(
  work: GitWork,
  request: { path: string; bare: boolean; initialBranch?: string | undefined },
): Promise<void> {
  const { bare, initialBranch } = request;
  if (initialBranch !== undefined) checkBranch(initialBranch);
  await work.git({
    args: [
      'init',
      '--quiet',
      ...(bare ? ['--bare'] : []),
      ...(initialBranch === undefined ? [] : [`--initial-branch=${initialBranch}`]),
      '--',
      work.resolve(request.path),
    ],
  });
}
