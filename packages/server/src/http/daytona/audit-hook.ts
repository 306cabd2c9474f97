import { randomUUID } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import type { AuditWriter } from '../../audit/audit-writer.ts';
import { auditActionOf } from './audit-actions.ts';

/** What of a request's body is worth keeping: no environments, no passwords, no texts of Dockerfiles. */
const KEPT = [
  'name',
  'imageName',
  'entrypoint',
  'cpu',
  'memory',
  'disk',
  'gpu',
  'gpuType',
  'sandboxClass',
  'snapshot',
  'target',
  'user',
  'general',
  'permissions',
  'retain',
  'retainReason',
  'expiresAt',
  'eventTypes',
  'activateSnapshotsOnUse',
  'snapshotDeactivationTimeoutMinutes',
] as const;

const ID_IN_ANSWER = /^\{"id":"([0-9a-f-]{36})"/;

/** What only the handler knows of what was done. */
export interface AuditNote {
  targetId: string;
  metadata: Readonly<Record<string, unknown>>;
}

const notes = new WeakMap<FastifyRequest, AuditNote>();

/** For the row that is written about this request, where its answer does not say it. */
export function noteForAudit(request: FastifyRequest, note: AuditNote): void {
  notes.set(request, note);
}

/** Every request of the scope that would change something, also one that was refused, is written down with who asked. */
export const auditHook = fastifyPlugin<{ audit: Pick<AuditWriter, 'record'> }>(
  async (app: FastifyInstance, { audit }) => {
    const written = new WeakSet<FastifyRequest>();

    function write(request: FastifyRequest, statusCode: number, payload: string | undefined): void {
      const auth = request.verifiedAuth;
      const route = request.routeOptions.url;
      if (auth === null || route === undefined || request.is404 || written.has(request)) return;
      const named = auditActionOf(request.method, route);
      if (named === undefined) return;
      written.add(request);
      const note = notes.get(request);
      const idInAnswer = statusCode < 300 && payload !== undefined ? ID_IN_ANSWER.exec(payload)?.[1] : undefined;
      audit.record({
        id: randomUUID(),
        organizationId: auth.organizationId,
        userId: auth.userId,
        keyId: auth.keyId,
        action: named.action,
        targetType: named.target,
        targetId: note?.targetId ?? idInAnswer ?? firstParameter(request.params),
        statusCode,
        errorMessage: statusCode >= 400 && payload !== undefined ? messageOf(payload) : undefined,
        ipAddress: request.ip,
        userAgent: request.headers['user-agent'],
        source: request.headers['x-daytona-source']?.toString(),
        metadata: note === undefined ? keptOf(request.body) : { ...keptOf(request.body), ...note.metadata },
        at: new Date(),
      });
    }

    // Before the answer is on its way: nobody is told of a change that the log may forget.
    app.addHook('onSend', async (request, reply, payload) => {
      if (isReading(request)) return;
      if (typeof payload === 'string') write(request, reply.statusCode, payload);
      else if (payload === undefined || payload === null) write(request, reply.statusCode, undefined);
    });
    // Streams, whose end says what came of it.
    app.addHook('onResponse', async (request, reply) => {
      if (!isReading(request)) write(request, reply.statusCode, undefined);
    });
  },
);

const isReading = ({ method }: FastifyRequest) => method === 'GET' || method === 'HEAD';

function messageOf(payload: string): string | undefined {
  try {
    const body: unknown = JSON.parse(payload);
    if (typeof body === 'object' && body !== null && 'message' in body) return String(body.message);
  } catch {
    // Not ours, then.
  }
  return undefined;
}

function firstParameter(params: unknown): string | undefined {
  if (typeof params !== 'object' || params === null) return undefined;
  const first: unknown = Object.values(params)[0];
  return typeof first === 'string' ? first : undefined;
}

function keptOf(body: unknown): Record<string, unknown> | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  const kept: Record<string, unknown> = {};
  const fields = new Map<string, unknown>(Object.entries(body));
  for (const name of KEPT) {
    const value = fields.get(name);
    if (value !== undefined && value !== null) kept[name] = value;
  }
  const build = fields.get('buildInfo');
  if (typeof build === 'object' && build !== null) {
    kept.buildInfo = 'contextHashes' in build ? build.contextHashes : [];
  }
  return Object.keys(kept).length === 0 ? undefined : kept;
}
