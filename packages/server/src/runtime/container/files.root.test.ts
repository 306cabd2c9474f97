import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MIB, openLab, type SandboxLab, shell } from '../testing/sandbox-lab.ts';

let lab: SandboxLab;
beforeAll(async () => {
  lab = await openLab();
  await lab.start('box');
});
afterAll(() => lab?.close());

const files = () => lab.runtime.files('box');
const app = { uid: 1000, gid: 1000 };
const of = (content: string | Buffer) => Readable.from([content]);
const read = async (path: string) => text((await files().read(path)).stream);

describe('writing', () => {
  test('makes the file and its parents for their owner', async () => {
    expect(await files().write('/home/app/a/b/file.txt', of('content'), app)).toEqual({ size: 7 });
    const { stdout } = await lab.sh(
      'box',
      'cd /home/app; stat -c "%n %u %g %a" a a/b a/b/file.txt; cat a/b/file.txt; ls -A a/b',
    );
    expect(stdout).toBe('a 1000 1000 755\na/b 1000 1000 755\na/b/file.txt 1000 1000 644\ncontentfile.txt\n');
  });

  test('over a file keeps its owner and mode, and drops setuid', async () => {
    await lab.sh('box', 'cd /root; echo old > tool; chown 7:8 tool; chmod 4750 tool');
    await files().write('/root/tool', of('new'), app);
    expect((await lab.sh('box', 'stat -c "%u %g %a" /root/tool; cat /root/tool')).stdout).toBe('7 8 750\nnew');
  });

  test('through a link replaces what the link names', async () => {
    await lab.sh(
      'box',
      'mkdir -p /srv/v1; echo one > /srv/v1/conf; ln -s v1 /srv/now; ln -s now/conf /srv/conf; ln -s /srv/conf /absolute',
    );
    await files().write('/absolute', of('two'), app);
    expect((await lab.sh('box', 'readlink /absolute; readlink /srv/conf; cat /srv/v1/conf')).stdout).toBe(
      '/srv/conf\nnow/conf\ntwo',
    );
  });

  test('goes up from where a link leads, as reading does', async () => {
    await lab.sh('box', 'mkdir -p /up/far/below; ln -s far/below /up/link');
    await files().write('/up/link/../file', of('up'), app);
    expect((await lab.sh('box', 'cat /up/far/file')).stdout).toBe('up');
    expect(await read('/up/link/../file')).toBe('up');
  });

  test('of a link that leads to nothing makes what it names, inside', async () => {
    await lab.sh('box', 'ln -s ../../../../../../../../root/made /root/dangling');
    await files().write('/root/dangling', of('inside'), app);
    expect((await lab.sh('box', 'cat /root/made')).stdout).toBe('inside');
  });

  test('shows a reader the old file or the new one, never a part', async () => {
    const contents = ['a', 'b'].map((letter) => letter.repeat(64 * 1024));
    await files().write('/root/atomic', of(contents[0] ?? ''), app);
    const sums = lab.sh(
      'box',
      'for i in $(seq 200); do md5sum < /root/atomic; done | sort -u | wc -l; wc -c < /root/atomic',
    );
    for (let i = 1; i < 100; i += 1) await files().write('/root/atomic', of(contents[i % 2] ?? ''), app);
    expect((await sums).stdout).toBe('2\n65536\n');
  });

  test('of a file with a mount of its own changes the file that is seen', async () => {
    await files().write('/etc/hosts', of('10.0.0.1 there\n'), { uid: 0, gid: 0 });
    expect((await lab.sh('box', 'cat /etc/hosts')).stdout).toBe('10.0.0.1 there\n');
  });

  test('that breaks off leaves the old file and no other', async () => {
    await files().write('/root/precious/file', of('precious'), app);
    const broken = Readable.from(
      (async function* () {
        yield Buffer.alloc(MIB);
        throw new Error('connection lost');
      })(),
    );
    await expect(files().write('/root/precious/file', broken, app)).rejects.toThrow(/connection lost/);
    expect((await lab.sh('box', 'cat /root/precious/file; ls -A /root/precious')).stdout).toBe('preciousfile\n');
  });

  test('to a full disk says so, leaves nothing, and keeps the old file', async () => {
    const small = await openLab(undefined, { poolBytes: 24 * MIB });
    try {
      await small.start('full');
      await small.runtime.files('full').write('/root/data/file', of('old'), app);
      const endless = Readable.from(
        (async function* () {
          for (;;) yield Buffer.alloc(MIB);
        })(),
      );
      const write = small.runtime.files('full').write('/root/data/file', endless, app);
      await expect(write).rejects.toMatchObject({ code: 'insufficient_storage' });
      expect(endless.destroyed).toBe(true);
      expect((await small.sh('full', 'cat /root/data/file; ls -A /root/data')).stdout).toBe('oldfile\n');
    } finally {
      await small.close();
    }
  });

  test('to a file system of the sandbox’s own is as to any other', async () => {
    await files().write('/dev/shm/a/file', of('x'), app);
    await files().write('/dev/shm/a/file', of('y'), app);
    const { stdout } = await lab.sh('box', 'cd /dev/shm; stat -c "%n %u %g %a" a a/file; cat a/file; ls -A a');
    expect(stdout).toBe('a 1000 1000 755\na/file 1000 1000 644\nyfile\n');
  });

  test('where no file can be is refused', async () => {
    await lab.sh('box', 'mkfifo /root/fifo; ln -s /root/loop /root/loop');
    for (const path of [
      '/',
      '/root',
      '/root/',
      '/root/fifo',
      '/dev/null',
      '/root/tool/below',
      '/root/loop',
      'relative',
      '/a\0b',
    ]) {
      await expect(files().write(path, of('x'), app), path).rejects.toMatchObject({ code: 'invalid_request' });
    }
    for (const path of ['/proc/1/oom_score_adj', '/sys/kernel/x', '/.darkroom/init']) {
      await expect(files().write(path, of('x'), app), path).rejects.toMatchObject({ code: 'forbidden' });
    }
  });
});

describe('reading', () => {
  test('gives bytes, size, mode, owner and time', async () => {
    await lab.sh(
      'box',
      'printf "a\\000b" > /root/bytes; chown 5:6 /root/bytes; chmod 640 /root/bytes; touch -d @1700000000 /root/bytes',
    );
    const { stat, stream } = await files().read('/root/bytes');
    expect(stat).toMatchObject({ size: 3, mode: 0o100640, mtimeMs: 1_700_000_000_000, uid: 5, gid: 6 });
    expect(await buffer(stream)).toEqual(Buffer.from('a\0b'));
    expect(await files().stat('/root')).toMatchObject({ uid: 0, gid: 0 });
  });

  test('says what is not there and what is no file, and waits for no FIFO', async () => {
    await lab.sh('box', 'mkfifo /root/pipe');
    await expect(files().read('/nowhere')).rejects.toMatchObject({ code: 'not_found' });
    for (const path of ['/root', '/root/pipe', '/dev/zero', '/etc/passwd/x', '/dev/tty']) {
      await expect(files().read(path), path).rejects.toMatchObject({ code: 'invalid_request' });
    }
  });

  test('keeps to what a process of the sandbox could see of the kernel', async () => {
    for (const path of ['/proc/kmsg', '/proc/1/environ', '/proc/kallsyms', '/sys/kernel/notes']) {
      await expect(files().read(path), path).rejects.toMatchObject({ code: /forbidden|not_found/ });
    }
    for (const path of ['/proc/self/root/etc/shadow', '/proc/1/root/etc/passwd', '/proc/1/cwd/etc/passwd']) {
      await expect(files().read(path), path).rejects.toMatchObject({ name: 'DarkroomError' });
    }
  });

  test('never leaves the sandbox by a link', async () => {
    await lab.sh(
      'box',
      'ln -s /etc/hostname /root/absolute; ln -s ../../../../../../../../../etc/hostname /root/relative; ln -s / /root/all',
    );
    for (const path of ['/root/absolute', '/root/relative', '/root/all/etc/hostname', '/../../../etc/hostname']) {
      expect(await read(path), path).toBe('box\n');
    }
  });

  test('closes what nobody reads to the end', async () => {
    const open = async () => (await readdir('/proc/self/fd')).length;
    await lab.sh('box', 'head -c 1000000 /dev/zero > /root/large');
    const before = await open();
    for (let i = 0; i < 10; i += 1) {
      const { stream } = await files().read('/root/large');
      const closed = new Promise((resolve) => stream.once('close', resolve));
      stream.destroy();
      await closed;
      await files()
        .read('/root/no-such')
        .catch(() => {});
      await files().write('/root/again', of('x'), app);
    }
    expect(await open()).toBe(before);
  });
});

test('a lease that a process holds on a file is refused at once, and does not stop the server', async () => {
  await lab.sh('box', 'echo held > /root/leased; rm -f /root/leased-link; ln -s /root/leased /root/leased-link');
  const pid = (await lab.runtime.list()).find(({ id }) => id === 'box')?.pid;
  const hold = `import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fcntl.fcntl(os.open(sys.argv[1], os.O_RDWR), fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()`;
  // From the host, by the sandbox's own mount: the kernel does not tell the two apart.
  const holder = spawn('/usr/bin/python3', ['-c', hold, `/proc/${pid}/root/root/leased`]);
  try {
    expect(String(await once(holder.stdout, 'data'))).toContain('held');
    await expect(files().read('/root/leased-link')).rejects.toMatchObject({ code: 'conflict', retryable: true });
    await files().write('/root/leased', of('new'), app);
    expect(await read('/root/leased')).toBe('new');
  } finally {
    holder.kill('SIGKILL');
  }
});

test('links that are swapped during the call lead to no file of the host', async () => {
  // The same names exist on the host; only the sandbox's own have this content.
  const swapper = await lab.runtime.exec(
    'box',
    shell(`
    mkdir -p /race/real; echo sandbox > /race/real/hostname; : > /race/ready
    while :; do
      ln -sfn /etc /race/dir; ln -sfn real /race/dir; ln -sfn ../../../../../../etc /race/dir; ln -sfn /proc/self/root/etc /race/dir
    done`),
  );
  swapper.stdout.resume();
  swapper.stderr.resume();
  while ((await lab.sh('box', 'test -e /race/ready && test -L /race/dir')).exitCode !== 0);
  const host = await readFile('/etc/hostname', 'utf8').catch(() => 'no host name');
  const seen = new Set<string>();
  for (let i = 0; i < 300; i += 1) {
    seen.add(
      await read('/race/dir/hostname').catch((error: unknown) => (error instanceof Error ? error.name : 'error')),
    );
    await files()
      .write(`/race/dir/upload-${i % 4}`, of('x'), app)
      .catch(() => {});
  }
  await swapper.killTree();
  seen.delete('DarkroomError');
  expect([...seen].filter((content) => !['box\n', 'sandbox\n'].includes(content))).toEqual([]);
  expect(seen).not.toContain(host);
  expect((await readdir('/etc')).filter((name) => name.startsWith('upload-') || name.startsWith('.darkroom-'))).toEqual(
    [],
  );
  expect((await readdir('/')).filter((name) => name.startsWith('upload-'))).toEqual([]);
});
