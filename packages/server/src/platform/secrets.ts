import { createCipheriv, createDecipheriv, hkdfSync, randomBytes, randomUUID } from 'node:crypto';
import { link, open, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DarkroomError, errnoOf, undefinedIfMissing } from './errors.ts';
import { syncDirectory } from './sync-directory.ts';

/** Keeps secrets unreadable at rest: AES-256-GCM under a key that never leaves the state directory. */
export interface SecretBox {
  /** `context` is not kept in the result: what was sealed for one row cannot be opened as another's. */
  seal(plain: string, context?: string): Buffer;
  open(sealed: Buffer, context?: string): string;
  /** 32 bytes that are always the same for a purpose, and that nobody without the key can tell from chance. */
  derive(purpose: string): Buffer;
}

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const VERSION = 1;

/** Opens the box with the key of the state directory, which is made at the first start. */
export async function openSecretBox(stateDir: string): Promise<SecretBox> {
  const key = await readOrMakeKey(join(stateDir, 'secret.key'));
  return {
    seal(plain, context = '') {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context));
      const body = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
      return Buffer.concat([Buffer.of(VERSION), nonce, body, cipher.getAuthTag()]);
    },
    open(sealed, context = '') {
      try {
        if (sealed[0] !== VERSION || sealed.length < 1 + NONCE_BYTES + TAG_BYTES)
          throw new Error('not a sealed secret');
        const nonce = sealed.subarray(1, 1 + NONCE_BYTES);
        const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
        decipher.setAAD(Buffer.from(context)).setAuthTag(sealed.subarray(-TAG_BYTES));
        const body = sealed.subarray(1 + NONCE_BYTES, -TAG_BYTES);
        return Buffer.concat([decipher.update(body), decipher.final()]).toString('utf8');
      } catch (cause) {
        throw new DarkroomError('internal', 'a stored secret cannot be decrypted', {
          hint: 'The key file secret.key of the state directory is not the one that it was stored with.',
          cause,
        });
      }
    },
    derive: (purpose) => Buffer.from(hkdfSync('sha256', key, '', `darkroom ${purpose}`, 32)),
  };
}

async function readOrMakeKey(path: string): Promise<Buffer> {
  const found = await readKey(path);
  if (found !== undefined) return found;
  const draft = `${path}.${randomUUID()}.new`;
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(randomBytes(KEY_BYTES));
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    // A link and not a rename: a key that somebody else made meanwhile stays.
    await link(draft, path);
    await syncDirectory(join(path, '..'));
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  } finally {
    await rm(draft, { force: true });
  }
  const made = await readKey(path);
  if (made === undefined) throw new DarkroomError('internal', `${path} vanished while it was made`);
  return made;
}

async function readKey(path: string): Promise<Buffer | undefined> {
  try {
    const key = await readFile(path);
    const { mode } = await stat(path);
    if (key.length !== KEY_BYTES) throw badKey(path, `has ${key.length} bytes instead of ${KEY_BYTES}`);
    if ((mode & 0o077) !== 0) throw badKey(path, 'can be read by others than its owner (it must have mode 0600)');
    return key;
  } catch (error) {
    return undefinedIfMissing(error);
  }
}

function badKey(path: string, what: string): DarkroomError {
  return new DarkroomError('internal', `the key file ${path} ${what}`, {
    hint: 'Restore it from a backup or set its mode; stored registry passwords can only be read with it.',
  });
}
