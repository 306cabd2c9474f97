import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DarkroomError, undefinedIfMissing } from '../platform/errors.ts';
import { replaceFile } from '../platform/replace-file.ts';

export interface HostKey {
  privateKey: string;
  /** One line, as in `known_hosts` behind the name of the host. */
  publicKey: string;
  /** As OpenSSH shows it: `SHA256:…`. */
  fingerprint: string;
}

const FILE = 'ssh-host-key';
const MAX_DRAWS = 20;

/**
 * The key by which clients know this server again: made at the first start, kept in the state directory. Its public half is
 * kept beside it, so that a start need not load the library: that costs as much memory as a tenth of the whole server.
 */
export async function loadHostKey(stateDir: string): Promise<HostKey> {
  const path = join(stateDir, FILE);
  const privateKey = (await readKey(path)) ?? (await makeKey(path));
  const publicKey = (await readKey(`${path}.pub`)) ?? (await makePublicKey(path, privateKey));
  const blob = Buffer.from(publicKey.split(' ')[1] ?? '', 'base64');
  return {
    privateKey,
    publicKey,
    fingerprint: `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`,
  };
}

async function makePublicKey(path: string, privateKey: string): Promise<string> {
  const { default: ssh2 } = await import('ssh2');
  const parsed = ssh2.utils.parseKey(privateKey);
  if (parsed instanceof Error) {
    throw new DarkroomError('internal', `${path} is no key: ${parsed.message}`, {
      hint: 'Restore it from a backup, or remove it and its .pub: a new one is made, and clients are warned of it.',
    });
  }
  const line = `${parsed.type} ${parsed.getPublicSSH().toString('base64')}`;
  await replaceFile(`${path}.pub`, line, 0o600);
  return line;
}

const readKey = (path: string) => readFile(path, 'utf8').catch(undefinedIfMissing);

async function makeKey(path: string): Promise<string> {
  const { default: ssh2 } = await import('ssh2');
  // One in some hundred that the library makes, it cannot read itself.
  let key: string | undefined;
  for (let draws = 0; key === undefined && draws < MAX_DRAWS; draws++) {
    const drawn = ssh2.utils.generateKeyPairSync('ed25519').private;
    if (!(ssh2.utils.parseKey(drawn) instanceof Error)) key = drawn;
  }
  if (key === undefined) throw new DarkroomError('internal', 'no key for SSH could be made');
  // A public half without its private one is of another key.
  await rm(`${path}.pub`, { force: true });
  // Half a key would lock everybody out at the next start.
  await replaceFile(path, key, 0o600);
  return key;
}
