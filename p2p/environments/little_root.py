"""The little root: what of the owner's system goes along besides libraries, so that a member gives only its kernel."""

import os
import shutil
from pathlib import Path

_TOOLS = (
    "sh bash dash env ls cat uname dirname basename readlink mkdir rmdir rm cp mv ln chmod touch ps sleep sed grep "
    "head tail cut tr sort wc date id hostname nproc nice true false test expr kill tee"
)
"""Programs that engines' scripts call. What a machine lacks of them is not packed."""
_LOADED_LATER = (
    "libm.so.6 libmvec.so.1 libpthread.so.0 libdl.so.2 librt.so.1 libutil.so.1 libresolv.so.2 libanl.so.1 "
    "libgcc_s.so.1 libstdc++.so.6 libnss_files.so.2 libnss_dns.so.2"
)
"""Libraries of glibc and GCC that programs load when they run, unknown to the loader before."""
_DATA = ("/usr/lib/locale/C.utf8", "/usr/share/zoneinfo")
_NOT_NEEDED = ("posix", "right")
"""Copies of all time zones, by other rules."""


def tools() -> dict[str, str]:
    """The programs, by the paths that they have inside. Blocks."""
    found = {}
    for name in _TOOLS.split():
        where = shutil.which(name, path="/usr/bin:/bin")
        if where is not None:
            found[f"/usr/bin/{name}"] = os.path.realpath(where)
    return found


def libraries(libc: Path) -> list[str]:
    """What stands beside the C library and is loaded without being named. Blocks."""
    return [str(libc.parent / name) for name in _LOADED_LATER.split() if (libc.parent / name).exists()]


def folders() -> list[tuple[str, frozenset[str]]]:
    """Folders of data, each with the paths in it that are not needed. Blocks."""
    return [(one, frozenset(f"{one}/{name}" for name in _NOT_NEEDED)) for one in _DATA if os.path.isdir(one)]
