/** What a route is called in the audit log. */
export interface AuditAction {
  action: string;
  target: string;
}

const SANDBOX = '/sandbox/:sandboxIdOrName';

const NAMED: Readonly<Record<string, readonly [action: string, target: string] | null>> = {
  'POST /snapshots': ['create', 'snapshot'],
  'DELETE /snapshots/:id': ['delete', 'snapshot'],
  'PATCH /snapshots/:id': ['update', 'snapshot'],
  'POST /snapshots/:id/activate': ['activate', 'snapshot'],
  'POST /snapshots/:id/deactivate': ['deactivate', 'snapshot'],
  'POST /snapshots/:id/cancel': ['cancel_build', 'snapshot'],
  'PATCH /admin/snapshots/:id/general': ['set_general_status', 'snapshot'],
  'POST /admin/gc': ['collect_garbage', 'server'],
  'POST /admin/fsck': ['check_files', 'server'],
  'DELETE /admin/build-cache': ['clear_build_cache', 'server'],
  'POST /sandbox': ['create', 'sandbox'],
  [`DELETE ${SANDBOX}`]: ['delete', 'sandbox'],
  [`POST ${SANDBOX}/start`]: ['start', 'sandbox'],
  [`POST ${SANDBOX}/stop`]: ['stop', 'sandbox'],
  [`POST ${SANDBOX}/recover`]: ['recover', 'sandbox'],
  [`POST ${SANDBOX}/pause`]: ['pause', 'sandbox'],
  [`POST ${SANDBOX}/resize`]: ['resize', 'sandbox'],
  [`POST ${SANDBOX}/archive`]: ['archive', 'sandbox'],
  [`POST ${SANDBOX}/snapshot`]: ['snapshot', 'sandbox'],
  [`POST ${SANDBOX}/fork`]: ['fork', 'sandbox'],
  [`POST ${SANDBOX}/forks`]: ['fork', 'sandbox'],
  [`POST ${SANDBOX}/backup`]: ['create_backup', 'sandbox'],
  [`PUT ${SANDBOX}/labels`]: ['replace_labels', 'sandbox'],
  [`POST ${SANDBOX}/public/:isPublic`]: ['update_public_status', 'sandbox'],
  [`POST ${SANDBOX}/network-settings`]: ['update_network_settings', 'sandbox'],
  [`POST ${SANDBOX}/autostop/:interval`]: ['set_auto_stop_interval', 'sandbox'],
  [`POST ${SANDBOX}/autoarchive/:interval`]: ['set_auto_archive_interval', 'sandbox'],
  [`POST ${SANDBOX}/autodelete/:interval`]: ['set_auto_delete_interval', 'sandbox'],
  [`POST ${SANDBOX}/ssh-access`]: ['create_ssh_access', 'sandbox'],
  [`DELETE ${SANDBOX}/ssh-access`]: ['revoke_ssh_access', 'sandbox'],
  [`POST ${SANDBOX}/signing-key/rotate`]: ['rotate_signing_key', 'sandbox'],
  [`POST ${SANDBOX}/ports/:port/signed-preview-url/:token/expire`]: ['expire_signed_preview_url', 'sandbox'],
  // Says that somebody is there, and changes nothing.
  [`POST ${SANDBOX}/last-activity`]: null,
  'POST /api-keys': ['create', 'api_key'],
  'DELETE /api-keys/:name': ['delete', 'api_key'],
  'POST /docker-registry': ['create', 'docker_registry'],
  'PATCH /docker-registry/:id': ['update', 'docker_registry'],
  'DELETE /docker-registry/:id': ['delete', 'docker_registry'],
  'PATCH /organizations/:id': ['update', 'organization'],
  'POST /webhooks/endpoints': ['create', 'webhook'],
  'PATCH /webhooks/endpoints/:id': ['update', 'webhook'],
  'DELETE /webhooks/endpoints/:id': ['delete', 'webhook'],
  'POST /webhooks/organizations/:id/app-portal-access': ['get_webhook_app_portal_access', 'organization'],
  'POST /webhooks/organizations/:id/initialize': ['initialize_webhooks', 'organization'],
  // Makes nothing but a look.
  'POST /webhooks/organizations/:id/refresh-endpoints': null,
  'POST /webhooks/endpoints/:id/rotate-secret': ['rotate_secret', 'webhook'],
  'POST /webhooks/endpoints/:id/deliveries/:deliveryId/replay': ['send_webhook_message', 'webhook'],
};

const READING = new Set(['GET', 'HEAD', 'OPTIONS']);
const BY_METHOD: Readonly<Record<string, string>> = {
  POST: 'create',
  PUT: 'update',
  PATCH: 'update',
  DELETE: 'delete',
};

/** Undefined for what changes nothing. A route that has no name here is written down all the same, by its path. */
export function auditActionOf(method: string, route: string): AuditAction | undefined {
  if (READING.has(method)) return undefined;
  const path = route.replace(/^\/api(?=\/)/, '');
  const named = NAMED[`${method} ${path}`];
  if (named === null) return undefined;
  if (named !== undefined) return { action: named[0], target: named[1] };
  const words = path.split('/').filter((word) => word !== '' && !word.startsWith(':'));
  const [first = 'unknown', ...rest] = words;
  const verb = BY_METHOD[method] ?? method.toLowerCase();
  return {
    action: [verb, ...rest].join('_').replaceAll('-', '_'),
    target: first.replace(/s$/, '').replaceAll('-', '_'),
  };
}

/** By target, for those that have names. */
export function auditScenarios(): { targetType: string; actions: string[] }[] {
  const targets = new Map<string, Set<string>>();
  for (const named of Object.values(NAMED)) {
    if (named === null) continue;
    const [action, target] = named;
    targets.set(target, (targets.get(target) ?? new Set()).add(action));
  }
  return [...targets.entries()]
    .map(([targetType, actions]) => ({ targetType, actions: [...actions].sort() }))
    .sort((a, b) => a.targetType.localeCompare(b.targetType));
}
