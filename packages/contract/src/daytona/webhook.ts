import { z } from 'zod';
import { text } from '../text.ts';

/** Where the events of an organization are sent. Ours: Daytona has them managed by another service. */
export const WEBHOOK_EVENTS = [
  'snapshot.created',
  'snapshot.state.updated',
  'snapshot.removed',
  'sandbox.created',
  'sandbox.state.updated',
] as const;
const eventTypes = z.array(z.enum(WEBHOOK_EVENTS)).min(1).max(WEBHOOK_EVENTS.length);

const url = text.max(2_000);
const description = text.max(500);

export const createWebhookEndpointSchema = z
  .object({
    url,
    description: description.optional(),
    /** All without it. */
    eventTypes: eventTypes.nullish(),
    enabled: z.boolean().optional(),
  })
  .meta({ id: 'CreateWebhookEndpoint' });

export const updateWebhookEndpointSchema = z
  .object({ url, description, eventTypes: eventTypes.nullable(), enabled: z.boolean() })
  .partial()
  .meta({ id: 'UpdateWebhookEndpoint' });

export const webhookEndpointSchema = z
  .object({
    id: z.uuid(),
    url: z.string(),
    description: z.string(),
    eventTypes: z.array(z.string()).nullable(),
    enabled: z.boolean(),
    /** When and why the server switched it off by itself; null else. */
    disabledAt: z.iso.datetime().nullable(),
    disabledReason: z.string().nullable(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'WebhookEndpoint' });
export type WebhookEndpointDto = z.infer<typeof webhookEndpointSchema>;

/** With the secret that signs, which is shown this once. */
export const webhookSecretSchema = webhookEndpointSchema
  .extend({ secret: z.string() })
  .meta({ id: 'WebhookEndpointSecret' });

export const webhookDeliverySchema = z
  .object({
    id: z.uuid(),
    /** The `svix-id` that it is sent with, at each attempt. */
    messageId: z.string(),
    eventType: z.string(),
    state: z.enum(['pending', 'delivered', 'failed']),
    attempts: z.int(),
    payload: z.string(),
    lastStatus: z.int().nullable(),
    lastError: z.string().nullable(),
    lastAttemptAt: z.iso.datetime().nullable(),
    nextAttemptAt: z.iso.datetime().nullable(),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'WebhookDelivery' });
export type WebhookDeliveryDto = z.infer<typeof webhookDeliverySchema>;

/** Newest first. `next` is there when there may be more: it is the `before` of the next page. */
export const webhookDeliveryPageSchema = z
  .object({ items: z.array(webhookDeliverySchema), next: z.string().optional() })
  .meta({ id: 'WebhookDeliveryPage' });

export const listWebhookDeliveriesQuerySchema = z.object({
  before: z.coerce.number().pipe(z.int().min(0)).optional(),
  limit: z.coerce.number().pipe(z.int().min(1).max(200)).default(50),
  state: z.enum(['pending', 'delivered', 'failed']).optional(),
});

/** What Daytona tells of its Svix account. */
export const webhookInitializationSchema = z
  .object({
    organizationId: z.uuid(),
    svixApplicationId: z.string().nullable(),
    lastError: z.string().nullable(),
    retryCount: z.int(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'WebhookInitializationStatus' });
