import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import autocannon from 'autocannon';
import { Client } from 'pg';
import { run } from '../packages/server/src/platform/process.ts';
import { type Darkroom, startDarkroom } from '../test/support/darkroom.ts';
import { printTable, writeResults } from './lib/report.ts';

/**
 * Reading snapshots with 100,000 of them in one organization. The server has one core to itself; the load generator and the
 * database share the other.
 */
const COUNT = Number(process.env.BENCH_SNAPSHOTS ?? 100_000);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 10);
const CONNECTIONS = 16;

const darkroom = await startDarkroom({ env: { DARKROOM_LOG_LEVEL: 'warn' } });
try {
  const id = await fill(darkroom);
  await pinAll(darkroom);
  const headers = { authorization: `Bearer ${darkroom.apiKey}` };
  const cases = {
    'GET /snapshots/{id}': `/api/snapshots/${id}`,
    'GET /snapshots/{name}': '/api/snapshots/bench%2Fsnapshot%3A77777',
    'GET /snapshots?limit=10': '/api/snapshots?limit=10',
    'GET /snapshots (100 items)': '/api/snapshots',
    'GET /snapshots?page=500': '/api/snapshots?page=500',
  };
  const results: Record<string, unknown> = {};
  const rows = [['', 'requests/s', 'p50', 'p99', 'p99.9', 'errors']];
  for (const [name, path] of Object.entries(cases)) {
    const url = `${darkroom.url}${path}`;
    await autocannon({ url, headers, connections: CONNECTIONS, duration: 2 });
    // How much it can do, then how long each takes at the rate that is promised.
    const most = await autocannon({ url, headers, connections: CONNECTIONS, duration: SECONDS });
    const steady = await autocannon({ url, headers, connections: CONNECTIONS, duration: SECONDS, overallRate: 2000 });
    const errors = most.errors + most.non2xx + steady.errors + steady.non2xx;
    results[name] = {
      requestsPerSecond: most.requests.average,
      atFullLoad: most.latency,
      at2000: steady.latency,
      errors,
    };
    rows.push([
      `${name}, as fast as it goes`,
      most.requests.average.toFixed(0),
      `${most.latency.p50} ms`,
      `${most.latency.p99} ms`,
      `${most.latency.p99_9} ms`,
      String(errors),
    ]);
    rows.push([
      `${name}, at 2,000/s`,
      steady.requests.average.toFixed(0),
      `${steady.latency.p50} ms`,
      `${steady.latency.p99} ms`,
      `${steady.latency.p99_9} ms`,
      '',
    ]);
  }
  printTable(`Reading with ${COUNT.toLocaleString('en')} snapshots in the organization, server on one core`, rows);
  const resident = (await readFile(`/proc/${darkroom.pid}/status`, 'utf8')).match(/VmRSS:\s+(\d+)/)?.[1];
  console.log(`  server resident after the load: ${(Number(resident) / 1024).toFixed(0)} MB`);
  await writeResults('api', { snapshots: COUNT, results });
} finally {
  await darkroom.destroy();
}

/** Rows as they would be after 100,000 creates; written straight into the database, because it is reading that is measured. */
async function fill(server: Darkroom): Promise<string> {
  const postmaster = (await readFile(join(server.stateDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n');
  const client = new Client({ host: postmaster[4] ?? '', user: 'darkroom', database: 'postgres' });
  await client.connect();
  try {
    // The triggers count row by row, which is right for requests and slow for a statement of 100,000 rows.
    await client.query('alter table snapshots disable trigger user');
    await client.query(
      `insert into snapshots (organization_id, name, state, image_name, ref, cpu, mem, disk, region_id, size_bytes, layers, image, created_at, last_used_at)
       select $1, 'bench/snapshot:' || n, 'active', 'python:3.11.12-slim-bookworm', 'docker.io/library/python@sha256:' || md5(n::text) || md5(n::text),
              1, 1, 3, 'local', 150000000 + n, array['sha256:' || md5(n::text) || md5(n::text)],
              '{"env":[],"entrypoint":[],"cmd":["python3"],"workingDir":"","user":"","labels":{},"exposedPorts":[],"volumes":[]}',
              now() - n * interval '1 second', case when n % 3 = 0 then null else now() - n * interval '1 second' end
       from generate_series(1, $2::int) n`,
      [server.organizationId, COUNT],
    );
    await client.query('alter table snapshots enable trigger user');
    await client.query(`insert into state_counts values ($1, 'snapshot', 'active', false, $2)`, [
      server.organizationId,
      COUNT,
    ]);
    await client.query('vacuum analyze snapshots');
    const row = await client.query<{ id: string }>(`select id from snapshots where name = 'bench/snapshot:4242'`);
    return row.rows[0]?.id ?? '';
  } finally {
    await client.end();
  }
}

/** All threads of the server on one core, the database and this process on the other. */
async function pinAll(server: Darkroom): Promise<void> {
  const postmaster = (await readFile(join(server.stateDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0] ?? '';
  const children = await readFile(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8');
  await pin(server.pid, 0);
  for (const pid of [process.pid, postmaster, ...children.trim().split(' ')]) await pin(Number(pid), 1);
}

async function pin(pid: number, core: number): Promise<void> {
  // A process of the database may have ended meanwhile.
  await run('taskset', ['-acp', String(core), String(pid)], { timeoutMs: 5_000, okCodes: [0, 1] });
}
