import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { sha256, type TestImage } from './test-image.ts';

export interface SeenRequest {
  method: string;
  path: string;
  authorization: string | undefined;
  range: string | undefined;
}

/** Answers and returns true, or lets the registry answer as it should. */
export type Script = (request: IncomingMessage, response: ServerResponse, count: number) => boolean | undefined;

/** A registry that behaves, but for what a test's script does to it. */
export interface ScriptedRegistry {
  host: string;
  requests: SeenRequest[];
  /** Requests whose path ends with this. */
  count(ending: string): number;
  script: Script | undefined;
  serve(repository: string, image: TestImage, tag?: string): void;
  /** Any manifest, also one that is none. */
  serveManifest(repository: string, tag: string, bytes: Buffer, contentType: string): void;
  close(): Promise<void>;
}

export async function startScriptedRegistry(): Promise<ScriptedRegistry> {
  const contents = new Map<string, { bytes: Buffer; type: string }>();
  const counts = new Map<string, number>();
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    const count = (counts.get(path) ?? 0) + 1;
    counts.set(path, count);
    const { authorization, range } = request.headers;
    registry.requests.push({ method: request.method ?? '', path, authorization, range });
    if (registry.script?.(request, response, count) === true) return;
    answer(contents.get(path), request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const registry: ScriptedRegistry = {
    host: `127.0.0.1:${address.port}`,
    requests: [],
    count: (ending) => registry.requests.filter(({ path }) => path.endsWith(ending)).length,
    script: undefined,
    serve(repository, image, tag = 'latest') {
      for (const [digest, bytes] of image.blobs) {
        contents.set(`/v2/${repository}/blobs/${digest}`, { bytes, type: 'application/octet-stream' });
      }
      const type = 'application/vnd.oci.image.manifest.v1+json';
      contents.set(`/v2/${repository}/manifests/${image.digest}`, { bytes: image.manifest, type });
      contents.set(`/v2/${repository}/manifests/${tag}`, { bytes: image.manifest, type });
    },
    serveManifest(repository, tag, bytes, type) {
      contents.set(`/v2/${repository}/manifests/${tag}`, { bytes, type });
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return registry;
}

function answer(
  content: { bytes: Buffer; type: string } | undefined,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  if (request.url === '/v2/') {
    response.end('{}');
    return;
  }
  if (content === undefined) {
    sendError(response, 404, 'MANIFEST_UNKNOWN', 'manifest unknown');
    return;
  }
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const { bytes, type } = content;
  response.setHeader('content-type', type);
  // A script may have said something else.
  const saysDigest = request.url?.includes('/manifests/') === true && !response.hasHeader('docker-content-digest');
  if (saysDigest) response.setHeader('docker-content-digest', sha256(bytes));
  if (from > 0) response.writeHead(206, { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` });
  response.end(bytes.subarray(from));
}

export function sendError(response: ServerResponse, status: number, code: string, message: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ errors: [{ code, message }] }));
}
