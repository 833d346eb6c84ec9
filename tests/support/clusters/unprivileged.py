"""Runs a command of this checkout as a user who may not enter root's folders: `-m ... UID COMMAND`, as root.

The checkout and its Python are mounted where that user can read them, if they lie in folders that it cannot enter; no
mount shows outside.
"""

import os
import sys
from pathlib import Path

from p2p.sandbox.native import staging

ROOT = Path(__file__).parents[3]


def main() -> None:
    uid, command = int(sys.argv[1]), sys.argv[2:]
    needed = [str(path) for path in dict.fromkeys((ROOT, Path(sys.prefix), Path(sys.base_prefix)))]
    staging.separate_mounts()
    closed: dict[str, list[str]] = {}
    for path in needed:
        for above in reversed(Path(path).parents):
            if not above.stat().st_mode & 0o001:
                closed.setdefault(str(above), []).append(path)
                break
    for folder, paths in closed.items():
        handles = [os.open(path, os.O_PATH) for path in paths]
        staging.cover(folder)
        for path, handle in zip(paths, handles, strict=True):
            os.makedirs(path, mode=0o755, exist_ok=True)
            staging.bind(f"/proc/self/fd/{handle}", path)
            os.close(handle)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
