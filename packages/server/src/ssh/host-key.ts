import { createHash } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { DarkroomError, errnoOf } from '../platform/errors.ts';

export interface HostKey {
  privateKey: string;
  /** One line, as in `known_hosts` behind the name of the host. */
  publicKey: string;
  /** As OpenSSH shows it: `SHA256:…`. */
  fingerprint: string;
}

const FILE = 'ssh-host-key';

/** The key by which clients know this server again: made at the first start, kept in the state directory. */
export async function loadHostKey(stateDir: string): Promise<HostKey> {
  const path = join(stateDir, FILE);
  const privateKey = (await readKey(path)) ?? (await makeKey(path));
  const parsed = ssh2.utils.parseKey(privateKey);
  if (parsed instanceof Error) {
    throw new DarkroomError('internal', `${path} is no key: ${parsed.message}`, {
      hint: 'Restore it from a backup, or remove it: a new one is made, and clients are warned of it.',
    });
  }
  const blob = parsed.getPublicSSH();
  return {
    privateKey,
    publicKey: `${parsed.type} ${blob.toString('base64')}`,
    fingerprint: `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`,
  };
}

async function readKey(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whole or not at all: half a key would lock everybody out at the next start. */
async function makeKey(path: string): Promise<string> {
  const key = ssh2.utils.generateKeyPairSync('ed25519').private;
  const temporary = `${path}.new`;
  await rm(temporary, { force: true });
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(key);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  return key;
}
