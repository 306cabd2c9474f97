import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ContextBody, ContextStore } from '../../builds/contexts/context-store.ts';
import type { Signer } from './authenticate.ts';
import { S3Error } from './s3-error.ts';
import { lengthOf, signedBody } from './signed-body.ts';
import { type XmlContent, xmlDocument } from './xml.ts';

/** One verified request. */
export interface Call {
  request: FastifyRequest;
  reply: FastifyReply;
  signer: Signer;
  query: ReadonlyMap<string, string>;
  store: ContextStore;
}

export type Operation = (call: Call) => Promise<FastifyReply>;

/** A client that sends nothing for so long is gone. */
const STALL_MS = 120_000;

/** The bytes that the client means, which end only when all that it says of them is true. */
export function bodyOf({ request, signer }: Call): ContextBody {
  const { headers, raw } = request;
  const isStreaming = signer.signature.payload.startsWith('STREAMING-');
  const size = lengthOf(headers[isStreaming ? 'x-amz-decoded-content-length' : 'content-length']) ?? emptyOf(headers);
  const stream = signedBody(raw, headers, signer.signature, signer.secret);
  raw.setTimeout(STALL_MS);
  raw.once('end', () => raw.setTimeout(0));
  // Whoever takes it may come later than its first error.
  stream.on('error', () => {});
  return { stream, size };
}

function emptyOf(headers: FastifyRequest['headers']): number {
  // Neither length nor chunks: there is no body.
  if (headers['transfer-encoding'] === undefined) return 0;
  throw new S3Error('MissingContentLength', 'You must provide the Content-Length HTTP header.');
}

/** All of a short body. */
export async function readShortBody(call: Call, maxBytes: number): Promise<Buffer> {
  const { stream, size } = bodyOf(call);
  if (size > maxBytes) throw new S3Error('EntityTooLarge', `The body may have at most ${maxBytes} bytes.`);
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export function sendXml(reply: FastifyReply, root: string, content: XmlContent): FastifyReply {
  return reply.type('application/xml').send(xmlDocument(root, content, { namespace: true }));
}
