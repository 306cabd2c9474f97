import { createServer } from 'node:http';
import { buildTar } from '../../../images/tar/testing/build-tar.ts';

const MODIFIED = 'Tue, 14 Nov 2017 22:13:20 GMT';

/** By path; all as old as the others of the corpus. */
const FILES: Readonly<Record<string, Buffer>> = {
  '/file.txt': Buffer.from('served\n'),
  '/dir/other.txt': Buffer.from('other\n'),
  '/small.tar': buildTar([{ name: 'small', data: Buffer.from('small'), mode: 0o640, uid: 2, mtime: 1_500_000_001 }]),
  '/query?name=x&y=z': Buffer.from('asked\n'),
};

export interface FileServer {
  /** What the corpus gets as the ARG `FILES`. */
  url: string;
  close(): Promise<void>;
}

/** Serves what ADD fetches, on loopback. */
export async function startFileServer(): Promise<FileServer> {
  const server = createServer((request, response) => {
    const body = FILES[request.url ?? ''];
    if (body === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'last-modified': MODIFIED, 'content-length': body.length }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    close: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}
