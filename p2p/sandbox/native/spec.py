"""What a native sandbox is made of, and what of that is refused whoever says it."""

import os
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec

from p2p.errors import SandboxFailed

HOME = "/home/me"
"""The one folder inside that programs can write to disk in."""
INSIDE_ID = 1000
"""The user and the group inside, whoever that is outside."""
_CLOSED = ("/proc", "/sys", "/dev", "/run", "/tmp", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", HOME)
"""Where nothing is bound: what the sandbox itself puts there, and links of its own that lead to /usr."""


class Account(NamedTuple):
    """A user of this machine whose processes and files those of a sandbox are."""

    uid: int
    gid: int


class Bind(NamedTuple):
    """A file or folder of this machine that can be read inside."""

    source: Path
    target: str
    """The path inside: absolute, without `..`, and not among those that the sandbox makes itself."""


class Limits(msgspec.Struct, frozen=True):
    """What all programs of a sandbox may use together."""

    cores: int
    memory: int
    """Bytes, including what is in /tmp and /dev/shm."""
    disk: int
    """Bytes in the home."""
    processes: int
    """Processes and threads."""

    def __post_init__(self) -> None:
        if min(self.cores, self.memory, self.disk, self.processes) <= 0:
            raise ValueError("each limit of a sandbox is at least 1")


class Spec(msgspec.Struct, frozen=True):
    """One sandbox."""

    hostname: str
    binds: tuple[Bind, ...]
    root: Path | None
    """A folder whose usr/ is the sandbox's /usr; None for this machine's own /usr."""
    python: str
    """The interpreter inside that runs the agent: Python 3.9 or newer."""
    variables: dict[str, str]
    """The environment of every program."""
    files: dict[str, str]
    """Small files below /etc, by their path there: "hosts". They replace those that the sandbox makes by itself."""
    limits: Limits


def check(spec: Spec) -> None:
    """Raises SandboxFailed if the sandbox must not or cannot be made like this."""
    targets = [bind.target for bind in spec.binds]
    for target in targets:
        _check_target(target)
    if len(set(targets)) < len(targets):
        raise SandboxFailed("Two folders are to be bound to one path in the sandbox.")
    for bind in spec.binds:
        if not bind.source.is_absolute():
            raise SandboxFailed(f"{bind.source} cannot be bound into a sandbox: its path is not absolute.")
        for other in spec.binds:
            if bind.target.startswith(other.target + "/"):
                _check_nested(bind.target, other)
        if spec.root and bind.target.startswith("/usr/"):
            _check_nested(bind.target, Bind(spec.root / "usr", "/usr"))
    for name in spec.files:
        if name != os.path.normpath(name) or name.startswith(("/", "..")) or "\0" in name:
            raise SandboxFailed(f"{name!r} is no path below /etc.")
    words = [spec.hostname, spec.python, *spec.variables, *spec.variables.values()]
    if any("\0" in word for word in words) or any("=" in name for name in spec.variables):
        raise SandboxFailed("A variable of the sandbox has a character that no variable can have.")


def _check_target(target: str) -> None:
    if not target.startswith("/") or target.startswith("//") or target != os.path.normpath(target) or "\0" in target:
        raise SandboxFailed(f"{target!r} cannot be a path in a sandbox: it is not absolute, or not normal.")
    for closed in _CLOSED:
        if target == closed or target.startswith(closed + "/") or closed.startswith(target.rstrip("/") + "/"):
            raise SandboxFailed(f"Nothing can be bound to {target} in a sandbox.")


def _check_nested(target: str, outer: Bind) -> None:
    """A path below another bind must exist, without a link on the way, which would be followed outside the walls."""
    place = outer.source
    for part in PurePosixPath(target).relative_to(outer.target).parts:
        place = place / part
        if place.is_symlink() or not place.exists():
            raise SandboxFailed(f"{target} cannot be bound in a sandbox: {outer.target} has no such place.")
