import type { Config } from '../platform/config-schema.ts';
import type { Log } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { Closers } from './closers.ts';
import type { Platform } from './start-platform.ts';

/** What every floor above the ground may be given. */
export interface Ground extends Platform {
  config: Config;
  log: Log;
  closers: Closers;
  metrics: Metrics;
}
