import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BuildLab, createBuildLab } from '../engine/testing/build-lab.ts';
import { failureRecord, reasonOf } from '../failures/failure-record.ts';
import type { BuildLogs } from './build-log.ts';
import { createBuildLogs } from './build-logs.ts';
import { createLogObserver } from './log-observer.ts';
import { createLogText } from './log-text.ts';
import { createRedactor } from './redactor.ts';

const CANARY = `canary-${crypto.randomUUID()}`;
const NEVER = new AbortController().signal;
let lab: BuildLab;
let logs: BuildLogs;
beforeAll(async () => {
  lab = await createBuildLab();
  logs = await createBuildLogs({ directory: join(lab.poolRoot, 'logs'), log: pino({ level: 'silent' }) });
}, 60_000);
afterAll(async () => {
  await logs?.close();
  await lab?.close();
});

/** The log of a real build, as a client sees it, and why it failed if it did. */
async function build(id: string, dockerfile: string): Promise<{ text: string; reason: string | undefined }> {
  const writer = await logs.open(id, { maxBytes: 1e6 });
  const redactor = createRedactor([CANARY]);
  const observer = createLogObserver({ writer, redactor });
  const definition = {
    id,
    organizationId: lab.organizationId,
    dockerfile,
    contexts: [],
    target: undefined,
    buildArgs: new Map<string, string>(),
    secrets: new Map([['token', CANARY]]),
    noCache: false,
    cacheMaxAgeSeconds: undefined,
    limits: { cpu: 1, memoryBytes: 2 ** 28, pids: 64, diskBytes: 2 ** 28, stepSeconds: 60, maxBytes: 2 ** 30 },
  };
  const reason = await lab.engine.build(definition, observer, NEVER).then(
    () => undefined,
    (error: unknown) => reasonOf(failureRecord(error, writer.tail.bind(writer), { dockerfile, redactor })),
  );
  observer.end();
  await writer.close();
  logs.finish(id);
  let text = '';
  const show = createLogText();
  for await (const lines of logs.read(id, { from: 0, follow: true, signal: NEVER })) text += lines.map(show).join('');
  return { text: text.replace(/\d+\.\ds/g, '0.0s').replace(/, [\d.]+ \w+$/gm, ', 1 kB'), reason };
}

test('a build reads well, from the cache as well', async () => {
  const dockerfile = [
    'FROM base',
    'ENV MODE=fast',
    'RUN printf "10%%\\r50%%\\r100%%\\nfetched\\n" && \\',
    '    echo warned >&2',
    'RUN --mount=type=secret,id=token cat /run/secrets/token',
  ].join('\n');
  const { text, reason } = await build('reads-well', dockerfile);
  expect(reason).toBeUndefined();
  const steps = text.split(/^(?=#\d \[)/m);
  expect(steps.slice(-3)[0]).toBe('#2 [2/4] ENV MODE=fast\n');
  expect(steps.slice(-2)[0]?.split('\n').sort()).toEqual(
    [
      '',
      '#3 DONE 0.0s',
      '#3 [3/4] RUN printf "10%%\\r50%%\\r100%%\\nfetched\\n" && echo warned >&2',
      '100%',
      'fetched',
      'warned',
    ].sort(),
  );
  expect(steps.at(-1)).toBe('#4 [4/4] RUN --mount=type=secret,id=token cat /run/secrets/token\n***\n#4 DONE 0.0s\n');

  const again = await build('from-the-cache', dockerfile);
  expect(again.text).toMatch(/#4 \[4\/4\] RUN .*\n#4 CACHED\n$/);
  const changed = await build('changed', dockerfile.replace('MODE=fast', 'MODE=slow'));
  expect(changed.text).toContain('#3 not from the cache: the environment changed\n');
});

test('a build that fails says why, in its log and in one paragraph', async () => {
  const { text, reason } = await build('fails', 'FROM base\n\nRUN git clone https://example.invalid/x.git');
  expect(text).toMatch(/\/bin\/sh: git: not found\n#2 ERROR exit code 127 after 0\.0s\n$/);
  expect(reason).toBe(
    'Step 2 (line 3, RUN git clone https://example.invalid/x.git) failed: the command ended with exit code 127. ' +
      'It wrote: /bin/sh: git: not found. ' +
      'git is not in the image. Install it in a step before: RUN apt-get update && apt-get install -y git. ' +
      'Building again without a change will not help.',
  );
});
