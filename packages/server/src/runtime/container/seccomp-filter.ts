import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { arch } from 'node:process';
import { DarkroomError, messageOf, undefinedIfMissing } from '../../platform/errors.ts';
import { INIT, type SeccompSetting, TOOLS_TARGET } from './container-config.ts';
import type { Crun } from './crun.ts';
import { faultsOfFilter } from './seccomp-check.ts';
import { seccompPreface } from './seccomp-preface.ts';
import { seccompProfile } from './seccomp-profile.ts';

export interface SeccompFilterOptions {
  crun: Crun;
  /** Keeps the compiled filter. */
  cacheDir: string;
  /** For the throw-away container that crun compiles the filter for. */
  scratchDir: string;
  /** A root file system with the mount points, and the programs to mount into it. */
  skeletonDir: string;
  toolsDir: string;
  idBase: number;
  cgroupPath: string;
}

/**
 * crun compiles the profile at each start, which takes longer than all the rest. It leaves the compiled filter in its state
 * directory, from where it is taken once and handed over as it is from then on. Keyed by all that it depends on.
 */
export async function loadSeccompFilter(options: SeccompFilterOptions): Promise<SeccompSetting> {
  if (arch !== 'x64' && arch !== 'arm64') throw new DarkroomError('unavailable', `${arch} machines are not supported`);
  const profile = seccompProfile(arch);
  const preface = seccompPreface(arch);
  const key = createHash('sha256')
    .update(JSON.stringify([arch, options.crun.version, profile, preface.toString('base64')]))
    .digest('hex')
    .slice(0, 16);
  const file = join(options.cacheDir, `seccomp-${key}.bpf`);
  const cached = await readFile(file).catch(undefinedIfMissing);
  if (cached !== undefined && isSound(cached, arch)) return { bpf: cached.toString('base64') };

  const compiled = Buffer.concat([preface, await compile(options, profile)]);
  const faults = faultsOfFilter(compiled, arch);
  if (faults.length > 0) {
    throw new DarkroomError('unavailable', `crun made a seccomp filter that does not hold: ${faults.join('; ')}`, {
      hint: 'crun and libseccomp of this machine may be too old; run `darkroom doctor`.',
    });
  }
  await mkdir(options.cacheDir, { recursive: true, mode: 0o700 });
  const temporary = `${file}.${randomBytes(4).toString('hex')}`;
  await writeFile(temporary, compiled, { mode: 0o600, flush: true });
  await rename(temporary, file);
  return { bpf: compiled.toString('base64') };
}

function isSound(filter: Buffer, machine: 'x64' | 'arm64'): boolean {
  try {
    return faultsOfFilter(filter, machine).length === 0;
  } catch {
    return false;
  }
}

async function compile(options: SeccompFilterOptions, profile: object): Promise<Buffer> {
  const { crun } = options;
  const id = `seccomp-${randomBytes(4).toString('hex')}`;
  const bundle = join(options.scratchDir, id);
  await mkdir(bundle, { recursive: true, mode: 0o700 });
  try {
    await writeFile(join(bundle, 'config.json'), JSON.stringify(compileConfig(options, profile)));
    await crun.run(id, bundle, join(bundle, 'log'));
    const filter = crun.stateFile(id, 'seccomp.bpf');
    if (filter !== undefined) return filter;
    throw new DarkroomError(
      'unavailable',
      `this crun keeps no compiled seccomp filter (${crun.version.split('\n')[0]})`,
      {
        hint: 'Darkroom is tested with crun 1.8 and newer.',
      },
    );
  } catch (cause) {
    if (cause instanceof DarkroomError && cause.code === 'unavailable') throw cause;
    throw new DarkroomError('unavailable', `compile the seccomp filter: ${messageOf(cause)}`, { cause });
  } finally {
    await crun.delete(id);
    await rm(bundle, { recursive: true, force: true });
  }
}

/** A container of nothing but a sleeping init, in a user namespace without any use of the network pool. */
function compileConfig(options: SeccompFilterOptions, profile: object): object {
  const mapping = [{ containerID: 0, hostID: options.idBase, size: 65536 }];
  return {
    ociVersion: '1.0.2',
    root: { path: options.skeletonDir, readonly: true },
    process: { user: { uid: 0, gid: 0 }, args: [INIT, '-P'], env: [], cwd: '/', noNewPrivileges: true },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=65536k'] },
      { destination: TOOLS_TARGET, type: 'bind', source: options.toolsDir, options: ['bind', 'ro'] },
    ],
    linux: {
      namespaces: ['user', 'pid', 'mount', 'network', 'ipc', 'uts'].map((type) => ({ type })),
      uidMappings: mapping,
      gidMappings: mapping,
      cgroupsPath: options.cgroupPath,
      seccomp: profile,
    },
  };
}
