import type { BuildDto, BuildFailureDto, BuildLogLineDto, BuildStepDto } from '@darkroom/contract';
import type { FailureRecord } from '../../builds/failures/failure-record.ts';
import type { LogLine } from '../../builds/logs/build-log.ts';
import type { BuildOptions, BuildRow } from '../../builds/records.ts';
import type { StepRow } from '../../builds/steps.ts';
import type { BuildView } from '../../builds/view.ts';

/** A build as we show it: without secrets, and with the names of its arguments alone. */
export function buildDto({ row, steps }: BuildView): BuildDto {
  const options: BuildOptions = row.options;
  return {
    id: row.id,
    snapshotId: row.snapshot_id,
    sandboxId: row.sandbox_id,
    state: row.outcome ?? (row.started_at === null ? 'waiting' : 'running'),
    snapshotRef: row.snapshot_ref,
    dockerfileContent: row.dockerfile,
    contextHashes: row.context_hashes,
    target: options.target ?? null,
    buildArgs: Object.keys(options.buildArgs ?? {}),
    noCache: options.noCache ?? false,
    cacheMaxAgeSeconds: options.cacheMaxAgeSeconds ?? null,
    createdAt: row.created_at.toISOString(),
    startedAt: row.started_at?.toISOString() ?? null,
    finishedAt: row.finished_at?.toISOString() ?? null,
    failure: failureDto(row),
    steps: steps.map(buildStepDto),
  };
}

export function buildStepDto(step: StepRow): BuildStepDto {
  return {
    number: step.number,
    stage: step.stage,
    line: step.line,
    text: step.text,
    state: step.state,
    cache: step.cache,
    cacheReason: step.cache_why,
    bytes: step.bytes,
    exitCode: step.exit_code,
    startedAt: step.started_at?.toISOString() ?? null,
    finishedAt: step.finished_at?.toISOString() ?? null,
  };
}

export function buildLogLineDto({ index, at, step, stream, text }: LogLine): BuildLogLineDto {
  return { index, at: new Date(at).toISOString(), step: step ?? null, stream, text };
}

function failureDto({ failure }: Pick<BuildRow, 'failure'>): BuildFailureDto | null {
  if (failure === null) return null;
  // Written by `failureRecord`, and by nothing else.
  const { class: kind, code, message, hint, retryable, step, output } = failure as FailureRecord;
  return {
    class: kind,
    code,
    message,
    hint: hint ?? null,
    retryable,
    step: step === undefined ? null : { ...step, command: step.command ?? null, exitCode: step.exitCode ?? null },
    output,
  };
}
