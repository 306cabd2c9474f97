import { readFile } from 'node:fs/promises';
import { messageOf } from '../platform/errors.ts';
import { findProgram } from '../platform/find-program.ts';
import { run } from '../platform/process.ts';

/** Under this name in the kernel, for every Darkroom on the machine. */
export const APP_ARMOR_PROFILE = 'darkroom-sandbox';

const TIMEOUT_MS = 10_000;

export type AppArmor =
  /** Processes of sandboxes run under this profile. */
  | { state: 'confined'; profile: string }
  /** The kernel has no AppArmor, or it is turned off. */
  | { state: 'absent' }
  | { state: 'unusable'; reason: string };

/**
 * A second fence of its own kind behind namespaces and seccomp: what it denies is denied by path and by name, whatever user a
 * process has become. No includes, so that it is the same on every distribution. Runtimes that have a profile themselves
 * (Ubuntu's crun) may still send signals in.
 */
export const APP_ARMOR_POLICY = `profile ${APP_ARMOR_PROFILE} flags=(attach_disconnected,mediate_deleted) {
  capability,
  file,
  network,
  unix,
  signal (send, receive) peer=${APP_ARMOR_PROFILE},
  signal (receive) peer=unconfined,
  signal (receive) peer=crun,
  signal (receive) peer=runc,
  ptrace (trace, read, tracedby, readby) peer=${APP_ARMOR_PROFILE},

  deny mount,
  deny umount,
  deny pivot_root,
  deny /proc/{bus,fs,irq,pressure,sys}/** wklx,
  deny /proc/{kallsyms,kcore,kmem,kmsg,mem,sysrq-trigger} rwklx,
  deny /sys/** wklx,
  deny /sys/{firmware,kernel/debug,kernel/security,kernel/tracing,fs/bpf}/** rwklx,
}
`;

/** Whether the kernel has it and it is turned on. */
export async function hasAppArmor(): Promise<boolean> {
  const enabled = await readFile('/sys/module/apparmor/parameters/enabled', 'utf8').catch(() => 'N');
  return enabled.trim() === 'Y';
}

/** Gives the profile to the kernel and tries it: a program that was started under it must say so itself. Never raises. */
export async function loadAppArmor(): Promise<AppArmor> {
  if (!(await hasAppArmor())) return { state: 'absent' };
  try {
    const parser = findProgram('apparmor_parser');
    await run(parser, ['--replace', '--skip-cache'], { timeoutMs: TIMEOUT_MS, input: APP_ARMOR_POLICY });
    const { stdout } = await run('sh', ['-c', TRY, 'sh', APP_ARMOR_PROFILE], { timeoutMs: TIMEOUT_MS });
    if (stdout.trim() === `${APP_ARMOR_PROFILE} (enforce)`) return { state: 'confined', profile: APP_ARMOR_PROFILE };
    return { state: 'unusable', reason: `a program under the profile says ${stdout.trim()}` };
  } catch (error) {
    return { state: 'unusable', reason: messageOf(error) };
  }
}

/** As a container runtime does it: the profile is for the next program that this process becomes. */
const TRY = `
attributes=/proc/self/attr/apparmor
[ -e $attributes/exec ] || attributes=/proc/self/attr
echo "exec $1" > $attributes/exec
exec cat $attributes/current`;

/** The profile for processes of sandboxes, where there is one. */
export async function appArmorProfile(log: { warn(data: object, message: string): void }): Promise<string | undefined> {
  const found = await loadAppArmor();
  if (found.state === 'unusable') log.warn({ reason: found.reason }, 'AppArmor is on, but sandboxes run without it');
  return found.state === 'confined' ? found.profile : undefined;
}
