import { chmod, chown, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from '../platform/process.ts';

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n';
const GROUP = 'root:x:0:\napp:x:1000:\n';

/** A small root file system for tests: a static busybox with all its names, `/etc/passwd`, and homes for root and `app`. */
export async function fillWithBusybox(directory: string): Promise<void> {
  await chmod(directory, 0o755);
  for (const name of ['bin', 'etc', 'root', 'home/app', 'tmp', 'proc', 'dev', 'sys', 'usr/bin', 'var']) {
    await mkdir(join(directory, name), { recursive: true });
  }
  await chmod(join(directory, 'tmp'), 0o1777);
  await copyFile('/usr/bin/busybox', join(directory, 'bin/busybox'));
  const { stdout } = await run('/usr/bin/busybox', ['--list'], { timeoutMs: 10_000 });
  for (const applet of stdout.split('\n').filter((name) => name !== '' && name !== 'busybox')) {
    await symlink('busybox', join(directory, 'bin', applet));
  }
  await writeFile(join(directory, 'etc/passwd'), PASSWD);
  await writeFile(join(directory, 'etc/group'), GROUP);
  await chown(join(directory, 'home/app'), 1000, 1000);
}

/** The Python of this machine with its standard library and the shared objects that it needs. */
export async function addPython(directory: string): Promise<void> {
  const python = '/usr/bin/python3';
  const { stdout: found } = await run(
    python,
    ['-c', 'import sys, sysconfig; print(sys.executable); print(sysconfig.get_path("stdlib"))'],
    { timeoutMs: 20_000 },
  );
  const [, library = ''] = found.trim().split('\n');
  const { stdout: objects } = await run('ldd', [python], { timeoutMs: 10_000 });
  for (const path of objects.match(/\/\S+/g) ?? []) await copyInto(directory, path);
  await copyInto(directory, python);
  await mkdir(join(directory, dirname(library)), { recursive: true });
  await run('cp', ['-rL', '--preserve=mode', library, join(directory, dirname(library))], { timeoutMs: 60_000 });
}

/** The git of this machine, with http and the parts that both ends of a transfer run. */
export async function addGit(directory: string): Promise<void> {
  const core = '/usr/lib/git-core';
  const programs = ['/usr/bin/git', join(core, 'git-remote-http'), join(core, 'git-http-backend')];
  const { stdout: objects } = await run('ldd', programs, { timeoutMs: 20_000 });
  // Each line of the list ends with a colon where it names the program.
  for (const path of new Set(objects.match(/\/\S+[^\s:]/g) ?? [])) await copyInto(directory, path);
  for (const path of programs) await copyInto(directory, path);
  await symlink('git-remote-http', join(directory, core, 'git-remote-https'));
  for (const name of ['upload-pack', 'receive-pack']) {
    await symlink('../../bin/git', join(directory, core, `git-${name}`));
  }
}

/** The bash of this machine, beside busybox's `sh`. */
export async function addBash(directory: string): Promise<void> {
  const { stdout: objects } = await run('ldd', ['/bin/bash'], { timeoutMs: 10_000 });
  for (const path of objects.match(/\/\S+/g) ?? []) await copyInto(directory, path);
  await copyInto(directory, '/bin/bash');
}

/** Shifts everything into the range of sandboxes, as layers are stored. */
export async function shiftOwners(directory: string, idBase: number): Promise<void> {
  await run('chown', ['-hR', `${idBase}:${idBase}`, directory], { timeoutMs: 60_000 });
  await run('chown', ['-R', `${idBase + 1000}:${idBase + 1000}`, join(directory, 'home/app')], { timeoutMs: 10_000 });
}

async function copyInto(directory: string, path: string): Promise<void> {
  await mkdir(join(directory, dirname(path)), { recursive: true });
  await copyFile(path, join(directory, path));
}
