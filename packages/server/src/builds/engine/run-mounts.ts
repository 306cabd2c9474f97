import { posix } from 'node:path';
import type { StepMount } from '../../runtime/step-types.ts';
import type { BindMount, CacheMount, Run, RunMount, SecretMount, TmpfsMount } from '../dockerfile/instructions.ts';
import { word } from '../dockerfile/scope.ts';
import { syntaxError } from '../dockerfile/syntax-error.ts';
import type { HeldCacheMounts } from './cache-mounts.ts';
import { mountedFiles } from './mounted-files.ts';
import { type PreparedCacheMount, prepareCacheMount } from './run-cache-mount.ts';
import { userFailure } from './step-failure.ts';
import type { StepPlace } from './step-types.ts';

/** The mounts of a RUN, before they are needed. */
export interface PreparedMounts {
  /** What of them is part of the key: never what a secret says. */
  described: unknown[];
  /** Digests of the files that they show. */
  files: string[];
  /** Variables that secrets become. */
  env: Record<string, string>;
  /** Makes what has to be made. Nothing is left when it fails, and nothing after `close`. */
  open(signal: AbortSignal): Promise<OpenMounts>;
}

export interface OpenMounts {
  mounts: StepMount[];
  close(): Promise<void>;
}

/** One of them. `open` is given the directories of caches. */
interface PreparedMount {
  target: string;
  described: unknown;
  files?: string;
  env?: Record<string, string>;
  cache?: PreparedCacheMount;
  open(scope: OpenScope): Promise<StepMount[]>;
}

interface OpenScope {
  caches: HeldCacheMounts;
  signal: AbortSignal;
  onClose(release: () => Promise<void>): void;
}

export async function prepareMounts(instruction: Run, place: StepPlace): Promise<PreparedMounts> {
  const prepared: PreparedMount[] = [];
  for (const mount of instruction.mounts) prepared.push(await prepareMount(mount, instruction.line, place));
  const { cacheMounts } = place.tools;
  return {
    described: prepared.map(({ described }) => described),
    files: prepared.flatMap(({ files }) => files ?? []),
    env: Object.assign({}, ...prepared.map(({ env }) => env ?? {})),
    async open(signal) {
      const caches = await cacheMounts.acquire(
        prepared.flatMap(({ cache }) => (cache === undefined ? [] : [cache.request(signal)])),
        signal,
      );
      const releases: (() => Promise<void>)[] = [async () => caches.release()];
      const close = async () => {
        for (const release of releases.splice(0).reverse()) await release();
      };
      try {
        const mounts: StepMount[] = [];
        // One that lies inside of another comes after it.
        for (const each of prepared.toSorted((a, b) => depthOf(a.target) - depthOf(b.target))) {
          mounts.push(...(await each.open({ caches, signal, onClose: (release) => releases.push(release) })));
        }
        return { mounts, close };
      } catch (error) {
        await close();
        throw error;
      }
    },
  };
}

async function prepareMount(mount: RunMount, line: number, place: StepPlace): Promise<PreparedMount> {
  switch (mount.type) {
    case 'bind':
      return await prepareBind(mount, line, place);
    case 'cache':
      return await prepareCache(mount, line, place);
    case 'tmpfs':
      return prepareTmpfs(mount, line, place);
    case 'secret':
      return prepareSecret(mount, line, place);
  }
}

async function prepareBind(mount: BindMount, line: number, place: StepPlace): Promise<PreparedMount> {
  const target = targetOf(mount.target, line, place);
  const { writable } = mount;
  const shown = await mountedFiles(mount, line, place);
  return {
    target,
    described: ['bind', target, shown.path, writable],
    files: shown.digest,
    async open({ signal, onClose }) {
      const { root, path, release } = await shown.open(signal);
      onClose(release);
      return [
        typeof root === 'string'
          ? { kind: 'tree', root, path: `/${path}`, target, writable }
          : { kind: 'layers', layers: root, path: `/${path}`, target, writable },
      ];
    },
  };
}

async function prepareCache(mount: CacheMount, line: number, place: StepPlace): Promise<PreparedMount> {
  const target = targetOf(mount.target, line, place);
  const cache = await prepareCacheMount(mount, target, line, place);
  const { readonly, sharing } = mount;
  return {
    target,
    described: ['cache', target, cache.described, readonly, sharing],
    cache,
    ...(cache.files === undefined ? {} : { files: cache.files }),
    async open({ caches, signal }) {
      const root = caches.directories.get(cache.request(signal).key);
      if (root === undefined) throw new Error(`the cache ${target} was not acquired`);
      return [{ kind: 'bind', root, path: '/', target, writable: !readonly }];
    },
  };
}

function prepareTmpfs({ target: written, sizeBytes }: TmpfsMount, line: number, place: StepPlace): PreparedMount {
  const target = targetOf(written, line, place);
  return { target, described: ['tmpfs', target, sizeBytes], open: async () => [{ kind: 'tmpfs', target, sizeBytes }] };
}

function prepareSecret(mount: SecretMount, line: number, place: StepPlace): PreparedMount {
  const { required, env, mode, uid, gid } = mount;
  const id = word(place.state.scope, line, mount.id);
  const target = mount.target === undefined ? undefined : targetOf(mount.target, line, place);
  const value = place.definition.secrets.get(id);
  if (value === undefined && required) {
    throw userFailure(`the step needs the secret ${id}, which was not given`, 'Give it with the secrets of the build.');
  }
  const described = ['secret', id, target, env, mode, uid, gid, value !== undefined];
  if (value === undefined) return { target: target ?? '/', described, open: async () => [] };
  const open = async (): Promise<StepMount[]> =>
    target === undefined ? [] : [{ kind: 'file', target, content: Buffer.from(value), uid, gid, mode }];
  return { target: target ?? '/', described, ...(env === undefined ? {} : { env: { [env]: value } }), open };
}

function targetOf(written: string, line: number, { state }: StepPlace): string {
  const target = posix.resolve('/', state.config.workingDir, word(state.scope, line, written));
  if (target === '/') throw syntaxError(line, '--mount cannot have the target /');
  return target;
}

function depthOf(target: string): number {
  return target.split('/').length;
}
