import { systemMetricsSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { callerOf } from '../sandbox/requests.ts';
import { type ToolboxRouteDeps, toolboxParams } from './common.ts';

export function metricsRoutes({ toolbox }: Pick<ToolboxRouteDeps, 'toolbox'>): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/:sandboxId/system/metrics',
      {
        schema: {
          summary: 'What the sandbox takes of what it may take; bytes, and per cent of its cores',
          tags: ['toolbox'],
          params: toolboxParams,
          response: { 200: systemMetricsSchema },
        },
      },
      async (request) => {
        const metrics = await toolbox.metrics(callerOf(request.auth), request.params.sandboxId);
        const { memory, disk, network, at } = metrics;
        return {
          timestamp: at.toISOString(),
          timestampUnix: Math.floor(at.getTime() / 1000),
          cpuCount: metrics.cores,
          cpuUsedPct: metrics.cpuPercent,
          memTotal: memory.totalBytes,
          memUsed: memory.usedBytes,
          memCache: memory.cacheBytes,
          diskTotal: disk.totalBytes,
          diskUsed: disk.usedBytes,
          diskFree: disk.totalBytes - disk.usedBytes,
          'x-network-rx-bytes': network.rxBytes,
          'x-network-tx-bytes': network.txBytes,
          'x-processes': metrics.pids,
          'x-oom-kills': metrics.oomKills,
        };
      },
    );
  };
}
