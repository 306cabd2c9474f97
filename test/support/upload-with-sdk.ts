import { argv, env } from 'node:process';
import * as newest from '@daytona/sdk';
import * as oldest from 'daytona-sdk-0190';
import * as legacy from 'daytona-sdk-legacy';

/**
 * `upload-with-sdk.ts SDK DIRECTORY`: asks the official SDK for a snapshot with the directory in it, which uploads it first. What
 * becomes of the snapshot is printed, and not what this is about. A process of its own, because Node reads the certificates that
 * it trusts when it starts.
 */
const connection = { apiKey: env.DAYTONA_API_KEY ?? '', apiUrl: env.DAYTONA_API_URL ?? '' };
const [, , sdk, directory = ''] = argv;
const name = `upload-${crypto.randomUUID()}`;

const uploads: Record<string, () => Promise<unknown>> = {
  oldest: () => {
    const image = oldest.Image.base('alpine:3.20').addLocalDir(directory, '/app');
    return new oldest.Daytona(connection).snapshot.create({ name, image });
  },
  legacy: () => {
    const image = legacy.Image.base('alpine:3.20').addLocalDir(directory, '/app');
    return new legacy.Daytona(connection).snapshot.create({ name, image });
  },
  newest: () => {
    const image = newest.Image.base('alpine:3.20').addLocalDir(directory, '/app');
    return new newest.Daytona(connection).snapshot.create({ name, image });
  },
};

const upload = uploads[sdk ?? ''];
if (upload === undefined) throw new Error(`there is no SDK ${sdk}`);
await upload().then(
  () => console.log('created'),
  (error: unknown) => console.log(String(error)),
);
