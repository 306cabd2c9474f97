/** What the `darkroom` command needs before there is a server. Light to load: no HTTP, no SQL. */
export { type LoadConfigOptions, loadConfig } from './platform/config.ts';
export type { Config } from './platform/config-schema.ts';
export { DarkroomError, messageOf } from './platform/errors.ts';
export type { FileLock } from './platform/file-lock.ts';
export { printable } from './platform/printable.ts';
export { lockStateDir } from './platform/state-lock.ts';
export { detachPool, ensurePool, isPoolMounted, type Pool, poolFreeBytes } from './runtime/pool.ts';
export { mountNamespace } from './runtime/prepare-cgroups.ts';
export { probeMachine } from './runtime/probe.ts';
export { hasFailure, type ProbeRow, renderProbe } from './runtime/probe-table.ts';
