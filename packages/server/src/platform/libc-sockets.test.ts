import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, readdirSync, readlinkSync, realpathSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { acceptUnix, listenUnix, receiveDescriptor } from './libc-sockets.ts';

let directory: string;
let file: string;
let open: number[];
beforeEach(async () => {
  directory = await mkdtemp(join(realpathSync(tmpdir()), 'darkroom-sockets-'));
  file = join(directory, 'sent');
  writeFileSync(file, '');
  open = [];
});
afterEach(async () => {
  for (const fd of open) closeSync(fd);
  await rm(directory, { recursive: true, force: true });
});

const SEND = `import socket, sys
path, file, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = socket.socket(socket.AF_UNIX)
connection.connect(path)
opened = [open(file) for _ in range(count)]
if opened: socket.send_fds(connection, [b'x'], [each.fileno() for each in opened])
else: connection.send(b'x')`;

/** The connection of a process that sent one message, with the file open so many times, and has ended. */
async function messageWith(count: number): Promise<number> {
  const path = join(directory, 'socket');
  const listening = listenUnix(path);
  open.push(listening);
  expect(acceptUnix(listening)).toBeUndefined();
  const [code] = await once(spawn('python3', ['-c', SEND, path, file, String(count)], { stdio: 'inherit' }), 'exit');
  expect(code).toBe(0);
  const connection = acceptUnix(listening);
  if (connection === undefined) throw new Error('nobody connected');
  open.push(connection);
  return connection;
}

function descriptorsOfFile(): number[] {
  const isIt = (fd: string) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === file;
    } catch {
      return false;
    }
  };
  return readdirSync('/proc/self/fd').filter(isIt).map(Number);
}

test('one descriptor is taken from a message, and no other stays open', async () => {
  const received = receiveDescriptor(await messageWith(2));
  const found = descriptorsOfFile();
  open.push(...found);
  expect(found).toEqual([received]);
});

test('a message without a descriptor is told from none', async () => {
  const connection = await messageWith(0);
  expect(receiveDescriptor(connection)).toBe('none');
});
