import { type AuditLogDto, auditLogPageSchema, auditScenariosSchema, listAuditQuerySchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import { AUDIT_FIELDS, type AuditQuery, type AuditRow, readAudit } from '../../audit/read-audit.ts';
import type { Database } from '../../platform/db/schema.ts';
import { invalidRequest, notFound } from '../../platform/errors.ts';
import { requirePermission } from '../auth-plugin.ts';
import { auditScenarios } from './audit-actions.ts';

const tags = ['audit'];
const onRequest = requirePermission('read:audit_logs');

export function auditRoutes({ db }: { db: Kysely<Database> }): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/audit/organizations/:id',
      {
        onRequest,
        schema: {
          tags,
          summary: 'Who asked for what, newest first',
          params: z.object({ id: z.string() }),
          querystring: listAuditQuerySchema,
          response: { 200: auditLogPageSchema },
        },
      },
      async ({ auth, params, query }) => {
        if (params.id.toLowerCase() !== auth.organizationId) {
          throw notFound(`Organization with ID ${params.id} not found`);
        }
        const { page, limit, nextToken, from, to } = query;
        const { rows, total, ...more } = await readAudit(db, {
          organizationId: auth.organizationId,
          page,
          limit,
          nextToken,
          from: timeOf(query['createdAt[gte]'] ?? from),
          to: timeOf(query['createdAt[lte]'] ?? to),
          filters: filtersOf(query),
        });
        const totalPages = Math.ceil(total / limit);
        const next = more.nextToken === undefined ? {} : { nextToken: more.nextToken };
        return { items: rows.map(auditDto), total, page, totalPages, ...next };
      },
    );
    app.get(
      '/audit/scenarios',
      { onRequest, schema: { tags, summary: 'Which actions there are', response: { 200: auditScenariosSchema } } },
      async () => ({ targets: auditScenarios() }),
    );
  };
}

const timeOf = (text: string | undefined) => (text === undefined ? undefined : new Date(text));

const OPERATORS = [
  ['', false],
  ['[eq]', false],
  ['[in]', false],
  ['[not]', true],
  ['[notIn]', true],
] as const;
const MAX_VALUES = 100;

function filtersOf(query: Readonly<Record<string, unknown>>): AuditQuery['filters'] {
  for (const name of Object.keys(query)) {
    const [, field = '', operator = ''] = /^(.*)(\[.*\])$/s.exec(name) ?? [];
    const known = field === 'createdAt' ? ['[gte]', '[lte]'] : OPERATORS.map(([each]) => each as string);
    // Left out, it would answer with more than was asked for.
    if (operator !== '' && !known.includes(operator)) {
      throw invalidRequest(
        `${JSON.stringify(name)} is no filter: ${field} can have ${known.filter(Boolean).join(', ')}`,
      );
    }
  }
  return AUDIT_FIELDS.flatMap((field) =>
    OPERATORS.flatMap(([operator, negated]) => {
      const given = query[`${field}${operator}`];
      if (given === undefined) return [];
      const texts = (Array.isArray(given) ? given : [given]).map((value) => String(value).replaceAll('\0', ''));
      const values = operator.endsWith('n]') ? texts.flatMap((text) => text.split(',')) : texts;
      return [{ field, negated, values: values.slice(0, MAX_VALUES) }];
    }),
  );
}

function auditDto(row: AuditRow): AuditLogDto {
  const optional = {
    actorApiKeyPrefix: row.key_prefix,
    actorApiKeySuffix: row.key_suffix,
    targetType: row.target_type,
    targetId: row.target_id,
    errorMessage: row.error_message,
    ipAddress: row.ip_address,
    userAgent: row.user_agent,
    source: row.source,
  };
  const present = Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== null));
  return {
    id: row.id,
    actorId: row.actor_id,
    actorEmail: row.actor_name ?? '',
    organizationId: row.organization_id,
    action: row.action,
    statusCode: row.status_code,
    ...present,
    ...(row.metadata === null ? {} : { metadata: { ...row.metadata } }),
    createdAt: row.created_at.toISOString(),
  };
}
