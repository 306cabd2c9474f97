import { notFound } from '../platform/errors.ts';

/** This version runs everything on one machine, so there is one region and every organization may use it. */
export const LOCAL_REGION = { id: 'local', name: 'local' } as const;

/** The region that was asked for, or the organization's. */
export function resolveRegion(wanted: string | undefined, organizationDefault: string): string {
  const regionId = wanted ?? organizationDefault;
  if (regionId === LOCAL_REGION.id) return regionId;
  throw notFound(wanted === undefined ? 'Default region not found' : 'Region not found');
}
