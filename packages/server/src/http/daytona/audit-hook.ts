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

interface Seen {
  id: string | undefined;
  message: string | undefined;
}

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
    const seen = new WeakMap<FastifyRequest, Seen>();
    app.addHook('onSend', async (request, reply, payload) => {
      if (isReading(request) || typeof payload !== 'string') return;
      seen.set(request, {
        id: reply.statusCode < 300 ? ID_IN_ANSWER.exec(payload)?.[1] : undefined,
        message: reply.statusCode >= 400 ? messageOf(payload) : undefined,
      });
    });
    app.addHook('onResponse', async (request, reply) => {
      const auth = request.verifiedAuth;
      const route = request.routeOptions.url;
      if (auth === null || route === undefined || request.is404) return;
      const named = auditActionOf(request.method, route);
      if (named === undefined) return;
      const answer = seen.get(request);
      const note = notes.get(request);
      audit.record({
        organizationId: auth.organizationId,
        userId: auth.userId,
        keyId: auth.keyId,
        action: named.action,
        targetType: named.target,
        targetId: note?.targetId ?? answer?.id ?? firstParameter(request.params),
        statusCode: reply.statusCode,
        errorMessage: answer?.message,
        ipAddress: request.ip,
        userAgent: request.headers['user-agent'],
        source: request.headers['x-daytona-source']?.toString(),
        metadata: note === undefined ? keptOf(request.body) : { ...keptOf(request.body), ...note.metadata },
        at: new Date(),
      });
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
