import type { Client } from '../client.ts';
import { sha256 } from '../images.ts';
import { dropFile, fileInDoubt, type SandboxModel, setFile } from '../model.ts';
import type { Random } from '../random.ts';
import { Violation } from '../requests.ts';

const MOST_FILES = 10;

function writtenPath(sandbox: SandboxModel, random: Random): string {
  const own = ownFiles(sandbox);
  if (own.length >= MOST_FILES || (own.length > 0 && random.chance(0.3))) return random.pick(own);
  return `/t/${random.pick(['', 'd1/', 'd1/d2/'])}f${random.below(1_000_000)}`;
}

const ownFiles = ({ files }: SandboxModel) => [...files.keys()].filter((path) => path.startsWith('/t/'));

export async function uploadFile(client: Client, random: Random, sandbox: SandboxModel): Promise<void> {
  const path = writtenPath(sandbox, random);
  const length = random.chance(0.1) ? 100_000 + random.below(1_000_000) : random.below(8_000);
  const content = Buffer.alloc(length, `${path} ${random.below(2 ** 30)} `);
  fileInDoubt(sandbox, path);
  const form = new FormData();
  form.append('file', new Blob([new Uint8Array(content)]), 'file');
  const query = new URLSearchParams({ path });
  await client.requests.toolbox(sandbox.id ?? '', `/files/upload?${query}`, { method: 'POST', form });
  setFile(sandbox, path, sha256(content));
}

/** By a command: the whole of it has happened when it is answered. */
export async function writeByCommand(client: Client, random: Random, sandbox: SandboxModel): Promise<void> {
  const path = writtenPath(sandbox, random);
  const text = `${path} ${random.below(2 ** 30)}`;
  fileInDoubt(sandbox, path);
  const lines = 1 + random.below(200);
  const command = `sh -c 'mkdir -p ${path.slice(0, path.lastIndexOf('/'))} && yes "${text}" | head -n ${lines} > ${path}'`;
  await expectSuccess(client, sandbox, command);
  setFile(sandbox, path, sha256(`${text}\n`.repeat(lines)));
}

export async function deleteFile(client: Client, random: Random, sandbox: SandboxModel): Promise<void> {
  const own = ownFiles(sandbox);
  const all = [...sandbox.files.keys()];
  if (all.length < 2) return writeByCommand(client, random, sandbox);
  // Files of layers below leave a whiteout.
  const path = random.pick(own.length > 0 && random.chance(0.8) ? own : all.filter((name) => name !== '/mark/image'));
  fileInDoubt(sandbox, path);
  await expectSuccess(client, sandbox, `rm -f ${path}`);
  dropFile(sandbox, path);
}

export async function renameDirectory(client: Client, random: Random, sandbox: SandboxModel): Promise<void> {
  const from = '/t/d1/';
  const moved = [...sandbox.files].filter(([path]) => path.startsWith(from));
  if (moved.length === 0 || moved.some(([, hash]) => hash === undefined)) return uploadFile(client, random, sandbox);
  const to = `/t/r${random.below(1_000_000)}/`;
  const target = (path: string) => to + path.slice(from.length);
  fileInDoubt(sandbox, ...moved.flatMap(([path]) => [path, target(path)]));
  await expectSuccess(client, sandbox, `mv ${from} ${to}`);
  for (const [path, hash] of moved) {
    dropFile(sandbox, path);
    if (hash !== undefined) setFile(sandbox, target(path), hash);
  }
}

async function expectSuccess(client: Client, sandbox: SandboxModel, command: string): Promise<void> {
  const { exitCode, result } = await client.requests.execute(sandbox.id ?? '', command);
  if (exitCode !== 0) throw new Violation(`${command} in ${sandbox.name} ended with ${exitCode}: ${result}`);
}
