"""Small files that are read ahead: many of one folder by one request, while they are read in the order of its list.

Nothing is read ahead at first: the second file of a folder has one more with it, the third three, and so on. What was
read ahead and is not wanted is forgotten soon.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from p2p.client import forks

SMALL_BYTES = 64 * 1024
MAX_FILES = 256
MAX_RUN_BYTES = 1024 * 1024
NEAR = 16
"""How far from the last file the next one may be: several threads read a folder in about its order."""
MAX_RUNS = 4
MAX_FOLDERS = 4

Info = dict[str, Any]
Ask = Callable[[str, str, int], bytes]
"""Asks for the bytes of so many files of a folder, from the one after this path on; fewer may come. Raises OSError."""


class _Run:
    """Files that come, or came, together. `came` is set once their bytes are in `contents`, as far as they came."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self.came = threading.Event()
        self.contents: dict[str, bytes] = {}


class _Folder:
    """How a folder is being read."""

    def __init__(self, rows: Sequence[Info]) -> None:
        self.rows = rows
        self.places = {row["name"]: place for place, row in enumerate(rows)}
        self.last = -1
        """The place of the last file that was read, or read ahead."""
        self.aside = len(rows)
        """The place of the last file that did not follow."""
        self.count = 1


class ReadAhead:
    """The small files of one file system. Any thread may ask."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.forget()

    def forget(self) -> None:
        """Begins again, with nothing."""
        self._changing = threading.Lock()
        forks.inherited.add(self)
        self._folders: dict[str, _Folder] = {}
        self._coming: dict[str, _Run] = {}
        self._runs: deque[_Run] = deque()

    forked = forget

    def read(self, path: str, folder: str, rows: Sequence[Info]) -> bytes | None:
        """The bytes of a small file, or None if it has to be asked for alone. `rows` is the list of its folder."""
        with self._changing:
            run = self._coming.pop(path, None)
            following = [] if run is not None else self._following(path, folder, rows)
            if len(following) > 1:
                run = self._begin([row["name"] for row in following])
                place = self._folders[folder].places[path]
                before = rows[place - 1]["name"] if place else ""
        if run is None:
            return None
        if len(following) > 1:
            self._get(run, folder, before, following)
        run.came.wait()
        return run.contents.pop(path, None)

    def _following(self, path: str, folder: str, rows: Sequence[Info]) -> Sequence[Info]:
        """The file, and those to read ahead with it; nothing if it does not follow what was read."""
        known = self._folders.get(folder)
        if known is None or known.rows is not rows:
            known = self._folders[folder] = _Folder(rows)
            if len(self._folders) > MAX_FOLDERS:
                del self._folders[next(iter(self._folders))]
        place = known.places.get(path)
        if place is None:
            return []
        if not known.last < place <= known.last + NEAR:
            # Another thread was quicker, or somebody reads elsewhere: then the next file shows that.
            if not known.aside < place <= known.aside + NEAR:
                known.aside = place
                return []
            known.last, known.count, known.aside = place - 1, 1, len(rows)
        found, size = [], 0
        for row in islice(rows, place, place + known.count):
            size += row["size"]
            if row["type"] != "file" or row["size"] > SMALL_BYTES or size > MAX_RUN_BYTES:
                break
            found.append(row)
        known.last = place + max(len(found) - 1, 0)
        known.count = min(2 * known.count, MAX_FILES)
        return found

    def _begin(self, paths: list[str]) -> _Run:
        run = _Run(paths)
        self._coming.update((path, run) for path in paths[1:])
        self._runs.append(run)
        if len(self._runs) > MAX_RUNS:
            old = self._runs.popleft()
            for path in old.paths:
                if self._coming.get(path) is old:
                    del self._coming[path]
        return run

    def _get(self, run: _Run, folder: str, before: str, following: Sequence[Info]) -> None:
        try:
            body = memoryview(self._ask(folder, before, len(following)))
            for row in following:
                if len(body) < row["size"]:
                    break
                run.contents[row["name"]] = bytes(body[: row["size"]])
                body = body[row["size"] :]
        except OSError:
            pass  # whoever reads one of them asks for it alone, and is told
        finally:
            run.came.set()
