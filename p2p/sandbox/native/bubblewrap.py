"""The command line of a sandbox's walls, and the small files that it is furnished with.

Nothing inside has a capability, /proc and / are read-only once all is in place, and every file system in memory has a
size. The order counts: later arguments are mounted over earlier ones.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from p2p.sandbox.native.spec import HOME, INSIDE_ID, Bind, Limits, Spec

AGENT = "/run/agent.py"
TUN = "shoal0"
"""The one network device besides the loopback, as /sys shows it."""
_OWN_ETC = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/ssl/certs")
_OF_THE_MACHINE = "acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats"
_HIDDEN = [f"/proc/{name}" for name in _OF_THE_MACHINE.split()]
"""What tells of this machine and its user rather than of the sandbox; container runtimes hide the same."""
_VARIABLES = {
    "HOME": HOME,
    "USER": "me",
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin",
    "UCX_TLS": "^sysv",  # a transport of MPI's, which gives up when System V's shared memory is refused
}
_LINKS = ("bin", "sbin", "lib", "lib64")


def binds(spec: Spec) -> list[Bind]:
    """What is bound from this machine, outer folders first."""
    if spec.root is None:
        found = [Bind(Path("/usr"), "/usr"), *(Bind(Path(path), path) for path in _OWN_ETC)]
    else:
        found = [Bind(spec.root / "usr", "/usr"), Bind(spec.root / "etc/ld.so.cache", "/etc/ld.so.cache")]
    replaced = {bind.target for bind in spec.binds}
    system = [bind for bind in found if bind.source.exists() and bind.target not in replaced]
    return [*system, *sorted(spec.binds, key=lambda bind: bind.target.count("/"))]


def small_files(spec: Spec) -> dict[str, str]:
    """The small files inside, by their path there. Those of /etc that programs ask for first are always there."""
    name = spec.hostname
    etc = {
        "hosts": f"127.0.0.1 localhost\n127.0.1.1 {name}\n",
        "hostname": f"{name}\n",
        "passwd": f"me:x:{INSIDE_ID}:{INSIDE_ID}::{HOME}:/bin/sh\n",
        "group": f"me:x:{INSIDE_ID}:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "resolv.conf": "",
        **spec.files,
    }
    agent = (Path(__file__).parent / "agent.py").read_text()
    return {AGENT: agent, **{f"/etc/{path}": text for path, text in etc.items()}}


def memory_sizes(limits: Limits) -> dict[str, int]:
    """The sizes of the file systems in memory, by path, in bytes. What is in them counts as memory."""
    return {"/dev/shm": limits.memory // 2, "/tmp": limits.memory // 4}


def arguments(
    spec: Spec, sources: Sequence[tuple[str, str]], files: Mapping[str, int], home: str, seccomp: int
) -> list[str]:
    """The arguments of bwrap. `sources` are (path outside, path inside), `files` descriptors by path inside."""
    line = ["--unshare-user", "--unshare-all", "--disable-userns", "--cap-drop", "ALL"]
    line += ["--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID), "--hostname", spec.hostname]
    line += ["--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
    for link in _LINKS:
        line += ["--symlink", f"usr/{link}", f"/{link}"]
    line += ["--dir", "/etc", "--dir", "/run"]
    for source, target in sources:
        line += ["--ro-bind", source, target]
    for target, descriptor in files.items():
        line += ["--perms", "0444", "--file", str(descriptor), target]
    # MPI's transports look for interfaces here, and hwloc for processors; this machine's own interfaces must not show.
    for device in ("lo", TUN):
        line += ["--dir", f"/sys/devices/virtual/net/{device}"]
        line += ["--symlink", f"../../devices/virtual/net/{device}", f"/sys/class/net/{device}"]
    for path in ("/sys/devices/system/cpu", "/sys/devices/system/node"):
        line += ["--ro-bind-try", path, path]
    line += ["--proc", "/proc"]
    for path in filter(os.path.exists, _HIDDEN):
        hide = ["--size", "4096", "--tmpfs", path, "--remount-ro", path]
        line += hide if os.path.isdir(path) else ["--ro-bind", "/dev/null", path]
    line += ["--remount-ro", "/proc", "--dev", "/dev"]
    for target, size in memory_sizes(spec.limits).items():
        line += ["--perms", "1777", "--size", str(size), "--tmpfs", target]
    line += ["--bind", home, HOME, "--chdir", HOME]
    # What the sandbox made before these has no size of its own: nothing can be written there from now on.
    line += ["--remount-ro", "/dev", "--remount-ro", "/"]
    for name, value in {**_VARIABLES, **spec.variables}.items():
        line += ["--setenv", name, value]
    return [*line, "--seccomp", str(seccomp)]


def command(spec: Spec) -> list[str]:
    """What bwrap runs inside: the agent."""
    return [spec.python, "-I", "-S", AGENT]
