import { apiErrorSchema } from '@darkroom/contract';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { z } from 'zod';

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
        description:
          'Snapshots and sandboxes for agents. Speaks the Daytona API under `/api` and `/toolbox`. ' +
          'WebSocket routes are not in this list: `/api/socket.io`, and of the toolbox `…/process/pty/{sessionId}/connect`, `…/process/pty/create-connect`, ' +
          '`…/process/interpreter/execute`, and logs of session commands with `follow=true`.',
      },
      components: { securitySchemes: { apiKey: { type: 'http', scheme: 'bearer', bearerFormat: 'dtn_…' } } },
      security: [{ apiKey: [] }],
    },
    transform: (route) => jsonSchemaTransform(withErrors(route)),
    transformObject: (document) => onlyUsedSchemas(jsonSchemaTransformObject(document)),
  });
  await app.register(swaggerUi, { routePrefix: '/docs' });
  app.get('/openapi.json', { schema: { hide: true }, config: { public: true } }, async () => app.swagger());
}

type Route = Parameters<typeof jsonSchemaTransform>[0];

/** Every route of the API may refuse, always in the same shape. */
function withErrors(route: Route): Route {
  const { schema, url } = route;
  if (!url.startsWith('/api/') || typeof schema.response !== 'object') return route;
  return { ...route, schema: { ...schema, response: { ...schema.response, '4xx': apiErrorSchema } } };
}

const REFERENCE = /"#\/components\/schemas\/([^"]+)"/g;
const TWIN = 'Input';

const documentShape = z.looseObject({
  paths: z.unknown(),
  components: z.looseObject({ schemas: z.record(z.string(), z.unknown()).default({}) }),
});

/**
 * The zod provider adds every schema `X` and a twin `XInput`. Only those stay that a route leads to; a twin that stands alone
 * takes the plain name.
 */
function onlyUsedSchemas(document: object): object {
  const { paths, components, ...rest } = documentShape.parse(document);
  const used = reachableSchemas(paths, components.schemas);
  const plainName = (name: string) => {
    const plain = name.endsWith(TWIN) ? name.slice(0, -TWIN.length) : name;
    return used.has(plain) ? name : plain;
  };
  const renamed = (part: unknown): unknown =>
    JSON.parse(
      JSON.stringify(part).replace(REFERENCE, (_, name: string) => `"#/components/schemas/${plainName(name)}"`),
    );
  const schemas = Object.fromEntries(
    [...used].sort().map((name) => [plainName(name), renamed(components.schemas[name])]),
  );
  return { ...rest, paths: renamed(paths), components: { ...components, schemas } };
}

function reachableSchemas(from: unknown, schemas: Readonly<Record<string, unknown>>): ReadonlySet<string> {
  const used = new Set<string>();
  const queue = [from];
  for (let part = queue.pop(); part !== undefined; part = queue.pop()) {
    for (const [, name] of JSON.stringify(part).matchAll(REFERENCE)) {
      if (name === undefined || used.has(name)) continue;
      used.add(name);
      queue.push(schemas[name]);
    }
  }
  return used;
}
