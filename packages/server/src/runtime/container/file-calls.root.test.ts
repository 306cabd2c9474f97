import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openLab, type SandboxLab } from '../testing/sandbox-lab.ts';

let lab: SandboxLab;
beforeAll(async () => {
  lab = await openLab();
  await lab.start('box');
});
afterAll(() => lab?.close());

const files = () => lab.runtime.files('box');
const app = { uid: 1000, gid: 1000 };
const { signal } = new AbortController();
const sh = async (script: string) => (await lab.sh('box', script)).stdout;
const collect = async <T>(items: AsyncIterable<T>) => {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
};

describe('listing', () => {
  test('shows links as links, and names of any bytes', async () => {
    await sh(
      `mkdir -p /list/dir; cd /list; echo abc > file; ln -s /nowhere link; mkfifo fifo; touch "$(printf 'a\\344\\nb')"`,
    );
    const entries = await collect(files().list('/list'));
    const found = Object.fromEntries(entries.map(({ name, stat }) => [name, stat.mode & 0o170000]));
    expect(found).toEqual({
      dir: 0o040000,
      file: 0o100000,
      link: 0o120000,
      fifo: 0o010000,
      'a\udce4\nb': 0o100000,
    });
    expect(await files().stat('/list/a\udce4\nb')).toMatchObject({ size: 0 });
    await files().remove('/list/a\udce4\nb', { recursive: false, signal });
    expect(await sh('ls /list | wc -l')).toBe('4\n');
    expect(await files().readLink('/list/link')).toBe('/nowhere');
    expect((await files().lstat('/list/link')).mode & 0o170000).toBe(0o120000);
    await expect(files().stat('/list/link')).rejects.toMatchObject({ code: 'not_found' });
    await expect(collect(files().list('/list/file'))).rejects.toMatchObject({ code: 'invalid_request' });
    await expect(collect(files().list('/list/none'))).rejects.toMatchObject({ code: 'not_found' });
  });

  test('a walk goes everywhere once, follows no link and enters no other file system', async () => {
    await sh('mkdir -p /walk/a/b; cd /walk; echo deep > a/b/file; ln -s /walk a/loop; ln -s .. a/b/up');
    const walked = await collect(files().walk('/walk/', { signal }));
    expect(walked.map(({ path, depth }) => `${depth} ${path}`).sort()).toEqual([
      '1 /walk/a',
      '2 /walk/a/b',
      '2 /walk/a/loop',
      '3 /walk/a/b/file',
      '3 /walk/a/b/up',
    ]);
    const all = await collect(files().walk('/', { signal }));
    expect(all.map(({ path }) => path)).toContain('/proc');
    expect(all.some(({ path }) => /^\/(proc|sys|dev)\/./.test(path))).toBe(false);
    for await (const entry of files().walk('/walk', { signal })) {
      if (entry.path !== '/walk/a/b/file') continue;
      const file = await entry.open();
      expect((await file.read(0, 100)).toString()).toBe('deep\n');
      await file.close();
    }
  });
});

describe('making', () => {
  test('directories with and without parents, for their owner', async () => {
    await files().makeDirectory('/make/a/b/', { mode: 0o700, owner: app, parents: true });
    await files().makeDirectory('/make/a/b', { mode: 0o755, owner: app, parents: true });
    await files().makeDirectory('/dev/shm/made/here', { mode: 0o1777, owner: app, parents: true });
    expect(await sh('stat -c "%n %u %g %a" /make/a /make/a/b /dev/shm/made /dev/shm/made/here')).toBe(
      '/make/a 1000 1000 755\n/make/a/b 1000 1000 700\n/dev/shm/made 1000 1000 755\n/dev/shm/made/here 1000 1000 1777\n',
    );
    const alone = { mode: 0o755, owner: app, parents: false };
    await expect(files().makeDirectory('/make/a', alone)).rejects.toMatchObject({ code: 'conflict' });
    await expect(files().makeDirectory('/make/x/y', alone)).rejects.toMatchObject({ code: 'not_found' });
    await sh('echo > /make/file');
    for (const path of ['/make/file', '/make/file/below']) {
      await expect(files().makeDirectory(path, { ...alone, parents: true }), path).rejects.toMatchObject({
        code: 'invalid_request',
      });
    }
    await expect(files().makeDirectory('/proc/x', { ...alone, parents: true })).rejects.toMatchObject({
      code: 'forbidden',
    });
  });

  test('links of any target', async () => {
    await files().makeLink('../some/where', '/make/link', app);
    await files().makeLink('/etc', '/dev/shm/link', app);
    expect(await sh('readlink /make/link; readlink /dev/shm/link; stat -c "%u" /make/link /dev/shm/link /etc')).toBe(
      '../some/where\n/etc\n1000\n1000\n0\n',
    );
    await expect(files().makeLink('x', '/make/link', app)).rejects.toMatchObject({ code: 'conflict' });
  });
});

describe('removing', () => {
  test('takes files and links, and directories only when told', async () => {
    await sh(
      'mkdir -p /rm/dir /rm/kept; cd /rm; echo > dir/file; echo > kept/file; ln -s ../kept dir/link; ln -s kept link; mkfifo dir/fifo',
    );
    const remove = (path: string, recursive: boolean) => files().remove(path, { recursive, signal });
    await expect(remove('/rm/dir', false)).rejects.toMatchObject({ code: 'invalid_request' });
    await expect(remove('/rm/none', true)).rejects.toMatchObject({ code: 'not_found' });
    await expect(files().removeDirectory('/rm/dir')).rejects.toMatchObject({ code: 'conflict' });
    await remove('/rm/dir', true);
    await remove('/rm/link', true);
    expect(await sh('ls /rm /rm/kept')).toBe('/rm:\nkept\n\n/rm/kept:\nfile\n');
  });

  test('keeps the mounts of the sandbox', async () => {
    for (const path of ['/proc', '/dev', '/dev/shm', '/etc/hosts', '/dev/null', '/.darkroom']) {
      await expect(files().remove(path, { recursive: true, signal }), path).rejects.toMatchObject({ code: 'conflict' });
    }
    for (const path of ['/', '/..', '/dev/.', '/..//']) {
      await expect(files().remove(path, { recursive: true, signal }), path).rejects.toMatchObject({
        code: 'invalid_request',
      });
    }
    expect(await sh('cat /etc/hostname; echo > /dev/null && test -e /proc/self/stat && echo there')).toBe(
      'box\nthere\n',
    );
  });

  test('takes what is deeper than any path and broader than any batch', async () => {
    await sh(
      'mkdir -p /deep; cd /deep; i=0; while [ $i -lt 3000 ]; do mkdir dddddddd && cd dddddddd && echo > f; i=$((i+1)); done; mkdir -p /deep/broad; cd /deep/broad; seq 5000 | xargs touch',
    );
    await files().remove('/deep', { recursive: true, signal });
    await expect(files().stat('/deep')).rejects.toMatchObject({ code: 'not_found' });
  });

  test('stops when it is told', async () => {
    await sh('mkdir -p /many; cd /many; seq 1000 | xargs touch');
    const controller = new AbortController();
    const removing = files().remove('/many', { recursive: true, signal: controller.signal });
    controller.abort();
    await expect(removing).rejects.toThrow();
    expect((await files().stat('/many')).mode & 0o170000).toBe(0o040000);
  });
});

describe('moving', () => {
  const rename = (from: string, to: string, replace = true) => files().rename(from, to, { replace, signal });

  test('renames, and replaces only when told', async () => {
    await sh('mkdir -p /mv/dir; cd /mv; echo a > a; echo b > b; echo c > dir/c');
    await expect(rename('/mv/a', '/mv/b', false)).rejects.toMatchObject({ code: 'conflict' });
    await rename('/mv/a', '/mv/b');
    await rename('/mv/dir', '/mv/other');
    expect(await sh('cd /mv; ls; cat b other/c')).toBe('b\nother\na\nc\n');
    await expect(rename('/mv/none', '/mv/x')).rejects.toMatchObject({ code: 'not_found' });
    await expect(rename('/mv/b', '/mv/no/x')).rejects.toMatchObject({ code: 'not_found' });
    await expect(rename('/mv/other', '/mv/other/inside')).rejects.toMatchObject({ code: 'invalid_request' });
    await expect(rename('/etc/hosts', '/mv/hosts')).rejects.toMatchObject({ code: 'conflict' });
    await expect(rename('/mv/b', '/etc/hosts')).rejects.toMatchObject({ code: 'conflict' });
  });

  test('goes to other file systems with everything that files have', async () => {
    await sh(`mkdir -p /tree/sub; cd /tree; echo x > sub/file; chown 7:8 sub/file; chmod 4750 sub/file; touch -d @1700000000 sub/file
      ln -s sub/file link; mkfifo fifo; chmod 2711 sub; truncate -s 5M sparse; chown 5:5 .; touch -d @1600000000 sub`);
    const look =
      'find . ! -name sparse -exec stat -c "%n %F %u %g %a" {} \\; | sort; stat -c "%Y" sub sub/file; readlink link; stat -c %s sparse; du -k sparse | cut -f1';
    const before = await sh(`cd /tree; ${look}`);
    await rename('/tree', '/dev/shm/tree');
    expect(await sh(`cd /dev/shm/tree; ${look}; ls -d /tree; ls -A /dev/shm | grep darkroom`)).toBe(before);
    await rename('/dev/shm/tree', '/back');
    expect(await sh(`cd /back; ${look}; ls -d /dev/shm/tree`)).toBe(before);
  });

  test('takes directories of the image along', async () => {
    const before = await sh('cd /etc; find . | sort');
    await sh('cp -a /etc /etc-before');
    await rename('/bin', '/programs');
    expect((await lab.runtime.files('box').stat('/programs/busybox')).size).toBeGreaterThan(0);
    await rename('/programs', '/bin');
    expect(await sh('cd /etc; find . | sort')).toBe(before);
  });

  test('says what cannot come along, and leaves all where it was', async () => {
    await sh(
      'mkdir -p /big; head -c 100000 /dev/urandom > /big/file; dd if=/dev/zero of=/dev/shm/filler bs=64k 2> /dev/null; truncate -s -65536 /dev/shm/filler; mkdir /dev/shm/full; echo > /dev/shm/full/file; mkdir /dev/shm/empty',
    );
    await expect(rename('/big', '/dev/shm/big')).rejects.toMatchObject({ code: 'insufficient_storage' });
    await expect(rename('/big', '/dev/shm/full')).rejects.toMatchObject({ code: 'conflict' });
    await expect(rename('/big/file', '/dev/shm/empty')).rejects.toMatchObject({ code: 'invalid_request' });
    expect(await sh('ls /big; ls -A /dev/shm | grep -c darkroom')).toBe('file\n0\n');
  });
});

describe('changing', () => {
  test('owner by name or number, mode, size and times', async () => {
    await sh(
      'echo "app:x:1000:1001::/home/app:/bin/sh" >> /etc/passwd; echo "staff:x:50:" >> /etc/group; mkdir /ch; echo 12345 > /ch/file',
    );
    await files().change('/ch/file', { owner: 'app', group: 'staff', mode: 0o4755 });
    expect(await sh('stat -c "%U %G %u %g %a" /ch/file')).toBe('app staff 1000 50 4755\n');
    await files().change('/ch/file', { owner: '7', group: 8, size: 3, mode: 0o600 });
    await files().change('/ch/file', { atimeMs: 1_600_000_000_500, mtimeMs: 1_700_000_000_250 });
    expect(await sh('stat -c "%u %g %a %s %Y" /ch/file; cat /ch/file')).toBe('7 8 600 3 1700000000\n123');
    const names = await files().ownerNames();
    expect([names.owner(1000), names.owner(0), names.group(50), names.group(4711)]).toEqual([
      'app',
      'root',
      'staff',
      '4711',
    ]);
    await expect(files().change('/ch/file', { owner: 'nobody-there' })).rejects.toMatchObject({
      code: 'invalid_request',
    });
    await expect(files().change('/ch/file', { owner: 4_000_000_000 })).rejects.toMatchObject({
      code: 'invalid_request',
    });
    await expect(files().change('/ch', { size: 3 })).rejects.toMatchObject({ code: 'invalid_request' });
  });

  test('never the devices, the tools and the kernel’s files', async () => {
    await expect(files().change('/dev/null', { mode: 0 })).rejects.toMatchObject({ code: 'invalid_request' });
    for (const path of ['/.darkroom/init', '/proc/1/status', '/sys/kernel']) {
      await expect(files().change(path, { mode: 0o777, owner: 0 }), path).rejects.toMatchObject({ code: 'forbidden' });
    }
  });
});

describe('random access', () => {
  test('reads and writes anywhere, with what was asked for', async () => {
    const file = await files().open('/ra', { read: true, write: true, create: { mode: 0o640, owner: app } });
    await file.write(4, Buffer.from('tail'));
    await file.write(0, Buffer.from('head'));
    expect((await file.read(2, 4)).toString()).toBe('adta');
    expect((await file.read(6, 100)).toString()).toBe('il');
    expect((await file.read(100, 100)).length).toBe(0);
    expect(await file.stat()).toMatchObject({ size: 8, uid: 1000, mode: 0o100640 });
    await file.change({ size: 4, mode: 0o600 });
    await file.sync();
    await file.close();
    await file.close();
    await expect(file.read(0, 1)).rejects.toThrow();
    expect(await sh('stat -c "%u %a" /ra; cat /ra')).toBe('1000 600\nhead');

    const appended = await files().open('/ra', { append: true });
    await appended.write(0, Buffer.from('+'));
    await appended.close();
    const emptied = await files().open('/ra', { write: true, truncate: true });
    await emptied.close();
    expect((await files().stat('/ra')).size).toBe(0);
    const made = await files().open('/dev/shm/ra', {
      write: true,
      create: { mode: 0o644, owner: app, exclusive: true },
    });
    await made.close();
  });

  test('opens nothing but files', async () => {
    await sh('mkfifo /ra-fifo; ln -s /nowhere /ra-dangling; echo > /ra-there');
    const open = (path: string, create = false) =>
      files().open(path, { write: true, ...(create ? { create: { mode: 0o644, owner: app } } : {}) });
    for (const path of ['/ra-fifo', '/dev/null', '/etc']) {
      await expect(open(path), path).rejects.toMatchObject({ code: 'invalid_request' });
    }
    await expect(open('/none')).rejects.toMatchObject({ code: 'not_found' });
    await expect(open('/none/below', true)).rejects.toMatchObject({ code: 'not_found' });
    await expect(open('/ra-dangling', true)).rejects.toMatchObject({ code: 'conflict' });
    await expect(open('/proc/1/oom_score_adj')).rejects.toMatchObject({ code: 'forbidden' });
    const exclusive = { mode: 0o644, owner: app, exclusive: true };
    await expect(files().open('/ra-there', { write: true, create: exclusive })).rejects.toMatchObject({
      code: 'conflict',
    });
  });

  test('real paths have no links and no dots', async () => {
    await sh('mkdir -p /rp/real; ln -s real /rp/link');
    expect(await files().realPath('/rp/../rp/link/./')).toBe('/rp/real');
    expect(await files().realPath('/')).toBe('/');
    await files().write('/rp/real/ü', Readable.from(['x']), app);
    expect(await files().realPath('/rp/link/ü')).toBe('/rp/real/ü');
  });
});
