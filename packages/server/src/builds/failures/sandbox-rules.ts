import { type HintRule, hint } from './hint-rule.ts';

/** What works on a machine of one's own and not in a container. */
export const SANDBOX_RULES: readonly HintRule[] = [
  {
    name: 'sudo',
    output: /effective uid is not 0|no new privileges.{0,20}flag is set|sudo: .{0,60}setuid root/,
    advise: hint(
      'Programs cannot gain rights here, so sudo does not work: steps run as root unless USER says otherwise; write USER root before, and leave sudo out.',
    ),
  },
  {
    name: 'set-user-id',
    output:
      /must be (?:suid|setuid|set-user-ID)|su: (?:Authentication failure|cannot set (?:groups|user id))|setuid: Operation not permitted|(?:newuidmap|newgidmap|fusermount3?): .{0,60}(?:not permitted|failed)/i,
    advise: hint(
      'Programs with the set-user-id bit gain no rights here: write USER root before the step, and runuser or setpriv instead of su.',
    ),
  },
  {
    name: 'systemd',
    output:
      /System has not been booted with systemd|Failed to connect to bus|Failed to get D-Bus connection|systemctl: (?:command )?not found/,
    advise: hint(
      'No systemd runs in a build: start services in the sandbox (ENTRYPOINT, or a command), and leave systemctl out of the Dockerfile.',
    ),
  },
  {
    name: 'docker',
    output:
      /Cannot connect to the Docker daemon|docker(?:\.io)?\/?\S{0,40}: (?:dial unix|permission denied while trying to connect)|dial unix \/var\/run\/docker\.sock/,
    advise: hint('There is no Docker in a build: bring in other images with FROM … AS and COPY --from.'),
  },
  {
    name: 'mounts',
    output: /mount: .{0,200}(?:permission denied|must be superuser|not permitted)|losetup: .{0,100}failed|modprobe: /i,
    advise: hint(
      'Steps cannot mount, load modules or set up devices: use RUN --mount=… for files that are needed, or do it in another way.',
    ),
  },
  {
    name: 'sysctl',
    output:
      /sysctl: .{0,200}(?:Read-only file system|permission denied)|\/proc\/sys\/\S{0,100}: (?:Read-only|Permission)/i,
    advise: hint('The kernel’s settings belong to the host and cannot be changed in a build.'),
  },
  {
    name: 'not root',
    output: /are you root\?|must be run as root|requires root|Could not open lock file|EACCES: permission denied/i,
    advise: hint(
      'The step does not run as root, because of USER here or in the base image: write USER root before, and the other user again behind it.',
    ),
  },
];
