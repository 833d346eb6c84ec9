"""Modes of environments on the disk: nobody writes to their files, and the users that sandboxes run as can read them.

A peer that is root runs each sandbox as an unprivileged user of its own, which has to read files of root's. Nobody else
can: the folder around them is only this peer's, and is seen in sandboxes alone.
"""

import os
import stat
from pathlib import Path


def _modes() -> tuple[int, int, int]:
    """The modes of a file, of a program, and of a folder, which its user can still remove."""
    return (0o444, 0o555, 0o755) if os.geteuid() == 0 else (0o400, 0o500, 0o700)


def seal(folder: Path) -> None:
    """Takes the right to write from all files. Follows no link. Raises OSError."""
    plain, program, below = _modes()
    for where, _, names, descriptor in os.fwalk(folder, topdown=False):
        for name in names:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                mode = program if status.st_mode & stat.S_IXUSR else plain
                if stat.S_IMODE(status.st_mode) != mode:
                    os.chmod(name, mode, dir_fd=descriptor)
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != below:
            os.chmod(where, below)
