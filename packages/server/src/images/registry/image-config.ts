import { z } from 'zod';
import { isDigest } from '../reference.ts';
import type { Healthcheck, ImageConfig } from '../types.ts';
import { type Platform, parseJson, read } from './manifest.ts';

// A NUL would cut a string short for the kernel, and no column takes one, nor half of a surrogate pair.
const text = z
  .string()
  .refine((value) => !value.includes('\0') && value.isWellFormed(), 'has a NUL character or broken Unicode');
const list = z.array(text).nullish();
// Read only by builds and by who runs the image elsewhere: a strange value is as good as none.
const optionalList = z.array(text).min(1).optional().catch(undefined);
const count = z.number().nonnegative().transform(Math.trunc).catch(0);
const healthcheck = z
  .object({
    Test: z.array(text).min(1),
    Interval: count,
    Timeout: count,
    StartPeriod: count,
    StartInterval: count,
    Retries: count,
  })
  .transform(
    ({ Test, Interval, Timeout, StartPeriod, StartInterval, Retries }): Healthcheck => ({
      test: Test,
      interval: Interval,
      timeout: Timeout,
      startPeriod: StartPeriod,
      startInterval: StartInterval,
      retries: Retries,
    }),
  )
  .optional()
  .catch(undefined);
const keys = z.record(text, z.unknown()).nullish();

const configSchema = z.object({
  architecture: text.nullish(),
  os: text.nullish(),
  variant: text.nullish(),
  config: z
    .object({
      Env: list,
      Entrypoint: list,
      Cmd: list,
      WorkingDir: text.nullish(),
      User: text.nullish(),
      Labels: z.record(text, text).nullish(),
      ExposedPorts: keys,
      Volumes: keys,
      StopSignal: text.nullish(),
      Shell: optionalList,
      OnBuild: optionalList,
      Healthcheck: healthcheck,
    })
    .nullish(),
  rootfs: z.object({ diff_ids: z.array(z.string().refine(isDigest, 'no sha256 digest')).nullish() }),
});

export interface ParsedConfig {
  config: ImageConfig;
  /** Base first. */
  diffIds: string[];
  platform: Partial<Platform>;
}

/** The config blob of an image (OCI image-spec, config.md; Docker's is the same in these fields). */
export function parseImageConfig(bytes: Buffer): ParsedConfig {
  const parsed = read(configSchema, parseJson(bytes), 'image config');
  const config = parsed.config ?? {};
  return {
    config: {
      env: config.Env ?? [],
      entrypoint: config.Entrypoint ?? [],
      cmd: config.Cmd ?? [],
      workingDir: config.WorkingDir ?? '',
      user: config.User ?? '',
      labels: config.Labels ?? {},
      exposedPorts: Object.keys(config.ExposedPorts ?? {}),
      volumes: Object.keys(config.Volumes ?? {}),
      stopSignal: config.StopSignal || undefined,
      ...(config.Shell === undefined ? {} : { shell: config.Shell }),
      ...(config.OnBuild === undefined ? {} : { onBuild: config.OnBuild }),
      ...(config.Healthcheck === undefined ? {} : { healthcheck: config.Healthcheck }),
    },
    diffIds: parsed.rootfs.diff_ids ?? [],
    platform: {
      ...(parsed.os ? { os: parsed.os } : {}),
      ...(parsed.architecture ? { architecture: parsed.architecture } : {}),
    },
  };
}
