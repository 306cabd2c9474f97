import { expect, test } from 'vitest';
import { createMetrics } from './metrics.ts';

const disk = async () => ({ usedBytes: 10, freeBytes: 90 });
const states = async () => [
  { subjectType: 'snapshot' as const, state: 'active', count: 3 },
  { subjectType: 'sandbox' as const, state: 'started', count: 2 },
];

test('a scrape has requests, starts, pulls, bytes, states and disk', async () => {
  const metrics = createMetrics({ states, disk });
  metrics.observeRequest({ method: 'GET', route: '/api/snapshots', status: 200, seconds: 0.003 });
  metrics.observeStart({ outcome: 'started', seconds: 0.02 });
  metrics.observePull({ outcome: 'done', seconds: 4 });
  metrics.observeBuild({ outcome: 'failed', seconds: 2 });
  metrics.addBuildStep('hit');
  metrics.addDownloadedBytes(1000);
  metrics.addUnpackedBytes(4000);
  const { contentType, body } = await metrics.expose();
  metrics.close();
  expect(contentType).toContain('text/plain');
  for (const line of [
    'darkroom_http_request_duration_seconds_count{method="GET",route="/api/snapshots",status="200"} 1',
    'darkroom_sandbox_start_duration_seconds_bucket{le="0.02",outcome="started"} 1',
    'darkroom_image_pull_duration_seconds_count{outcome="done"} 1',
    'darkroom_build_duration_seconds_count{outcome="failed"} 1',
    'darkroom_build_steps_total{cache="hit"} 1',
    'darkroom_image_downloaded_bytes_total 1000',
    'darkroom_image_unpacked_bytes_total 4000',
    'darkroom_snapshots{state="active"} 3',
    'darkroom_sandboxes{state="started"} 2',
    'darkroom_disk_bytes{kind="free"} 90',
  ]) {
    expect(body).toContain(line);
  }
});

test('a source that fails leaves out its own metric and no other', async () => {
  const metrics = createMetrics({ states: () => Promise.reject(new Error('database down')), disk });
  const { body } = await metrics.expose();
  metrics.close();
  expect(body).toContain('darkroom_disk_bytes{kind="used"} 10');
  expect(body).not.toContain('darkroom_snapshots{');
});
