import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { instanceTag } from '../../packages/server/src/runtime/instance-tag.ts';
import { temporaryDirOf } from '../support/darkroom.ts';

/** What may be on the machine for a server that runs. */
export interface Belongings {
  stateDir: string;
  /** Of the server process. */
  pid: number;
  /** Ids of sandboxes that exist. */
  sandboxes: ReadonlySet<string>;
  /** Of these, the ones with a container. */
  running: ReadonlySet<string>;
  readyNamespaces: number;
  readyDisks: number;
}

/** What was asked for last is still being removed, and stocks are being filled. */
const LIMIT_MS = 30_000;
const POLL_MS = 50;

/** What is on the machine and belongs to nothing that exists. Waits until nothing is, for a while. */
export async function checkLitter(belongings: Belongings): Promise<string[]> {
  const deadline = performance.now() + LIMIT_MS;
  for (;;) {
    const found = await litter(belongings);
    if (found.length === 0 || performance.now() > deadline) return found.map((text) => `litter: ${text}`);
    await sleep(POLL_MS);
  }
}

async function litter(belongings: Belongings): Promise<string[]> {
  const found = await Promise.all([
    poolLitter(belongings),
    runLitter(belongings),
    loopLitter(belongings),
    mountLitter(belongings),
    cgroupLitter(belongings),
    networkLitter(belongings),
    temporaryLitter(belongings),
  ]);
  return found.flat();
}

const listed = async (path: string) => (existsSync(path) ? await readdir(path) : []);

async function poolLitter({ stateDir, sandboxes, readyDisks }: Belongings): Promise<string[]> {
  const pool = join(stateDir, 'pool');
  const ready = /^new-sandbox-disk-/;
  const scratch = await listed(join(pool, 'tmp'));
  const stock = scratch.filter((name) => ready.test(name));
  const mustBeEmpty = ['layers/tmp', 'layers/damaged', 'contexts/uploads', 'build-tmp'];
  const left = await Promise.all(
    mustBeEmpty.map(async (name) => (await listed(join(pool, name))).map((entry) => `${name}/${entry}`)),
  );
  return [
    ...(await listed(join(pool, 'sandboxes'))).filter((id) => !sandboxes.has(id)).map((id) => `files of sandbox ${id}`),
    ...scratch.filter((name) => !ready.test(name)).map((name) => `pool/tmp/${name}`),
    // Stock of two sizes, and the ones that are being made.
    ...(stock.length > 2 * readyDisks + 2 ? [`${stock.length} disks made ahead of time`] : []),
    ...left.flat(),
    ...(await listed(join(stateDir, 'spool'))).filter((name) => name !== 'entrypoints').map((name) => `spool/${name}`),
    ...(await listed(join(stateDir, 'spool', 'entrypoints')))
      .filter((name) => ![...sandboxes].some((id) => name.startsWith(id)))
      .map((name) => `spool/entrypoints/${name}`),
  ];
}

const runDirOf = (stateDir: string) => join('/run', `darkroom-${instanceTag(stateDir)}`);

async function runLitter({ stateDir, running }: Belongings): Promise<string[]> {
  const runDir = runDirOf(stateDir);
  const notRunning = async (name: string) =>
    (await listed(join(runDir, name)))
      .filter((id) => !running.has(id))
      .map((id) => `${name}/${id} in the run directory`);
  const any = async (name: string) =>
    (await listed(join(runDir, name))).map((entry) => `${name}/${entry} in the run directory`);
  return (
    await Promise.all([notRunning('containers'), notRunning('crun'), any('frozen'), any('steps'), any('step-crun')])
  ).flat();
}

/** Every loop device over a file of the state directory, with that file. */
export async function loopsOf(stateDir: string): Promise<{ device: string; file: string }[]> {
  const names = (await readdir('/sys/block')).filter((name) => name.startsWith('loop'));
  const all = await Promise.all(
    names.map(async (device) => {
      const file = await readFile(`/sys/block/${device}/loop/backing_file`, 'utf8').catch(() => '');
      return { device, file: file.trim() };
    }),
  );
  return all.filter(({ file }) => file.startsWith(`${stateDir}/`));
}

async function loopLitter({ stateDir, sandboxes, running, readyDisks }: Belongings): Promise<string[]> {
  const loops = await loopsOf(stateDir);
  const perSandbox = new Map<string, number>();
  const wrong: string[] = [];
  let stock = 0;
  for (const { device, file } of loops) {
    const path = file.slice(stateDir.length + 1);
    const [, id = ''] = /^pool\/sandboxes\/([^/]+)\//.exec(path) ?? [];
    if (id !== '') perSandbox.set(id, (perSandbox.get(id) ?? 0) + 1);
    if (path.startsWith('pool/tmp/new-sandbox-disk-')) stock++;
    else if (path.endsWith('(deleted)') && running.size === 0) wrong.push(`/dev/${device} over ${path}`);
    else if (id !== '' && (!sandboxes.has(id) || !running.has(id))) wrong.push(`/dev/${device} over ${path}`);
  }
  for (const [id, count] of perSandbox) if (count > 1) wrong.push(`${count} loop devices over the disk of ${id}`);
  if (stock > 2 * readyDisks + 2) wrong.push(`${stock} loop devices over disks made ahead of time`);
  return wrong;
}

/** In the namespace of the server. */
async function mountLitter({ stateDir, pid, running }: Belongings): Promise<string[]> {
  const mounts = (await readFile(`/proc/${pid}/mountinfo`, 'utf8')).split('\n').map((line) => line.split(' ')[4] ?? '');
  const runDir = runDirOf(stateDir);
  const counts = new Map<string, number>();
  for (const target of mounts) {
    if (target.startsWith(stateDir) || target.startsWith(runDir)) counts.set(target, (counts.get(target) ?? 0) + 1);
  }
  return [...counts].flatMap(([target, count]) => {
    const [, id = ''] = /\/(?:containers|sandboxes|disks)\/([^/]+)/.exec(target) ?? [];
    if (id !== '' && !running.has(id) && !id.startsWith('ready-')) return [`mount ${target}`];
    if (/\/steps\/|\/mnt$/.test(target)) return [`mount ${target}`];
    return count > 1 ? [`${count} mounts at ${target}`] : [];
  });
}

async function cgroupLitter({ stateDir, running }: Belongings): Promise<string[]> {
  const parent = `darkroom-${instanceTag(stateDir)}`;
  const hierarchies = ['', ...(await readdir('/sys/fs/cgroup'))];
  const children = await Promise.all(
    hierarchies.map(async (hierarchy) => {
      const path = join('/sys/fs/cgroup', hierarchy, parent);
      const entries = existsSync(path) ? await readdir(path, { withFileTypes: true }) : [];
      return entries.filter((entry) => entry.isDirectory()).map(({ name }) => ({ path: join(path, name), name }));
    }),
  );
  const isOf = (name: string) => [...running].some((id) => name.includes(id));
  return children
    .flat()
    .filter(({ name }) => !isOf(name))
    .map(({ path }) => `cgroup ${path}`);
}

async function networkLitter({ stateDir, running, readyNamespaces }: Belongings): Promise<string[]> {
  const tag = instanceTag(stateDir);
  // Those that are being made are beside the stock.
  const most = running.size + readyNamespaces + 4;
  const names = (await listed(join(runDirOf(stateDir), 'network'))).filter((name) => name.endsWith('.net'));
  const links = (await readdir('/sys/class/net')).filter((name) => name.startsWith(`dr${tag}`));
  return [
    ...(names.length > most ? [`${names.length} network namespaces for ${running.size} sandboxes`] : []),
    ...(links.length > most ? [`${links.length} network interfaces for ${running.size} sandboxes`] : []),
  ];
}

/** Probes that this server makes, and the socket of its database, may be there. */
async function temporaryLitter({ stateDir, pid }: Belongings): Promise<string[]> {
  const names = await listed(temporaryDirOf(stateDir));
  return names
    .filter((name) => !name.startsWith(`darkroom-probe-${pid}-`) && !name.startsWith('darkroom-postgres-'))
    .map((name) => `temporary file ${name}`);
}
