/**
 * The system calls that a sandbox may make (with those of `seccomp-preface.ts`). Everything else answers EPERM. The list is made from what programs of a
 * general-purpose Linux need; what is left out is what reaches into the host kernel's own administration, or has been the
 * door of one escape after another while ordinary programs can do without it.
 */
export interface SeccompArg {
  index: number;
  value: number;
  valueTwo?: number;
  op: 'SCMP_CMP_EQ' | 'SCMP_CMP_MASKED_EQ';
}

export interface SeccompRule {
  names: readonly string[];
  action: 'SCMP_ACT_ALLOW' | 'SCMP_ACT_ERRNO';
  errnoRet?: number;
  args?: readonly SeccompArg[];
}

export interface SeccompProfile {
  defaultAction: 'SCMP_ACT_ERRNO';
  defaultErrnoRet: number;
  architectures: readonly string[];
  syscalls: readonly SeccompRule[];
}

const EPERM = 1;
const ENOSYS = 38;
const EINVAL = 22;

/** Each group is one concern, so that a change can be judged by the name of its list. */
const ALLOWED: Readonly<Record<string, string>> = {
  files:
    'access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchown fchown32 fchownat fcntl fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 ioctl lchown lchown32 link linkat _llseek lseek lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv rename renameat renameat2 rmdir sendfile sendfile64 splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev',
  extendedAttributes:
    'fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr lremovexattr lsetxattr removexattr setxattr',
  watches: 'inotify_add_watch inotify_init inotify_init1 inotify_rm_watch',
  events:
    'epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 pipe pipe2 poll ppoll ppoll_time64 pselect6 pselect6_time64 select _newselect signalfd signalfd4',
  memory:
    'brk get_mempolicy madvise mbind membarrier memfd_create mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_madvise remap_file_pages set_mempolicy set_mempolicy_home_node',
  processes:
    'arch_prctl capget capset execve execveat exit exit_group fork getcpu getpgid getpgrp getpid getppid getpriority getrlimit getrusage getsid gettid get_robust_list get_thread_area ioprio_get ioprio_set kill modify_ldt nice pause pidfd_getfd pidfd_open pidfd_send_signal prctl prlimit64 process_mrelease rseq sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield setpgid setpriority setrlimit setsid set_robust_list set_thread_area set_tid_address sysinfo tgkill times tkill ugetrlimit uname vfork wait4 waitid waitpid',
  threads: 'futex futex_time64 futex_waitv restart_syscall',
  signals:
    'alarm rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction sigaltstack signal sigpending sigprocmask sigreturn sigsuspend',
  // Debuggers. Since Linux 4.8 a tracer cannot change a call after the filter has seen it, and user ids keep it in the sandbox.
  debugging: 'kcmp process_vm_readv process_vm_writev ptrace',
  identity:
    'getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32',
  // Reading and waiting; the clock itself is the host's (adjtimex and clock_adjtime only answer without CAP_SYS_TIME).
  time: 'adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64',
  network:
    'accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketpair',
  ipc: 'ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget',
  randomness: 'getrandom',
  // A program may only take more away from itself with these.
  selfRestriction: 'landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp',
  // In the namespaces of the sandbox, under CAP_SYS_CHROOT.
  root: 'chroot',
};

/** Calls that 64-bit ARM has for what others do in `arch_prctl` and the like. */
const ALLOWED_ARM = 'arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2';

/** CLONE_NEWTIME is a bit of the exit signal in clone, so only clone3 and unshare can ask for it, and neither is allowed. */
const CLONE_NEW_NAMESPACES = 0x7e02_0000;

/** Kinds of `personality` that change nothing that matters: Linux, 32 bit, UNAME26, both, and the question. */
const PERSONALITIES = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
/** Routes and addresses (every resolver asks), messages between programs, `ss`, and devices (libudev). */
const NETLINK_KINDS = [0, 2, 4, 15];
const NETLINK_AUDIT = 9;

/**
 * What is not there, and why it is not (all of it answers EPERM but io_setup, socketcall and audit, see there):
 * mount, umount2, pivot_root, fsopen… and unshare, setns (kernel code that only a privileged user reached before user
 * namespaces); bpf, perf_event_open, userfaultfd, keyctl, add_key, request_key, io_uring (a history of escapes; keys are not
 * namespaced); kexec, modules, reboot, swapon, quotactl, acct, iopl, settimeofday, syslog (the host's own); open_by_handle_at
 * (walks around a mount); memfd_secret (keeps the whole machine from hibernating); lookup_dcookie, nfsservctl, uselib, vm86, vhangup (old, or of no use here).
 */
export function seccompProfile(arch: 'x64' | 'arm64'): SeccompProfile {
  const arm = arch === 'arm64';
  const names = Object.values(ALLOWED).flatMap((group) => group.split(' '));
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: EPERM,
    architectures: arm ? ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'] : ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
    syscalls: [
      { names: [...names, ...(arm ? ALLOWED_ARM.split(' ') : [])].sort(), action: 'SCMP_ACT_ALLOW' },
      ...PERSONALITIES.map(
        (value): SeccompRule => ({
          names: ['personality'],
          action: 'SCMP_ACT_ALLOW',
          args: [{ index: 0, value, op: 'SCMP_CMP_EQ' }],
        }),
      ),
      {
        names: ['clone'],
        action: 'SCMP_ACT_ALLOW',
        args: [{ index: 0, value: CLONE_NEW_NAMESPACES, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
      },
      // Its flags lie in memory, where no filter can look. ENOSYS and not EPERM, because libc then falls back to clone.
      { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
      // The older asynchronous I/O: the whole machine shares one number of events. Databases go on without when it is not there.
      { names: ['io_setup'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
      // The way of 32-bit programs to every kind of socket, with the kind in memory. `socket` is there for them, too.
      { names: ['socketcall'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
      ...socketRules(),
    ],
  };
}

/**
 * Local sockets, IP and some of netlink. Every other family is a kernel module of its own that nothing in a sandbox needs, or
 * leads to the machine below (vsock). libseccomp joins the arguments of one rule by AND, and rules by OR; it compares all 64
 * bits, of which the kernel looks at 32, so only «equal» holds.
 */
function socketRules(): SeccompRule[] {
  const allow = (...args: SeccompArg[]): SeccompRule => ({ names: ['socket'], action: 'SCMP_ACT_ALLOW', args });
  return [
    ...[AF_UNIX, AF_INET, AF_INET6].map((value) => allow({ index: 0, value, op: 'SCMP_CMP_EQ' })),
    ...NETLINK_KINDS.map((value) =>
      allow({ index: 0, value: AF_NETLINK, op: 'SCMP_CMP_EQ' }, { index: 2, value, op: 'SCMP_CMP_EQ' }),
    ),
    // As from a kernel without audit: useradd and its like go on then, and with EPERM they do not.
    {
      names: ['socket'],
      action: 'SCMP_ACT_ERRNO',
      errnoRet: EINVAL,
      args: [
        { index: 0, value: AF_NETLINK, op: 'SCMP_CMP_EQ' },
        { index: 2, value: NETLINK_AUDIT, op: 'SCMP_CMP_EQ' },
      ],
    },
  ];
}
