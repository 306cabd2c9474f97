import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';

export interface OpenApiOptions {
  version: string;
}

/** `/openapi.json` made from the schemas of the routes, and `/docs`, a page to read and try them; both work offline. */
export async function addOpenApi(app: FastifyInstance, options: OpenApiOptions): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Darkroom',
        version: options.version,
        description: 'Snapshots and sandboxes for agents. Speaks the Daytona API under `/api` and `/toolbox`.',
      },
      components: { securitySchemes: { apiKey: { type: 'http', scheme: 'bearer', bearerFormat: 'dtn_…' } } },
      security: [{ apiKey: [] }],
    },
    transform: jsonSchemaTransform,
    transformObject: (document) => withoutUnusedInputTwins(jsonSchemaTransformObject(document)),
  });
  await app.register(swaggerUi, { routePrefix: '/docs' });
  app.get('/openapi.json', { schema: { hide: true }, config: { public: true } }, async () => app.swagger());
}

/** The zod provider adds a twin `XInput` for each schema `X`, also where no route reads it. */
function withoutUnusedInputTwins<T extends object>(document: T): T {
  if (!('components' in document)) return document;
  const { components } = document;
  if (typeof components !== 'object' || components === null || !('schemas' in components)) return document;
  const { schemas } = components;
  if (typeof schemas !== 'object' || schemas === null) return document;
  const text = JSON.stringify(document);
  const kept = Object.entries(schemas).filter(
    ([name]) => !name.endsWith('Input') || text.includes(`"#/components/schemas/${name}"`),
  );
  return { ...document, components: { ...components, schemas: Object.fromEntries(kept) } };
}
