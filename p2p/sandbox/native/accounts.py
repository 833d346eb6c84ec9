"""The unprivileged users that native sandboxes run as.

A peer that is not root has one: its own. A peer that is root takes one of a range for each sandbox, which no other
sandbox of this machine has at the time, so that sandboxes cannot reach each other's files or processes, and none is
ever root: root's rights in /proc/sys would be left to it, and limits on processes do not hold for root.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from p2p.errors import ConfigError, SandboxFailed
from p2p.sandbox.native.spec import Account

LOCKS = Path("/run/lock/shoal-uids")
_LOWEST = 1000
"""Below are the accounts of the system."""


@contextmanager
def account(uids: Sequence[int]) -> Iterator[Account]:
    """An account for one sandbox, for as long as this is open. `uids`: see `ClusterConfig`.

    Raises ConfigError if this peer is root and has no range, SandboxFailed if all are taken.
    """
    if os.geteuid() != 0:
        yield Account(os.getuid(), os.getgid())
        return
    if not uids:
        raise ConfigError(
            "This peer runs as root, and native sandboxes never do. Name a range of user ids that nobody else uses, "
            "such as `uids = [700000, 64]`, in the section [cluster] of the settings; or run the peer as another user."
        )
    first, count = uids
    if first < _LOWEST or count < 1 or first + count >= 1 << 31:
        raise ConfigError(
            f"cluster.uids = [{first}, {count}] is no range of ordinary users: begin at {_LOWEST} or above."
        )
    LOCKS.mkdir(mode=0o700, parents=True, exist_ok=True)
    for uid in range(first, first + count):
        # The lock is the process's, so that a peer that is killed leaves its accounts to others.
        handle = os.open(LOCKS / str(uid), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        try:
            yield Account(uid, uid)
        finally:
            os.close(handle)
        return
    raise SandboxFailed(f"All {count} user ids of cluster.uids are taken by sandboxes that run now.")
