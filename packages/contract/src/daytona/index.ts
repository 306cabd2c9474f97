export * from './api-key.ts';
export * from './configuration.ts';
export * from './docker-registry.ts';
export * from './error.ts';
export * from './organization.ts';
export * from './region.ts';
export * from './snapshot.ts';
