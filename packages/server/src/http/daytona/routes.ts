import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { RegistryDeps } from '../../tenancy/registries.ts';
import { healthRoutes, type ReadinessCheck } from '../health.ts';
import { type AdminRouteDeps, adminRoutes } from './admin.ts';
import { type ApiKeyRouteDeps, apiKeyRoutes } from './api-keys.ts';
import { auditRoutes } from './audit.ts';
import { type ConfigurationRouteDeps, configurationRoutes } from './configuration.ts';
import { dockerRegistryRoutes } from './docker-registry.ts';
import { type EventChannelDeps, eventChannelRoutes } from './event-channel/index.ts';
import { type EventRouteDeps, eventRoutes } from './events.ts';
import { type ObjectStorageRouteDeps, objectStorageRoutes } from './object-storage.ts';
import { organizationRoutes } from './organizations.ts';
import { type SnapshotRouteDeps, snapshotRoutes } from './snapshots.ts';
import { unsupportedServiceRoutes } from './unsupported.ts';
import { webhookPortalRoutes } from './webhook-portal.ts';
import { type WebhookRouteDeps, webhookRoutes } from './webhooks.ts';

export type AccountRouteDeps = ConfigurationRouteDeps &
  ApiKeyRouteDeps &
  RegistryDeps &
  EventRouteDeps &
  WebhookRouteDeps &
  EventChannelDeps &
  AdminRouteDeps &
  ObjectStorageRouteDeps & { readiness: readonly ReadinessCheck[] };

/** `/api`, except sandboxes. */
export function apiRoutes(deps: AccountRouteDeps & SnapshotRouteDeps): FastifyPluginAsyncZod[] {
  return [
    healthRoutes(deps.readiness),
    configurationRoutes(deps),
    snapshotRoutes(deps),
    eventRoutes(deps),
    eventChannelRoutes(deps),
    auditRoutes(deps),
    webhookRoutes(deps),
    webhookPortalRoutes(deps),
    adminRoutes(deps),
    organizationRoutes({ db: deps.db, rateLimits: deps.config.rateLimits }),
    apiKeyRoutes(deps),
    dockerRegistryRoutes(deps),
    objectStorageRoutes(deps),
    unsupportedServiceRoutes(),
  ];
}
