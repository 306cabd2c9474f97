import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Darkroom } from '../../test/support/darkroom.ts';

const BOUNDARY = 'bench-boundary';

/** A form as the clients send it, the contents read as they are sent. */
async function* form(files: Iterable<{ path: string; content: AsyncIterable<Buffer> }>): AsyncGenerator<Buffer> {
  let number = 0;
  for (const { path, content } of files) {
    const field = (name: string, more: string, value: string) =>
      Buffer.from(
        `--${BOUNDARY}\r\nContent-Disposition: form-data; name="files[${number}].${name}"${more}\r\n\r\n${value}`,
      );
    yield field('path', '', `${path}\r\n`);
    yield field('file', '; filename="file"\r\nContent-Type: application/octet-stream', '');
    yield* content;
    yield Buffer.from('\r\n');
    number += 1;
  }
  yield Buffer.from(`--${BOUNDARY}--\r\n`);
}

async function send(
  darkroom: Darkroom,
  id: string,
  route: string,
  type: string,
  body: Readable,
): Promise<IncomingMessage> {
  const headers = { authorization: `Bearer ${darkroom.apiKey}`, 'content-type': type };
  const sent = request(`${darkroom.url}/toolbox/${id}/files/${route}`, { method: 'POST', headers });
  const answered = once(sent, 'response');
  await pipeline(body, sent);
  const [answer]: IncomingMessage[] = await answered;
  if (answer?.statusCode !== 200)
    throw new Error(`${route}: ${answer?.statusCode} ${(await answer?.toArray())?.join('')}`);
  return answer;
}

const upload = async (darkroom: Darkroom, id: string, files: Parameters<typeof form>[0]) => {
  const body = Readable.from(form(files), { objectMode: false, highWaterMark: 256 * 1024 });
  const answer = await send(darkroom, id, 'bulk-upload', `multipart/form-data; boundary=${BOUNDARY}`, body);
  await answer.toArray();
};

const download = (darkroom: Darkroom, id: string, paths: readonly string[]) =>
  send(darkroom, id, 'bulk-download', 'application/json', Readable.from([Buffer.from(JSON.stringify({ paths }))]));

export function uploadOne(darkroom: Darkroom, id: string, source: string, path: string): Promise<void> {
  return upload(darkroom, id, [{ path, content: createReadStream(source, { highWaterMark: 256 * 1024 }) }]);
}

/** The answer with its form around the file: a few hundred bytes more. */
export async function downloadOne(darkroom: Darkroom, id: string, path: string, target: string): Promise<void> {
  await pipeline(await download(darkroom, id, [path]), createWriteStream(target));
}

export async function uploadMany(
  darkroom: Darkroom,
  id: string,
  files: ReadonlyMap<string, Buffer>,
  directory: string,
): Promise<void> {
  const parts = [...files].map(([name, content]) => ({
    path: `${directory}/${name}`,
    content: Readable.from([content]),
  }));
  await upload(darkroom, id, parts);
}

/** Writes each file, as `docker cp` does. */
export async function downloadMany(
  darkroom: Darkroom,
  id: string,
  paths: readonly string[],
  target: string,
): Promise<number> {
  await mkdir(target, { recursive: true });
  const answer = Buffer.concat(await (await download(darkroom, id, paths)).toArray());
  let files = 0;
  for (let at = 0; ; ) {
    const end = answer.indexOf('\r\n\r\n', at);
    if (end === -1) return files;
    const head = answer.toString('latin1', at, end);
    const name = basename(/filename="([^"]+)"/.exec(head)?.[1] ?? '');
    const length = Number(/Content-Length: (\d+)/i.exec(head)?.[1]);
    await writeFile(join(target, name), answer.subarray(end + 4, end + 4 + length));
    at = end + 4 + length + 2;
    files += 1;
  }
}
