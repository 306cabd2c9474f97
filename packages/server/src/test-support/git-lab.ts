import { createHash } from 'node:crypto';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { HttpClient } from './http-client.ts';
import { busyboxWith } from './layers.ts';
import { addGit, addPython } from './root-file-system.ts';

/** A layer with git, and a server of repositories that runs inside the sandbox: sandboxes reach no other. */
export const gitLayer = busyboxWith('git', addPython, addGit, (directory) =>
  copyFile(join(import.meta.dirname, 'git-server.py'), join(directory, 'usr/git-server.py')),
);

const SERVED = '/tmp/served';
const PORT = 8418;

export interface GitServer {
  /** Needs no password. */
  openUrl: string;
  /** Needs the password. */
  closedUrl: string;
  /** Leads to the same under another name of the host. */
  leadingUrl: string;
  /** Exists when requests with the password may go on; beside it stands what they found (`.looked`). */
  go: string;
}

/** Two bare repositories with the same commits on `main` and `other`, served over HTTP inside a sandbox. */
export async function startGitServer(
  client: HttpClient,
  sandboxId: string,
  login: { username: string; password: string },
): Promise<GitServer> {
  const execute = async (command: string): Promise<string> => {
    const { body } = await client.post(`/toolbox/${sandboxId}/process/execute`, { command });
    expect(body.exitCode, body.result).toBe(0);
    return body.result;
  };
  const digest = createHash('sha256').update(`${login.username}:${login.password}`).digest('hex');
  const go = '/tmp/git-server-go';
  await execute(`set -e
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q -b main /tmp/seed; cd /tmp/seed
echo one > one.txt; git add .; git commit -qm first
git branch other; echo two > two.txt; git add .; git commit -qm second
for r in open closed; do
  git clone -q --bare /tmp/seed ${SERVED}/$r/repo.git
  git -C ${SERVED}/$r/repo.git config http.receivepack true
done
rm -rf /tmp/seed
python3 /usr/git-server.py ${SERVED} ${PORT} ${digest} ${go} >/tmp/git-server.log 2>&1 &
for i in $(seq 200); do
  wget -q -O /dev/null 'http://127.0.0.1:${PORT}/open/repo.git/info/refs?service=git-upload-pack' 2>/dev/null && exit 0
  sleep 0.05
done
cat /tmp/git-server.log; exit 1`);
  const url = (which: string) => `http://127.0.0.1:${PORT}/${which}/repo.git`;
  return { openUrl: url('open'), closedUrl: url('closed'), leadingUrl: url('led'), go };
}
