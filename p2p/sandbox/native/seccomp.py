"""The system calls that programs in a native sandbox may make: a filter for bubblewrap, compiled by libseccomp.

What is not listed is refused. The list is what container runtimes (moby, containers-common) allow to a container that
has no capabilities, less what the sandbox could not bound: memory that belongs neither to a process nor to a file
system of a fixed size (memfd_create, System V IPC), the requests that all users of a machine share (io_setup), and what
lifts the limit of cores (sched_setaffinity). System calls of other ABIs, such as those of 32 bits, kill the process.

A call that this list has never heard of fails with ENOSYS, as on a kernel that does not have it: programs then do
without. Those that are refused on purpose fail with EPERM, except where programs know what to do only after ENOSYS.

libseccomp is called through ctypes: of its bindings on PyPI, pyseccomp had its only releases until 2021, and
mephi42-seccomp had one, for some Pythons.
"""

import ctypes
import errno
import os
from functools import cache

from p2p.errors import SandboxFailed

LIBRARY = "libseccomp.so.2"
_ALLOWED = """
accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown clock_adjtime
clock_getres clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat
faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr
flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake
futimesat get_robust_list getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername
getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname
getsockopt gettid gettimeofday getuid getxattr getxattrat inotify_add_watch inotify_init inotify_init1
inotify_rm_watch ioctl ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
lchown lgetxattr link linkat listen listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat madvise
map_shadow_stack membarrier mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mprotect mq_getsetattr
mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msync munlock munlockall munmap
name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc
pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv
process_vm_writev pselect6 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg
recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall riscv_flush_icache
riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
sched_getparam sched_getscheduler sched_rr_get_interval sched_setattr sched_setparam sched_setscheduler sched_yield
seccomp select sendfile sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsuid
setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt
setuid setxattr setxattrat shutdown sigaltstack signalfd signalfd4 splice stat statfs statx symlink symlinkat sync
sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime
timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat uretprobe utime
utimensat utimes vfork vmsplice wait4 waitid write writev
"""
ALLOWED = tuple(_ALLOWED.split())
"""Without regard to their arguments."""
_REFUSED = """
_sysctl acct add_key bpf chroot clock_settime create_module delete_module fanotify_init fanotify_mark finit_module
fsconfig fsmount fsopen fspick get_kernel_syms init_module ioperm iopl kcmp kexec_file_load kexec_load keyctl
lookup_dcookie mbind memfd_secret migrate_pages modify_ldt mount mount_setattr move_mount move_pages nfsservctl
open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise query_module quotactl quotactl_fd
reboot request_key sched_setaffinity set_mempolicy setdomainname sethostname setns settimeofday swapoff swapon syslog
umount umount2 unshare uselib userfaultfd ustat vhangup vm86 vm86old
"""
REFUSED = tuple(_REFUSED.split())
"""Fail with EPERM: privileged, or refused on purpose."""
_MISSING = """
clone3 io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit io_uring_enter io_uring_register
io_uring_setup memfd_create msgctl msgget msgrcv msgsnd semctl semget semop semtimedop shmat shmctl shmdt shmget
"""
MISSING = tuple(_MISSING.split())
"""Fail with ENOSYS, upon which programs use what is allowed: clone, epoll, a file in /dev/shm."""
NAMESPACES = 0x7E020000
"""All flags of clone(2) that begin a namespace."""
_FAMILIES = {"unix": 1, "inet": 2, "inet6": 10}
_NETLINK, _ROUTE = 16, 0
_PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)

_ACT_KILL_PROCESS, _ACT_ERRNO, _ACT_ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_EQUAL, _MASKED_EQUAL = 4, 7
_ATTRIBUTE_BAD_ARCH, _ATTRIBUTE_OPTIMIZE = 2, 8


class _Comparison(ctypes.Structure):
    _fields_ = (("argument", ctypes.c_uint), ("kind", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


@cache
def program() -> bytes:
    """The filter, as the kernel takes it. Raises SandboxFailed."""
    library = load()
    context = library.seccomp_init(_ACT_ERRNO | errno.ENOSYS)
    if not context:
        raise SandboxFailed("libseccomp cannot make a filter.")
    try:
        _checked(library.seccomp_attr_set(context, _ATTRIBUTE_BAD_ARCH, _ACT_KILL_PROCESS))
        library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, 2)  # a binary tree, since version 2.5
        _add_rules(library, context)
        return _exported(library, context)
    finally:
        library.seccomp_release(context)


def load() -> ctypes.CDLL:
    """libseccomp. Raises SandboxFailed if it is not installed."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise SandboxFailed(f"{LIBRARY} is missing (Debian and Ubuntu: sudo apt install libseccomp2).") from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_release.restype = None
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    return library


def number(name: str) -> int:
    """The number of a system call here; negative if this architecture, or this libseccomp, has none of that name."""
    return int(load().seccomp_syscall_resolve_name(name.encode()))


def _add_rules(library: ctypes.CDLL, context: int) -> None:
    def add(action: int, name: str, *comparisons: _Comparison) -> None:
        call = library.seccomp_syscall_resolve_name(name.encode())
        if call >= 0:
            array = (_Comparison * len(comparisons))(*comparisons)
            _checked(library.seccomp_rule_add_array(context, action, call, len(comparisons), array))

    for name in ALLOWED:
        add(_ACT_ALLOW, name)
    for name in REFUSED:
        add(_ACT_ERRNO | errno.EPERM, name)
    for family in _FAMILIES.values():
        add(_ACT_ALLOW, "socket", _Comparison(0, _EQUAL, family))
    add(_ACT_ALLOW, "socket", _Comparison(0, _EQUAL, _NETLINK), _Comparison(2, _EQUAL, _ROUTE))
    add(_ACT_ALLOW, "socketpair", _Comparison(0, _EQUAL, _FAMILIES["unix"]))
    for value in _PERSONALITIES:
        add(_ACT_ALLOW, "personality", _Comparison(0, _EQUAL, value))
    flags = 1 if os.uname().machine == "s390x" else 0
    add(_ACT_ALLOW, "clone", _Comparison(flags, _MASKED_EQUAL, NAMESPACES, 0))


def _exported(library: ctypes.CDLL, context: int) -> bytes:
    file = os.memfd_create("filter")
    try:
        _checked(library.seccomp_export_bpf(context, file))
        return os.pread(file, os.fstat(file).st_size, 0)
    finally:
        os.close(file)


def _checked(result: int) -> None:
    if result < 0:
        raise SandboxFailed(f"libseccomp cannot make a filter: {os.strerror(-result)}.")
