import type { FastifyInstance } from 'fastify';

/** What the HTTP floor tells of its requests, and where `/metrics` takes its text from. */
export interface HttpMetrics {
  observeRequest(request: { method: string; route: string; status: number; seconds: number }): void;
  /** The text of the Prometheus exposition format. */
  expose(): Promise<{ contentType: string; body: string }>;
}

/** `/metrics`, and one observation and one log line for each request. The route's pattern is the label, so that there are few. */
export function addMetrics(app: FastifyInstance, metrics: HttpMetrics): void {
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    const status = reply.statusCode;
    metrics.observeRequest({ method: request.method, route, status, seconds: reply.elapsedTime / 1000 });
    request.log[status >= 500 ? 'warn' : 'debug'](
      { method: request.method, path: request.url.split('?', 1)[0], status, ms: Math.round(reply.elapsedTime) },
      'request',
    );
  });
  app.get('/metrics', { schema: { hide: true } }, async (_request, reply) => {
    const { contentType, body } = await metrics.expose();
    return reply.type(contentType).send(body);
  });
}
